"""Export a study's winrates, or every judgment behind them."""

from __future__ import annotations

import getpass
import json
import os
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table

from fspo_core.evaluation.winrates import rows_to_json
from studyapp.analysis import label_rows, rows_of, snapshot_with_rows
from studyapp.blinding import record_export
from studyapp.exports import ENCODERS, ROWS, Format, Level, Row, encode
from studyapp.models import Study


@dataclass(frozen=True, slots=True)
class Options:
    study: str
    level: Level
    format: Format | None
    output: Path | None
    json: Path | None


class Command(BaseCommand):
    help = "Winrates of a study with participant-clustered intervals, the judgments or the labels."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--study", required=True, help="slug of the study")
        parser.add_argument(
            "--format", choices=sorted(ENCODERS), help="a file format; without it, a table"
        )
        parser.add_argument("--level", choices=sorted(ROWS), default="summary")
        parser.add_argument("--output", type=Path, help="file to write; without it, the terminal")
        parser.add_argument(
            "--json", type=Path, help="also write the winrates as JSON to this file"
        )

    def handle(self, **given: Any) -> None:
        options = Options(**{name: given[name] for name in Options.__dataclass_fields__})
        if options.output and options.format is None:
            raise CommandError(f"--output {options.output} needs a --format (csv, jsonl, parquet)")
        if options.format == "parquet" and options.output is None:
            raise CommandError("--format parquet is binary and needs an --output file")
        study = find_study(options.study)
        snapshot, judgments = snapshot_with_rows(study=study)
        winrates = rows_of(snapshot)
        rows: Sequence[Row] = winrates
        if options.level == "judgments":
            rows = judgments
        elif options.level == "labels":
            rows = label_rows(study)
        record_export(
            study=study,
            actor=shell_actor(),
            level=options.level,
            judgments=len(judgments),
        )
        self._write(options, rows)
        if options.json:
            options.json.write_text(json.dumps(rows_to_json(winrates), indent=2) + "\n")

    def _write(self, options: Options, rows: Sequence[Row]) -> None:
        if options.format is None:
            self.stdout.write(rendered(TABLES[options.level](rows)))
            return
        content = encode(options.level, rows, options.format)
        if options.output:
            options.output.write_bytes(content)
            self.stderr.write(f"{len(rows)} rows written to {options.output}")
        else:
            self.stdout.write(content.decode(), ending="")


def rendered(table: Table) -> str:
    """The table as text, never narrower than it needs to be read in a file or a log."""
    console = Console()
    if not console.is_terminal:
        console.width = 200
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def shell_actor() -> str:
    """Who runs the command, for the audit log; a user without a name goes by number."""
    try:
        return f"shell:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"shell:uid {os.getuid()}"


def find_study(slug: str) -> Study:
    """The study, or a one-line refusal that names those there are."""
    try:
        return Study.objects.get(slug=slug)
    except Study.DoesNotExist:
        known = ", ".join(Study.objects.order_by("slug").values_list("slug", flat=True)) or "none"
        raise CommandError(f"no study {slug!r}; there are: {known}") from None


def winrate_table(rows: Sequence[Any]) -> Table:
    """The main figures for people to read; the files have all of them."""
    table = Table(title="Winrates (ties half; interval clustered by participant, 95 %)")
    for name in ("arm", "against", "shots"):
        table.add_column(name)
    for name in ("winrate", "interval", "Holm p", "people", "judgments", "won/lost/tied"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("at all times", "equal lengths", "worst cases", "Wilson (assumes independence)"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.arm,
            row.against,
            str(row.shots),
            f"{row.winrate:.1%}",
            _interval(row.low, row.high),
            f"{row.p_value_holm:.3g}",
            str(row.users),
            str(row.judgments),
            f"{row.wins}/{row.losses}/{row.ties}",
            _interval(row.sequence_low, row.sequence_high),
            "–" if row.equal_length is None else f"{row.equal_length:.1%}",
            _interval(row.worst_low, row.worst_high) if row.set_aside else "–",
            _interval(row.wilson_low, row.wilson_high),
        )
    return table


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.1%}–{high:.1%}"


def judgment_table(rows: Sequence[Any]) -> Table:
    """The judgments' main columns; the files have them all."""
    names = ("comparison", "participant", "question_kind", "arm", "against", "arm_side")
    table = Table(*names, "choice", "strength", "seconds", title=f"{len(rows)} judgments")
    for row in rows:
        cells = [str(getattr(row, name)) for name in names]
        table.add_row(*cells, row.choice, str(row.strength), f"{row.seconds:.1f}")
    return table


def label_table(rows: Sequence[Any]) -> Table:
    """The labels' main columns; the files have them all."""
    names = ("label", "participant", "shots", "pair_position", "chosen", "chosen_side")
    table = Table(*names, "probability", title=f"{len(rows)} labels")
    for row in rows:
        cells = [str(getattr(row, name)) for name in names]
        table.add_row(*cells, "–" if row.probability is None else f"{row.probability:.2f}")
    return table


TABLES = {"summary": winrate_table, "judgments": judgment_table, "labels": label_table}
