"""Does the database hold what the simulated participants did? Joins their log with the export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fspo_core.evaluation.winrates import winrate_rows
from fspo_core.types import WinrateRow
from studyapp.analysis import JudgmentRow, core_judgment, outcome_of
from studyapp.simulation.log import EndRecord, JudgmentRecord, Record

TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was compared, and every difference found, one line each."""

    logged: int
    matched: int
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return self.logged > 0 and not self.problems


def check(
    records: Sequence[Record], exported: Sequence[JudgmentRow], winrates: Sequence[WinrateRow]
) -> CheckReport:
    """Compare a log with ``export_winrates --level judgments`` and with the stored winrates.

    Every logged judgment must be exported once with the same choice, strength and answers on
    either side, belong to one
    participant as it did in the log, and nothing may be exported for these participants that was
    not logged. The winrates, computed again from the log's choices with the export's sides (and
    the export's own rows for people who are not in the log), must equal ``winrates``.
    """
    judgments = [record for record in records if isinstance(record, JudgmentRecord)]
    rows = {row.comparison: row for row in exported}
    problems = [f"comparison {row} is exported twice" for row in _twice(exported)]
    if not judgments:
        problems.append("the log has no judgments")
    matched = 0
    for record in judgments:
        found = _differences(record, rows.get(record.comparison))
        matched += not found
        problems += found
    problems += _people(judgments, rows)
    problems += _counts(records, judgments)
    problems += _winrates(judgments, exported, winrates)
    return CheckReport(len(judgments), matched, tuple(problems))


def _twice(exported: Sequence[JudgmentRow]) -> list[str]:
    return [
        key for key, number in Counter(row.comparison for row in exported).items() if number > 1
    ]


def _differences(record: JudgmentRecord, row: JudgmentRow | None) -> list[str]:
    where = f"comparison {record.comparison}"
    if row is None:
        return [f"{where} is in the log and not in the export"]
    answers = {
        row.arm_side: row.arm_answer_sha256,
        "right" if row.arm_side == "left" else "left": row.against_answer_sha256,
    }
    return [
        f"{where}: {name} {logged!r} in the log, {stored!r} in the export"
        for name, logged, stored in (
            ("choice", record.choice, row.choice),
            ("strength", record.strength, row.strength),
            ("left answer", record.left_sha256, answers["left"]),
            ("right answer", record.right_sha256, answers["right"]),
            ("outcome", outcome_of(record.choice, row.arm_side), row.outcome),
        )
        if logged != stored
    ]


def _people(judgments: Sequence[JudgmentRecord], rows: dict[str, JudgmentRow]) -> list[str]:
    """One logged participant is one exported participant, and all their judgments are logged."""
    pairs = {
        ((record.run, record.participant), rows[record.comparison].participant)
        for record in judgments
        if record.comparison in rows
    }
    logged, stored = Counter(pair[0] for pair in pairs), Counter(pair[1] for pair in pairs)
    problems = [
        f"participant {number} of run {run} is {times} people in the export"
        for (run, number), times in logged.items()
        if times > 1
    ]
    problems += [
        f"participant {person} of the export is {times} people in the log"
        for person, times in stored.items()
        if times > 1
    ]
    seen = {record.comparison for record in judgments}
    problems += [
        f"comparison {row.comparison} is in the export and not in the log"
        for row in rows.values()
        if row.participant in stored and row.comparison not in seen
    ]
    twice = Counter(record.comparison for record in judgments)
    return problems + [f"comparison {c} is logged twice" for c, n in twice.items() if n > 1]


def _counts(records: Sequence[Record], judgments: Sequence[JudgmentRecord]) -> list[str]:
    """A participant's end states how many judgments they gave: no line may be lost."""
    given = Counter((record.run, record.participant) for record in judgments)
    return [
        f"participant {end.participant} of run {end.run} gave {end.judgments} judgments, "
        f"the log has {given[end.run, end.participant]}"
        for end in records
        if isinstance(end, EndRecord) and end.judgments != given[end.run, end.participant]
    ]


def _winrates(
    judgments: Sequence[JudgmentRecord],
    exported: Sequence[JudgmentRow],
    winrates: Sequence[WinrateRow],
) -> list[str]:
    choices = {record.comparison: record.choice for record in judgments}
    as_logged = [
        core_judgment(
            replace(
                row,
                outcome=outcome_of(choices.get(row.comparison, row.choice), row.arm_side),
            )
        )
        for row in {row.comparison: row for row in exported}.values()
    ]
    again = {_key(row): row for row in winrate_rows(as_logged)}
    stored = {_key(row): row for row in winrates}
    problems = [f"winrate of {key} is on one side only" for key in again.keys() ^ stored.keys()]
    for key in sorted(again.keys() & stored.keys()):
        for name in ("winrate", "low", "high", "users", "judgments", "wins", "losses", "ties"):
            ours, theirs = getattr(again[key], name), getattr(stored[key], name)
            if abs(ours - theirs) > TOLERANCE:
                problems.append(
                    f"{name} of {key[0]} against {key[1]}: {ours} from the log, {theirs} stored"
                )
    return problems


def _key(row: WinrateRow) -> tuple[str, str, str, int]:
    return row.arm, row.against, row.world, row.shots
