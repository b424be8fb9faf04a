"""Reads across rows, each with a known number of queries; rows become ``fspo_core.types`` here."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from django.db.models import Avg, Count, Exists, OuterRef, Prefetch, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from fspo_core.arms import get_arm
from fspo_core.types import GenerationRequest, Preference, UserHistory
from studyapp import flow
from studyapp.errors import UnknownStudy, UnknownToken
from studyapp.flow import Stage
from studyapp.models import (
    Comparison,
    ComparisonState,
    Generation,
    GenerationState,
    Label,
    Participant,
    QueryKind,
    RecruiterIdentity,
    Study,
    StudyVersion,
    WorkerHeartbeat,
)
from studyapp.recruiter import RecruiterParameters

# Until there are measured ones: seconds one batch of answers takes.
ASSUMED_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class LabelState:
    """The label to answer now; ``number`` counts from 1."""

    label: Label
    number: int
    total: int


@dataclass(frozen=True, slots=True)
class JudgeState:
    """What the judging page shows.

    ``ready``: ``comparison`` with its two texts. ``waiting``: nothing is there yet, about
    ``seconds_left``. ``capped``: the longest wait has passed, the paid early exit is open.
    ``finished``: nothing is left to judge. ``number`` (from 1) and ``total`` count comparisons
    that were not set aside; ``set_aside`` counts the others.
    """

    kind: Literal["ready", "waiting", "capped", "finished"]
    number: int
    total: int
    set_aside: int
    waited_seconds: float
    max_wait_seconds: int
    comparison: Comparison | None = None
    question: str = ""
    left_text: str = ""
    right_text: str = ""
    seconds_left: int | None = None

    @property
    def may_exit_early(self) -> bool:
        """Also when an answer came after the page that offered the way out: it was promised."""
        return self.kind != "finished" and self.waited_seconds >= self.max_wait_seconds


@dataclass(frozen=True, slots=True)
class Ending:
    """What the last page says. ``code`` and ``return_url`` are empty where there is no code."""

    outcome: Stage
    code: str
    return_url: str
    paid: bool


def get_study(slug: str) -> Study:
    """Raises UnknownStudy."""
    try:
        return Study.objects.get(slug=slug)
    except Study.DoesNotExist:
        raise UnknownStudy(f"no study {slug!r}") from None


def current_version(study: Study) -> StudyVersion:
    """The version new participants begin under. Raises UnknownStudy if none was loaded."""
    version = study.versions.order_by("-number").first()
    if version is None:
        raise UnknownStudy(f"study {study.slug!r} has no configuration")
    version.study = study
    return version


def participant_by_token(token: str, *, slug: str | None = None) -> Participant:
    """Whose token this is, with version and study; of study ``slug`` only, if given.

    Raises UnknownToken, which tells no more than that.
    """
    digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
    found = Participant.objects.select_related("study_version__study").filter(
        tokens__token_sha256=digest
    )
    if slug is not None:
        found = found.filter(study_version__study__slug=slug)
    participant = found.first()
    if participant is None:
        raise UnknownToken("this link or cookie belongs to no participant")
    return participant


def known_identity(study: Study, recruiter: RecruiterParameters) -> RecruiterIdentity | None:
    """The consented run of the recruiter's person, in whichever session; None if there is none."""
    if not recruiter.pid:
        return None
    identities = RecruiterIdentity.objects.select_related("participant__study_version__study")
    return identities.filter(study=study, pid=recruiter.pid).first()


def can_resume(study: Study, recruiter: RecruiterParameters) -> bool:
    """Whether a click on Start with this link would lead back into a run that had begun."""
    identity = known_identity(study, recruiter)
    return identity is not None and identity.session_id == recruiter.session_id


def current_label(participant: Participant) -> LabelState | None:
    """The first label without a choice; None when all are in."""
    labels = list(participant.labels.select_related("pair").order_by("position"))
    for number, label in enumerate(labels, start=1):
        if label.choice is None:
            return LabelState(label, number, len(labels))
    return None


