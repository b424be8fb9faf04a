"""Judgments from files: this project's export, any table with the same words, AlpacaEval's.

A table has ``participant``, ``arm``, ``against`` and ``outcome`` (win, loss, tie), and may have
``judgment_id`` (or ``comparison``), ``arm_side``, ``question_kind``, ``strength``, ``arm_words``,
``against_words``, ``world``, ``shots``, ``item`` (or hashes of the two answers) and ``judged_at``
(ISO 8601, or seconds).
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fspo_core.errors import DataError, InvalidJudgment
from fspo_core.evaluation.winrates import check_judgment
from fspo_core.types import Judgment

NEEDED = ("participant", "arm", "against", "outcome")
ALPACA = ("generator_1", "generator_2", "preference")
NUMBERS = ("strength", "arm_words", "against_words", "shots")
ANSWERS = ("arm_answer_sha256", "against_answer_sha256")  # the same two answers: the same item
SUFFIXES = (".csv", ".jsonl", ".json", ".parquet")


def read(path: Path) -> list[Judgment]:
    """All judgments of a file. Raises DataError, naming file and row, for what is not one."""
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path} has no rows")
    columns = set(rows[0])
    if set(ALPACA) <= columns:
        made = [_alpaca(path, n, row) for n, row in enumerate(rows, 1)]
        return [judgment for judgment in made if judgment is not None]
    if missing := [name for name in NEEDED if name not in columns]:
        raise DataError(
            f"{path} has neither the columns {', '.join(NEEDED)} nor AlpacaEval's "
            f"{', '.join(ALPACA)}: {missing[0]} is missing among {', '.join(sorted(columns))}"
        )
    return [_judgment(path, n, row) for n, row in enumerate(rows, 1)]


def preferences(path: Path) -> list[float]:
    """The preferences, 1 to 2, of an AlpacaEval file (0, a draw there, as 1.5); of others none."""
    rows = _rows(path)
    if not rows or not set(ALPACA) <= set(rows[0]):
        return []
    found = [_preference(path, n, row) for n, row in enumerate(rows, 1)]
    return [preference for preference in found if preference is not None]


def _rows(path: Path) -> Sequence[Mapping[str, Any]]:
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: judgments are read from {', '.join(SUFFIXES)} files")
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        return list(_parsed(path))
    except DataError:
        raise
    except (OSError, ValueError, csv.Error) as error:  # also json's and pyarrow's errors
        raise DataError(f"{path} cannot be read: {error}") from None


def _parsed(path: Path) -> Iterator[Mapping[str, Any]]:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        yield from parquet.read_table(path).to_pylist()
    elif path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file)
    elif path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _object(path, number, json.loads(line))
    else:
        said = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(said, list):
            raise DataError(f"{path} is not a list of judgments")
        for number, row in enumerate(said, 1):
            yield _object(path, number, row)


def _object(path: Path, number: int, row: Any) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{path}, row {number}: {row!r} is not an object")
    return row


def _judgment(path: Path, number: int, row: Mapping[str, Any]) -> Judgment:
    said = {name: value for name, value in row.items() if value not in (None, "")}
    try:
        numbers: dict[str, Any] = {
            name: _whole(name, said[name]) for name in NUMBERS if name in said
        }
        words = {
            n: str(said[n]) for n in ("arm_side", "question_kind", "world", "item") if n in said
        }
        if "item" not in said and set(ANSWERS) <= set(said):
            words["item"] = "|".join(sorted(str(said[name]) for name in ANSWERS))
        judgment = Judgment(
            judgment_id=str(said.get("judgment_id", said.get("comparison", f"row {number}"))),
            **{name: str(said.get(name, "")) for name in NEEDED},  # type: ignore[arg-type]
            **numbers,
            **words,  # type: ignore[arg-type]
            judged_at=_seconds(said["judged_at"]) if "judged_at" in said else None,
        )
        check_judgment(judgment)
    except (InvalidJudgment, ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{path}, row {number}: {error}") from None
    return judgment


def _whole(name: str, value: Any) -> int:
    number = float(value)
    if number != int(number):
        raise ValueError(f"{name} is {value!r}, not a whole number")
    return int(number)


def _seconds(value: Any) -> float:
    if isinstance(value, datetime):
        moment = value
    else:
        try:
            seconds = float(value)
        except ValueError:
            moment = datetime.fromisoformat(str(value))
        else:
            if not math.isfinite(seconds):
                raise ValueError(f"judged_at is {value!r}")
            return seconds
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _preference(path: Path, number: int, row: Mapping[str, Any]) -> float | None:
    said = row.get("preference")
    if said is None or said == "":
        return None
    try:
        preference = float(said) or 1.5  # AlpacaEval takes 0 for a draw
    except (TypeError, ValueError):
        preference = math.nan
    if not 1 <= preference <= 2:
        raise DataError(f"{path}, row {number}: preference {said!r} is not from 1 to 2")
    return preference


def _alpaca(path: Path, number: int, row: Mapping[str, Any]) -> Judgment | None:
    """generator_2 against the baseline generator_1; an instruction is the unit that was sampled.

    A preference is 1 (baseline) to 2; under, over or exactly 1.5 is a loss, a win, a tie. Rows that
    the annotator left open (no preference) are left out.
    """
    preference = _preference(path, number, row)
    if preference is None:
        return None
    if missing := [key for key in ALPACA if row.get(key) in (None, "")]:
        raise DataError(f"{path}, row {number}: there is no {missing[0]}")
    instruction = str(row.get("instruction") or f"row {number}")

    def words(key: str) -> int | None:
        return len(str(row[key]).split()) if row.get(key) is not None else None

    return Judgment(
        judgment_id=f"row {number}",
        participant=instruction,
        arm=str(row["generator_2"]),
        against=str(row["generator_1"]),
        outcome="win" if preference > 1.5 else "loss" if preference < 1.5 else "tie",
        arm_words=words("output_2"),
        against_words=words("output_1"),
        world=str(row.get("dataset") or "alpaca_eval"),
        item=instruction,
    )
