"""``fspo``: pretraining, training and evaluation. Thin: it parses and prints."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fspo_core.errors import FspoError
from fspo_core.evaluation.provenance import provenance

app = typer.Typer(help="Few-shot preference optimization.", no_args_is_help=True)
console = Console()
JsonOption = Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")]


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
            shots=shots, steps=steps, learning_rate=learning_rate, beta=beta, seed=seed,
        )
    )  # fmt: skip


@app.command("build-checkpoint")
def build_checkpoint(
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs/embedded"),
) -> None:
    """The embedded checkpoint from nothing: pretraining, Pref-FT, IPO; resumes when killed."""
    from fspo_core.training.recipe import build

    console.print(f"installed {build(out)}")


@app.command()
def evaluate(
    world: str = "roleplay",
    shots: int = 4,
    users: int = 300,
    seed: int = 7,
    seeds: int = 4,
    wording: Annotated[
        Literal["train", "heldout"], typer.Option(help="Sentences of the labelled pairs.")
    ] = "train",
    engine: Annotated[str, typer.Option(help="As FSPO_ENGINE: local, local:PATH, …")] = "local",
    answers: Annotated[
        Path | None, typer.Option(help="Also write every answer here (JSONL).")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Winrates against the base on held-out users and topics, by the world's known reward."""
    from fspo_core.engines import load_engine
    from fspo_core.evaluation import synthetic
    from fspo_core.evaluation.winrates import rows_to_json
    from fspo_core.worlds import get_world

    config = synthetic.EvaluationConfig(
        world=world, shots=shots, users=users, seed=seed, seeds=seeds,
        wording=wording,
    )  # fmt: skip
    the_world = get_world(world)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("answers", total=users * seeds * (len(config.arms) + 1))
        found = synthetic.answer_all(
            load_engine(engine), the_world, config, lambda n: bar.advance(task, n)
        )
    rows = synthetic.table(found, config)
    summaries = synthetic.summaries(found)
    _print_winrates(rows)
    _print_summaries(summaries)
    if answers:
        with answers.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(a)) + "\n" for a in found)
    options = f"--world {world} --shots {shots} --users {users} --seed {seed} --seeds {seeds}"
    options += f" --wording {wording}"
    figures = {**rows_to_json(rows), "arms": [asdict(s) for s in summaries], "options": options}
    _write_json(json_file, figures)


@app.command()
def gates(
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the embedded one.")] = None,
    users: int = 100,
    questions: int = 100,
    seed: int = 7,
    json_file: JsonOption = None,
) -> None:
    """Unseen topics named, and label prediction by shots against the Bayes-optimal reader."""
    from fspo_core.engines.local import LocalEngine
    from fspo_core.evaluation.gates import label_prediction, topic_naming
    from fspo_core.modeling import EMBEDDED

    path = checkpoint or EMBEDDED
    named = topic_naming(
        LocalEngine(path), ("base", "fspo", "fspo_rat"), questions=questions, seed=seed
    )
    predicted = label_prediction(path, users=users, seed=seed)
    topics = Table("arm", "unseen topics named", "questions")
    for n in named:
        topics.add_row(n.arm, f"{100 * n.named:.1f}", str(n.questions))
    labels = Table("shots", "labels predicted", "Bayes-optimal", "labels")
    for p in predicted:
        labels.add_row(
            str(p.shots), f"{100 * p.model:.1f}", f"{100 * p.optimum:.1f}", str(p.labels)
        )
    console.print(topics, labels)
    _write_json(
        json_file, {"topics": [asdict(n) for n in named], "labels": [asdict(p) for p in predicted]}
    )


@app.command()
def report(
    winrates: Annotated[Path, typer.Option(help="JSON of fspo evaluate.")],
    gates_file: Annotated[Path, typer.Option("--gates", help="JSON of fspo gates.")],
    answers: Annotated[Path | None, typer.Option(help="JSON of answer_latency.")] = None,
    pages: Annotated[Path | None, typer.Option(help="JSON of page_latency.")] = None,
    out: Path = Path("docs/results.md"),
) -> None:
    """Write docs/results.md and its plot from the figures of the other commands."""
    from fspo_core.evaluation.report import write

    write(winrates, gates_file, out, answers_file=answers, pages_file=pages)


@app.command()
def specimens(
    count: int = 30,
    seed: int = 11,
    out: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("specimens.md"),
) -> None:
    """Answers to read, with the labels they were conditioned on; verdicts are a reader's."""
    from fspo_core.engines import load_engine
    from fspo_core.evaluation.specimens import specimens_markdown

    out.write_text(specimens_markdown(load_engine("local"), count=count, seed=seed), "utf-8")


@app.command()
def pairs(count: int = 24, seed: int = 3) -> None:
    """Pairs of the synthetic world on matters of everyday life, as TOML for a study."""
    from fspo_core.worlds.roleplay import Roleplay

    for pair in Roleplay().everyday_pairs(count, seed=seed):
        typer.echo("\n[[pairs]]")
        for key, text in zip(("question", "response_a", "response_b"), pair, strict=True):
            typer.echo(f"{key} = {json.dumps(text)}")


def _print_winrates(rows: list[Any]) -> None:
    table = Table(
        "arm", "against", "world", "shots", "winrate", "95 % interval", "users", "judgments"
    )
    for r in rows:
        interval = f"{100 * r.low:.1f} – {100 * r.high:.1f}"
        table.add_row(
            r.arm, r.against, r.world, str(r.shots), f"{100 * r.winrate:.1f}", interval,
            str(r.users), str(r.judgments),
        )  # fmt: skip
    console.print(table)


def _print_summaries(summaries: list[Any]) -> None:
    table = Table("arm", "gate passed", "topic named", "words")
    for s in summaries:
        table.add_row(
            s.arm, f"{100 * s.gate_pass_rate:.1f}", f"{100 * s.topic_named:.1f}", f"{s.words:.0f}"
        )
    console.print(table)


def _write_json(path: Path | None, figures: dict[str, Any]) -> None:
    if path:
        figures = {**figures, "provenance": provenance()}
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Entry point: refusals are one line, not a traceback."""
    try:
        app()
    except FspoError as error:
        console.print(f"[red]error:[/red] {error}")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
