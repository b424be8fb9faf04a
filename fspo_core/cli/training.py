"""``fspo pretrain``, ``train``, ``build-checkpoint``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fspo_core.cli.printing import console

app = typer.Typer()


@app.command()
def pretrain(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, metrics and the result.")],
    steps: int = 4200,
    seed: int = 1,
) -> None:
    """Train tokenizer and base model from scratch on the synthetic world; resumes when killed."""
    from fspo_core.training.pretrain import PretrainConfig
    from fspo_core.training.pretrain import pretrain as run

    run(PretrainConfig(out=out, steps=steps, seed=seed))


@app.command()
def train(
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder; the adapter goes into it.")],
    out: Annotated[Path, typer.Option(help="Folder for the run's own checkpoints and metrics.")],
    objective: Annotated[Literal["sft", "ipo"], typer.Option(help="sft is few-shot Pref-FT.")],
    adapter: Annotated[str, typer.Option(help="Name of the adapter to write.")],
    start: Annotated[
        str | None, typer.Option(help="Adapter to start from (and IPO's reference).")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="File, folder or hub:NAME with preferences; default: the world itself."),
    ] = None,
    shots: Annotated[int, typer.Option(help="Largest number of labels; 0: not personal.")] = 8,
    steps: int = 200,
    learning_rate: float = 2e-4,
    beta: float = 0.0625,
    seed: int = 1,
) -> None:
    """Fine-tune an adapter: few-shot Pref-FT or few-shot IPO; resumes when killed."""
    from fspo_core.training.finetune import TrainConfig
    from fspo_core.training.finetune import train as run

    run(
        TrainConfig(
            checkpoint=checkpoint, out=out, objective=objective, adapter=adapter, start=start,
            data=data, shots=shots, steps=steps, learning_rate=learning_rate, beta=beta, seed=seed,
        )
    )  # fmt: skip


@app.command("build-checkpoint")
def build_checkpoint(
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs/embedded"),
) -> None:
    """The embedded checkpoint from nothing: pretraining, Pref-FT, IPO; resumes when killed."""
    from fspo_core.training.recipe import build

    console.print(f"installed {build(out)}")
