"""Judgments from files of this project, of anybody, of AlpacaEval."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from fspo_core.errors import DataError
from fspo_core.evaluation.judgment_files import preferences, read
from tests.core.judgments import study


def test_a_table_of_judgments_is_read_from_each_format(tmp_path: Path) -> None:
    judgments = study(4, 3)
    rows = [{k: v for k, v in asdict(j).items() if v is not None} for j in judgments]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    names = list(rows[0])
    lines = [",".join(names), *(",".join(str(r[n]) for n in names) for r in rows)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for suffix in ("jsonl", "json", "csv", "parquet"):
        assert read(tmp_path / f"a.{suffix}") == judgments, suffix


def test_an_alpaca_eval_file_is_read_as_the_second_generator_against_the_first(
    tmp_path: Path,
) -> None:
    rows = [
        {"instruction": "a", "generator_1": "base", "generator_2": "new", "preference": p,
         "output_1": "one two", "output_2": "one two three"}
        for p in (2.0, 1.0, 1.5, None, 0)
    ]  # fmt: skip
    (tmp_path / "annotations.json").write_text(json.dumps(rows))
    made = read(tmp_path / "annotations.json")
    assert [j.outcome for j in made] == ["win", "loss", "tie", "tie"]
    assert preferences(tmp_path / "annotations.json") == [2.0, 1.0, 1.5, 1.5]
    assert (made[0].arm, made[0].against, made[0].participant) == ("new", "base", "a")
    assert (made[0].arm_words, made[0].against_words) == (3, 2)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "x", "are read from"),
        ("a.csv", "", "has no rows"),
        ("a.csv", "participant,arm\nann,fspo\n", "against is missing"),
        ("a.jsonl", '{"participant": "a"', "cannot be read"),
        ("a.json", '{"a": 1}', "not a list"),
        ("a.csv", "participant,arm,against,outcome\nann,x,y,maybe\n", "row 1: .*'maybe'"),
        ("a.csv", "participant,arm,against,outcome,strength\nann,x,y,win,2.5\n", r"row 1: .*2\.5"),
        ("a.json", '[{"generator_1": "a", "generator_2": "b", "preference": 3}]', "preference 3"),
        ("a.json", '[{"generator_1": "a", "generator_2": "", "preference": 2}]', "no generator_2"),
        ("a.csv", "participant,arm,against,outcome,strength\nann,x,y,win,inf\n", "row 1"),
        ("a.csv", "participant,arm,against,outcome,judged_at\nann,x,y,win,nan\n", "row 1: .*nan"),
        (
            "a.jsonl",
            '{"participant": "a", "arm": "x", "against": "y", "outcome": "win", "shots": [1]}',
            "row 1",
        ),
        ("a.parquet", "PAR1", "cannot be read"),
    ],
)
def test_files_that_are_no_judgments_name_file_and_row(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as refused:
        read(tmp_path / name)
    assert name in str(refused.value)
    with pytest.raises(DataError, match="there is no file"):
        read(tmp_path / "nowhere.csv")
