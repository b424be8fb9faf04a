"""How long the embedded recipe's pretraining takes with contexts computed once, and without.

    python -m tests.benchmarks.recipe_time --json recipe.json

Steps of every stage of the curriculum, forward and backward, by three engines that compute the same
losses: a packed row under a dense mask (as the first two checkpoints were trained), contexts
computed once, and the same with compiled pieces. Minutes are for all steps of the recipe, in one
process; two processes with a thread each are faster still.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from fspo_core.evaluation.provenance import provenance
from fspo_core.modeling import new_llama, train_tokenizer
from fspo_core.training.curriculum import Curriculum, stage_at
from fspo_core.training.episodes import Batch, pack
from fspo_core.training.fusing import fuse
from fspo_core.training.loop import keep_freed_memory
from fspo_core.training.objectives import likelihood_loss, token_logprobs
from fspo_core.training.pretrain import PretrainConfig, corpus

MASKED_MICRO_TOKENS = 2000  # what measured best with a mask: it grows with the square


def masked_logprobs(model: Any, batch: Batch) -> torch.Tensor:
    """The same log-probabilities from one dense mask over the packed row."""
    size = batch.tokens
    sees = torch.zeros(size, size, dtype=torch.bool)
    for a, b in batch.layout.causal:
        sees[a:b, a:b] = torch.ones(b - a, b - a, dtype=torch.bool).tril()
    for a, b, first, last in batch.layout.shared:
        sees[a:b, first:last] = True
    hidden = model.model(
        input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False,
        attention_mask=sees[None, None],
    ).last_hidden_state  # fmt: skip
    logits = model.lm_head(hidden[0, batch.at]).float()
    return -torch.nn.functional.cross_entropy(logits, batch.target, reduction="none")


def seconds_of(
    model: Any, batches: list[Batch], logprobs: Callable[[Any, Batch], torch.Tensor]
) -> tuple[float, float]:
    """Seconds of one step, and its loss."""
    began, total = time.perf_counter(), 0.0
    for batch in batches:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = logprobs(model, batch)
        loss = likelihood_loss(found, batch.weight)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach()) * float(batch.weight.sum())
    model.zero_grad()
    weights = sum(float(batch.weight.sum()) for batch in batches)
    return time.perf_counter() - began, total / weights


def main(
    steps: Annotated[int, typer.Option(help="Steps measured in each stage.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Print a line a stage, and the minutes of the whole recipe."""
    keep_freed_memory()
    recipe = PretrainConfig(out=Path())
    curriculum = Curriculum(
        train_tokenizer(corpus(6000, 1), vocab_size=recipe.vocab_size), seed=recipe.seed
    )

    def model() -> Any:
        return new_llama(
            vocab_size=recipe.vocab_size, hidden=recipe.hidden, layers=recipe.layers,
            heads=recipe.heads, feed_forward=recipe.feed_forward, context=recipe.context, seed=1,
        )  # fmt: skip

    plain, shared, fused = model(), model(), model()
    plain.set_attn_implementation("sdpa")
    engines = {
        "dense mask": (plain, masked_logprobs, MASKED_MICRO_TOKENS),
        "contexts once": (shared, token_logprobs, recipe.micro_tokens),
        "and compiled": (fused, token_logprobs, recipe.micro_tokens),
    }
    starts = [0.0]
    for step in range(recipe.steps):
        if stage_at(step / recipe.steps) != stage_at(starts[-1]):
            starts.append(step / recipe.steps)
    lengths = [b - a for a, b in zip(starts, [*starts[1:], 1.0], strict=True)]
    minutes = dict.fromkeys(engines, 0.0)
    speeds: list[dict[str, float]] = []
    names = list(engines)
    for name in names:  # compiled pieces replace a function of transformers': last
        trained, logprobs, micro_tokens = engines[name]
        if name == "and compiled" and not fuse(trained):
            continue
        for i, (start, length) in enumerate(track(list(zip(starts, lengths, strict=True)), name)):
            if name == names[0]:
                speeds.append({"from": start, "share": length})
            seconds, tokens, loss = 0.0, 0, 0.0
            for step in range(-1, steps):  # the first one warms up
                episodes = [
                    e for part in curriculum.episodes(step, start, recipe.tokens_per_step)
                    for e in part
                ]  # fmt: skip
                batches = pack(episodes, micro_tokens=micro_tokens)
                spent, loss = seconds_of(trained, batches, logprobs)
                if step >= 0:
                    seconds, tokens = seconds + spent, tokens + sum(b.tokens for b in batches)
            speeds[i][name], speeds[i][f"loss, {name}"] = tokens / seconds, loss
            minutes[name] += length * recipe.steps * seconds / steps / 60
    table = Table("from", "share of the steps", *(f"{name}, tokens/s" for name in names))
    for row in speeds:
        table.add_row(
            f"{row['from']:.2f}", f"{row['share']:.2f}",
            *(f"{row.get(name, 0):,.0f}" for name in names),
        )  # fmt: skip
    table.add_row("minutes", "", *(f"{minutes[name]:.0f}" for name in names))
    Console().print(table, provenance())
    if json_file:
        figures = {"stages": speeds, "minutes": minutes, "provenance": provenance()}
        json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
