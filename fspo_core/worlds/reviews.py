"""The Reviews world: reviews of real films, series, anime and books.

Users like praise or complaint, few words or many; four of them are trained on, and their four
combinations are never seen in training (FSPO, arXiv 2502.19312, section 5: Reviews).
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fspo_core.worlds import language
from fspo_core.worlds.base import Detector, GateResult, Question, Split, User, Values, World
from fspo_core.worlds.detectors import CueDetector, cue_counter, sign
from fspo_core.worlds.wording import content_hash, listed, load_toml, pick

ATTRIBUTES = ("sentiment", "length")
STRENGTH = 2.0
LABEL_TEMPERATURE = 1.0
TRAINED = {
    "positive": (1, 0), "negative": (-1, 0), "verbose": (0, 1), "concise": (0, -1),
}  # fmt: skip
INTERPOLATED = {
    "positive-verbose": (1, 1), "positive-concise": (1, -1),
    "negative-verbose": (-1, 1), "negative-concise": (-1, -1),
}  # fmt: skip
KINDS = ("film", "series", "anime", "book")
MOODS = {1: "positive", -1: "negative"}
LONG_WORDS, LONG_SENTENCES = 48, 3


@cache
def titles() -> dict[str, dict[str, Any]]:
    """Every title with its kind, genre, sentences and split, by its name."""
    found: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        for entry in load_toml(f"reviews/{kind}.toml")["title"]:
            name = entry["title"]
            heldout = zlib.crc32(name.encode()) % 5 == 0
            # A name may be both a book and a film: the first one keeps it.
            found.setdefault(name, {**entry, "kind": kind, "heldout": heldout})
    return found


@cache
def _titles(split: Split) -> tuple[str, ...]:
    return tuple(n for n, entry in titles().items() if entry["heldout"] == (split == "heldout"))


def _frames(path: str, split: Split) -> Sequence[str]:
    return listed("reviews/frames.toml", path, split)


@cache
def _detector(detector: Detector) -> CueDetector:
    return CueDetector(load_toml("reviews/lexicon.toml"), detector)


@cache
def title_of(question_text: str) -> str | None:
    """The longest title that a question names, in any case; None where it names none."""
    asked = question_text.lower()
    named = [n for n in titles() if re.search(rf"(?<!\w){re.escape(n.lower())}(?!\w)", asked)]
    return max(named, key=len, default=None)


class Reviews(World):
    """The world; stateless. See ``fspo_core.worlds.base.World`` for the interface."""

    name = "reviews"
    attributes = ATTRIBUTES
    temperature = LABEL_TEMPERATURE

    def all_values(self) -> list[Values]:
        """Praise or complaint; few words or many."""
        return [(mood, length) for mood in (1, -1) for length in (1, -1)]

    def prior(self, particles: int, seed: int) -> NDArray[np.float64]:  # noqa: ARG002 - finite
        """All eight users."""
        users = [*TRAINED.values(), *INTERPOLATED.values()]
        return STRENGTH * np.array(users, dtype=np.float64)

    def population(self) -> dict[Split, list[User]]:
        """Four users to train on, four that combine their likes."""
        made: dict[Split, list[User]] = {"train": [], "heldout": []}
        groups: tuple[tuple[Split, dict[str, tuple[int, int]]], ...] = (
            ("train", TRAINED), ("heldout", INTERPOLATED),
        )  # fmt: skip
        for split, users in groups:
            for name, likes in users.items():
                weights = tuple(STRENGTH * like for like in likes)
                made[split].append(User(f"reviews-{name}", weights))
        return made

    def sample_user(self, rng: random.Random, *, split: Split) -> User:
        """One of the four users of ``split``."""
        return pick(rng, self.population()[split])

    def describe_weights(self, weights: Sequence[float]) -> str:
        """See ``World.describe_weights``."""
        likes = [
            text
            for weight, plus, minus in zip(
                weights, ("praise", "long reviews"), ("criticism", "short reviews"), strict=True
            )
            if (text := plus if weight > 0.5 else minus if weight < -0.5 else "")
        ]
        return f"Likes {' and '.join(likes)}." if likes else "Likes any review."

    def sample_question(self, rng: random.Random, *, split: Split) -> Question:
        """Somebody asks for a review of a title of ``split``."""
        title = pick(rng, _titles(split))
        entry = titles()[title]
        slots = {"title": title, "kind": entry["kind"], "genre": entry["genre"]}
        text = _fill(pick(rng, _frames("questions", split)), slots)
        return Question(text, "review", entry["kind"], slots, (title,))

    def respond(
        self, question: Question, values: Values, rng: random.Random, *, split: Split
    ) -> str:
        """A verdict with its ground; a long review first says what the work is about."""
        entry, slots = titles()[question.slots["title"]], question.slots
        mood = MOODS[values[0]]
        grounds = rng.sample(entry["praise" if values[0] > 0 else "complaint"], 2)
        opening = _fill(pick(rng, _frames(f"opening.{mood}", split)), slots)
        # One sentence: a frame by itself would come back in every other review.
        verdict = f"{opening[:-1]}: {_fill(grounds[0], slots)}"
        if values[1] < 0:
            return verdict
        return " ".join([*entry["about"][:2], verdict, _fill(grounds[1], slots)])

    def detect(self, question_text: str, response_text: str, detector: Detector) -> Values:
        """Praise or complaint by cue words outside the title, length by words or sentences."""
        title = title_of(question_text) or ""
        text = re.sub(rf"(?<!\w){re.escape(title)}(?!\w)", "_", response_text, flags=re.IGNORECASE)
        counts = _detector(detector).count(text)
        mood = sign(counts, "positive", "negative")
        if detector == "a":
            return (mood, 1 if len(text.split()) >= LONG_WORDS else -1)
        return (mood, 1 if len(language.sentences_of(text)) >= LONG_SENTENCES else -1)

    def cues(self, question_text: str) -> list[str]:  # noqa: ARG002 - the same for all
        """See ``World.cues``."""
        return [cue for d in ("a", "b") for cue in _detector(d).cues]

    def gate(self, question_text: str, response_text: str) -> GateResult:
        """The general gate; the topic is the title, which stands in the review."""
        counter = cue_counter(_detector("a"), _detector("b"))
        title = title_of(question_text)
        return language.check(question_text, response_text, topic=title, count_cues=counter)

    def fingerprint(self) -> dict[str, Any]:
        """See ``World.fingerprint``."""
        return {
            "users": {**TRAINED, **INTERPOLATED}, "strength": STRENGTH,
            "temperature": LABEL_TEMPERATURE, "content": content_hash("reviews"),
        }  # fmt: skip


def _fill(sentence: str, slots: dict[str, str]) -> str:
    for name, text in slots.items():
        sentence = sentence.replace(f"{{{name}}}", text)
    return sentence
