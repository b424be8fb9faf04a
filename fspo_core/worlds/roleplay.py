"""The Roleplay world: everyday questions, users who differ in style and in viewpoint.

An answer has a tone, a format, an example or a reason, an ending (style), and takes a stand on two
of four matters: money, company, start, means (viewpoint). A user's reward is linear in these; the
population leans (``LEAN``), so that a good answer for everybody exists. Labels follow Bradley-Terry
on the reward difference (Bradley and Terry, 1952; FSPO, arXiv 2502.19312, section 3).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from fspo_core.types import Preference, UserHistory
from fspo_core.worlds import language
from fspo_core.worlds.base import GateResult, LatentPair, Question, Split, User, Values
from fspo_core.worlds.topics import load_toml, pick, sample_question, to_second_person, wordings

STYLE = ("tone", "format", "support", "ending")
VIEWPOINT = ("money", "company", "start", "means")
ATTRIBUTES = STYLE + VIEWPOINT
# Probability that a user who cares about the attribute likes its plus pole.
LEAN = {
    "tone": 0.65, "format": 0.60, "support": 0.60, "ending": 0.40,
    "money": 0.65, "company": 0.50, "start": 0.60, "means": 0.50,
}  # fmt: skip
MAGNITUDES = (0.0, 1.0, 2.0)
MAGNITUDE_PROBABILITIES = (0.15, 0.35, 0.50)
VIEWPOINTS_PER_ANSWER = 2
LABEL_TEMPERATURE = 1.0  # P(first chosen) = sigmoid((r1 - r2) / temperature)
GATE_PENALTY = 100.0  # below any reward a text that passes can have
TAIL_PROBABILITY = 0.3


@dataclass(frozen=True, slots=True)
class _Pole:
    """One side of an attribute: its name in descriptions, its cues, its wordings by slot."""

    likes: str
    cues: re.Pattern[str] | None
    lists: dict[str, tuple[str, ...]]


@cache
def _poles() -> dict[tuple[str, int], _Pole]:
    poles = {}
    for attribute, entry in load_toml("advice.toml").items():
        for side, sign in (("plus", 1), ("minus", -1)):
            pole = entry[side]
            cues = [c for c in pole["cues"] if c not in ("1. ", "?$")]
            pattern = "|".join(re.escape(c.strip()) for c in sorted(cues, key=len, reverse=True))
            lists = {k: tuple(v) for k, v in pole.items() if isinstance(v, list) and k != "cues"}
            poles[attribute, sign] = _Pole(
                pole["likes"], re.compile(rf"\b(?:{pattern})s?(?!\w)") if cues else None, lists
            )
    return poles


def _sigmoid(x: float) -> float:
    return float(1.0 / (1.0 + np.exp(-x)))


def _level(weight: float) -> tuple[int, int]:
    """How strongly a description tells a weight (0 unsaid, 1, 2 "really"), and its sign."""
    return int(abs(weight) >= 0.5) + int(abs(weight) >= 1.25), 1 if weight > 0 else -1


class Roleplay:
    """The world; stateless. See ``fspo_core.worlds.base.World`` for the interface."""

    name: str = "roleplay"
    attributes: tuple[str, ...] = ATTRIBUTES

    # -- users ---------------------------------------------------------------------------------

    def sample_weights(self, rng: np.random.Generator) -> tuple[float, ...]:
        """One user's weights from the population's prior, shape (8,)."""
        signs = np.where(rng.random(len(ATTRIBUTES)) < [LEAN[a] for a in ATTRIBUTES], 1.0, -1.0)
        magnitudes = rng.choice(MAGNITUDES, size=len(ATTRIBUTES), p=MAGNITUDE_PROBABILITIES)
        return tuple(float(w) for w in signs * magnitudes)

    def combination_is_heldout(self, weights: Sequence[float]) -> bool:
        """Whether this combination of likes and dislikes is never seen in training (a quarter)."""
        signs = bytes(int(np.sign(w)) + 1 for w in weights)
        return zlib.crc32(signs) % 4 == 0

    def sample_user(self, rng: np.random.Generator, *, split: Split) -> User:
        """One user whose combination of likes belongs to ``split``."""
        weights = self.sample_weights(rng)
        while self.combination_is_heldout(weights) != (split == "heldout"):
            weights = self.sample_weights(rng)
        code = zlib.crc32(np.asarray([*weights, rng.random()]).tobytes())
        return User(f"roleplay-{split}-{code:08x}", weights)

    def sample_users(self, n: int, *, split: Split, seed: int) -> list[User]:
        """``n`` users; the same for the same seed."""
        rng = np.random.default_rng([seed, 1, split == "heldout"])
        return [self.sample_user(rng, split=split) for _ in range(n)]

    def describe(self, user: User) -> str:
        """The user in plain words."""
        return self.describe_weights(user.weights)

    def describe_weights(self, weights: Sequence[float]) -> str:
        """Likes in a fixed order, "really" where strong; weights may be a posterior mean."""
        likes = [
            ("really " if level > 1 else "") + _poles()[attribute, sign].likes
            for attribute, (level, sign) in zip(ATTRIBUTES, map(_level, weights), strict=True)
            if level
        ]
        return f"Likes {', '.join(likes)}." if likes else "Likes anything."

    def described_weights(self, weights: Sequence[float]) -> tuple[float, ...]:
        """The weights as a description tells them: 0, 1 or 2 with their sign."""
        return tuple(float(level * sign) for level, sign in map(_level, weights))

    # -- questions and responses ---------------------------------------------------------------

    def sample_questions(self, n: int, *, split: Split, seed: int) -> list[Question]:
        """``n`` questions on topics of ``split``; the same for the same seed."""
        rng = np.random.default_rng([seed, 2, split == "heldout"])
        return [sample_question(rng, split=split) for _ in range(n)]

    def sample_values(self, rng: np.random.Generator) -> Values:
        """Attribute values of a random answer: every style pole, two viewpoints."""
        values = np.where(rng.random(len(ATTRIBUTES)) < 0.5, 1, -1)
        silent = rng.permutation(len(VIEWPOINT))[VIEWPOINTS_PER_ANSWER:] + len(STYLE)
        values[silent] = 0
        return tuple(int(v) for v in values)

    def best_values(self, weights: Sequence[float], rng: np.random.Generator) -> Values:
        """The values of highest reward for these weights; ties broken at random."""
        w = np.asarray(weights)
        values = np.where(w == 0, np.where(rng.random(w.size) < 0.5, 1, -1), np.sign(w)).astype(int)
        strength = np.abs(w[len(STYLE) :]) + 1e-6 * rng.random(len(VIEWPOINT))
        values[np.argsort(-strength)[VIEWPOINTS_PER_ANSWER:] + len(STYLE)] = 0
        return tuple(int(v) for v in values)

    def respond(
        self, question: Question, values: Values, rng: np.random.Generator, *, split: Split
    ) -> str:
        """An answer in good English with these attribute values."""
        tone, form, support, ending = values[: len(STYLE)]
        opening = pick(rng, wordings(_poles()["tone", tone].lists[question.kind], split)).format(
            clause=question.echo, np=question.echo, q=question.echo
        )
        points = []
        spoken = [(a, v) for a, v in zip(VIEWPOINT, values[len(STYLE) :], strict=True) if v]
        for i in rng.permutation(len(spoken)):
            pole = _poles()[spoken[i]]
            sentence = pick(rng, wordings(pole.lists["core"], split))
            if rng.random() < TAIL_PROBABILITY:
                sentence += ", " + pick(rng, wordings(pole.lists["tail"], split))
            points.append(sentence + ".")
        points.append(pick(rng, wordings(_poles()["support", support].lists["any"], split)))
        close = pick(rng, wordings(_poles()["ending", ending].lists["any"], split))
        if form > 0:
            numbered = "\n".join(f"{i}. {point}" for i, point in enumerate(points, 1))
            return f"{opening}\n{numbered}\n{close}"
        return " ".join([opening, *points, close])

    def everyday_pairs(self, n: int, *, seed: int) -> list[tuple[str, str, str]]:
        """(question, response, another response) on the hand-written matters of everyday life.

        The responses differ in five attributes: few labels are to tell much.
        """
        rng = np.random.default_rng([seed, 9])
        content = load_toml("questions.toml")
        phrases = rng.permutation(content["life"])[:n]
        made = []
        for phrase in phrases:
            clause = str(phrase)
            text = str(pick(rng, content["clause"][:6:2])).format(clause=clause)
            question = Question(text, "clause", to_second_person(clause))
            first = self.sample_values(rng)
            values = (first, self.vary(first, 5, rng))
            one, other = (self.respond(question, v, rng, split="train") for v in values)
            made.append((text, one, other))
        return made

    # -- labels --------------------------------------------------------------------------------

    def latent_reward(self, weights: Sequence[float], values: Values) -> float:
        """Reward of attribute values: the weighted sum."""
        return float(np.dot(weights, values))

    def label_probability(self, user: User, first: Values, second: Values) -> float:
        """P(first is chosen over second), Bradley-Terry on the latent rewards."""
        gap = self.latent_reward(user.weights, first) - self.latent_reward(user.weights, second)
        return _sigmoid(gap / LABEL_TEMPERATURE)

    def vary(self, values: Values, changes: int, rng: np.random.Generator) -> Values:
        """The values with ``changes`` attributes turned; a viewpoint may change its matter."""
        new = list(values)
        spoken = [i for i in range(len(STYLE), len(ATTRIBUTES)) if values[i]]
        places = [*range(len(STYLE)), *spoken]
        for place in rng.permutation(len(places))[:changes]:
            i = places[place]
            silent = [j for j in range(len(STYLE), len(ATTRIBUTES)) if not new[j]]
            if i >= len(STYLE) and rng.random() < 0.5:
                new[pick(rng, silent)] = 1 if rng.random() < 0.5 else -1
                new[i] = 0
            else:
                new[i] = -new[i]
        return tuple(new)

    def sample_pairs(
        self,
        user: User,
        n: int,
        rng: np.random.Generator,
        *,
        split: Split,
        changes: int | None = None,
        wording: Split | None = None,
        best: bool = False,
        alike: bool = False,
    ) -> list[LatentPair]:
        """``n`` pairs of answers to one question each, labelled by the user.

        Two random answers, or, with ``changes``, answers that differ in so many attributes, or,
        with ``best``, the user's best answer and a random one.
        ``wording`` is the split of the answers' sentences, ``split`` unless given. ``alike``: both
        answers are worded by the same random draws, so that they differ where their attributes do.
        """
        pairs = []
        for _ in range(n):
            question = sample_question(rng, split=split)
            first = self.best_values(user.weights, rng) if best else self.sample_values(rng)
            second = self.vary(first, changes, rng) if changes else self.sample_values(rng)
            if rng.random() >= self.label_probability(user, first, second):
                first, second = second, first
            draws = (rng, rng)
            if alike:
                seed = int(rng.integers(2**31))
                draws = (np.random.default_rng(seed), np.random.default_rng(seed))
            chosen, rejected = (
                self.respond(question, values, draw, split=wording or split)
                for values, draw in zip((first, second), draws, strict=True)
            )
            pairs.append(LatentPair(Preference(question.text, chosen, rejected), first, second))
        return pairs

    def history(
        self, user: User, n: int, *, split: Split, seed: int, wording: Split | None = None
    ) -> UserHistory:
        """A user's first ``n`` labelled pairs; the same for the same seed."""
        rng = np.random.default_rng([seed, 3, zlib.crc32(user.user_id.encode())])
        pairs = self.sample_pairs(user, n, rng, split=split, wording=wording)
        return UserHistory(user.user_id, tuple(pair.preference for pair in pairs))

    # -- reward of any text --------------------------------------------------------------------

    def detect(self, question_text: str, response_text: str) -> Values:
        """Attribute values read off a text, each -1, 0 or +1; echoes of the question are not."""
        text = _without_echo(question_text, response_text).lower()
        values = []
        for attribute in ATTRIBUTES:
            if attribute == "format":
                values.append(1 if len(re.findall(r"(?m)^\s*\d+[.)]\s", response_text)) > 1 else -1)
                continue
            if attribute == "ending" and response_text.rstrip().endswith("?"):
                values.append(1)
                continue
            counts = [
                len(pattern.findall(text)) if (pattern := _poles()[attribute, s].cues) else 0
                for s in (1, -1)
            ]
            values.append(int(np.sign(counts[0] - counts[1])))
        return tuple(values)

    def gate(self, question_text: str, response_text: str) -> GateResult:
        """Quality of a text, whatever its style: ``fspo_core.worlds.language.check``."""
        return language.check(question_text, response_text)

    def reward(self, user: User, question_text: str, response_text: str) -> float:
        """Reward of any text. Stating more than two viewpoints counts the two liked least."""
        values = np.asarray(self.detect(question_text, response_text))
        terms = np.asarray(user.weights) * values
        stated = np.sort(terms[len(STYLE) :][values[len(STYLE) :] != 0])[:VIEWPOINTS_PER_ANSWER]
        reward = float(terms[: len(STYLE)].sum() + stated.sum())
        return reward if self.gate(question_text, response_text).ok else reward - GATE_PENALTY


