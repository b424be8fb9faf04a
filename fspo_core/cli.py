"""``fspo``: pretraining, training and evaluation. Thin: it parses and prints."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from fspo_core.errors import FspoError, WorldError
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
    from fspo_core.worlds.freeze import fingerprint_hash

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
    detectors = synthetic.by_detector(found, config)
    _print_winrates(rows)
    _print_summaries(summaries)
    _print_detectors(detectors)
    if answers:
        with answers.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(a)) + "\n" for a in found)
    options = f"--world {world} --shots {shots} --users {users} --seed {seed} --seeds {seeds}"
    options += f" --wording {wording}"
    figures = {
        **rows_to_json(rows),
        "arms": [asdict(s) for s in summaries],
        "detectors": [asdict(d) for d in detectors],
        "options": options,
        "same_world": _trained_on(engine) == fingerprint_hash(the_world),
    }
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


@app.command()
def questions(count: int = 12, seed: int = 3) -> None:
    """Questions of the synthetic world for a study's bank, one a line."""
    from fspo_core.worlds.roleplay import Roleplay

    for question in Roleplay().everyday_questions(count, seed=seed):
        typer.echo(json.dumps(question) + ",")


@app.command()
def readings(
    world: str,
    out: Annotated[Path | None, typer.Option(help="Write the sheet of texts here.")] = None,
    verdicts: Annotated[Path | None, typer.Option(help="A reader's lines on that sheet.")] = None,
    count: int = 200,
    seed: int = 1,
) -> None:
    """A sheet of texts for a blind reader, or how far the detectors agree with their verdicts."""
    from fspo_core.evaluation import readings as reading
    from fspo_core.worlds import get_world

    the_world = get_world(world)
    if out:
        out.write_text(reading.sheet(the_world, count, seed), encoding="utf-8")
    if verdicts:
        rows = reading.compare(the_world, count, seed, verdicts)
        table = Table("attribute", "detector a", "detector b", title=f"{world}: {count} texts")
        for a in rows[: len(rows) // 2]:
            b = next(r for r in rows if r.attribute == a.attribute and r.detector == "b")
            table.add_row(a.attribute, f"{100 * a.agreement:.1f} %", f"{100 * b.agreement:.1f} %")
        console.print(table)


@app.command()
def samples(
    count: int = 40,
    seed: int = 1,
    out: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("samples.md"),
) -> None:
    """Random questions and answers of every world, to read."""
    from fspo_core.evaluation.samples import samples_markdown

    out.write_text(samples_markdown(count, seed), encoding="utf-8")


@app.command("gate-errors")
def gate_errors(texts: int = 300, seed: int = 5) -> None:
    """How often the quality gate refuses good texts, and lets pass those spoiled on purpose."""
    from fspo_core.evaluation.planted import SPOILERS
    from fspo_core.evaluation.planted import gate_errors as errors_of
    from fspo_core.worlds import WORLDS, get_world

    table = Table("world", "split", "good", *SPOILERS, "stuffed", title="errors of the gate, %")
    for name in WORLDS:
        for split in ("train", "heldout"):
            rows = errors_of(get_world(name), texts=texts, seed=seed, split=split)
            table.add_row(name, split, *(f"{100 * row.error:.1f}" for row in rows))
    console.print(table)


WorldOption = Annotated[str, typer.Option(help="A world's name, or all.")]


@app.command()
def synthesize(
    out: Annotated[Path, typer.Option(help="Folder of the data set; an unfinished one goes on.")],
    world: WorldOption = "all",
    seed: int = 1,
    scale: Annotated[float, typer.Option(help="Share of the full size, over 0 to 1.")] = 1.0,
    processes: Annotated[int, typer.Option(help="Changes no byte of the result.")] = 2,
) -> None:
    """More than a million labelled preferences from the worlds, as Parquet with a manifest."""
    from fspo_core.synthesis import generate

    config = generate.SynthesisConfig(out, _worlds(world), seed, scale, processes)
    with _progress() as bar:
        task = bar.add_task("preferences", total=sum(s.rows for s in generate.plan(config)))
        manifest = generate.synthesize(config, lambda n: bar.advance(task, n))
    table = Table("world", "train", "heldout")
    for name, counts in manifest["counts"].items():
        table.add_row(name, *(f"{counts[split]:,}" for split in ("train", "heldout")))
    console.print(table)
    console.print(f"{manifest['preferences']:,} preferences in {out}\nsha256 {manifest['sha256']}")


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(help="A data set that synthesize wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for audit.json and audit.png; default: the set's.")
    ] = None,
    processes: int = 2,
) -> None:
    """Diversity, balance, label entropy, agreement, leaks, and how guessable the labels are."""
    from fspo_core.synthesis import audit as checks

    with _progress() as bar:
        task = bar.add_task("rows", total=checks.rows_in(folder))
        report = checks.audit(folder, processes=processes, progress=lambda n: bar.advance(task, n))
    where = out or folder
    where.mkdir(parents=True, exist_ok=True)
    checks.plot(report, where / "audit.png")
    _write_json(where / "audit.json", report)
    for table in _audit_tables(report):
        console.print(table)
    console.print(f"{where / 'audit.png'}, {where / 'audit.json'}")


