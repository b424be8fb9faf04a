"""Preference data from files, as user histories: ours, the paper's, and the field's formats.

Known by their columns (FSPO, arXiv 2502.19312; TRL's documentation of preference data sets):

=========  ============================================================  ======================
format     columns                                                       one user a
=========  ============================================================  ======================
fspo       user_id, prompt, response_x, response_y, label (0: x)         user_id
roleplay   x, yw, yl, level, score_persona                               level
steered    prompt, response_x, response_y, label (0: x), scorer_level,   scorer_level
           level_x, level_y (Reviews and ELIX)
trl        prompt, chosen, rejected (strings or message lists),          user_id, if there is
           or chosen and rejected with the prompt as first message       one, else the file
=========  ============================================================  ======================

A source is a file (.parquet, .jsonl, .json, .csv), a folder of them, or ``hub:OWNER/NAME`` where
the network allows. A malformed row is reported with file and row number and left out; more than a
set share of them stops the load.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fspo_core.errors import DataError
from fspo_core.types import Preference, UserHistory

ENDINGS = (".parquet", ".jsonl", ".json", ".csv")
MOST_REPORTED = 100
csv.field_size_limit(2**31 - 1)
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MalformedRow:
    """A row that was left out; rows count from 1, without a CSV's header."""

    file: str
    row: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}: {self.reason}"


