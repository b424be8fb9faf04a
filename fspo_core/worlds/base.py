"""What every synthetic world offers: users with a known reward, questions, responses, splits.

Rewards are linear in the attribute values of an answer, so that one general class carries labels,
selection of pairs, histories and the best answer for all worlds. Everything is a pure function of
its arguments and of the generator or seed passed in.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fspo_core.types import Preference, UserHistory

Split = Literal["train", "heldout"]
Detector = Literal["a", "b"]
Values = tuple[int, ...]  # an answer's latent attribute values, in the world's order
GATE_PENALTY = 100.0  # below any reward that a text which passes can have


@dataclass(frozen=True, slots=True)
class User:
    """A synthetic user: one weight an attribute, in the world's order.

    ``persona`` says who the user is in words that carry no reward (age, region, gender).
    """

    user_id: str
    weights: tuple[float, ...]
    persona: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with what an answer takes up of it, already turned to the second person.

    ``slots`` has the phrases by name (clause, thing, thing2; a title; a concept's name). ``topics``
    are the head nouns of its noun phrases, which an answer must name. ``form`` is how it is asked.
    """

    text: str
    form: str
    category: str
    slots: dict[str, str]
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether a text may win at all, and if not, why."""

    ok: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LatentPair:
    """A labelled pair with the attribute values it was written from (chosen, rejected).

    ``chosen_first`` says whether the chosen response stood first when the user compared them.
    """

    preference: Preference
    chosen: Values
    rejected: Values
    question: Question
    chosen_first: bool


def seeded(*parts: object) -> random.Random:
    """A generator that depends on all ``parts`` and on nothing else, on every platform."""
    return random.Random("/".join(map(str, parts)))


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), for any x."""
    return 1.0 / (1.0 + math.exp(-x)) if x > -700 else 0.0


def weighted_choice(rng: random.Random, cumulative: Sequence[float]) -> int:
    """An index, by cumulative probabilities."""
    draw = rng.random() * cumulative[-1]
    return next(i for i, c in enumerate(cumulative) if draw < c)