def drafts(participant: Participant) -> dict[str, str]:
    """Unfinished texts by field."""
    return dict(participant.drafts.values_list("field", "text"))


def judge_state(participant: Participant, *, now: datetime | None = None) -> JudgeState:
    """What to show at the judging stage; the server chooses.

    First what was shown before (a reload shows the same), then bank questions, then own ones.
    """
    now = now or timezone.now()
    comparisons = list(
        Comparison.objects.filter(query__participant=participant)
        .select_related("query__participant")
        .prefetch_related("query__generations")
    )
    counted = [row for row in comparisons if row.state != ComparisonState.SET_ASIDE]
    judged = sum(row.state == ComparisonState.JUDGED for row in counted)
    waited = participant.waited_seconds
    if participant.waiting_since is not None:
        waited += max(0.0, (now - participant.waiting_since).total_seconds())
    state = JudgeState(
        kind="finished",
        number=min(judged + 1, len(counted)),
        total=len(counted),
        set_aside=len(comparisons) - len(counted),
        waited_seconds=waited,
        max_wait_seconds=participant.study_version.study_config.judging.max_wait_seconds,
    )
    ready = sorted((row for row in counted if row.state == ComparisonState.READY), key=_turn)
    if ready:
        return _with_answers(state, ready[0])
    pending = [row for row in counted if row.state == ComparisonState.WAITING]
    if not pending:
        return state
    if waited >= state.max_wait_seconds:
        return replace(state, kind="capped")
    seconds = _estimate(min(pending, key=_queue_place), now)
    return replace(state, kind="waiting", seconds_left=seconds)


def history(participant: Participant) -> UserHistory:
    """The participant's labels in the order in which they were shown."""
    labels = participant.labels.filter(choice__isnull=False).select_related("pair")
    return UserHistory(
        user_id=str(participant.public_id),
        preferences=tuple(label.as_preference() for label in labels.order_by("position")),
    )


def generation_requests(generation_ids: Sequence[int]) -> list[GenerationRequest]:
    """What the engine is asked, in the order of the ids.

    Left out: deleted rows, and yoked ones whose labels are no longer there.
    """
    labels = Label.objects.select_related("pair").order_by("position")
    rows = (
        Generation.objects.filter(pk__in=generation_ids)
        .select_related("query__participant__study_version", "query__comparison")
        .prefetch_related(
            Prefetch("query__participant__labels", queryset=labels),
            Prefetch("labels_of__labels", queryset=labels),
        )
    )
    by_id = {row.pk: _request(row) for row in rows}
    return [found for pk in generation_ids if (found := by_id.get(pk)) is not None]


def labelled_all(participant: Participant) -> QuerySet[Participant]:
    """Others of the same version who gave all labels and have not withdrawn, oldest first."""
    labels = Label.objects.filter(participant=OuterRef("pk"))
    return (
        Participant.objects.filter(study_version=participant.study_version, is_preview=False)
        .exclude(pk=participant.pk)
        .exclude(stage=Stage.WITHDRAWN)
        .filter(Exists(labels), ~Exists(labels.filter(choice__isnull=True)))
        .order_by("pk")
    )


def next_unpredicted(*, leave_out: Collection[int] = ()) -> Participant | None:
    """Whose labels are all in and were not predicted yet; previews are not."""
    labels = Label.objects.filter(participant=OuterRef("pk"))
    return (
        Participant.objects.filter(is_preview=False)
        .filter(Exists(labels), ~Exists(labels.filter(choice__isnull=True)))
        .exclude(Exists(labels.filter(prediction__isnull=False)))
        .exclude(pk__in=leave_out)
        .order_by("pk")
        .first()
    )


def has_due_generations() -> bool:
    """Whether a worker would find something to write."""
    return Generation.objects.filter(
        state=GenerationState.PENDING,
        not_before__lte=Now(),
        query__comparison__state=ComparisonState.WAITING,
    ).exists()


