"""Preference data from files: good ones, truncated ones, wrong columns, empty ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fspo_core.errors import DataError
from fspo_core.synthesis.generate import SynthesisConfig, synthesize
from fspo_core.synthesis.loaders import episodes, load
from fspo_core.types import Preference, UserHistory

STEERED = {
    "prompt": "Q", "response_x": "left", "response_y": "right", "label": 1,
    "scorer_level": "positive", "level_x": "positive", "level_y": "negative",
}  # fmt: skip
ROLEPLAY = {"x": "Q", "yw": "good", "yl": "bad", "level": "7", "score_persona": "a nurse"}
TRL = {"prompt": "Q", "chosen": "good", "rejected": "bad"}
TALK = {
    "chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "good"}],
    "rejected": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "bad"}],
}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl", ".json"])
@pytest.mark.parametrize(
    ("row", "name", "user", "pair"),
    [
        (STEERED, "steered", "positive", Preference("Q", "right", "left")),
        (ROLEPLAY, "roleplay", "7", Preference("Q", "good", "bad")),
        (TRL, "trl", "data", Preference("Q", "good", "bad")),
    ],
)
def test_each_format_is_known_by_its_columns(
    tmp_path: Path, ending: str, row: dict[str, Any], name: str, user: str, pair: Preference
) -> None:
    path = write(tmp_path / f"data{ending}", [row, row])
    loaded = load(path)
    assert loaded.histories == [UserHistory(user, (pair, pair))]
    assert loaded.formats == {str(path): name}
    assert (loaded.rows, loaded.bad_rows) == (2, 0)


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".json"])
def test_conversations_are_read_with_and_without_a_prompt_of_their_own(
    tmp_path: Path, ending: str
) -> None:
    loaded = load(write(tmp_path / f"talk{ending}", [TALK]))
    assert loaded.histories[0].preferences == (Preference("Q", "good", "bad"),)
    split = {
        "prompt": [{"role": "user", "content": "Q"}],
        "chosen": [{"role": "assistant", "content": "good"}],
        "rejected": [{"role": "assistant", "content": "bad"}],
        "user_id": "anna",
    }
    loaded = load(write(tmp_path / f"split{ending}", [split]))
    assert loaded.histories == [UserHistory("anna", (Preference("Q", "good", "bad"),))]


def test_our_own_data_set_is_read_whole(tmp_path: Path) -> None:
    made = synthesize(SynthesisConfig(tmp_path / "set", ("elix_hard",), 1, 0.002, 1))
    loaded = load(tmp_path / "set")
    assert loaded.rows == made["preferences"]
    assert loaded.bad_rows == 0
    assert set(loaded.formats.values()) == {"fspo"}
    assert {h.user_id.split("-")[0] for h in loaded.histories} == {"elix_hard"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"label": 2}, "label must be 0"),
        ({"label": None}, "label must be 0"),
        ({"response_x": ""}, "response_x must be text, got ''"),
        ({"prompt": None}, "prompt must be text, got None"),
        ({"scorer_level": ""}, "scorer_level must name a user"),
    ],
)
def test_a_malformed_row_is_reported_by_file_and_row_and_the_rest_is_kept(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    rows = [STEERED] * 30 + [{**STEERED, **change}] + [STEERED] * 9
    path = write(tmp_path / "data.jsonl", rows)
    loaded = load(path, most_malformed=0.05)
    assert len(loaded.histories[0].preferences) == 39
    assert loaded.bad_rows == 1
    assert str(loaded.malformed[0]).startswith(f"{path}, row 31: {reason}")


def test_more_than_a_set_share_of_malformed_rows_stops_the_load(tmp_path: Path) -> None:
    path = write(tmp_path / "data.csv", [STEERED] * 9 + [{**STEERED, "label": "yes"}])
    with pytest.raises(DataError, match=r"1 of 10 rows .* row 10: label must be 0 .* got 'yes'"):
        load(path)
    assert load(path, most_malformed=0.1).bad_rows == 1


def test_lines_and_cells_that_cannot_be_parsed_are_malformed_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", [TRL] * 3)
    path.write_text(path.read_text() + '{"prompt": "Q", "chos\n[1]\n')
    loaded = load(path, most_malformed=0.5)
    assert [m.row for m in loaded.malformed] == [4, 5]
    path = write(tmp_path / "data.csv", [TRL] * 3)
    path.write_text(path.read_text() + "only,two\n")
    assert [m.row for m in load(path, most_malformed=0.5).malformed] == [4]


def test_truncated_empty_missing_and_unknown_files_are_refused_by_name(tmp_path: Path) -> None:
    whole = write(tmp_path / "data.parquet", [STEERED] * 500).read_bytes()
    for name, content, message in (
        ("cut.parquet", whole[: len(whole) // 2], "cannot be read"),
        ("cut.json", json.dumps([TRL] * 5).encode()[:-20], "cannot be read"),
        ("empty.parquet", b"", "is empty"),
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"prompt,chosen,rejected\n", "has no rows"),
        ("object.json", b"{}", "must be a list"),
        ("other.txt", b"x", "must end in"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=message) as refused:
            load(path)
        assert name in str(refused.value)
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "nowhere.csv")
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="has no files"):
        load(tmp_path / "void")


def test_wrong_columns_are_refused_with_those_found_and_those_known(tmp_path: Path) -> None:
    path = write(tmp_path / "data.csv", [{"question": "Q", "answer": "A"}])
    with pytest.raises(DataError, match=r"\['answer', 'question'\].*steered: "):
        load(path)


def test_the_hub_is_asked_by_name_and_refused_where_it_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    write(tmp_path / "train.parquet", [ROLEPLAY])
    asked: list[str] = []

    def snapshot(name: str, **options: Any) -> str:
        asked.append(name)
        assert options["repo_type"] == "dataset"
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert len(load("hub:sher222/persona-iterative-responses").histories) == 1
    assert asked == ["sher222/persona-iterative-responses"]

    def fails(name: str, **options: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(DataError, match=r"'a/b' from the hub: no network"):
        load("hub:a/b")


def test_episodes_are_one_pass_without_overlap() -> None:
    pairs = tuple(Preference(str(i), "a", "b") for i in range(7))
    found = list(episodes([UserHistory("u", pairs)], shots=2))
    # windows of two labels and one held-out pair: 0 1 | 2, 3 4 | 5; the seventh is left out
    assert [e.heldout.question for e in found] == ["2", "5"]
    assert [p.question for e in found for p in e.history.preferences] == ["0", "1", "3", "4"]
    assert [e.heldout.question for e in episodes([UserHistory("u", pairs)], shots=0)] == list(
        "0123456"
    )
    with pytest.raises(DataError, match="got -1"):
        list(episodes([], shots=-1))
