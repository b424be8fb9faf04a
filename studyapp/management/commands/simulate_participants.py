"""Simulated participants play a study over HTTP; ``--check`` compares their log with the data."""

from __future__ import annotations

import json
import tempfile
import time
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fspo_core.evaluation.winrates import rows_to_json
from fspo_core.worlds import WORLDS
from studyapp.analysis import refresh_snapshot, rows_of, snapshot_with_rows
from studyapp.blinding import record_export
from studyapp.config import StudyConfig
from studyapp.flow import Stage
from studyapp.management.commands.export_winrates import (
    find_study,
    rendered,
    shell_actor,
    winrate_table,
)
from studyapp.models import Study
from studyapp.simulation.browser import SimulationError
from studyapp.simulation.check import CheckReport, check
from studyapp.simulation.cohort import CohortPlan, play, steps_each
from studyapp.simulation.habits import COHORTS
from studyapp.simulation.log import EndRecord, SimulationLog, read_log

MOST_PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Options:
    study: str
    participants: int
    seed: int
    url: str
    workers: int
    world: str
    cohort: str
    log: Path | None
    check: bool
    json: Path | None


class Command(BaseCommand):
    help = (
        "Synthetic users with a known reward play the study like people do. They use up places "
        "in the schedule and count in the results: do not use it on a study with real people."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--study", required=True, help="slug of the study")
        parser.add_argument(
            "--participants", type=int, default=25, help="how many; 0 only checks the log"
        )
        parser.add_argument("--seed", type=int, default=1, help="who they are and what they ask")
        parser.add_argument("--url", default=settings.STUDY_BASE_URL, help="where the study runs")
        parser.add_argument("--workers", type=int, default=4, help="how many play at once")
        parser.add_argument("--world", choices=sorted(WORLDS), default="roleplay")
        parser.add_argument(
            "--cohort",
            choices=sorted(COHORTS),
            default="exact",
            help="exact: by reward; noisy: Bradley-Terry; careless: noisy, a third inattentive",
        )
        parser.add_argument("--log", type=Path, help="JSON lines, appended; default: a new file")
        parser.add_argument(
            "--check",
            action="store_true",
            help="join the log with the judgments; fail if they differ",
        )
        parser.add_argument("--json", type=Path, help="also write the report as JSON to this file")

    def handle(self, **given: Any) -> None:
        options = Options(**{name: given[name] for name in Options.__dataclass_fields__})
        self._refuse_nonsense(options)
        study = find_study(options.study)
        version = study.versions.order_by("-number").first()
        if version is None:
            raise CommandError(f"study {study.slug!r} has no configuration; load one")
        log = options.log or Path(tempfile.mkdtemp(prefix="simulation-")) / "log.jsonl"
        began = time.monotonic()
        ends = self._play(options, version.study_config, log) if options.participants else []
        report: dict[str, Any] = {
            "study": study.slug,
            "seed": options.seed,
            "cohort": options.cohort,
            "participants": len(ends),
            "complete": sum(end.ending == Stage.COMPLETE for end in ends),
            "endings": {end.ending: sum(e.ending == end.ending for e in ends) for end in ends},
            "judgments": sum(end.judgments for end in ends),
            "seconds": round(time.monotonic() - began, 1),
            "log": str(log),
        }
        checked = self._check(study, log) if options.check else None
        if checked:
            report["check"] = {
                "passed": checked.passed,
                "logged": checked.logged,
                "matched": checked.matched,
                "problems": list(checked.problems),
            }
        report |= self._winrates(study)
        if options.json:
            options.json.write_text(json.dumps(report, indent=2) + "\n")
        self._conclude(ends, report, checked)

    @staticmethod
    def _refuse_nonsense(options: Options) -> None:
        if options.participants < 0:
            raise CommandError(f"--participants must be 0 or more, got {options.participants}")
        if options.workers < 1:
            raise CommandError(f"--workers must be 1 or more, got {options.workers}")
        if options.seed < 0:
            raise CommandError(f"--seed must be 0 or more, got {options.seed}")
        if not options.url.startswith(("http://", "https://")):
            raise CommandError(f"--url must start with http:// or https://, got {options.url!r}")
        if not options.participants and not (options.check and options.log):
            raise CommandError("--participants 0 needs --check and the --log to be checked")

    def _play(self, options: Options, config: StudyConfig, path: Path) -> list[EndRecord]:
        plan = CohortPlan(
            study=options.study,
            participants=options.participants,
            seed=options.seed,
            url=options.url,
            workers=options.workers,
            world=options.world,
            cohort=options.cohort,
        )
        columns = (
            TextColumn("[progress.description]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        progress = Progress(*columns, console=Console(stderr=True))
        with path.open("a", encoding="utf-8") as file, progress:
            task = progress.add_task(
                "labels and judgments", total=options.participants * steps_each(config)
            )
            return play(plan, config, SimulationLog(file), lambda: progress.advance(task))

    @staticmethod
    def _check(study: Study, path: Path) -> CheckReport:
        try:
            records = read_log(path)
        except (OSError, SimulationError) as error:
            raise CommandError(f"cannot read the log: {error}") from error
        snapshot, rows = snapshot_with_rows(study=study)
        return check(records, rows, rows_of(snapshot))

    def _winrates(self, study: Study) -> dict[str, Any]:
        snapshot = refresh_snapshot(study=study)
        rows = rows_of(snapshot)
        # The table names the arms, like an export.
        record_export(
            study=study,
            actor=shell_actor(),
            level="simulation",
            judgments=snapshot.payload["judgments"],
        )
        self.stdout.write(rendered(winrate_table(rows)))
        return rows_to_json(rows)

    def _conclude(
        self, ends: list[EndRecord], report: dict[str, Any], checked: CheckReport | None
    ) -> None:
        if ends:
            self.stdout.write(
                f"{report['complete']} of {len(ends)} completed, {report['judgments']} judgments, "
                f"{report['seconds']} s; log: {report['log']}"
            )
        for end in ends:
            if end.ending != Stage.COMPLETE:
                self.stderr.write(f"participant {end.participant}: {end.ending} {end.error}")
        if checked:
            for problem in checked.problems[:MOST_PROBLEMS_SHOWN]:
                self.stderr.write(problem)
            self.stdout.write(f"check: {checked.matched} of {checked.logged} judgments match")
            if not checked.passed:
                raise CommandError(f"the check failed: {len(checked.problems)} differences")
        if report["complete"] != len(ends):
            raise CommandError(f"{len(ends) - report['complete']} participants did not complete")
