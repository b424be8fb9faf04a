"""``fspo train``: few-shot Pref-FT and few-shot IPO (FSPO, arXiv 2502.19312, section 4).

Each step draws fresh users. A user's N labelled pairs are the context; K more pairs of the same
user branch from it, at any number of shots from 0 to N. Pref-FT maximizes the likelihood of the
chosen responses alone; IPO contrasts chosen and rejected against the frozen checkpoint it starts
from.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fspo_core.errors import TrainingError
from fspo_core.modeling import load_base, new_adapter, save_adapter, with_adapter
from fspo_core.prompts import CompactFormat
from fspo_core.synthesis.loaders import load
from fspo_core.training.episodes import Batch, Episode, branch_of, context_of, pack
from fspo_core.training.loop import LoopConfig, Metrics, run
from fspo_core.training.objectives import (
    branch_logprobs,
    ipo_loss,
    likelihood_loss,
    token_logprobs,
)
from fspo_core.types import Preference, UserHistory
from fspo_core.worlds.base import seeded
from fspo_core.worlds.roleplay import Roleplay

Objective = Literal["sft", "ipo"]


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One fine-tuning run.

    ``start`` names the adapter to start from (None: a new one on the base); for IPO it is also the
    frozen reference. ``data`` is a source of ``fspo_core.synthesis.loaders``; without one the pairs
    are drawn from the Roleplay world. ``shots`` is the largest N; 0 makes the run not personal.
    ``beta``: IPO drives the margin h to 1/(2 beta) nats.
    """

    checkpoint: Path
    out: Path
    objective: Objective
    adapter: str
    start: str | None = None
    data: str | None = None
    shots: int = 8
    pairs_per_user: int = 4
    tokens_per_step: int = 8000
    micro_tokens: int = 2000
    steps: int = 200
    learning_rate: float = 2e-4
    beta: float = 0.0625
    rank: int = 16
    seed: int = 1
    bf16: bool = True


class PreferenceEpisodes:
    """Draws episodes of one user's pairs, from the synthetic world or from files."""

    def __init__(self, tokenizer: Any, config: TrainConfig) -> None:
        self.world, self.format, self.config = Roleplay(), CompactFormat(tokenizer), config
        self.histories: list[UserHistory] = []
        if config.data:
            needed = config.shots + config.pairs_per_user
            loaded = load(config.data).histories
            self.histories = [h for h in loaded if len(h.preferences) >= needed]
            if not self.histories:
                raise TrainingError(
                    f"no user of {config.data} has {needed} pairs ({config.shots} shots and "
                    f"{config.pairs_per_user} to train on); it has {len(loaded)} users"
                )

    def __call__(self, step: int) -> list[Episode]:
        """The episodes of one step."""
        rng = seeded("finetune", self.config.seed, step)
        episodes: list[Episode] = []
        budget = self.config.tokens_per_step
        while budget > 0:
            episodes.append(self.episode(rng))
            budget -= len(episodes[-1])
        return episodes

    def episode(self, rng: random.Random) -> Episode:
        """N shots, then K pairs on the first 1..N of them; for IPO chosen and rejected in turn.

        The shots compare random answers; the K pairs set the user's best answer beside a random
        one, so that their labels say more.
        """
        n = rng.randrange(1, self.config.shots + 1) if self.config.shots else 0
        pairs = self._pairs(n, rng)
        context, ends = context_of(
            self.format.opening(), [self.format.shot(i, p) for i, p in enumerate(pairs[:n], 1)]
        )
        episode = Episode(context)
        for k, pair in enumerate(pairs[n:]):
            prefix = ends[n if k == 0 else rng.randrange(min(1, n), n + 1)]
            responses = (
                (pair.chosen,) if self.config.objective == "sft" else (pair.chosen, pair.rejected)
            )
            for response in responses:
                ask = self.format.answer_cue(pair.question, shots=n, description=None)
                answer = [*self.format.text(response), self.format.end]
                episode.branches.append(branch_of(prefix, [(ask, 0.0), (answer, 1.0)]))
        return episode

    def _pairs(self, shots: int, rng: random.Random) -> list[Preference]:
        """``shots`` pairs of one user for the context, then those to train on."""
        if self.histories:
            history = self.histories[int(rng.random() * len(self.histories))]
            return rng.sample(history.preferences, shots + self.config.pairs_per_user)
        user = self.world.sample_user(rng, split="train")
        pairs = self.world.sample_pairs(user, shots, rng, split="train")
        # IPO's pairs are worded alike: how a sentence is put is noise in their margin.
        alike = self.config.objective == "ipo"
        pairs += self.world.sample_pairs(
            user, self.config.pairs_per_user, rng, split="train", best=True, alike=alike
        )
        return [pair.preference for pair in pairs]


def train(config: TrainConfig) -> None:
    """Train an adapter and write it into the checkpoint folder."""
    if config.objective == "ipo" and config.beta <= 0:
        raise TrainingError(f"beta must be over 0, got {config.beta}")
    base, tokenizer, _ = load_base(config.checkpoint)
    model = (
        with_adapter(config.checkpoint, config.start, trainable=True)
        if config.start
        else new_adapter(base, rank=config.rank, seed=config.seed)
    )
    draw = PreferenceEpisodes(tokenizer, config)
    reference = with_adapter(config.checkpoint, config.start) if config.objective == "ipo" else None

    def micro_batches(step: int, progress: float) -> list[Batch]:  # noqa: ARG001 - no curriculum
        return pack(draw(step), micro_tokens=config.micro_tokens)

    def loss_of(model: Any, batch: Batch) -> tuple[Tensor, Metrics]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.bf16):
            logprobs = token_logprobs(model, batch)
            if reference is None:
                return likelihood_loss(logprobs, batch.weight), {}
            with torch.no_grad():
                ref = branch_logprobs(token_logprobs(reference, batch), batch)
        return pair_loss(branch_logprobs(logprobs, batch), ref, config.beta)

    loop = LoopConfig(
        config.steps, config.learning_rate, seed=config.seed, weight_decay=0.0, warmup=0.05
    )
    run(
        model, loop, config.out, micro_batches=micro_batches, loss_of=loss_of,
        count_of=(
            (lambda batch: float(batch.weight.sum()))
            if reference is None
            else lambda batch: batch.branches / 2
        ),
        title=f"{config.objective} {config.adapter}",
    )  # fmt: skip
    save_adapter(config.checkpoint, config.adapter, model)
    recipe = {k: v for k, v in asdict(config).items() if not isinstance(v, Path)}
    target = config.checkpoint / "adapters" / config.adapter / "fspo.json"
    target.write_text(json.dumps({"recipe": recipe}, indent=1) + "\n")


def pair_loss(policy: Tensor, reference: Tensor, beta: float) -> tuple[Tensor, Metrics]:
    """IPO over branches that alternate chosen, rejected; shapes [2 * pairs]. With metrics."""
    chosen, rejected = policy[0::2], policy[1::2]
    loss = ipo_loss(chosen, rejected, reference[0::2], reference[1::2], beta)
    with torch.no_grad():
        margin = (chosen - reference[0::2]) - (rejected - reference[1::2])
    return loss, {
        "reward_accuracy": float((margin > 0).float().mean()),
        "margin_nats": float(margin.mean()),
    }
