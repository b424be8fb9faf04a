"""What the dashboard shows of a study, read in a fixed number of queries. Previews never count."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from studyapp import blinding
from studyapp.analysis import latest_snapshot
from studyapp.blinding import Pairing, PairingName
from studyapp.flow import Stage
from studyapp.models import (
    AnalysisSnapshot,
    Comparison,
    ComparisonState,
    Generation,
    GenerationState,
    Participant,
    Query,
    StageChoice,
    Study,
    WorkerHeartbeat,
)
from studyapp.results import PairingResult, pairing_names, results_of

# Beat asks for a heartbeat every 10 seconds; three may go missing before a worker counts as gone.
WORKER_SILENT_AFTER = timedelta(seconds=40)
LISTED = 20


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """How many people came at least this far. ``share`` is of those who started, 0 to 1."""

    title: str
    people: int
    share: float


@dataclass(frozen=True, slots=True)
class Worker:
    name: str
    engine: str
    seconds_silent: int
    is_alive: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failed generation or a comparison set aside; ``where`` is a comparison's public id."""

    where: str
    pairing: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    study: Study
    unblinded: bool
    funnel: list[FunnelStep]
    stages: list[tuple[str, int]]
    previews: int
    results: list[PairingResult]
    snapshot: AnalysisSnapshot | None
    generations: dict[str, int]
    oldest_pending: datetime | None
    failed: list[Trouble]
    set_aside: list[Trouble]
    set_aside_count: int
    workers: list[Worker]

    @property
    def workers_alive(self) -> int:
        return sum(worker.is_alive for worker in self.workers)

    @property
    def to_write(self) -> int:
        return self.generations["pending"] + self.generations["running"]


def study_list() -> QuerySet[Study]:
    """All studies with how many people started and finished, in one query."""
    real = Q(versions__participants__is_preview=False)
    return Study.objects.annotate(
        started=Count("versions__participants", filter=real),
        finished=Count(
            "versions__participants",
            filter=real & Q(versions__participants__stage=Stage.COMPLETE),
        ),
    ).order_by("slug")


def overview(study: Study, *, now: datetime) -> Overview:
    """Everything on a study's page."""
    unblinded = blinding.is_unblinded(study)
    names = pairing_names(study, unblinded=unblinded)
    snapshot = latest_snapshot(study)
    generations, oldest = _generation_counts(study)
    set_aside = _comparisons(study).filter(state=ComparisonState.SET_ASIDE)
    return Overview(
        study=study,
        unblinded=unblinded,
        funnel=funnel(study),
        stages=_stages(study),
        previews=_participants(study, preview=True).count(),
        results=results_of(snapshot, names),
        snapshot=snapshot,
        generations=generations,
        oldest_pending=oldest,
        failed=_failed(study, names, unblinded=unblinded),
        set_aside=_set_aside(set_aside, names, unblinded=unblinded),
        set_aside_count=set_aside.count(),
        workers=_workers(now),
    )


def funnel(study: Study) -> list[FunnelStep]:
    """How many people came at least how far, by what is stored of them; one query."""
    has_queries = Exists(Query.objects.filter(participant=OuterRef("pk")))
    people = _participants(study).annotate(has_queries=has_queries)
    judging = [Stage.JUDGE, Stage.EXIT, Stage.COMPLETE, Stage.TECHNICAL]
    reached = people.aggregate(
        started=Count("pk"),
        consented=Count("pk", filter=Q(consent__isnull=False)),
        checked=Count("pk", filter=Q(schedule_index__isnull=False)),
        labelled=Count("pk", filter=Q(has_queries=True)),
        judging=Count("pk", filter=Q(stage__in=judging)),
        answered=Count("pk", filter=Q(stage__in=[Stage.EXIT, Stage.COMPLETE])),
        complete=Count("pk", filter=Q(stage=Stage.COMPLETE)),
    )
    titles = {
        "started": _("Clicked on Start"),
        "consented": _("Gave consent"),
        "checked": _("Passed the check"),
        "labelled": _("Labelled all pairs"),
        "judging": _("Came to the judging"),
        "answered": _("Came to the last questions"),
        "complete": _("Finished"),
    }
    whole = reached["started"] or 1
    return [FunnelStep(title, reached[key], reached[key] / whole) for key, title in titles.items()]


def _participants(study: Study, *, preview: bool = False) -> QuerySet[Participant]:
    return Participant.objects.filter(study_version__study=study, is_preview=preview)


def _comparisons(study: Study) -> QuerySet[Comparison]:
    return Comparison.objects.filter(
        query__participant__study_version__study=study, query__participant__is_preview=False
    )


def _generations(study: Study) -> QuerySet[Generation]:
    return Generation.objects.filter(
        query__participant__study_version__study=study, query__participant__is_preview=False
    )


def _stages(study: Study) -> list[tuple[str, int]]:
    counts = dict(
        _participants(study).values_list("stage").annotate(number=Count("pk")).order_by("stage")
    )
    return [(str(stage.label), counts.get(stage.value, 0)) for stage in StageChoice]


def _generation_counts(study: Study) -> tuple[dict[str, int], datetime | None]:
    counted = _generations(study).aggregate(
        **{state.value: Count("pk", filter=Q(state=state)) for state in GenerationState},
        oldest=Min("created_at", filter=Q(state=GenerationState.PENDING)),
    )
    oldest = counted.pop("oldest")
    return counted, oldest


def _failed(study: Study, names: dict[Pairing, PairingName], *, unblinded: bool) -> list[Trouble]:
    failed = (
        _generations(study)
        .filter(state=GenerationState.FAILED)
        .select_related("query__comparison")
        .order_by("-created_at", "-pk")[:LISTED]
    )
    return [
        Trouble(
            where=str(generation.query.comparison.public_id),
            pairing=_label(generation.query.comparison, names),
            reason=generation.error if unblinded else blinding.hide_arms(generation.error),
            since=generation.created_at,
        )
        for generation in failed
    ]


def _set_aside(
    comparisons: QuerySet[Comparison], names: dict[Pairing, PairingName], *, unblinded: bool
) -> list[Trouble]:
    return [
        Trouble(
            where=str(comparison.public_id),
            pairing=_label(comparison, names),
            reason=comparison.set_aside_reason
            if unblinded
            else blinding.hide_arms(comparison.set_aside_reason),
            since=comparison.created_at,
        )
        for comparison in comparisons.order_by("-created_at", "-pk")[:LISTED]
    ]


def _label(comparison: Comparison, names: dict[Pairing, PairingName]) -> str:
    return names[comparison.arm, comparison.against].label


def _workers(now: datetime) -> list[Worker]:
    return [
        Worker(
            name=beat.worker,
            engine=beat.engine,
            seconds_silent=max(0, round((now - beat.seen_at).total_seconds())),
            is_alive=now - beat.seen_at < WORKER_SILENT_AFTER,
        )
        for beat in WorkerHeartbeat.objects.order_by("worker")
    ]
