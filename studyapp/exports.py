"""Tables into files: CSV, JSONL, Parquet. What the columns mean: docs/researchers.md."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Literal

from fspo_core.evaluation.analysis import SummaryRow
from studyapp.analysis import JudgmentRow, LabelRow

Format = Literal["csv", "jsonl", "parquet"]
Level = Literal["summary", "judgments", "labels"]
Row = SummaryRow | JudgmentRow | LabelRow
ROWS: dict[Level, type[Row]] = {
    "summary": SummaryRow,
    "judgments": JudgmentRow,
    "labels": LabelRow,
}
# What a spreadsheet would run as a formula; participants write the reasons.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def encode(level: Level, rows: Sequence[Row], file_format: Format) -> bytes:
    """The rows as a file; a file without rows still has its columns."""
    return ENCODERS[file_format](columns(level), [asdict(row) for row in rows])


def columns(level: Level) -> list[str]:
    return [field.name for field in fields(ROWS[level])]


def _csv(names: list[str], rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_csv_cell(row[name]) for name in names])
    return text.getvalue().encode()


def _csv_cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value


def _jsonl(names: list[str], rows: list[dict[str, Any]]) -> bytes:
    lines = (
        json.dumps({name: row[name] for name in names}, ensure_ascii=False, default=_iso)
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"cannot write {value!r} as JSON")


def _parquet(names: list[str], rows: list[dict[str, Any]]) -> bytes:
    # pyarrow is large; only this format needs it.
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({name: [row[name] for row in rows] for name in names})
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()


ENCODERS: dict[Format, Callable[[list[str], list[dict[str, Any]]], bytes]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
}
