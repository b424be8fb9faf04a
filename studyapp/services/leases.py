"""The queue of answers to be written: claim, renew, store, fail, sweep.

The rows are the queue. A comparison's two answers are claimed together, and where one of them has
to be written again both are, so that both arms always saw the same labels. All deadlines are by
the database's clock.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Case, Exists, OuterRef, Q, Value, When
from django.db.models.functions import Now

from fspo_core.types import Completion
from studyapp.models import (
    MAX_ATTEMPTS,
    Comparison,
    ComparisonState,
    Generation,
    GenerationState,
    Participant,
    Query,
    QueryKind,
    WorkerHeartbeat,
)
from studyapp.services.stages import finish_if_judged, lock_by_id

LEASE_SECONDS = 20.0
BACKOFF_SECONDS = (2.0, 8.0)
# Says nothing of the arms: researchers read it while they are blind.
NOT_WRITTEN = "an answer could not be written"
_ERROR_LENGTH = 500
_NO_ANSWER: dict[str, None] = dict.fromkeys(
    (
        "completion",
        "finish_reason",
        "shots_used",
        "shots_dropped",
        "prompt_sha256",
        "checkpoint",
        "prompt_tokens",
        "completion_tokens",
        "seconds",
        "sampling",
        "completed_at",
        "lease_token",
        "lease_until",
    )
)


@dataclass(frozen=True, slots=True)
class Claim:
    """Generations that one worker may write until the lease ends; empty: nothing to do."""

    lease_token: uuid.UUID
    generation_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Comparisons put back or set aside because their lease lapsed."""

    put_back: int
    set_aside: int


