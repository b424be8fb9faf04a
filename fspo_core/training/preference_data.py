"""Episodes of one user's pairs for the preference objectives (FSPO, arXiv 2502.19312, algorithm 1).

N labelled pairs are the context, K more of the same user branch from it: the chosen response for
Pref-FT, chosen and rejected for IPO and DPO, both and a label for the label-token probe. With
``description_first`` a description of the user comes before the responses, which follow on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fspo_core.errors import TrainingError
from fspo_core.prompts import PromptFormat
from fspo_core.synthesis.loaders import load
from fspo_core.training.episodes import Branch, Episode, Role, branch_of, context_of
from fspo_core.types import Preference, UserHistory
from fspo_core.worlds import get_world
from fspo_core.worlds.base import Split, seeded

Objective = Literal["pref_ft", "ipo", "dpo", "label_token"]
PAIRED: tuple[Objective, ...] = ("ipo", "dpo")


@dataclass(frozen=True, slots=True)
class Drawn:
    """One user's pairs: for the context, to train on, and the description where there is one."""

    user_id: str
    shots: Sequence[Preference]
    held: Sequence[Preference]
    description: str | None


class WorldSource:
    """Fresh users of a synthetic world.

    The shots compare random answers; the pairs to train on set the user's best answer beside a
    random one, so that their labels say more. ``alike``: worded by the same draws, so that how a
    sentence is put is no noise in a pair's margin.
    """

    def __init__(self, world: str, *, alike: bool) -> None:
        self.world, self.alike = get_world(world), alike

    def draw(self, rng: random.Random, shots: int, held: int, split: Split) -> Drawn:
        """Pairs of a user nobody has seen before."""
        user = self.world.sample_user(rng, split=split)
        context = self.world.sample_pairs(user, shots, rng, split=split)
        more = self.world.sample_pairs(user, held, rng, split=split, best=True, alike=self.alike)
        return Drawn(
            user.user_id,
            [pair.preference for pair in context],
            [pair.preference for pair in more],
            self.world.describe(user),
        )


class FileSource:
    """Users of a data set; every tenth is held out. Raises TrainingError where a split is empty."""

    def __init__(self, source: str, needed: int) -> None:
        loaded = load(source).histories
        enough = [h for h in loaded if len(h.preferences) >= needed]
        if not enough:
            raise TrainingError(
                f"no user of {source} has {needed} pairs, the most shots and those to train on; "
                f"it has {len(loaded)} users"
            )
        # Of few users the last one is held out; a single one is in both splits.
        held = enough[9::10] or enough[-1:]
        out = {h.user_id for h in held} if len(enough) > 1 else set()
        self.users: dict[Split, list[UserHistory]] = {
            "train": [h for h in enough if h.user_id not in out],
            "heldout": held,
        }

    def draw(self, rng: random.Random, shots: int, held: int, split: Split) -> Drawn:
        """Pairs of a random user, none of them twice."""
        users = self.users[split]
        history = users[int(rng.random() * len(users))]
        pairs = rng.sample(history.preferences, shots + held)
        return Drawn(history.user_id, pairs[:shots], pairs[shots:], history.description)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeConfig:
    """What an episode is made of; see ``TrainConfig`` for each field."""

    objective: Objective
    fewest_shots: int
    shots: int
    pairs_per_user: int
    description_first: bool
    max_length: int
    too_long: Literal["error", "drop_shots"]


