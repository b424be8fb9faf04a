"""What the commands share: the console, the progress bar, tables, the JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
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

from fspo_core.errors import FspoError
from fspo_core.evaluation.provenance import provenance

console = Console()
JsonOption = Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")]


def whole_numbers(said: str, name: str, *, least: int) -> list[int]:
    """Numbers of an option, "1 2 4" or "1,2,4", in order. Raises FspoError, stating the value."""
    try:
        numbers = sorted({int(n) for n in said.replace(",", " ").split()})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < least:
        raise FspoError(f"{name} must be whole numbers from {least}, got {said!r}")
    return numbers


def progress() -> Progress:
    """A bar with counts and time, on standard error."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, console=Console(stderr=True))


def audit_tables(report: dict[str, Any]) -> list[Table]:
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


def print_arms(rows: Sequence[Any]) -> None:
    """Arms in each column of an evaluation; rates in percent."""
    for key, group in groupby(rows, lambda r: (r.world, r.user_split, r.shots)):
        world, users, shots = key
        table = Table(title=f"{world}, {users} users, {shots} labels; percent", box=box.SIMPLE_HEAD)
        table.add_column("arm", no_wrap=True)
        for name in (
            "win rate", "95 % interval", "of the ceiling", "both pass", "equal length",
            "gate passed", "topic named",
        ):  # fmt: skip
            table.add_column(name, justify="right")
        for r in group:
            table.add_row(
                r.arm if r.against == "base" else f"{r.arm} > {r.against}",
                f"{100 * r.winrate:.1f}", f"{100 * r.low:.0f}–{100 * r.high:.0f}",
                _or_dash(r.share), _or_dash(r.both_pass), _or_dash(r.equal_length),
                f"{100 * r.gate_pass_rate:.1f}", f"{100 * r.topic_named:.1f}",
            )  # fmt: skip
        console.print(table)


def _or_dash(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    if path:
        figures = {**figures, "provenance": provenance()}
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
