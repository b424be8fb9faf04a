"""Engines: prompts -> completions. ``load_engine`` turns a setting into one."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from fspo_core.errors import EngineError
from fspo_core.types import Completion, GenerationFailure, GenerationRequest, UserHistory


class Engine(Protocol):
    """What answers requests. ``generate`` keeps the order of its input."""

    def generate(
        self, requests: Sequence[GenerationRequest]
    ) -> list[Completion | GenerationFailure]: ...

    def fingerprint(self, arm: str) -> str: ...


@runtime_checkable
class LabelPredictor(Protocol):
    """An engine that also says what it thought of a person's labels, as the local one does."""

    def label_probabilities(self, history: UserHistory) -> list[float]:
        """P(the label that was made), of each label given those before it."""
        ...


def load_engine(spec: str) -> Engine:
    """The engine a setting names.

    ``local`` is the embedded checkpoint, ``local:PATH`` a checkpoint folder, ``module:factory`` any
    callable without arguments that returns an engine. Raises EngineError, naming the value.
    """
    kind, _, rest = spec.partition(":")
    if kind == "local":
        from fspo_core.engines.local import LocalEngine
        from fspo_core.modeling import EMBEDDED

        return LocalEngine(Path(rest) if rest else EMBEDDED)
    try:
        factory = getattr(importlib.import_module(kind), rest)
    except (ImportError, AttributeError, ValueError) as error:
        raise EngineError(
            f"engine {spec!r} is neither 'local', 'local:PATH' nor an importable 'module:factory'"
        ) from error
    return cast(Engine, factory())
