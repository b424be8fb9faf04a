"""An engine that writes plausible answers of two kinds, for looking at pages and driving them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence

from fspo_core.types import GenerationRequest
from tests.engines import EchoEngine, Result, completion

STEPS = """It goes best in small steps.

1. Write down what you already have, and what is missing.
2. Begin with the part that takes ten minutes at most.
3. Put a fixed time for the next part in your calendar.

After a week, look back: keep what worked and drop the rest."""

PROSE = """That is a good thing to want. Many people begin with too much at once and stop after a \
few days, so be kind to yourself and choose something small that you enjoy.

Ask a friend to join you if you can; it is easier to go on when somebody waits for you."""

SHORT = "Begin today with ten minutes, and do the same tomorrow at the same time."


class WrittenEngine(EchoEngine):
    """Answers in one of three ways, by arm and seed. WRITTEN_SECONDS is the time a batch takes."""

    def __init__(self) -> None:
        self.seconds = float(os.environ.get("WRITTEN_SECONDS", "0"))

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Result]:
        time.sleep(self.seconds)
        return [completion(r, _text(r), fingerprint=self.fingerprint(r.arm)) for r in requests]


def _text(request: GenerationRequest) -> str:
    digest = hashlib.sha256(f"{request.arm} {request.seed}".encode()).digest()
    return (STEPS, PROSE, SHORT)[digest[0] % 3]
