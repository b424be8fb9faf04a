"""Judgments into numbers: one row a judgment, the winrates over them, stored as a snapshot.

Dashboard, API and export all read the same snapshot. What counts: every judgment of participants
who are neither previews nor withdrawn, whether or not they finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from django.db import connection, transaction

from fspo_core import types
from fspo_core.evaluation.analysis import SummaryRow, analyse, summary_rows
from fspo_core.evaluation.label_prediction import LabelPrediction
from fspo_core.evaluation.sensitivity import SetAside
from studyapp.flow import Stage
from studyapp.models import (
    AnalysisSnapshot,
    Comparison,
    ComparisonState,
    Generation,
    GenerationState,
    Judgment,
    Label,
    LabelChoice,
    Study,
)

# Part of the input hash: raise it when the statistics change, so that old snapshots are not reused.
ANALYSIS_VERSION = 3
LEVEL = 0.95
WORLD = "people"
LOCK_SPACE = 0x66737061  # any number that no other advisory lock of this database uses


@dataclass(frozen=True, slots=True)
class JudgmentRow:
    """One judgment with its provenance: a line of the export (docs/researchers.md, the codebook).

    ``arm_…`` and ``against_…`` describe the two answers. Times are UTC, durations seconds, lengths
    words. ``shots`` is the number of labels the study asks for; ``…_shots_used`` how many of them
    stood in that answer's prompt.
    """

    comparison: str
    participant: str
    participant_stage: str
    study: str
    study_version: int
    config_hash: str
    question_kind: Literal["own", "bank"]
    question_position: int
    arm: str
    against: str
    arm_side: Literal["left", "right"]
    arm_left: str
    arm_right: str
    choice: Literal["left", "right", "tie"]
    outcome: types.Outcome
    strength: int
    reason: str
    ready_at: datetime | None
    shown_at: datetime
    judged_at: datetime
    seconds: float
    shots: int
    arm_words: int
    against_words: int
    arm_shots_used: int | None
    against_shots_used: int | None
    arm_shots_dropped: int | None
    against_shots_dropped: int | None
    arm_answer_sha256: str
    against_answer_sha256: str
    arm_prompt_sha256: str | None
    against_prompt_sha256: str | None
    arm_checkpoint: str | None
    against_checkpoint: str | None
    arm_seed: int
    against_seed: int
    arm_labels_of: str | None
    against_labels_of: str | None
    arm_finish_reason: str | None
    against_finish_reason: str | None


def outcome_of(choice: str, arm_side: str) -> types.Outcome:
    """The verdict from the arm's point of view."""
    if choice == "tie":
        return "tie"
    return "win" if choice == arm_side else "loss"


def text_sha256(text: str) -> str:
    """SHA-256 of a text, runs of white space taken as one blank: a page may break its lines."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def judgment_rows(study: Study) -> list[JudgmentRow]:
    """Every judgment that counts, in the order given; four queries whatever their number."""
    stored = (
        Judgment.objects.filter(comparison__query__participant__study_version__study=study)
        .filter(comparison__query__participant__is_preview=False)
        .exclude(comparison__query__participant__stage=Stage.WITHDRAWN)
        .select_related("comparison__query__participant__study_version")
        .prefetch_related("comparison__query__generations__labels_of")
        .order_by("judged_at", "pk")
    )
    labels_wanted: dict[int, int] = {}
    rows = []
    for judgment in stored:
        version = judgment.comparison.query.participant.study_version
        if version.pk not in labels_wanted:
            labels_wanted[version.pk] = version.study_config.labels.count
        rows.append(_row(judgment, study.slug, labels_wanted[version.pk]))
    return rows


def core_judgment(row: JudgmentRow) -> types.Judgment:
    """The row in the core's words."""
    return types.Judgment(
        judgment_id=row.comparison,
        participant=row.participant,
        arm=row.arm,
        against=row.against,
        outcome=row.outcome,
        arm_side=row.arm_side,
        question_kind=row.question_kind,
        strength=row.strength,
        arm_words=row.arm_words,
        against_words=row.against_words,
        world=WORLD,
        shots=row.shots,
        item="|".join(sorted((row.arm_answer_sha256, row.against_answer_sha256))),
        judged_at=row.judged_at.timestamp(),
    )


