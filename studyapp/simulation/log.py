"""The simulation's own record: one JSON object a line, ids and rewards, never text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TextIO

from studyapp.simulation.browser import SimulationError

Choice = Literal["left", "right", "tie"]


@dataclass(frozen=True, slots=True)
class JudgmentRecord:
    """One verdict as the simulated participant gave it. The arms are unknown here.

    Rewards are the world's, of the text as it was shown; the hashes are of the same two texts, so
    that the check can tell whether the sides were stored as they were shown.
    """

    run: str
    participant: int
    user: str
    comparison: str
    left_reward: float
    right_reward: float
    left_sha256: str
    right_sha256: str
    choice: Choice
    strength: int


@dataclass(frozen=True, slots=True)
class EndRecord:
    """How a simulated participant's way ended; ``ending`` is the stage, or ``error``."""

    run: str
    participant: int
    user: str
    ending: str
    labels: int
    judgments: int
    seconds: float
    waited_seconds: float
    habit: str = "exact"
    error: str = ""


Record = JudgmentRecord | EndRecord
KINDS: dict[str, type[JudgmentRecord] | type[EndRecord]] = {
    "judgment": JudgmentRecord,
    "end": EndRecord,
}


class SimulationLog:
    """Appends records to a file as they come, from several threads."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._lock = file, Lock()

    def write(self, record: Record) -> None:
        kind = next(name for name, known in KINDS.items() if isinstance(record, known))
        line = json.dumps({"kind": kind, **asdict(record)}, allow_nan=False)
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()


def read_log(path: Path) -> list[Record]:
    """All records of a log. Raises SimulationError naming the line that cannot be read."""
    with path.open(encoding="utf-8") as lines:
        return list(_records(lines, path.name))


def _records(lines: Iterable[str], name: str) -> Iterable[Record]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry: dict[str, Any] = json.loads(line)
            kind = KINDS[entry.pop("kind")]
            if set(entry) != {field.name for field in fields(kind)}:
                raise KeyError(", ".join(sorted(entry)))
            yield kind(**entry)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise SimulationError(f"{name}, line {number}: not a record ({error})") from error
