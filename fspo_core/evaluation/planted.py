"""Texts spoiled on purpose: what the quality gate must refuse.

Each kind of damage is done to an answer of the world's own, which the gate must let pass:
repetition, another question's answer, an end cut off, words scrambled, headings of the prompt's
format, and keywords strewn about to please a detector.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from fspo_core.worlds import Split, World
from fspo_core.worlds.base import Question, seeded
from fspo_core.worlds.language import sentences_of

Spoil = Callable[[str, str, random.Random], str]  # a text, another question's, chance


@dataclass(frozen=True, slots=True)
class GateError:
    """Share of texts of a kind on which the gate errs, of ``texts``."""

    world: str
    kind: str
    error: float
    texts: int


def _repeated(text: str, _: str, rng: random.Random) -> str:
    sentences = sentences_of(text)
    again = sentences[int(rng.random() * len(sentences))]
    return f"{text} {again} {again}"


def _elsewhere(_: str, other: str, __: random.Random) -> str:
    return other


def _cut_off(text: str, _: str, rng: random.Random) -> str:
    words = text.split(" ")
    kept = " ".join(words[: rng.randrange(len(words) // 2, len(words) - 1)])
    return kept.rstrip(".!?:")


def _scrambled(text: str, _: str, rng: random.Random) -> str:
    words = text.split()
    rng.shuffle(words)
    return " ".join(words)


def _headed(text: str, other: str, rng: random.Random) -> str:
    heading = rng.choice(
        ("## Preferred Response \n", "# Example 2\n", "## Question \n", "<|user|>")
    )
    return heading + text if rng.random() < 0.5 else f"{text}\n{heading}{other}"


SPOILERS: dict[str, Spoil] = {
    "repeated": _repeated, "another topic": _elsewhere, "cut off": _cut_off,
    "scrambled": _scrambled, "headings": _headed,
}  # fmt: skip


def gate_errors(world: World, *, texts: int, seed: int, split: Split) -> list[GateError]:
    """How often the gate refuses a good text, and lets pass each kind of spoiled one."""
    rng = seeded("planted", world.name, split, seed)
    made: list[tuple[Question, str]] = []
    for question in world.sample_questions(texts + 1, split=split, seed=seed):
        made.append((question, world.respond(question, world.sample_values(rng), rng, split=split)))
    refused = sum(not world.gate(q.text, text).ok for q, text in made[:texts])
    rows = [GateError(world.name, "good", refused / texts, texts)]
    for kind, spoil in SPOILERS.items():
        passed = tried = 0
        for i, (question, text) in enumerate(made[:texts]):
            other_question, other = made[i + 1]
            if set(other_question.topics) & set(question.topics):
                continue
            tried += 1
            passed += world.gate(question.text, spoil(text, other, rng)).ok
        rows.append(GateError(world.name, kind, passed / tried, tried))
    passed = sum(
        world.gate(q.text, _stuffed(text, world.cues(q.text), rng)).ok for q, text in made[:texts]
    )
    rows.append(GateError(world.name, "stuffed", passed / texts, texts))
    return rows


def _stuffed(text: str, cues: list[str], rng: random.Random) -> str:
    """The text with a sentence of cues, to please every detector."""
    words = rng.choice((", ", " ", " and ")).join(rng.sample(cues, min(16, len(cues))))
    return f"{text} {words[0].upper()}{words[1:]}."