def set_aside_of(study: Study) -> list[SetAside]:
    """Comparisons that nobody could judge, with the arm whose answer failed; two queries."""
    comparisons = (
        Comparison.objects.filter(state=ComparisonState.SET_ASIDE)
        .filter(query__participant__study_version__study=study)
        .filter(query__participant__is_preview=False)
        .exclude(query__participant__stage=Stage.WITHDRAWN)
        .select_related("query__participant__study_version")
        .prefetch_related("query__generations")
        .order_by("pk")
    )
    return [
        SetAside(
            str(comparison.query.participant.public_id), comparison.arm, comparison.against,
            _failed_arm(comparison), WORLD,
            comparison.query.participant.study_version.study_config.labels.count,
        )
        for comparison in comparisons
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One label with what was predicted of it: a line of the export (docs/researchers.md).

    ``shots`` labels had been read before it. ``probability`` is what the personal reward model
    gave to the choice that was made; None where it was not asked. Times are UTC.
    """

    label: str
    participant: str
    participant_stage: str
    study: str
    study_version: int
    pair_position: int
    shots: int
    chosen: Literal["a", "b"]
    chosen_side: Literal["left", "right"]
    shown_at: datetime
    answered_at: datetime
    probability: float | None
    checkpoint: str | None


def label_rows(study: Study) -> list[LabelRow]:
    """Every label of those whose judgments count, in the order given; one query."""
    stored = (
        Label.objects.filter(participant__study_version__study=study, choice__isnull=False)
        .filter(participant__is_preview=False)
        .exclude(participant__stage=Stage.WITHDRAWN)
        .select_related("participant__study_version", "pair", "prediction")
        .defer("pair__question", "pair__response_a", "pair__response_b")
        .order_by("answered_at", "pk")
    )
    return [_label_row(label, study.slug) for label in stored]


def _label_row(label: Label, slug: str) -> LabelRow:
    prediction = getattr(label, "prediction", None)
    first_chosen = (label.choice == LabelChoice.LEFT) == label.left_is_a
    return LabelRow(
        label=str(label.public_id),
        participant=str(label.participant.public_id),
        participant_stage=label.participant.stage,
        study=slug,
        study_version=label.participant.study_version.number,
        pair_position=label.pair.position,
        shots=label.position,
        chosen="a" if first_chosen else "b",
        chosen_side=label.choice,  # type: ignore[arg-type]  # constrained in the database
        shown_at=label.shown_at,  # type: ignore[arg-type]  # constrained with the choice
        answered_at=label.answered_at,  # type: ignore[arg-type]
        probability=prediction and prediction.probability,
        checkpoint=prediction and prediction.checkpoint,
    )


def predictions_of(rows: Iterable[LabelRow]) -> list[LabelPrediction]:
    """The predictions in the core's words."""
    return [
        LabelPrediction(row.participant, row.shots, row.probability)
        for row in rows
        if row.probability is not None
    ]


def _failed_arm(comparison: Comparison) -> str | None:
    """The arm whose answer could not be written; the other one's was then not needed."""
    failed = [
        generation.arm
        for generation in comparison.query.generations.all()
        if generation.state == GenerationState.FAILED
        and comparison.set_aside_reason.startswith(f"{generation.arm}:")
    ]
    return failed[0] if len(failed) == 1 else None


def summarize(
    judgments: Iterable[types.Judgment],
    set_aside: Sequence[SetAside] = (),
    unfinished: Collection[str] = (),
    predictions: Sequence[LabelPrediction] = (),
) -> dict[str, Any]:
    """The payload of a snapshot: see ``fspo_core.evaluation.analysis``."""
    return {
        "analysis_version": ANALYSIS_VERSION,
        **analyse(judgments, set_aside, LEVEL, unfinished, predictions),
    }


def input_hash(
    judgments: Sequence[types.Judgment],
    set_aside: Sequence[SetAside] = (),
    unfinished: Collection[str] = (),
    predictions: Sequence[LabelPrediction] = (),
) -> str:
    """SHA-256 over all that the statistics depend on; the order of judgments does not matter."""
    said = [*map(asdict, judgments), *map(asdict, set_aside), *map(asdict, predictions)]
    lines = sorted(json.dumps(row, sort_keys=True) for row in said)
    text = "\n".join([f"analysis {ANALYSIS_VERSION} level {LEVEL}", *lines, *sorted(unfinished)])
    return hashlib.sha256(text.encode()).hexdigest()


def refresh_snapshot(*, study: Study) -> AnalysisSnapshot:
    """The snapshot of the judgments as they are now; a new one only where they changed."""
    return snapshot_with_rows(study=study)[0]


@transaction.atomic
def snapshot_with_rows(*, study: Study) -> tuple[AnalysisSnapshot, list[JudgmentRow]]:
    """The refreshed snapshot and exactly the judgments that it is made of.

    One at a time per study, so that an older reading is never stored after a newer one. A state
    that has been before (someone withdrew) replaces its old snapshot: the latest is the current.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK_SPACE, study.pk])
    rows = judgment_rows(study)
    judgments = [core_judgment(row) for row in rows]
    set_aside = set_aside_of(study)
    unfinished = {row.participant for row in rows if row.participant_stage == Stage.JUDGE}
    predictions = predictions_of(label_rows(study))
    digest = input_hash(judgments, set_aside, unfinished, predictions)
    latest = latest_snapshot(study)
    if latest is not None and latest.input_hash == digest:
        return latest, rows
    study.snapshots.filter(input_hash=digest).delete()
    snapshot = AnalysisSnapshot.objects.create(
        study=study,
        input_hash=digest,
        payload=summarize(judgments, set_aside, unfinished, predictions),
    )
    return snapshot, rows


def latest_snapshot(study: Study) -> AnalysisSnapshot | None:
    """What dashboard, API and export show; one of an older version of the statistics is not it."""
    current = study.snapshots.filter(payload__analysis_version=ANALYSIS_VERSION)
    return current.order_by("-created_at", "-pk").first()


def rows_of(snapshot: AnalysisSnapshot) -> list[SummaryRow]:
    """A snapshot's winrates, a line a pairing."""
    return summary_rows(snapshot.payload)


def _row(judgment: Judgment, slug: str, shots: int) -> JudgmentRow:
    comparison = judgment.comparison
    query, participant = comparison.query, comparison.query.participant
    arm_side: Literal["left", "right"] = "left" if comparison.arm_is_left else "right"
    arm, against = comparison.answer_of(comparison.arm), comparison.answer_of(comparison.against)
    return JudgmentRow(
        comparison=str(comparison.public_id),
        participant=str(participant.public_id),
        participant_stage=participant.stage,
        study=slug,
        study_version=participant.study_version.number,
        config_hash=participant.study_version.config_hash,
        question_kind=query.kind,  # type: ignore[arg-type]  # constrained in the database
        question_position=query.position,
        arm=comparison.arm,
        against=comparison.against,
        arm_side=arm_side,
        arm_left=comparison.arm_left,
        arm_right=comparison.arm_right,
        choice=judgment.choice,  # type: ignore[arg-type]
        outcome=outcome_of(judgment.choice, arm_side),
        strength=judgment.strength,
        reason=judgment.reason,
        ready_at=comparison.ready_at,
        shown_at=judgment.shown_at,
        judged_at=judgment.judged_at,
        seconds=judgment.seconds,
        shots=shots,
        arm_words=_words(arm),
        against_words=_words(against),
        arm_shots_used=arm.shots_used,
        against_shots_used=against.shots_used,
        arm_shots_dropped=arm.shots_dropped,
        against_shots_dropped=against.shots_dropped,
        arm_answer_sha256=text_sha256(arm.completion or ""),
        against_answer_sha256=text_sha256(against.completion or ""),
        arm_prompt_sha256=arm.prompt_sha256,
        against_prompt_sha256=against.prompt_sha256,
        arm_checkpoint=arm.checkpoint,
        against_checkpoint=against.checkpoint,
        arm_seed=arm.seed,
        against_seed=against.seed,
        arm_labels_of=_labels_of(arm),
        against_labels_of=_labels_of(against),
        arm_finish_reason=arm.finish_reason,
        against_finish_reason=against.finish_reason,
    )


def _labels_of(generation: Generation) -> str | None:
    return str(generation.labels_of.public_id) if generation.labels_of else None


def _words(generation: Generation) -> int:
    return len((generation.completion or "").split())
