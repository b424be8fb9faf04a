"""What the embedded model is pretrained on, as a pure function of (seed, step, progress).

Zero-shot answers teach English and copying of topics never seen; many of them stop after their
first sentence, which is where the topic stands, and in many a topic word gives way to random
tokens, so that copying works for every token. Description -> answer teaches what the attributes
sound like. Few-shot episodes teach reading labels: after every labelled pair a branch writes the
description that the Bayes-optimal reader would give (a target with little noise, cheap in tokens),
and other branches answer as that reader would, with and without a description first. Pairs that
differ in one to three attributes come first, and few shots come before many.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

from fspo_core.prompts import CompactFormat
from fspo_core.training.episodes import Episode, branch_of, context_of
from fspo_core.types import Preference
from fspo_core.worlds import language
from fspo_core.worlds.base import Question, Values, seeded
from fspo_core.worlds.nouns import plain_words
from fspo_core.worlds.optimum import PosteriorReader
from fspo_core.worlds.questions import sample_question
from fspo_core.worlds.roleplay import Roleplay
from fspo_core.worlds.wording import pick

Parts = list[tuple[list[int], float]]  # token ids and the loss weight of each of them
FEW_SHOT_TEXT_WEIGHT = 0.2  # of the tokens that do not decide an attribute
DECIDING_TOKENS = 2  # first tokens of a sentence
OPENING_ONLY = 0.5  # of the zero-shot rows
INVENTED = 0.25  # of the nouns and of the verbs that are asked about: words nobody ever heard


@dataclass(frozen=True, slots=True)
class Stage:
    """The mixture at one moment of pretraining."""

    few_shot_share: float  # of the tokens of a step
    max_shots: int
    minimal_pairs: float  # probability that an episode's pairs differ in 1 to 3 attributes
    foreign_words: float = 0.0  # share of questions with a word of random tokens


def stage_at(progress: float) -> Stage:
    """The mixture at ``progress`` (0 to 1)."""
    if progress < 480 / 4200:
        return Stage(0.50, 1, 1.0)
    if progress < 1200 / 4200:
        return Stage(0.60, 2, 0.8)
    if progress < 1920 / 4200:
        return Stage(0.65, 4, 0.5)
    if progress < 2160 / 4200:
        return Stage(0.60, 4, 0.5, foreign_words=0.6)
    return Stage(0.60, 8, 0.2, foreign_words=0.6)


class Curriculum:
    """Draws episodes. ``tokenizer`` must have the compact format's special tokens."""

    def __init__(self, tokenizer: Any, *, seed: int) -> None:
        self.world = Roleplay()
        self.format = CompactFormat(tokenizer)
        self.seed = seed
        marks = (".", "!", "?", ".\n", "!\n", "?\n", "\n")
        self._enders = {i for mark in marks for i in self.format.text(mark)}
        vocabulary = {i: t for t, i in tokenizer.get_vocab().items() if t.strip("Ġ").isalpha()}
        self._first_tokens = sorted(i for i, t in vocabulary.items() if t.startswith("Ġ"))
        self._next_tokens = sorted(i for i, t in vocabulary.items() if not t.startswith("Ġ"))
        self._stand_ins = [w for w in plain_words() if len(self.format.text(w)) == 1]
        self.reader = PosteriorReader(self.world, particles=1500, seed=seed)

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

    def _exchange(
        self, question: Question, values: Values, rng: random.Random, stage: Stage
    ) -> tuple[list[int], list[int]]:
        """A question and an answer to it, as ids, now and then about a word of random tokens.

        Most tokens of a vocabulary hardly ever occur in a topic; a model copies only what it has
        copied before.
        """
        texts = (question.text, self.world.respond(question, values, rng, split="train"))
        swaps: dict[int, list[int]] = {}
        if stage.foreign_words and self._stand_ins and rng.random() < stage.foreign_words:
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
        """A question and an answer, or its first sentence; half after a description of the user."""
        fmt = self.format
        question = sample_question(rng, split="train", invented=INVENTED)
        user = self.world.sample_user(rng, split="train")
        parts: Parts = []
        if rng.random() < 0.5:
            described = [fmt.user, *fmt.text(self.world.describe(user)), fmt.end]
            parts.append((described, 0.0))
        values = self.world.best_values(user.weights, rng)
        asked, ids = self._exchange(question, values, rng, stage)
        parts.append(([fmt.question, *asked, fmt.chosen], 0.0))
        if rng.random() < OPENING_ONLY:
            parts.append((ids[: self._opening(ids)], 1.0))
        else:
            parts.append(([*ids, fmt.end], 1.0))
        return Episode([fmt.bos], [branch_of(1, parts)])

    def few_shot(
        self,
        rng: random.Random,
        stage: Stage,
        *,
        fixed_shots: int | None = None,
        swapped: bool = False,
    ) -> Episode:
        """A user's labelled pairs with description branches after each and answers on some.

        ``swapped`` exchanges chosen and rejected in the context, for probes.
        """
        user = self.world.sample_user(rng, split="train")
        n = fixed_shots or rng.randrange(1, stage.max_shots + 1)
        changes = rng.randrange(1, 4) if rng.random() < stage.minimal_pairs else None
        pairs = self.world.sample_pairs(user, n, rng, split="train", changes=changes)
        shown = [p.preference for p in pairs]
        if swapped:
            shown = [Preference(p.question, p.rejected, p.chosen) for p in shown]
        context, ends = context_of(
            self.format.opening(), [self.format.shot(i, p) for i, p in enumerate(shown, 1)]
        )
        means = self.reader.mean_weights(pairs)
        branches = []
        for k in range(1, n + 1):
            description = self.description_parts(means[k])
            if k == n and rng.random() < 0.5:
                told = self.world.described_weights(means[k])
                description += self.best_answer(told, rng, stage)
            branches.append(branch_of(ends[k], description))
        for k in (n, rng.randrange(1, n + 1), rng.randrange(1, n + 1)):
            branches.append(branch_of(ends[k], self.best_answer(means[k], rng, stage)))
        return Episode(context, branches)

    def description_parts(self, weights: Any) -> Parts:
        """The description branch's ids, all trained on."""
        fmt = self.format
        text = fmt.text(self.world.describe_weights(weights))
        return [([fmt.user], 0.0), ([*text, fmt.end], 1.0)]

    def best_answer(self, weights: Any, rng: random.Random, stage: Stage) -> Parts:
        """A new question, the best answer to it for these weights, and its end.

        Tokens that decide an attribute or name the topic weigh 1, the answer's other ones less.
        """
        fmt = self.format
        question = sample_question(rng, split="train", invented=INVENTED)
        values = self.world.best_values(weights, rng)
        asked, ids = self._exchange(question, values, rng, stage)
        opening = self._opening(ids)
        parts: Parts = [([fmt.question, *asked, fmt.chosen], 0.0)]
        for at, (token, decides) in enumerate(zip(ids, self._deciding(ids), strict=True)):
            parts.append(([token], 1.0 if decides or at < opening else FEW_SHOT_TEXT_WEIGHT))
        return [*parts, ([fmt.end], FEW_SHOT_TEXT_WEIGHT)]
