"""Engines for tests of everything but the model; named by FSPO_ENGINE as ``tests.engines:…``.

They answer from the request alone, so that a test can tell whose answer it sees, and they are
as strict about their contract as the real one: same order, one result a request.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence

from fspo_core.types import Completion, GenerationFailure, GenerationRequest, UserHistory

Result = Completion | GenerationFailure


def completion(request: GenerationRequest, text: str, *, fingerprint: str) -> Completion:
    prompt = repr((request.arm, request.question, request.history))
    return Completion(
        request_id=request.request_id,
        arm=request.arm,
        text=text,
        finish_reason="stop",
        shots_used=len(request.history.preferences),
        shots_dropped=0,
        prompt_sha256=hashlib.sha256(prompt.encode()).hexdigest(),
        checkpoint=fingerprint,
        prompt_tokens=len(prompt.split()),
        completion_tokens=len(text.split()),
        seconds=0.0,
        seed=request.seed,
        sampling=request.sampling,
    )


class EchoEngine:
    """Answers with the question and a word that depends on seed and arm.

    ECHO_SECONDS makes every batch take that long, so that a test can strike in the middle.
    """

    def __init__(self) -> None:
        self.seconds = float(os.environ.get("ECHO_SECONDS", "0"))

    def fingerprint(self, arm: str) -> str:
        return f"echo-{arm}"

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Result]:
        time.sleep(self.seconds)
        return [
            completion(
                request,
                f"About {request.question} The word is "
                f"{hashlib.sha256(f'{request.arm} {request.seed}'.encode()).hexdigest()[:8]}.",
                fingerprint=self.fingerprint(request.arm),
            )
            for request in requests
        ]


class FailingEngine(EchoEngine):
    """Cannot write any answer, and says so."""

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Result]:
        return [
            GenerationFailure(request.request_id, request.arm, "this engine always fails")
            for request in requests
        ]


class BrokenEngine(EchoEngine):
    """Raises for the whole batch."""

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Result]:
        raise RuntimeError(f"no batch of {len(requests)} can be answered")


class GuessingEngine(EchoEngine):
    """Also predicts labels: the surer the more labels it has read."""

    def label_probabilities(self, history: UserHistory) -> list[float]:
        return [0.5 + 0.1 * min(k, 4) for k in range(len(history.preferences))]