@transaction.atomic
def claim_generations(*, batch_size: int = 8, lease_seconds: float = LEASE_SECONDS) -> Claim:
    """Take both answers of up to ``batch_size // 2`` comparisons, own questions before bank ones.

    Comparisons that failed before are taken one at a time, so that a request on which the engine
    chokes cannot drag others down with it.
    """
    generations = Generation.objects.filter(query=OuterRef("query"))
    not_due = generations.filter(~Q(state=GenerationState.PENDING) | Q(not_before__gt=Now()))
    candidates = list(
        Comparison.objects.filter(~Exists(not_due), state=ComparisonState.WAITING)
        .annotate(tried=Exists(generations.filter(attempts__gt=0)))
        .order_by(
            Case(When(query__kind=QueryKind.OWN, then=Value(0)), default=Value(1)),
            "created_at",
            "pk",
        )
        .select_for_update(skip_locked=True, of=("self",))[: max(1, batch_size // 2)]
    )
    if candidates and candidates[0].tried:
        candidates = candidates[:1]
    taken = [row.query_id for row in candidates if not row.tried] or [
        row.query_id for row in candidates
    ]
    rows = (
        Generation.objects.filter(query__in=taken, state=GenerationState.PENDING)
        .order_by("pk")
        .select_for_update(skip_locked=True)
    )
    found = {row.pk: row for row in rows}
    token = uuid.uuid4()
    Generation.objects.filter(pk__in=found).update(
        state=GenerationState.RUNNING,
        lease_token=token,
        lease_until=Now() + timedelta(seconds=lease_seconds),
        started_at=Now(),
        attempts=Case(*[When(pk=pk, then=Value(row.attempts + 1)) for pk, row in found.items()])
        if found
        else Value(0),
    )
    order = {query: place for place, query in enumerate(taken)}
    ids = sorted(found, key=lambda pk: (order[found[pk].query_id], pk))
    return Claim(token, tuple(ids))


@transaction.atomic
def renew_lease(*, lease_token: uuid.UUID, lease_seconds: float = LEASE_SECONDS) -> int:
    """Hold on to what is still being written; returns how many generations that is.

    Rows that are being settled at this moment are passed over: waiting for them, with others
    locked already, could deadlock with whoever settles a comparison.
    """
    held = Generation.objects.filter(lease_token=lease_token, state=GenerationState.RUNNING)
    ids = list(held.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True))
    return Generation.objects.filter(pk__in=ids).update(
        lease_until=Now() + timedelta(seconds=lease_seconds)
    )


@transaction.atomic
def store_completion(*, generation_id: int, lease_token: uuid.UUID, completion: Completion) -> bool:
    """Store a finished answer under its lease; with both there, the comparison is ready.

    Returns False, changing nothing, if the lease was lost (or the participant withdrew). An empty
    answer counts as a failure.
    """
    text = completion.text.strip()
    if not text or "\x00" in text:
        reason = "the answer is empty" if not text else "the answer has a NUL character"
        return fail_generation(generation_id=generation_id, lease_token=lease_token, reason=reason)
    generation = _locked(generation_id, lease_token)
    if generation is None:
        return False
    generation.state = GenerationState.COMPLETE
    generation.completion = text
    generation.description = (completion.description or "").replace("\x00", "")
    generation.finish_reason = completion.finish_reason
    generation.shots_used = completion.shots_used
    generation.shots_dropped = completion.shots_dropped
    generation.prompt_sha256 = completion.prompt_sha256
    generation.checkpoint = completion.checkpoint
    generation.prompt_tokens = completion.prompt_tokens
    generation.completion_tokens = completion.completion_tokens
    generation.seconds = completion.seconds
    generation.sampling = asdict(completion.sampling)
    generation.completed_at = Now()
    generation.lease_token = None
    generation.lease_until = None
    generation.error = ""
    generation.save()
    unfinished = Generation.objects.filter(query=generation.query_id).exclude(
        state=GenerationState.COMPLETE
    )
    if not unfinished.exists():
        Comparison.objects.filter(query=generation.query_id, state=ComparisonState.WAITING).update(
            state=ComparisonState.READY, ready_at=Now()
        )
    return True


@transaction.atomic
def fail_generation(*, generation_id: int, lease_token: uuid.UUID, reason: str) -> bool:
    """An attempt failed: both answers go back with a back-off, or the comparison is set aside.

    Returns False, changing nothing, if the lease was lost.
    """
    generation = _locked(generation_id, lease_token)
    if generation is None:
        return False
    _give_up_or_put_back(generation, reason, backoff=True)
    return True


def sweep_leases() -> SweepResult:
    """Put back, or set aside after the last attempt, what a lost worker left behind."""
    lapsed = Q(state=GenerationState.RUNNING, lease_until__lt=Now())
    put_back = set_aside = 0
    for pk, token in Generation.objects.filter(lapsed).values_list("pk", "lease_token"):
        with transaction.atomic():
            generation = _locked(pk, token)
            # Renewed or settled (with its sibling) since it was listed?
            if generation is None or not Generation.objects.filter(lapsed, pk=pk).exists():
                continue
            if _give_up_or_put_back(generation, "the worker was lost", backoff=False):
                put_back += 1
            else:
                set_aside += 1
    return SweepResult(put_back, set_aside)


def record_heartbeat(*, worker: str, engine: str) -> None:
    """This worker is alive; those not heard of for a day are forgotten."""
    WorkerHeartbeat.objects.filter(seen_at__lt=Now() - timedelta(days=1)).delete()
    WorkerHeartbeat.objects.update_or_create(
        worker=worker, defaults={"engine": engine, "seen_at": Now()}
    )


def _locked(generation_id: int, lease_token: uuid.UUID | None) -> Generation | None:
    """The generation under this lease, locked after its participant; None if the lease is lost."""
    leased = Generation.objects.filter(
        pk=generation_id, lease_token=lease_token, state=GenerationState.RUNNING
    )
    participant_id = leased.values_list("query__participant", flat=True).first()
    if participant_id is None:
        return None
    try:
        lock_by_id(participant_id)
    except Participant.DoesNotExist:
        return None
    return leased.select_for_update(of=("self",)).select_related("query").first()


def _give_up_or_put_back(generation: Generation, reason: str, *, backoff: bool) -> bool:
    """True where both answers wait for another attempt, False where the comparison is set aside."""
    reason = (reason.replace("\x00", "").strip() or "no reason given")[:_ERROR_LENGTH]
    siblings = Generation.objects.filter(query=generation.query_id)
    if generation.attempts < MAX_ATTEMPTS:
        delay = BACKOFF_SECONDS[generation.attempts - 1] if backoff else 0.0
        siblings.update(
            state=GenerationState.PENDING,
            not_before=Now() + timedelta(seconds=delay),
            description="",
            **_NO_ANSWER,
        )
        siblings.filter(pk=generation.pk).update(error=reason)
        return True
    set_aside(query=generation.query, arm=generation.arm, reason=reason)
    finish_if_judged(lock_by_id(generation.query.participant_id))
    return False


def set_aside(*, query: Query, reason: str, arm: str | None = None) -> None:
    """Nobody will judge this comparison: the answer of ``arm`` cannot be written.

    Without an arm nobody is to blame, and neither rows nor reason tell the answers apart.
    """
    answers = Generation.objects.filter(query=query)
    freed: dict[str, Any] = {
        "state": GenerationState.FAILED, "lease_token": None, "lease_until": None,
    }  # fmt: skip
    if arm is not None:
        answers.filter(arm=arm).update(error=reason, **freed)
    open_ones = answers.filter(state__in=[GenerationState.PENDING, GenerationState.RUNNING])
    open_ones.update(error="not needed: the other answer failed" if arm else reason, **freed)
    said = f"{arm}: {reason}" if arm else reason
    Comparison.objects.filter(query=query, state=ComparisonState.WAITING).update(
        state=ComparisonState.SET_ASIDE, set_aside_reason=said[:_ERROR_LENGTH]
    )


def set_aside_unyoked(generation_ids: Sequence[int], *, lease_token: uuid.UUID) -> int:
    """Set aside what was to be written on labels of somebody who has withdrawn them meanwhile."""
    settled = 0
    for pk in generation_ids:
        with transaction.atomic():
            generation = _locked(pk, lease_token)
            if generation is not None:
                set_aside(query=generation.query, reason=NOT_WRITTEN)
                finish_if_judged(lock_by_id(generation.query.participant_id))
                settled += 1
    return settled
