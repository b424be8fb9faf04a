"""``fspo evaluate``, ``gates``, ``report``, ``specimens``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fspo_core.cli.printing import (
    JsonOption,
    console,
    print_arms,
    whole_numbers,
    write_json,
)

app = typer.Typer()


@app.command()
def evaluate(
    world: Annotated[str, typer.Option(help="A world's name, or all.")] = "all",
    shots: Annotated[
        str, typer.Option(help="Numbers of labels; default: those of the paper's tables.")
    ] = "",
    users: Annotated[int, typer.Option(help="People in each world and split.")] = 100,
    seed: int = 7,
    seeds: Annotated[int, typer.Option(help="Questions of each of them.")] = 4,
    wording: Annotated[
        Literal["train", "heldout"], typer.Option(help="Sentences of the labelled pairs.")
    ] = "train",
    engine: Annotated[str, typer.Option(help="As FSPO_ENGINE: local, local:PATH, …")] = "local",
    answers: Annotated[
        Path | None, typer.Option(help="Also write every answer here (JSONL).")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Winrates against the base on held-out questions, by the worlds' known rewards."""
    from fspo_core.engines import load_engine
    from fspo_core.evaluation import synthetic
    from fspo_core.worlds import get_world
    from fspo_core.worlds.freeze import fingerprint_hash

    numbers = whole_numbers(shots, "shots", least=0) if shots else []
    columns = synthetic.columns_of(world, numbers)
    config = synthetic.EvaluationConfig(people=users, seed=seed, seeds=seeds, wording=wording)
    rows: list[synthetic.ArmRow] = []
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("answers", total=len(columns) * config.answers_a_column)
        evaluation = synthetic.Evaluation(
            load_engine(engine), config, lambda n: bar.advance(task, n)
        )
        for column in columns:
            found = evaluation.answers(column)
            rows += synthetic.rows(found, column, seed)
            if answers:
                _append(answers, column, found, first=column == columns[0])
    print_arms(rows)
    options = f"--world {world} --users {users} --seed {seed} --seeds {seeds} --wording {wording}"
    options += f' --shots "{shots}"' if shots else ""
    names = dict.fromkeys(column.world for column in columns)
    figures = {
        "rows": [asdict(row) for row in rows],
        "headline": synthetic.headline(rows),
        "options": options,
        "same_world": {
            name: _trained_on(engine, name) == fingerprint_hash(get_world(name)) for name in names
        },
    }
    write_json(json_file, figures)


def _append(path: Path, column: Any, found: dict[str, list[Any]], *, first: bool) -> None:
    """A line an answer; labels stand there whether or not the arm read them."""
    with path.open("w" if first else "a", encoding="utf-8") as file:
        for arm, base in ((arm, found["ceiling"]) for arm in found.values()):
            for answer, seen in zip(arm, base, strict=True):
                said = {**asdict(answer), "history": asdict(seen.history)}
                file.write(json.dumps({"column": asdict(column), **said}) + "\n")


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
    from fspo_core.evaluation.gates import predicted_labels, topic_naming
    from fspo_core.evaluation.label_prediction import label_prediction
    from fspo_core.modeling import EMBEDDED
    from fspo_core.rewards import PersonalReward

    path = checkpoint or EMBEDDED
    named = topic_naming(
        LocalEngine(path), ("base", "fspo", "fspo_rat"), questions=questions, seed=seed
    )
    found = predicted_labels(PersonalReward.load(path), users=users, seed=seed)
    topics = Table("arm", "unseen topics named", "questions")
    for n in named:
        topics.add_row(n.arm, f"{100 * n.named:.1f}", str(n.questions))
    labels = Table(
        "reader", "shots", "labels predicted, %", "95 % interval", "log loss, nats",
        "calibration error", "labels",
    )  # fmt: skip
    rows = []
    for name, predictions in found.items():
        for row in label_prediction(predictions):
            rows.append({"reader": name, **asdict(row)})
            labels.add_row(
                name, str(row.shots), f"{100 * row.accuracy:.1f}",
                f"{100 * row.low:.1f} – {100 * row.high:.1f}", f"{row.log_loss:.3f}",
                f"{row.calibration_error:.3f}", str(row.labels),
            )  # fmt: skip
    console.print(topics, labels)
    write_json(json_file, {"topics": [asdict(n) for n in named], "labels": rows})


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


def _trained_on(engine: str, world: str) -> str | None:
    """The hash of the world as a local checkpoint was pretrained on it, where it says so."""
    from fspo_core.modeling import EMBEDDED

    path = Path(engine.removeprefix("local:")) if engine.startswith("local:") else EMBEDDED
    meta = path / "fspo.json"
    found = json.loads(meta.read_text(encoding="utf-8")) if meta.is_file() else {}
    fingerprint: str | None = found.get("worlds", {}).get(world)
    return fingerprint