class World(ABC):
    """A world whose users' rewards are linear in an answer's attribute values."""

    name: str
    attributes: tuple[str, ...]
    temperature: float  # of the Bradley-Terry labels, in units of reward

    # -- what a world must say ------------------------------------------------------------------

    @abstractmethod
    def all_values(self) -> list[Values]:
        """The attribute values an answer can have; a random answer draws from them uniformly."""

    @abstractmethod
    def prior(self, particles: int, seed: int) -> NDArray[np.float64]:
        """Weights [particles, attributes], users who are equally likely a priori.

        A world with finitely many users returns these, whatever ``particles`` says.
        """

    @abstractmethod
    def sample_user(self, rng: random.Random, *, split: Split) -> User:
        """One user whose combination of likes belongs to ``split``."""

    @abstractmethod
    def population(self) -> dict[Split, list[User]]:
        """The users of the synthetic data sets, of the numbers the paper names (section 5)."""

    @abstractmethod
    def describe_weights(self, weights: Sequence[float]) -> str:
        """What a user with these weights (or this posterior mean) likes, in plain words."""

    @abstractmethod
    def sample_question(self, rng: random.Random, *, split: Split) -> Question:
        """A question on a topic of ``split``, in a wording of ``split``."""

    @abstractmethod
    def respond(
        self, question: Question, values: Values, rng: random.Random, *, split: Split
    ) -> str:
        """An answer in good English with these attribute values, in wordings of ``split``."""

    @abstractmethod
    def detect(self, question_text: str, response_text: str, detector: Detector) -> Values:
        """Attribute values read off any text by one of two independent detectors."""

    @abstractmethod
    def cues(self, question_text: str) -> list[str]:
        """Every cue that the detectors look for in an answer to this question."""

    @abstractmethod
    def gate(self, question_text: str, response_text: str) -> GateResult:
        """Quality of a text, whatever its style and whoever reads it."""

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides this world's difficulty: parameters and content hashes."""

    # -- users and answers ----------------------------------------------------------------------

    @cached_property
    def values(self) -> list[Values]:
        """``all_values``, listed once."""
        return self.all_values()

    @cached_property
    def value_matrix(self) -> NDArray[np.float32]:
        """``values`` as a matrix [answers, attributes]."""
        return np.array(self.values, dtype=np.float32)

    def sample_users(self, n: int, *, split: Split, seed: int) -> list[User]:
        """``n`` users; the same for the same seed."""
        rng = seeded(self.name, "users", split, seed)
        return [self.sample_user(rng, split=split) for _ in range(n)]

    def sample_questions(self, n: int, *, split: Split, seed: int) -> list[Question]:
        """``n`` questions on topics of ``split``; the same for the same seed."""
        rng = seeded(self.name, "questions", split, seed)
        return [self.sample_question(rng, split=split) for _ in range(n)]

    def sample_values(self, rng: random.Random) -> Values:
        """The attribute values of a user-agnostic answer."""
        return self.values[int(rng.random() * len(self.values))]

    def best_values(self, weights: Sequence[float], rng: random.Random) -> Values:
        """The values of highest reward for these weights; ties broken at random."""
        rewards = self.value_matrix @ np.asarray(weights, dtype=np.float32)
        best = np.flatnonzero(rewards >= rewards.max() - 1e-5)
        return self.values[int(best[int(rng.random() * len(best))])]

    def described_weights(self, weights: Sequence[float]) -> Sequence[float]:
        """The weights as ``describe_weights`` tells them."""
        return weights

    def describe(self, user: User) -> str:
        """The user in plain words: what they like, and nothing else."""
        return self.describe_weights(user.weights)

    # -- labels ---------------------------------------------------------------------------------

    def latent_reward(self, weights: Sequence[float], values: Values) -> float:
        """Reward of attribute values: the weighted sum."""
        return float(sum(w * v for w, v in zip(weights, values, strict=True) if v))

    def label_probability(self, user: User, first: Values, second: Values) -> float:
        """P(first is chosen) in one look: Bradley-Terry (1952) at the world's temperature."""
        gap = self.latent_reward(user.weights, first) - self.latent_reward(user.weights, second)
        return sigmoid(gap / self.temperature)

    def prefers_first(
        self, user: User, first: Values, second: Values, rng: random.Random
    ) -> bool | None:
        """The user's label, judged in both orders; None where the orders disagree.

        Such pairs are dropped (FSPO, arXiv 2502.19312, section 5): a kept label is a
        Bradley-Terry label at half of the temperature, and how likely a pair is kept depends on
        the user. ``fspo_core.worlds.optimum`` counts both.
        """
        p = self.label_probability(user, first, second)
        label = rng.random() < p
        return label if (rng.random() < p) == label else None

    def sample_latent_pair(
        self,
        user: User,
        rng: random.Random,
        *,
        changes: int | None = None,
        best: bool = False,
    ) -> tuple[Values, Values, bool]:
        """Values of two answers, chosen first, and whether the chosen one stood first."""
        while True:
            first = self.best_values(user.weights, rng) if best else self.sample_values(rng)
            second = self.vary(first, changes, rng) if changes else self.sample_values(rng)
            if rng.random() < 0.5:
                first, second = second, first
            label = self.prefers_first(user, first, second, rng)
            if label is not None:
                return (first, second, True) if label else (second, first, False)

    def vary(self, values: Values, changes: int, rng: random.Random) -> Values:
        """Other values at Hamming distance of at most ``2 * changes``, more than 0."""
        gaps = (self.value_matrix != np.asarray(values, dtype=np.float32)).sum(axis=1)
        near = np.flatnonzero((gaps > 0) & (gaps <= 2 * changes))
        return self.values[int(near[int(rng.random() * len(near))])]

    def sample_pairs(
        self,
        user: User,
        n: int,
        rng: random.Random,
        *,
        split: Split,
        changes: int | None = None,
        wording: Split | None = None,
        best: bool = False,
        alike: bool = False,
    ) -> list[LatentPair]:
        """``n`` pairs of answers to one question each, labelled by the user.

        Two random answers, or, with ``changes``, answers that differ little, or, with ``best``, the
        user's best answer and a random one. ``wording`` is the split of the answers' sentences,
        ``split`` unless given. ``alike``: both answers are worded by the same random draws, so that
        they differ where their attributes do.
        """
        pairs = []
        for _ in range(n):
            question = self.sample_question(rng, split=split)
            chosen, rejected, first = self.sample_latent_pair(user, rng, changes=changes, best=best)
            draws = (rng, rng)
            if alike:
                seed = rng.random()
                draws = (random.Random(seed), random.Random(seed))
            good, bad = (
                self.respond(question, values, draw, split=wording or split)
                for values, draw in zip((chosen, rejected), draws, strict=True)
            )
            pairs.append(
                LatentPair(Preference(question.text, good, bad), chosen, rejected, question, first)
            )
        return pairs

    def history(
        self, user: User, n: int, *, split: Split, seed: int, wording: Split | None = None
    ) -> UserHistory:
        """A user's first ``n`` labelled pairs; the same for the same seed."""
        rng = seeded(self.name, "history", seed, user.user_id)
        pairs = self.sample_pairs(user, n, rng, split=split, wording=wording)
        return UserHistory(user.user_id, tuple(pair.preference for pair in pairs))

    # -- reward of any text ---------------------------------------------------------------------

    def detected_reward(self, weights: Sequence[float], values: Values) -> float:
        """Reward of values read off a text, which may be none that an answer of the world has."""
        return self.latent_reward(weights, values)

    def reward(
        self, user: User, question_text: str, response_text: str, detector: Detector | None = None
    ) -> float:
        """Reward of any text, by one detector or, by default, the mean over both."""
        readers: tuple[Detector, ...] = (detector,) if detector else ("a", "b")
        read = [self.detect(question_text, response_text, r) for r in readers]
        reward = sum(self.detected_reward(user.weights, values) for values in read) / len(read)
        return reward if self.gate(question_text, response_text).ok else reward - GATE_PENALTY