class EpisodeMaker:
    """Draws episodes of a source, laid out by a prompt format."""

    def __init__(
        self, source: WorldSource | FileSource, prompts: PromptFormat, config: EpisodeConfig
    ) -> None:
        self.source, self.prompts, self.config = source, prompts, config

    def episode(self, rng: random.Random, split: Split = "train") -> Episode:
        """N shots, then K pairs on all of them or, from the second pair on, on the first n <= N."""
        config = self.config
        n = rng.randrange(config.fewest_shots, config.shots + 1)
        drawn = self.source.draw(rng, n, config.pairs_per_user, split)
        layout = rng.random()
        for dropped in range(n + 1):
            episode = self._lay_out(drawn, drawn.shots[dropped:], random.Random(layout))
            longest = max(branch.prefix + len(branch.ids) for branch in episode.branches)
            if longest <= config.max_length:
                return episode
            if config.too_long == "error" or dropped == n:
                raise TrainingError(
                    f"{n - dropped} shots and a held-out pair of {drawn.user_id} have {longest} "
                    f'tokens, the model takes {config.max_length}: lower "shots" or set too_long = '
                    '"drop_shots"'
                )
        raise AssertionError("the loop returns or raises")

    def _lay_out(self, drawn: Drawn, shots: Sequence[Preference], rng: random.Random) -> Episode:
        context, ends = context_of(
            self.prompts.opening(), [self.prompts.shot(i, p) for i, p in enumerate(shots, 1)]
        )
        episode, n = Episode(context), len(shots)
        fewest = min(max(self.config.fewest_shots, 1), n)
        for k, pair in enumerate(drawn.held):
            shown = n if k == 0 else rng.randrange(fewest, n + 1)
            episode.branches += self._branches(pair, drawn, ends[shown], shown, rng)
        return episode

    def _branches(
        self, pair: Preference, drawn: Drawn, prefix: int, shots: int, rng: random.Random
    ) -> list[Branch]:
        objective, prompts = self.config.objective, self.prompts
        if objective == "label_token":
            return [self._verdict(pair, prefix, rng)]
        stop = prompts.stop_ids[:1]
        branches: list[Branch] = []
        description = None
        if self.config.description_first:
            description = drawn.description
            if description is None:
                raise TrainingError(
                    f"description_first needs a description of every user; {drawn.user_id} has none"
                )
            cue = prompts.description_cue(pair.question, shots=shots)
            told = [*prompts.text(description), *stop]
            branches.append(branch_of(prefix, [(cue, 0.0), (told, 1.0)]))
        ask = prompts.answer_cue(pair.question, shots=shots, description=description)
        answers: list[tuple[Role, str]] = [("chosen", pair.chosen)]
        if objective in PAIRED:
            answers.append(("rejected", pair.rejected))
        for role, response in answers:
            parts = [(ask, 0.0), ([*prompts.text(response), *stop], 1.0)]
            branches.append(branch_of(prefix, parts, role if objective in PAIRED else "text"))
        return branches

    def _verdict(self, pair: Preference, prefix: int, rng: random.Random) -> Branch:
        first = rng.random() < 0.5
        responses = (pair.chosen, pair.rejected) if first else (pair.rejected, pair.chosen)
        cue = self.prompts.verdict_cue(pair.question, *responses)
        return branch_of(prefix, [(cue, 0.0), ([self.prompts.verdict_ids[0 if first else 1]], 1.0)])


Draw = Callable[[int], list[Episode]]


def steps_of(maker: EpisodeMaker, *, seed: int, tokens: int, episodes: int = 0) -> Draw:
    """Episodes of about ``tokens`` tokens for each step, as a pure function of (seed, step).

    ``episodes`` over 0: only so many different ones exist, and they come again.
    """

    def draw(step: int) -> list[Episode]:
        rng = seeded("finetune", seed, step)
        made: list[Episode] = []
        budget = tokens
        while budget > 0:
            own = rng
            if episodes:
                own = seeded("finetune", seed, "episode", int(rng.random() * episodes))
            made.append(maker.episode(own))
            budget -= len(made[-1])
        return made

    return draw


def check_vocabulary(prompts: Any, tokenizer: Any, rows: int) -> None:
    """Raises TrainingError where the tokenizer has ids that the model has no embedding for."""
    largest = max(tokenizer.get_vocab().values())
    if largest >= rows:
        raise TrainingError(
            f"the tokenizer has ids up to {largest}, the model's embedding has {rows} rows: "
            "they do not belong together"
        )
    if not prompts.stop_ids:
        raise TrainingError("the tokenizer has no end-of-sequence token to train answers' ends on")