def _without_echo(question_text: str, response_text: str) -> str:
    """The response without what it repeats of the question.

    "plan a party" in a question must not make its answer count as one that plans first. Taken out
    are runs of two or more of the question's words with a topic word among them and, in the first
    sentence, its topic words alone.
    """
    asked = [_plain(word) for word in language.words_of(question_text)]
    topic = {_plain(word) for word in language.topic_words(question_text)}
    pairs = {(a, b) for a, b in pairwise(asked) if a in topic or b in topic}
    tokens = re.findall(r"\w+(?:['’]\w+)*|\W+", response_text)
    at = [i for i, token in enumerate(tokens) if token[0].isalnum()]
    first_end = next((i for i, t in enumerate(tokens) if re.search(r"[.!?]\s", t)), len(tokens))
    drop = {i for i in at if i < first_end and _plain(tokens[i]) in topic}
    for left, right in pairwise(at):
        if (_plain(tokens[left]), _plain(tokens[right])) in pairs:
            drop |= {left, right}
    return "".join(" _ " if i in drop else token for i, token in enumerate(tokens))


_PERSON = {"i": "you", "me": "you", "my": "your", "am": "are", "myself": "yourself", "our": "your"}


def _plain(word: str) -> str:
    word = word.lower()
    return _PERSON.get(word, word)