@app.command()
def ceiling(
    world: WorldOption = "all",
    shots: Annotated[str, typer.Option(help="Numbers of labels.")] = "0 1 2 4 8 16",
    episodes: Annotated[int, typer.Option(help="Users drawn for each world and split.")] = 250,
    particles: Annotated[int, typer.Option(help="Users that stand for the prior.")] = 1000,
    seed: int = 7,
    freeze: Annotated[bool, typer.Option(help="Put the worlds' hashes on record.")] = False,
    json_file: JsonOption = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw the curves (PNG).")] = None,
) -> None:
    """What the Bayes-optimal answerer wins by number of labels, and what is had without labels."""
    from fspo_core.worlds import freeze as freezing
    from fspo_core.worlds import get_world
    from fspo_core.worlds.optimum import ceiling as ceiling_of

    try:
        numbers = sorted({int(n) for n in shots.replace(",", " ").split()})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 0 or episodes < 2 or particles < 1:
        raise WorldError(
            f"shots must be whole numbers from 0, episodes at least 2 and particles at least 1, "
            f"got {shots!r}, {episodes} and {particles}"
        )
    names = _worlds(world)
    the_worlds = [get_world(name) for name in names]
    if freeze:
        freezing.freeze(the_worlds)
    rows: list[Any] = []
    with _progress() as bar:
        task = bar.add_task("users", total=2 * episodes * len(names))
        for each in the_worlds:
            for split in ("train", "heldout"):
                rows += ceiling_of(
                    each, split=split, shots=numbers, episodes=episodes, particles=particles,
                    seed=seed, progress=lambda n: bar.advance(task, n),
                )  # fmt: skip
    table = Table("world", "users", "shots", "ceiling", "oracle", "copycat", "best for everybody")
    for r in rows:
        table.add_row(
            r.world, r.users, str(r.shots), f"{r.ceiling:.1f} ± {r.ceiling_error:.1f}",
            f"{r.oracle:.1f} ± {r.oracle_error:.1f}", f"{r.copycat:.1f} ± {r.copycat_error:.1f}",
            f"{r.agnostic:.1f}",
        )  # fmt: skip
    console.print(table)
    on_record = freezing.frozen()
    hashes = {each.name: freezing.fingerprint_hash(each) for each in the_worlds}
    for name, value in hashes.items():
        state = "frozen" if on_record.get(name) == value else "NOT the world on record"
        console.print(f"{name}: {value[:16]} ({state})")
    if plot:
        from fspo_core.evaluation.plots import plot_ceiling

        plot_ceiling(rows, plot)
    _write_json(json_file, {"rows": [asdict(r) for r in rows], "worlds": hashes})


def _worlds(name: str) -> tuple[str, ...]:
    from fspo_core.worlds import WORLDS, get_world

    return tuple(WORLDS) if name == "all" else (get_world(name).name,)


def _progress() -> Progress:
    """A bar with counts and time, on standard error."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, console=Console(stderr=True))


def _audit_tables(report: dict[str, Any]) -> list[Table]:
    diversity = Table(
        "world", "split", "preferences", "users", "topics", "distinct sentences",
        "100 commonest", "distinct-1/2/3", "self-BLEU", "words",
    )  # fmt: skip
    balance = Table(
        "world", "x preferred", "longer preferred", "label entropy", "length", "first words",
        "attributes", "agreement",
    )  # fmt: skip
    leaks = Table("world", "users", "combinations", "topics", "wordings", "near duplicates")
    for world, entry in report["worlds"].items():
        for split, part in entry["splits"].items():
            diversity.add_row(
                world, split, f"{part['rows']:,}", str(part["users"]), f"{part['topics']:,}",
                f"{part['distinct_templates']:,}", f"{100 * part['commonest_share']:.1f} %",
                " ".join(f"{v:.3f}" for v in part["distinct"].values()),
                f"{part['self_bleu']:.1f}",
                f"{(part['words_chosen'] + part['words_rejected']) / 2:.0f}",
            )  # fmt: skip
        train, guess, leak = entry["splits"]["train"], entry["predictors"], entry["leakage"]
        balance.add_row(
            world, f"{100 * train['x_preferred']:.1f} %",
            f"{100 * train['longer_preferred']:.1f} %",
            f"{train['label_entropy_bits']['mean']:.3f}", f"{100 * guess['length']:.1f} %",
            f"{100 * guess['first_words']:.1f} %", f"{100 * guess['attributes']:.1f} %",
            f"{100 * entry['agreement']['mean']:.1f} %",
        )  # fmt: skip
        leaks.add_row(
            world, *(str(leak[k]) for k in ("users", "combinations", "topics", "wordings")),
            f"{leak['near_duplicates']} of {leak['of_sampled_answers']:,}",
        )  # fmt: skip
    diversity.title, balance.title, leaks.title = (
        "diversity", "balance, and labels guessed without the user", "in both splits",
    )  # fmt: skip
    return [diversity, balance, leaks]


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


def _trained_on(engine: str) -> str | None:
    """The hash of the world that a local checkpoint was pretrained on, where it says so."""
    from fspo_core.modeling import EMBEDDED

    path = Path(engine.removeprefix("local:")) if engine.startswith("local:") else EMBEDDED
    meta = path / "fspo.json"
    found = json.loads(meta.read_text(encoding="utf-8")) if meta.is_file() else {}
    world: str | None = found.get("world")
    return world


def _print_detectors(detectors: list[Any]) -> None:
    table = Table("arm", "winrate by detector a", "by detector b")
    for d in detectors:
        table.add_row(d.arm, f"{100 * d.detector_a:.1f}", f"{100 * d.detector_b:.1f}")
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
