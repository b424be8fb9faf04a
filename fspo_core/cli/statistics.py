"""``fspo winrate``, ``coverage`` and ``plan``: the statistics of a blinded study."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from fspo_core.cli.printing import JsonOption, console, progress, write_json

app = typer.Typer()
PlotOption = Annotated[Path | None, typer.Option(help="Also draw it (PNG).")]


@app.command("winrate")
def winrate_of_file(
    file: Annotated[Path, typer.Argument(help="CSV, JSONL, Parquet, or AlpacaEval's annotations.")],
    json_file: JsonOption = None,
    plot: PlotOption = None,
) -> None:
    """Winrates of judgments from anywhere, with all that belongs to them (docs/statistics.md)."""
    from fspo_core.evaluation.analysis import analyse
    from fspo_core.evaluation.judgment_files import preferences, read
    from fspo_core.evaluation.plots import forest_plot
    from fspo_core.evaluation.winrates import alpaca_eval

    figures = analyse(read(file))
    if stated := preferences(file):
        figures["alpaca_eval"] = asdict(alpaca_eval(stated))
    _print_analysis(figures)
    write_json(json_file, figures)
    if plot:
        forest_plot(figures["rows"], plot)


@app.command()
def coverage(
    replicates: Annotated[int, typer.Option(help="Simulated studies a cell.")] = 4000,
    seed: int = 1,
    json_file: JsonOption = None,
    plot: PlotOption = None,
) -> None:
    """How often each interval holds the truth, over sizes, correlations and winrates."""
    from fspo_core.evaluation import coverage as simulation
    from fspo_core.evaluation.plots import plot_coverage

    cells = len(simulation.PARTICIPANTS) * len(simulation.ICCS) * len(simulation.WINRATES)
    with progress() as bar:
        task = bar.add_task("cells", total=cells)
        rows = simulation.coverage(replicates, seed, lambda n: bar.advance(task, n))
    table = Table("participants", "ICC", "winrate", *simulation.METHODS, title="coverage, %")
    for first in rows[:: len(simulation.METHODS)]:
        cell = (first.participants, first.icc, first.winrate)
        own = {r.method: r for r in rows if (r.participants, r.icc, r.winrate) == cell}
        shares = (f"{100 * own[method].coverage:.1f}" for method in simulation.METHODS)
        table.add_row(str(cell[0]), f"{cell[1]:g}", f"{cell[2]:g}", *shares)
    console.print(table)
    write_json(json_file, {"rows": [asdict(row) for row in rows]})
    if plot:
        plot_coverage(rows, plot)


@app.command()
def plan(
    winrate: Annotated[float, typer.Option(help="To be told from 0.5.")] = 0.6,
    power: float = 0.9,
    per_participant: Annotated[int, typer.Option(help="Judgments each.")] = 11,
    icc: Annotated[str, typer.Option(help="Intraclass correlations.")] = "0 0.05 0.1 0.2 0.4",
    participants: Annotated[
        int | None, typer.Option(help="Say what so many can tell, instead.")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """How many people a study needs, or what a number of them can tell, by correlation."""
    from fspo_core.evaluation import planning

    correlations = _numbers(icc)
    rows: list[dict[str, Any]] = []
    table = Table("ICC", "design effect", "judgments if independent", "judgments", "participants")
    if participants is not None:
        table = Table("ICC", "smallest winrate told from 50 %", f"power at {100 * winrate:g} %")
    for correlation in correlations:
        shared: dict[str, Any] = {"icc": correlation, "per_participant": per_participant}
        if participants is None:
            found = planning.plan(winrate, power=power, **shared)
            rows.append(asdict(found))
            table.add_row(
                f"{correlation:g}", f"{found.design_effect:.2f}", str(found.independent),
                str(found.judgments), str(found.participants),
            )  # fmt: skip
        else:
            smallest = planning.detectable(participants, power=power, **shared)
            reached = planning.power_of(participants, winrate, **shared)
            rows.append({"participants": participants, "detectable": smallest, "power": reached,
                         **shared})  # fmt: skip
            table.add_row(f"{correlation:g}", f"{100 * smallest:.1f} %", f"{100 * reached:.0f} %")
    console.print(table)
    write_json(json_file, {"rows": rows})


def _numbers(said: str) -> list[float]:
    from fspo_core.evaluation.planning import ImpossiblePlan

    try:
        return [float(n) for n in said.replace(",", " ").split()]
    except ValueError:
        raise ImpossiblePlan(f"icc must be numbers from 0 to 1, got {said!r}") from None


def _print_analysis(figures: dict[str, Any]) -> None:
    main = Table(
        title=f"{figures['judgments']} judgments of {figures['participants']} participants; "
        "everybody counts once, a tie is half a win"
    )
    other = Table(title="the same judgments, counted otherwise")
    for table in (main, other):
        table.add_column("pairing", no_wrap=True)
    for name in ("winrate", "95 % interval", "people", "judged", "won/lost/tied"):
        main.add_column(name, no_wrap=True, justify="right")
    for name in ("Holm p", "sign test p", "by judgment", "ties dropped", "equal lengths"):
        other.add_column(name, justify="right")
    other.add_column("at all times", no_wrap=True, justify="right")
    several = len({(row["world"], row["shots"]) for row in figures["rows"]}) > 1
    for row in figures["rows"]:
        pairing = f"{row['arm']} > {row['against']}"
        if several:
            pairing += f"\n{row['world']}, {row['shots']} labels"
        main.add_row(
            pairing, _percent(row["winrate"]), _range(row), str(row["users"]),
            str(row["judgments"]), f"{row['wins']}/{row['losses']}/{row['ties']}",
        )  # fmt: skip
        other.add_row(
            pairing, f"{row['p_value_holm']:.3f}", f"{row['sign_test']['p_value']:.3f}",
            _percent(row["by_judgment"]["winrate"]), _rate(row["ties_dropped"]),
            _rate(row["length_controlled"], "rate"), _range(row["sequence"]),
        )  # fmt: skip
    console.print(main, other)
    for row in figures["rows"]:
        if isinstance(row["effects"], list):
            terms = "; ".join(
                f"{e['term']} × {e['odds_ratio']:.2f} ({e['low']:.2f}–{e['high']:.2f})"
                for e in row["effects"]
            )
            console.print(f"{row['arm']} > {row['against']}: odds of winning by {terms}")
        else:
            console.print(
                f"{row['arm']} > {row['against']}: no effects, {row['effects']['refused']}"
            )
    console.print(
        f"left answer preferred: {_rate(figures['position'])} {_range(figures['position'])}"
    )
    for name, title in (("retest", "people with themselves"), ("between_people", "between people")):
        found = figures[name]
        console.print(
            f"agreement, {title}: "
            + (
                f"{_percent(found['agreement'])} of {found['pairs']} pairs of verdicts on "
                f"{found['items']} items (alpha "
                f"{'–' if found['alpha'] is None else round(found['alpha'], 2)})"
                if "refused" not in found
                else f"{found['refused']}"
            )
        )
    if "abilities" in figures["ranking"]:
        ranks = Table("arm", "ability", "95 % interval", title="Bradley-Terry, log-odds")
        for arm in figures["ranking"]["abilities"]:
            bounds = "" if arm["low"] is None else f"{arm['low']:.2f} – {arm['high']:.2f}"
            ranks.add_row(arm["arm"], f"{arm['ability']:.2f}", bounds)
        console.print(ranks)
    if "alpaca_eval" in figures:
        found = figures["alpaca_eval"]
        console.print(
            f"AlpacaEval: win_rate {found['win_rate']:.2f}, "
            f"standard_error {found['standard_error']:.2f}"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _rate(found: dict[str, Any], key: str = "winrate") -> str:
    return "–" if "refused" in found else _percent(found[key])


def _range(found: dict[str, Any]) -> str:
    return "–" if "refused" in found else f"{_percent(found['low'])}–{_percent(found['high'])}"
