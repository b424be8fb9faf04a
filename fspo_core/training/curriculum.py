"""What the embedded model is pretrained on, as a pure function of (seed, step, progress).

First zero-shot rows alone. Half of them are a description of a user, a question, and the best
answer for that user, or an answer that has just what the description names: they teach what the
attributes sound like. The others are a question and an answer, and then what that answer is like
in the words of a description, so that attributes are read as well as written. Many stop after
their first sentence, which is where the topic stands, and in many a topic word gives way to random
tokens, so that copying works for every token.

Then few-shot episodes teach reading labels: after every labelled pair a branch writes the
description that the Bayes-optimal reader would give (a target with little noise, cheap in tokens),
and other branches answer as that reader would, with and without a description first. Short answers
that differ in one to three attributes come first, and few shots come before many.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from fspo_core.prompts import CompactFormat
from fspo_core.training.episodes import Episode, branch_of, context_of
from fspo_core.types import Preference
from fspo_core.worlds import World, get_world, language
from fspo_core.worlds.base import Question, Values, seeded, weighted_choice
from fspo_core.worlds.nouns import plain_words
from fspo_core.worlds.optimum import PosteriorReader
from fspo_core.worlds.questions import sample_question
from fspo_core.worlds.roleplay import Roleplay, cue_reader
from fspo_core.worlds.wording import pick

Parts = list[tuple[list[int], float]]  # token ids and the loss weight of each of them
SHARES = {"roleplay": 0.6, "elix_hard": 0.16, "elix_easy": 0.12, "reviews": 0.12}  # of the rows
PLAIN_WEIGHT = 0.2  # in told and few-shot answers: of tokens that tell nothing of the user
DECIDING_TOKENS = 2  # first tokens of a sentence
TOLD = 0.5  # of the zero-shot rows begin with a description of the user
OPENING_ONLY = 0.4  # of the other zero-shot rows
INVENTED = 0.25  # of the nouns and of the verbs that are asked about: words nobody ever heard


@dataclass(frozen=True, slots=True)
class Stage:
    """The mixture at one moment of pretraining."""

    few_shot_share: float  # of the tokens of a step
    max_shots: int
    minimal_pairs: float  # probability that an episode's pairs differ in 1 to 3 attributes
    short: float = 0.0  # probability that answers of a Roleplay episode or row are short ones
    plain_weight: float = PLAIN_WEIGHT
    all_told: float = 0.5  # share of told rows that name every attribute of the answer
    few_likes: float = 0.2  # share of other told Roleplay rows: of users with one to three likes
    foreign_words: float = 0.5  # share of Roleplay questions with a word of random tokens


def stage_at(progress: float) -> Stage:
    """The mixture at ``progress`` (0 to 1)."""
    if progress < 0.025:
        return Stage(0.0, 0, 0.0, 0.0, 1.0, all_told=0.0, few_likes=0.8, foreign_words=0.0)
    if progress < 0.15:
        return Stage(0.0, 0, 0.0, 0.0, 1.0, all_told=0.0, few_likes=0.5)
    if progress < 0.18:
        return Stage(0.0, 0, 0.0, 0.0, 1.0, all_told=0.8)
    if progress < 0.25:
        return Stage(0.0, 0, 0.0, all_told=0.8)
    if progress < 0.30:
        return Stage(0.0, 0, 0.0, short=0.7, all_told=0.8)
    if progress < 0.36:
        return Stage(0.55, 1, 1.0, short=0.9)
    if progress < 0.48:
        return Stage(0.60, 2, 0.8, short=0.7)
    if progress < 0.66:
        return Stage(0.65, 4, 0.5, short=0.5)
    return Stage(0.60, 8, 0.2, short=0.25)


class ShortRoleplay(Roleplay):
    """The Roleplay world when nobody has time: all answers are short, so that contexts are."""

    def all_values(self) -> list[Values]:
        """See ``World.all_values``."""
        length = self.attributes.index("length")
        return [values for values in super().all_values() if values[length] < 0]


class Curriculum:
    """Draws episodes. ``tokenizer`` must have the compact format's special tokens."""

    def __init__(self, tokenizer: Any, *, seed: int) -> None:
        self.worlds = [get_world(name) for name in SHARES]
        self._steps = tuple(accumulate(SHARES.values()))
        self.roleplay, self.short = self.worlds[0], ShortRoleplay()
        self.format, self.tokenizer = CompactFormat(tokenizer), tokenizer
        self._cued: set[tuple[int, ...]] = set()
        self.seed = seed
        marks = (".", "!", "?", ".\n", "!\n", "?\n", "\n")
        self._enders = {i for mark in marks for i in self.format.text(mark)}
        vocabulary = {i: t for t, i in tokenizer.get_vocab().items() if t.strip("Ġ").isalpha()}
        self._first_tokens = sorted(i for i, t in vocabulary.items() if t.startswith("Ġ"))
        self._next_tokens = sorted(i for i, t in vocabulary.items() if not t.startswith("Ġ"))
        self._stand_ins = [w for w in plain_words() if len(self.format.text(w)) == 1]
        self._readers: dict[World, PosteriorReader] = {}

    def reader(self, world: World) -> PosteriorReader:
        """The Bayes-optimal reader of a world's labels, made once."""
        if world not in self._readers:
            self._readers[world] = PosteriorReader(world, particles=1500, seed=self.seed)
        return self._readers[world]

    def episodes(
        self, step: int, progress: float, tokens: int
    ) -> tuple[list[Episode], list[Episode]]:
        """Zero-shot and few-shot episodes of about ``tokens`` tokens for one step."""
        rng = seeded("curriculum", self.seed, step)
        stage = stage_at(progress)
        plain: list[Episode] = []
        few: list[Episode] = []
        budget = tokens * (1 - stage.few_shot_share)
        while budget > 0:
            plain.append(self.zero_shot(rng, stage))
            budget -= len(plain[-1])
        budget = tokens * stage.few_shot_share
        while budget > 0:
            few.append(self.few_shot(rng, stage))
            budget -= len(few[-1])
        return plain, few

    def _world(self, rng: random.Random) -> World:
        return self.worlds[weighted_choice(rng, self._steps)]

    def _shortened(self, world: World, rng: random.Random, stage: Stage) -> World:
        if world is self.roleplay and stage.short and rng.random() < stage.short:
            return self.short
        return world

    def _question(self, world: World, rng: random.Random) -> Question:
        if isinstance(world, Roleplay):
            return sample_question(rng, split="train", invented=INVENTED)
        return world.sample_question(rng, split="train")

    def _exchange(
        self,
        world: World,
        question: Question,
        values: Values,
        rng: random.Random,
        stage: Stage,
    ) -> tuple[list[int], list[int]]:
        """A question and an answer to it, as ids, now and then about a word of random tokens.

        Most tokens of a vocabulary hardly ever occur in a topic; a model copies only what it has
        copied before. Only in Roleplay: elsewhere answers know something of their topic.
        """
        texts = (question.text, world.respond(question, values, rng, split="train"))
        swaps: dict[int, list[int]] = {}
        foreign = isinstance(world, Roleplay) and self._stand_ins
        if foreign and rng.random() < stage.foreign_words:
            words = language.topic_words(question.text)
            for word in rng.sample(words, min(2, len(words))):
                pattern = re.compile(rf"(?<![\w'’-]){re.escape(word)}(?![\w'’-])")
                if any(len(pattern.findall(text)) != 1 for text in texts):
                    continue
                stand_in = pick(rng, self._stand_ins)
                if any(stand_in in text for text in texts):
                    continue
                texts = (pattern.sub(stand_in, texts[0]), pattern.sub(stand_in, texts[1]))
                more = [pick(rng, self._next_tokens) for _ in range(rng.randrange(0, 3))]
                swaps[self.format.text(stand_in)[0]] = [pick(rng, self._first_tokens), *more]
        asked, ids = (
            [i for token in self.format.text(text) for i in swaps.get(token, [token])]
            for text in texts
        )
        return asked, ids

    def _opening(self, ids: list[int]) -> int:
        """How many tokens the first sentence has."""
        return next((i + 1 for i, token in enumerate(ids) if token in self._enders), len(ids))

    def _deciding(self, ids: list[int]) -> list[bool]:
        """Which tokens decide an attribute: the first of each sentence, and the line breaks."""
        marks, since = [], 0
        for i in ids:
            marks.append(since < DECIDING_TOKENS or i in self._enders)
            since = 0 if i in self._enders else since + 1
        return marks

    def zero_shot(self, rng: random.Random, stage: Stage) -> Episode:
        """One row on a new question: told who asks, or telling what the answer is like."""
        fmt, world = self.format, self._shortened(self._world(rng), rng, stage)
        question = self._question(world, rng)
        weights = world.sample_user(rng, split="train").weights
        if rng.random() < TOLD:
            if stage.all_told and rng.random() < stage.all_told:
                weights = tuple(map(float, world.sample_values(rng)))
            elif isinstance(world, Roleplay) and rng.random() < stage.few_likes:
                weights = _few_of(weights, rng)
            described = [fmt.user, *fmt.text(world.describe_weights(weights)), fmt.end]
            values = world.best_values(world.described_weights(weights), rng)
            asked, ids = self._exchange(world, question, values, rng, stage)
            parts: Parts = [([*described, fmt.question, *asked, fmt.chosen], 0.0)]
            parts += self._weighted(world, ids, stage.plain_weight)
            return Episode([fmt.bos], [branch_of(1, parts)])
        values = world.best_values(weights, rng)
        asked, ids = self._exchange(world, question, values, rng, stage)
        parts = [([fmt.question, *asked, fmt.chosen], 0.0)]
        if rng.random() < OPENING_ONLY:
            parts.append((ids[: self._opening(ids)], 1.0))
        else:
            parts.append(([*ids, fmt.end], 1.0))
            parts += self.description_parts(world, values)
        return Episode([fmt.bos], [branch_of(1, parts)])

    def few_shot(
        self,
        rng: random.Random,
        stage: Stage,
        *,
        world: World | None = None,
        fixed_shots: int | None = None,
        swapped: bool = False,
    ) -> Episode:
        """A user's labelled pairs with description branches after each and answers on some.

        ``swapped`` exchanges chosen and rejected in the context, for probes.
        """
        world = world or self._world(rng)
        world = self._shortened(world, rng, stage)
        user = world.sample_user(rng, split="train")
        n = fixed_shots or rng.randrange(1, stage.max_shots + 1)
        changes, alike = None, False
        if isinstance(world, Roleplay) and rng.random() < stage.minimal_pairs:
            changes, alike = rng.randrange(1, 4), rng.random() < 0.5
        pairs = world.sample_pairs(user, n, rng, split="train", changes=changes, alike=alike)
        shown = [p.preference for p in pairs]
        if swapped:
            shown = [Preference(p.question, p.rejected, p.chosen) for p in shown]
        context, ends = context_of(
            self.format.opening(), [self.format.shot(i, p) for i, p in enumerate(shown, 1)]
        )
        means = self.reader(world).mean_weights(pairs)
        branches = []
        for k in range(1, n + 1):
            description = self.description_parts(world, means[k])
            if k == n and rng.random() < 0.5:
                told = world.described_weights(means[k])
                description += self.best_answer(world, told, rng, stage)
            branches.append(branch_of(ends[k], description))
        for k in (n, rng.randrange(1, n + 1), rng.randrange(1, n + 1)):
            branches.append(branch_of(ends[k], self.best_answer(world, means[k], rng, stage)))
        return Episode(context, branches)

    def description_parts(self, world: World, weights: Sequence[float]) -> Parts:
        """The description branch's ids, all trained on."""
        fmt = self.format
        text = fmt.text(world.describe_weights(weights))
        return [([fmt.user], 0.0), ([*text, fmt.end], 1.0)]

    def best_answer(self, world: World, weights: Any, rng: random.Random, stage: Stage) -> Parts:
        """A new question, the best answer to it for these weights, and its end.

        Tokens that tell something of the user or name the topic weigh 1, the other ones less.
        """
        fmt = self.format
        question = self._question(world, rng)
        values = world.best_values(weights, rng)
        asked, ids = self._exchange(world, question, values, rng, stage)
        parts: Parts = [([fmt.question, *asked, fmt.chosen], 0.0)]
        return parts + self._weighted(world, ids, PLAIN_WEIGHT)

    def _weighted(self, world: World, ids: list[int], plain: float) -> Parts:
        """An answer's ids and its end, less of the loss on what is alike for every user.

        The first sentence names the topic, the first tokens of a sentence and line breaks decide
        how it goes on, sentences with a cue carry an attribute; elsewhere whole answers do.
        """
        opening, deciding = self._opening(ids), self._deciding(ids)
        parts: Parts = []
        for first, last in self._sentences(ids):
            telling = not isinstance(world, Roleplay) or self._has_cue(ids[first:last])
            for at in range(first, last):
                full = telling or deciding[at] or at < opening
                parts.append(([ids[at]], 1.0 if full else plain))
        return [*parts, ([self.format.end], plain)]

    def _sentences(self, ids: list[int]) -> list[tuple[int, int]]:
        """Spans of tokens up to the marks that end a sentence."""
        ends = [i + 1 for i, token in enumerate(ids) if token in self._enders]
        if not ends or ends[-1] < len(ids):
            ends.append(len(ids))
        return list(zip([0, *ends], ends, strict=False))

    def _has_cue(self, ids: list[int]) -> bool:
        key = tuple(ids)  # sentences with a cue mostly name no topic, and come again and again
        if key in self._cued:
            return True
        found = bool(cue_reader("a").count(self.tokenizer.decode(ids)))  # one of each list is there
        if found:
            self._cued.add(key)
        return found


def _few_of(weights: Sequence[float], rng: random.Random) -> tuple[float, ...]:
    """The weights with all but one to three likes taken away."""
    liked = [i for i, weight in enumerate(weights) if weight]
    kept = set(rng.sample(liked, min(len(liked), rng.randrange(1, 4))))
    return tuple(weight if i in kept else 0.0 for i, weight in enumerate(weights))
