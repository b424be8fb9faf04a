"""What all services share: lock the participant first, move the stage by the table, write down."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from studyapp import flow
from studyapp.flow import Event, Stage
from studyapp.models import AuditEvent, Comparison, ComparisonState, Participant, Study


def lock(participant: Participant) -> Participant:
    """The row as it is now, locked until the transaction ends.

    Every service that writes about a participant takes this lock first, workers included, so that
    two tabs, a doubled click and a finishing answer come one after the other and never deadlock.
    """
    return lock_by_id(participant.pk)


def lock_by_id(participant_id: int) -> Participant:
    """Like ``lock``, by primary key. Raises Participant.DoesNotExist if it was deleted."""
    row = Participant.objects.select_for_update(of=("self",)).select_related("study_version__study")
    return row.get(pk=participant_id)


def require_stage(participant: Participant, event: Event) -> None:
    """Raises WrongStage unless ``event`` fits the participant's stage."""
    flow.advance(participant.stage, event)


def move(participant: Participant, event: Event) -> Participant:
    """Move the (locked) participant by the transition table and save. Raises WrongStage."""
    config = participant.study_version.study_config
    stage = flow.advance(participant.stage, event, empty=config.empty_stages)
    now = timezone.now()
    participant.stage = stage.value
    participant.stage_changed_at = now
    if stage in flow.ENDINGS:
        participant.ended_at = now
        participant.waiting_since = None
    if stage is Stage.COMPLETE:
        participant.completed_at = now
    if stage in flow.PAID:
        participant.paid_ending = stage.value
    participant.save()
    return participant


def finish_if_judged(participant: Participant) -> Participant:
    """On from the judging stage when no comparison is left to be judged."""
    open_states = (ComparisonState.WAITING, ComparisonState.READY)
    if participant.stage != Stage.JUDGE:
        return participant
    if Comparison.objects.filter(query__participant=participant, state__in=open_states).exists():
        return participant
    return move(participant, Event.JUDGMENTS_DONE)


def record_event(
    *,
    actor: str,
    action: str,
    study: Study | None = None,
    subject: str = "",
    detail: dict[str, Any] | None = None,
) -> AuditEvent:
    """Append to the audit log. ``detail`` holds ids and counts, never a participant's text."""
    return AuditEvent.objects.create(
        study=study, actor=actor, action=action, subject=subject, detail=detail or {}
    )
