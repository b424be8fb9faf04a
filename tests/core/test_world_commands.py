"""The commands about worlds and data, as somebody types them; sheets for blind readers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fspo_core.cli import app
from fspo_core.errors import DataError, FspoError
from fspo_core.evaluation import readings
from fspo_core.worlds import WORLDS, get_world


def fspo(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, list(arguments))


def test_a_data_set_is_written_and_audited_by_two_commands(tmp_path: Path) -> None:
    out = str(tmp_path / "set")
    made = fspo("synthesize", "--out", out, "--world", "elix_easy", "--scale", "0.002")
    assert made.exit_code == 0, made.output
    assert "522 preferences" in made.output
    audited = fspo("audit", out, "--out", str(tmp_path / "audit"), "--processes", "1")
    assert audited.exit_code == 0, audited.output
    figures = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert figures["preferences"] == 522
    assert "commit" in json.dumps(figures["provenance"]).lower()
    assert (tmp_path / "audit" / "audit.png").stat().st_size > 10_000


def test_the_ceiling_is_printed_with_its_error_and_the_worlds_hash(tmp_path: Path) -> None:
    plot, figures = tmp_path / "c.png", tmp_path / "c.json"
    printed = fspo(
        "ceiling", "--world", "elix_hard", "--shots", "0 2", "--episodes", "20",
        "--plot", str(plot), "--json", str(figures),
    )  # fmt: skip
    assert printed.exit_code == 0, printed.output
    assert "frozen" in printed.output
    rows = json.loads(figures.read_text())["rows"]
    assert [(r["users"], r["shots"]) for r in rows] == [
        ("train", 0), ("train", 2), ("heldout", 0), ("heldout", 2),
    ]  # fmt: skip
    assert all(r["ceiling_error"] > 0 for r in rows)
    assert plot.stat().st_size > 10_000


@pytest.mark.parametrize(
    "arguments",
    [
        ("ceiling", "--shots", "many"), ("ceiling", "--shots", "-1"),
        ("ceiling", "--world", "mars"),
        ("ceiling", "--episodes", "1"), ("synthesize", "--out", "x", "--world", "mars"),
        ("synthesize", "--out", "x", "--scale", "2"), ("audit", "nowhere"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_are_refused_in_words(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = fspo(*arguments)
    assert isinstance(refused.exception, FspoError)
    assert not (tmp_path / "x").exists()


def test_samples_show_every_world(tmp_path: Path) -> None:
    assert fspo("samples", "--count", "2", "--out", str(tmp_path / "s.md")).exit_code == 0
    text = (tmp_path / "s.md").read_text()
    assert all(f"**{name} 2.**" in text for name in WORLDS)


def test_a_sheet_tells_nothing_of_the_attributes_and_verdicts_are_compared(tmp_path: Path) -> None:
    world = get_world("reviews")
    sheet, verdicts = tmp_path / "sheet.txt", tmp_path / "verdicts.txt"
    assert fspo("readings", "reviews", "--count", "10", "--out", str(sheet)).exit_code == 0
    assert sheet.read_text().count("\n[") + 1 == 10
    lines = []
    for number, (question, text) in enumerate(readings.texts(world, 10, 1), 1):
        mood, length = world.detect(question.text, text, "a")
        words = ("praise" if mood > 0 else "criticism", "long" if length > 0 else "short")
        lines.append(f"{number} {' '.join(words)}")
    verdicts.write_text("\n".join(lines))
    rows = readings.compare(world, 10, 1, verdicts)
    assert {(r.attribute, r.detector) for r in rows} == {
        (attribute, d) for attribute in world.attributes for d in "ab"
    }
    assert all(r.agreement == 1 for r in rows)
    # One verdict turned round: one text in ten.
    turned = {"praise": "criticism", "criticism": "praise"}
    number, mood_word, length_word = lines[0].split()
    verdicts.write_text("\n".join([f"{number} {turned[mood_word]} {length_word}", *lines[1:]]))
    changed = {
        (r.attribute, r.detector): r.agreement for r in readings.compare(world, 10, 1, verdicts)
    }
    assert changed["sentiment", "a"] == 0.9
    assert changed["length", "a"] == 1
    verdicts.write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match="no verdict on text 10"):
        readings.compare(world, 10, 1, verdicts)
    verdicts.write_text("1 praise lengthy")
    with pytest.raises(DataError, match="'lengthy'"):
        readings.compare(world, 10, 1, verdicts)


def test_every_attribute_of_roleplay_has_words_for_its_reader() -> None:
    told = set(readings.WORDS["roleplay"].values())
    assert told == {(a, v) for a in get_world("roleplay").attributes for v in (1, -1)}