@dataclass(slots=True)
class Loaded:
    """Histories in the order in which users first occur, and what was wrong.

    ``malformed`` lists the first 100 bad rows; ``bad_rows`` counts all of them.
    """

    histories: list[UserHistory]
    rows: int = 0
    bad_rows: int = 0
    formats: dict[str, str] = field(default_factory=dict)  # by file
    malformed: list[MalformedRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class HeldOutEpisode:
    """A user's labelled pairs as a context, and one more pair of the same user."""

    history: UserHistory
    heldout: Preference


class _BadRow(Exception):
    """Why a row cannot be used."""


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _BadRow(f"{name} must be text, got {value!r:.80}")
    return value


def _of_label(row: Row) -> Preference:
    label = row.get("label")
    if isinstance(label, str) and label.strip() in ("0", "1"):
        label = int(label)
    if isinstance(label, bool) or label not in (0, 1):
        raise _BadRow(f"label must be 0 (response_x preferred) or 1, got {label!r:.80}")
    pair = [_text(row, "response_x"), _text(row, "response_y")]
    return Preference(_text(row, "prompt"), pair[int(label)], pair[1 - int(label)])


def _message_text(value: Any, name: str) -> tuple[str, str]:
    """(prompt, text) of a plain string, or of a conversation whose last message is the answer."""
    if isinstance(value, str):
        if value.lstrip().startswith("[{"):  # a conversation in a CSV cell
            try:
                value = json.loads(value)
            except ValueError:
                return "", value
        else:
            return "", value
    if not isinstance(value, Sequence) or not value:
        raise _BadRow(f"{name} must be text or messages, got {value!r:.80}")
    contents = []
    for message in value:
        content = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(content, str) or not content.strip():
            raise _BadRow(f"{name} has a message without content: {message!r:.80}")
        contents.append(content)
    return "\n".join(contents[:-1]), contents[-1]


def _of_trl(row: Row) -> Preference:
    said, chosen = _message_text(row.get("chosen"), "chosen")
    also, rejected = _message_text(row.get("rejected"), "rejected")
    prompt = row.get("prompt")
    if prompt is None or prompt == "":
        if said != also:
            raise _BadRow("chosen and rejected begin with different prompts")
        asked = said
    else:
        before, last = _message_text(prompt, "prompt")
        asked = "\n".join(part for part in (before, last) if part)
    for name, text in (("prompt", asked), ("chosen", chosen), ("rejected", rejected)):
        if not text.strip():
            raise _BadRow(f"{name} is empty")
    return Preference(asked, chosen, rejected)


@dataclass(frozen=True, slots=True)
class _Format:
    name: str
    needs: frozenset[str]
    user: str | None
    preference: Callable[[Row], Preference]


_FORMATS = (
    _Format(
        "steered", frozenset(("prompt", "response_x", "response_y", "label", "scorer_level")),
        "scorer_level", _of_label,
    ),
    _Format(
        "fspo", frozenset(("user_id", "prompt", "response_x", "response_y", "label")),
        "user_id", _of_label,
    ),
    _Format(
        "roleplay", frozenset(("x", "yw", "yl", "level")), "level",
        lambda row: Preference(_text(row, "x"), _text(row, "yw"), _text(row, "yl")),
    ),
    _Format("trl", frozenset(("chosen", "rejected")), None, _of_trl),
)  # fmt: skip


def load(source: str | Path, *, most_malformed: float = 0.01) -> Loaded:
    """Read a source into user histories.

    ``most_malformed`` is the share of malformed rows over which the load stops. Raises DataError
    for a source that is missing, empty, cut off, of an unknown format, or too malformed.
    """
    if not 0 <= most_malformed <= 1:
        raise DataError(f"most_malformed must be between 0 and 1, got {most_malformed}")
    loaded = Loaded([])
    users: dict[str, list[Preference]] = {}
    for path in _files(source):
        _read_file(path, loaded, users)
    if not loaded.rows:
        raise DataError(f"{source} has no rows")
    if loaded.bad_rows > most_malformed * loaded.rows:
        first = "; ".join(str(m) for m in loaded.malformed[:3])
        raise DataError(
            f"{loaded.bad_rows} of {loaded.rows} rows of {source} are malformed, more than "
            f"{most_malformed:.1%}: {first}"
        )
    described = _descriptions(source)
    loaded.histories = [
        UserHistory(user, tuple(pairs), described.get(user)) for user, pairs in users.items()
    ]
    return loaded


def episodes(histories: Sequence[UserHistory], shots: int) -> Iterator[HeldOutEpisode]:
    """Each user's pairs in windows of ``shots`` labels and one held-out pair: one pass, no overlap.

    What does not fill a window is left out. Raises DataError for a negative ``shots``.
    """
    if shots < 0:
        raise DataError(f"shots must be at least 0, got {shots}")
    for history in histories:
        pairs = history.preferences
        for at in range(0, len(pairs) - shots, shots + 1):
            yield HeldOutEpisode(
                UserHistory(history.user_id, pairs[at : at + shots], history.description),
                pairs[at + shots],
            )


def _descriptions(source: str | Path) -> dict[str, str]:
    """What users like in words, from the users.parquet of a data set of ours."""
    if str(source).startswith("hub:"):
        return {}
    path = Path(source)
    files = path.rglob("users.parquet") if path.is_dir() else path.parent.glob("users.parquet")
    found: dict[str, str] = {}
    for file in files:
        columns = pq.read_table(file, columns=["user_id", "description"])
        found.update(zip(*(column.to_pylist() for column in columns.columns), strict=True))
    return found


def _read_file(path: Path, loaded: Loaded, users: dict[str, list[Preference]]) -> None:
    columns, rows = _rows(path)
    form = _format_of(columns, path)
    loaded.formats[str(path)] = form.name
    for number, row in enumerate(rows, 1):
        loaded.rows += 1
        try:
            if isinstance(row, _BadRow):
                raise row
            preference, user = form.preference(row), _user(row, form, path)
        except _BadRow as bad:
            loaded.bad_rows += 1
            if len(loaded.malformed) < MOST_REPORTED:
                loaded.malformed.append(MalformedRow(str(path), number, str(bad)))
        else:
            users.setdefault(user, []).append(preference)


def _user(row: Row, form: _Format, path: Path) -> str:
    name = form.user or ("user_id" if "user_id" in row else None)
    if name is None:
        return path.stem
    value = row.get(name)
    if value is None or isinstance(value, float) or not str(value).strip():
        raise _BadRow(f"{name} must name a user, got {value!r:.80}")
    return str(value)


def _format_of(columns: set[str], path: Path) -> _Format:
    for form in _FORMATS:
        if form.needs <= columns:
            return form
    known = "; ".join(f"{f.name}: {', '.join(sorted(f.needs))}" for f in _FORMATS)
    raise DataError(f"{path} has the columns {sorted(columns)}; known formats are {known}")


def _files(source: str | Path) -> list[Path]:
    if str(source).startswith("hub:"):
        return _from_hub(str(source).removeprefix("hub:"))
    path = Path(source)
    if path.is_dir():
        found = sorted(
            p for p in path.rglob("*")
            if p.suffix in ENDINGS and p.stem not in ("users", "plan", "manifest")
        )  # fmt: skip
        if not found:
            raise DataError(f"{path} has no files that end in {', '.join(ENDINGS)}")
        return found
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    if path.suffix not in ENDINGS:
        raise DataError(f"{path} must end in one of {', '.join(ENDINGS)}")
    return [path]


def _from_hub(name: str) -> list[Path]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            name, repo_type="dataset", allow_patterns=[f"*{ending}" for ending in ENDINGS]
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise DataError(f"cannot fetch the data set {name!r} from the hub: {error}") from error
    return _files(folder)


def _rows(path: Path) -> tuple[set[str], Iterator[Row | _BadRow]]:
    """The columns of a file, and its rows; a row that cannot be parsed is its own outcome."""
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty")
    try:
        if path.suffix == ".parquet":
            file = pq.ParquetFile(path)
            return set(file.schema_arrow.names), _parquet_rows(file, path)
        if path.suffix == ".csv":
            return _csv_rows(path)
        if path.suffix == ".jsonl":
            return _json_lines(path)
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (pa.ArrowException, OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not isinstance(whole, list):
        raise DataError(f"{path} must be a list of rows, got {type(whole).__name__}")
    items = [row if isinstance(row, dict) else _BadRow(f"not an object: {row!r:.80}")
             for row in whole]  # fmt: skip
    first = next((row for row in items if isinstance(row, dict)), {})
    return set(first), iter(items)


def _parquet_rows(file: pq.ParquetFile, path: Path) -> Iterator[Row]:
    wanted = [n for n in file.schema_arrow.names if not n.startswith(("values_", "slots"))]
    try:
        for batch in file.iter_batches(batch_size=8192, columns=wanted):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _csv_rows(path: Path) -> tuple[set[str], Iterator[Row | _BadRow]]:
    with path.open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file), [])

    def parsed() -> Iterator[Row | _BadRow]:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            next(reader)
            for cells in reader:
                if len(cells) != len(columns):
                    yield _BadRow(f"{len(cells)} cells, the header has {len(columns)}")
                else:
                    yield dict(zip(columns, cells, strict=True))

    return set(columns), parsed()


def _json_lines(path: Path) -> tuple[set[str], Iterator[Row | _BadRow]]:
    def parsed() -> Iterator[Row | _BadRow]:
        with path.open(encoding="utf-8") as file:
            for line in file:
                try:
                    row = json.loads(line)
                except ValueError as error:
                    yield _BadRow(f"not JSON: {error}")
                else:
                    ok = isinstance(row, dict)
                    yield row if ok else _BadRow(f"not an object: {row!r:.80}")

    first = next((row for row in parsed() if isinstance(row, dict)), {})
    return set(first), parsed()
