"""What every synthetic world offers: users with a known reward, questions, responses, splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from fspo_core.types import Preference, UserHistory

Split = Literal["train", "heldout"]
Values = tuple[int, ...]  # one of -1, 0, +1 an attribute, in the world's order


@dataclass(frozen=True, slots=True)
class User:
    """A synthetic user: one weight an attribute, in the world's order."""

    user_id: str
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A question; ``echo`` is the part an answer takes up, already turned to the second person.

    ``topics`` are the head nouns of its noun phrases: what an answer must name.
    """

    text: str
    kind: Literal["clause", "np", "question"]
    echo: str
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether a text may win at all, and if not, why."""

    ok: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LatentPair:
    """A labelled pair with the attribute values it was written from (chosen, rejected)."""

    preference: Preference
    chosen: Values
    rejected: Values


class World(Protocol):
    """The interface of a world. Everything is a pure function of its arguments and the seed."""

    name: str
    attributes: tuple[str, ...]

    def sample_users(self, n: int, *, split: Split, seed: int) -> list[User]: ...
    def sample_questions(self, n: int, *, split: Split, seed: int) -> list[Question]: ...
    def sample_values(self, rng: np.random.Generator) -> Values: ...
    def best_values(self, weights: Sequence[float], rng: np.random.Generator) -> Values: ...
    def respond(
        self, question: Question, values: Values, rng: np.random.Generator, *, split: Split
    ) -> str: ...
    def label_probability(self, user: User, first: Values, second: Values) -> float: ...
    def sample_pairs(
        self, user: User, n: int, rng: np.random.Generator, *, split: Split
    ) -> list[LatentPair]: ...
    def history(
        self, user: User, n: int, *, split: Split, seed: int, wording: Split | None = None
    ) -> UserHistory: ...
    def describe(self, user: User) -> str: ...
    def detect(self, question_text: str, response_text: str) -> Values: ...
    def gate(self, question_text: str, response_text: str) -> GateResult: ...
    def reward(self, user: User, question_text: str, response_text: str) -> float: ...
