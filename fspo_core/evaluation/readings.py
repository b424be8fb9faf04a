"""Do the detectors see what a person sees? Sheets for a blind reader, and the agreement.

A sheet has texts of a world (question and answer, nothing else); the reader notes in a line what
each is like. The verdicts are compared with each detector, attribute by attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fspo_core.errors import DataError
from fspo_core.worlds import Question, Split, World
from fspo_core.worlds.base import seeded

# What a reader writes for each attribute value of Roleplay and Reviews; silence is 0.
WORDS: dict[str, dict[str, tuple[str, int]]] = {
    "roleplay": {
        "warm": ("tone", 1), "matter": ("tone", -1), "list": ("format", 1),
        "prose": ("format", -1), "long": ("length", 1), "short": ("length", -1),
        "example": ("support", 1), "reason": ("support", -1), "plain": ("register", 1),
        "elaborate": ("register", -1), "question": ("ending", 1), "summary": ("ending", -1),
        "saving": ("thrift", 1), "quality": ("thrift", -1), "together": ("sociability", 1),
        "alone": ("sociability", -1), "careful": ("caution", 1), "bold": ("caution", -1),
        "outdoors": ("outdoors", 1), "indoors": ("outdoors", -1), "selfmade": ("handson", 1),
        "experts": ("handson", -1), "screens": ("technology", 1), "paper": ("technology", -1),
        "family": ("family", 1), "oneself": ("family", -1), "slow": ("time", 1),
        "quick": ("time", -1),
    },
    "reviews": {
        "praise": ("sentiment", 1), "criticism": ("sentiment", -1),
        "long": ("length", 1), "short": ("length", -1),
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often a reader and a detector read an attribute alike, over ``texts``."""

    world: str
    attribute: str
    detector: str
    agreement: float
    texts: int


def texts(world: World, count: int, seed: int) -> list[tuple[Question, str]]:
    """Half of them from each split; grouped by topic, so that a reader can compare."""
    made = []
    for split, n in _halves(count):
        rng = seeded("readings", world.name, split, seed)
        for question in world.sample_questions(n, split=split, seed=seed + 500):
            answer = world.respond(question, world.sample_values(rng), rng, split=split)
            made.append((question, answer))
    if world.name != "roleplay":
        made.sort(key=lambda pair: pair[0].topics)
    return made


def _halves(count: int) -> tuple[tuple[Split, int], tuple[Split, int]]:
    return ("train", count - count // 2), ("heldout", count // 2)


def sheet(world: World, count: int, seed: int) -> str:
    """The texts as a numbered sheet."""
    parts = [
        f"[{number}] {question.text}\n{answer}\n"
        for number, (question, answer) in enumerate(texts(world, count, seed), 1)
    ]
    return "\n".join(parts)


def compare(world: World, count: int, seed: int, verdicts: Path) -> list[Agreement]:
    """Agreement of each detector with a reader's lines: a number, then words.

    Raises DataError for a line or a word that cannot be read, or a text without a verdict.
    """
    said = _verdicts(world, verdicts)
    made = texts(world, count, seed)
    missing = [n for n in range(1, count + 1) if n not in said]
    if missing:
        raise DataError(f"{verdicts} has no verdict on text {missing[0]} ({len(missing)} in all)")
    rows = []
    for detector in ("a", "b"):
        alike = dict.fromkeys(_attributes(world), 0)
        for number, (question, answer) in enumerate(made, 1):
            read = world.detect(question.text, answer, detector)
            for attribute, value in _named(world, read).items():
                alike[attribute] += said[number].get(attribute, 0) == value
        rows += [
            Agreement(world.name, attribute, detector, n / count, count)
            for attribute, n in alike.items()
        ]
    return rows


def _attributes(world: World) -> Sequence[str]:
    if world.name.startswith("elix"):
        return ("level", "field") if world.name == "elix_hard" else ("level",)
    return world.attributes


def _named(world: World, values: Sequence[int]) -> dict[str, int | str]:
    """Values as a reader would put them: an ELIX level or field by its name."""
    if not world.name.startswith("elix"):
        return dict(zip(world.attributes, values, strict=True))
    told = [name for name, value in zip(world.attributes, values, strict=True) if value]
    found: dict[str, int | str] = {"level": next((t for t in told if t in world.attributes[:5]), 0)}
    if world.name == "elix_hard":
        found["field"] = next((t for t in told if t in world.attributes[5:]), 0)
    return found


def _verdicts(world: World, path: Path) -> dict[int, dict[str, int | str]]:
    found: dict[int, dict[str, int | str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        number, *words = line.split()
        verdict: dict[str, int | str] = {}
        for word in words:
            if world.name.startswith("elix"):
                if word not in world.attributes:
                    raise DataError(f"{path}: {word!r} in {line!r} is no level and no field")
                verdict["level" if word in world.attributes[:5] else "field"] = word
            elif word in WORDS[world.name]:
                attribute, value = WORDS[world.name][word]
                verdict[attribute] = value
            elif word != "none":
                raise DataError(f"{path}: {word!r} in {line!r} is no verdict of {world.name}")
        found[int(number)] = verdict
    return found
