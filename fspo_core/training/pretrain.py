"""Tokenizer and base model from scratch, on the synthetic worlds alone; the start of a recipe."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from fspo_core.modeling import new_llama, save_base, train_tokenizer
from fspo_core.training.curriculum import SHARES, Curriculum, Stage
from fspo_core.training.episodes import Batch, Episode, branch_of, pack
from fspo_core.training.fusing import fuse
from fspo_core.training.loop import LoopConfig, Metrics, once, run, together
from fspo_core.training.objectives import likelihood_loss, token_logprobs
from fspo_core.worlds import get_world
from fspo_core.worlds.base import seeded
from fspo_core.worlds.freeze import fingerprint_hash


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """One pretraining run. ``tokens_per_step`` and ``micro_tokens`` count before padding."""

    out: Path
    seed: int = 1
    steps: int = 10_000
    tokens_per_step: int = 7000
    micro_tokens: int = 5000
    learning_rate: float = 2e-3
    matrix_learning_rate: float = 5e-3
    decay: float = 0.34
    vocab_size: int = 4096
    hidden: int = 192
    layers: int = 6
    heads: int = 3
    feed_forward: int = 512
    context: int = 4096
    tokenizer_texts: int = 60_000
    probe_users: int = 24
    checkpoint_every: int = 100
    bf16: bool = True
    fused: bool = True


def corpus(n: int, seed: int) -> Iterator[str]:
    """``n`` questions, as many answers and descriptions, of all worlds, for the tokenizer."""
    rng = seeded("corpus", seed)
    for name, share in SHARES.items():
        world = get_world(name)
        for question in world.sample_questions(round(share * n), split="train", seed=seed):
            yield question.text
            yield world.respond(question, world.sample_values(rng), rng, split="train")
            yield world.describe(world.sample_user(rng, split="train"))


def pretrain(config: PretrainConfig) -> None:
    """Train tokenizer and base; write the checkpoint to ``config.out / "checkpoint"``."""
    tokenizer = _tokenizer(config)
    model = new_llama(
        vocab_size=config.vocab_size, hidden=config.hidden, layers=config.layers,
        heads=config.heads, feed_forward=config.feed_forward, context=config.context,
        seed=config.seed,
    )  # fmt: skip
    if config.fused and not fuse(model):
        warnings.warn("no C++ compiler (g++): two thirds of the speed", stacklevel=2)
    curriculum = Curriculum(tokenizer, seed=config.seed)

    def micro_batches(step: int, progress: float) -> list[Batch]:
        plain, few = curriculum.episodes(step, progress, config.tokens_per_step)
        episodes = [*plain, *few]
        return pack(episodes, micro_tokens=config.micro_tokens, processes=together().num_processes)

    def loss_of(model: Any, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        device = batch.input_ids.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=config.bf16):
            logprobs = token_logprobs(model, batch)
        return likelihood_loss(logprobs, batch.weight), {}

    loop = LoopConfig(
        config.steps,
        config.learning_rate,
        matrix_learning_rate=config.matrix_learning_rate,
        warmup=0.01145,
        decay=config.decay,
        seed=config.seed,
        checkpoint_every=config.checkpoint_every,
    )
    probe = Probe(curriculum, seed=99, users=config.probe_users)
    run(
        model, loop, config.out, micro_batches=micro_batches, loss_of=loss_of,
        count_of=lambda batch: float(batch.weight.sum()), evaluate=probe, title="pretrain",
    )  # fmt: skip
    recipe = {k: v for k, v in asdict(config).items() if not isinstance(v, Path)}
    worlds = {name: fingerprint_hash(get_world(name)) for name in SHARES}
    meta = {"format": "compact", "recipe": recipe, "worlds": worlds}
    once(lambda: save_base(config.out / "checkpoint", model, tokenizer, meta))


def _tokenizer(config: PretrainConfig) -> Any:
    folder = config.out / "tokenizer"

    def make() -> None:
        if (folder / "tokenizer.json").is_file():
            return
        texts = corpus(config.tokenizer_texts, config.seed)
        train_tokenizer(texts, vocab_size=config.vocab_size).save_pretrained(folder)

    once(make)
    return AutoTokenizer.from_pretrained(folder)


class Probe:
    """Gates of pretraining, as teacher-forced losses on tokens that decide an attribute.

    ``told`` against ``untold``: do answers follow a description of the user? ``n`` against
    ``n_swapped``: are descriptions read from n labels, and do answers follow them? A model that
    does not read the labels has the same loss when chosen and rejected are exchanged.
    """

    def __init__(self, curriculum: Curriculum, *, seed: int, users: int) -> None:
        self.curriculum, self.users, self.seed = curriculum, users, seed

    def labelled(self, shots: int, swapped: bool) -> list[Episode]:
        """Description branches and answers of Roleplay users who were never trained on."""
        c = self.curriculum
        rng = seeded("probe", self.seed, shots)
        return [
            c.few_shot(
                rng, Stage(1.0, shots, 0.0), world=c.roleplay, fixed_shots=shots, swapped=swapped
            )
            for _ in range(self.users)
        ]

    def described(self, told: bool) -> list[Episode]:
        """Best answers to the same questions, after the user's description or without it."""
        c, fmt = self.curriculum, self.curriculum.format
        rng = seeded("probe told", self.seed)
        episodes = []
        for _ in range(4 * self.users):
            weights = c.roleplay.sample_user(rng, split="train").weights
            user = [fmt.user, *fmt.text(c.roleplay.describe_weights(weights)), fmt.end]
            answer = c.best_answer(c.roleplay, weights, rng, Stage(0.0, 0, 0.0))
            parts = [(user, 0.0), *answer] if told else answer
            episodes.append(Episode([fmt.bos], [branch_of(1, parts)]))
        return episodes

    def loss(self, model: Any, episodes: Sequence[Episode]) -> float:
        """Mean loss in nats on the tokens of full weight."""
        total = weight = 0.0
        device = next(model.parameters()).device
        for packed in pack(episodes, micro_tokens=6000):
            batch = packed.to(device)
            with torch.autocast(device.type, dtype=torch.bfloat16):
                logprobs = token_logprobs(model, batch)
            sure = batch.weight == 1.0
            total -= float(logprobs[sure].sum())
            weight += float(sure.sum())
        return total / weight

    def __call__(self, model: Any) -> Metrics:
        metrics = {
            "eval/told": self.loss(model, self.described(told=True)),
            "eval/untold": self.loss(model, self.described(told=False)),
        }
        for shots in (1, 4, 8):
            for swapped in (False, True):
                key = f"eval/{shots}{'_swapped' if swapped else ''}"
                metrics[key] = self.loss(model, self.labelled(shots, swapped))
        return metrics