def ending(participant: Participant) -> Ending:
    """The outcome, its completion code and the way back to the recruiter.

    Who withdraws after a paid ending keeps that ending's code; who withdraws before has none, and
    is asked to return the submission.
    """
    config = participant.study_version.study_config
    stage = Stage(participant.stage)
    codes = {
        Stage.COMPLETE: config.codes.completed,
        Stage.TECHNICAL: config.codes.technical,
        Stage.FAILED_CHECKS: config.codes.failed_checks,
        Stage.DECLINED: config.codes.no_consent,
    }
    earned = stage
    if stage is Stage.WITHDRAWN and participant.paid_ending:
        earned = Stage(participant.paid_ending)
    code, paid = codes.get(earned, ""), earned in flow.PAID
    url = config.recruiter.return_url.replace("{code}", code) if code else ""
    return Ending(stage, code, url, paid)


def stage_counts(study: Study, *, previews: bool = False) -> dict[str, int]:
    """How many participants stand at each stage."""
    rows = Participant.objects.filter(study_version__study=study, is_preview=previews)
    counted = rows.values_list("stage").annotate(number=Count("pk"))
    return {stage.value: 0 for stage in Stage if stage is not Stage.WELCOME} | dict(counted)


def generation_counts(study: Study) -> dict[str, int]:
    """How many generations are in each state, previews included (they take the same workers)."""
    rows = Generation.objects.filter(query__participant__study_version__study=study)
    counted = rows.values_list("state").annotate(number=Count("pk"))
    return dict.fromkeys(GenerationState.values, 0) | dict(counted)


def workers_alive(*, within_seconds: float = 60.0) -> list[WorkerHeartbeat]:
    """Workers heard of lately, by the database's clock."""
    limit = Now() - timedelta(seconds=within_seconds)
    return list(WorkerHeartbeat.objects.filter(seen_at__gte=limit).order_by("worker"))


def _request(row: Generation) -> GenerationRequest | None:
    participant = row.query.participant
    labelled = row.labels_of if get_arm(row.arm).reads_another else participant
    if labelled is None or (labelled is not participant and not labelled.labels.all()):
        return None
    return GenerationRequest(
        request_id=str(row.pk),
        group=str(row.query.comparison.pk),
        arm=row.arm,
        question=row.query.text,
        history=UserHistory(
            user_id=str(labelled.public_id),
            preferences=tuple(_preferences(labelled.labels.all())),
        ),
        seed=row.seed,
        sampling=participant.study_version.study_config.generation.sampling,
    )


def _preferences(labels: Iterable[Label]) -> Iterable[Preference]:
    return (label.as_preference() for label in labels if label.choice is not None)


def _turn(row: Comparison) -> tuple[bool, bool, int]:
    return (row.shown_at is None, row.query.kind == QueryKind.OWN, row.query.position)


def _queue_place(row: Comparison) -> tuple[bool, int]:
    return (row.query.kind == QueryKind.BANK, row.pk)


def _with_answers(state: JudgeState, row: Comparison) -> JudgeState:
    return replace(
        state,
        kind="ready",
        comparison=row,
        question=row.query.text,
        left_text=row.answer_of(row.arm_left).completion or "",
        right_text=row.answer_of(row.arm_right).completion or "",
    )


def _estimate(comparison: Comparison, now: datetime) -> int:
    """Seconds until ``comparison`` is ready: batches ahead of it times a recent batch's time."""
    recent = Generation.objects.filter(state=GenerationState.COMPLETE).order_by("-completed_at")[
        :40
    ]
    per_batch = recent.aggregate(mean=Avg("seconds"))["mean"] or ASSUMED_SECONDS
    ahead = Comparison.objects.filter(state=ComparisonState.WAITING).filter(
        Q(pk__lt=comparison.pk) | Q(query__kind=QueryKind.OWN)
    )
    batches = 1 + ahead.exclude(pk=comparison.pk).count() // 4
    begun = [row.started_at for row in comparison.query.generations.all() if row.started_at]
    gone = (now - max(begun)).total_seconds() if begun else 0.0
    return max(1, round(batches * per_batch - min(gone, per_batch)))
