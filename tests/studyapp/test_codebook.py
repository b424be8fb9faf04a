"""The codebook in docs/researchers.md names every column of the exports, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from studyapp.exports import Level, columns

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "researchers.md"


@pytest.mark.parametrize("level", ["summary", "judgments", "labels"])
def test_the_codebook_has_every_column_of_the_export(level: Level) -> None:
    section = GUIDE.read_text("utf-8").split(f"### Codebook: {level}\n")[1].split("\n#")[0]
    lines = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = [name for line in lines for name in re.findall(r"`(\w+)`", line)]
    assert sorted(documented) == sorted(columns(level))
