"""What participants do between consent and the end: label, ask, judge, answer."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from fspo_core.arms import get_arm
from studyapp import queue, schedule, selectors
from studyapp.config import ExitQuestion, StudyConfig
from studyapp.errors import (
    AlreadyAnswered,
    InvalidAnswers,
    InvalidQuestions,
    InvalidStrength,
    InvalidText,
    NotShown,
    UnknownChoice,
    UnknownItem,
    WaitNotOver,
    WrongStage,
)
from studyapp.flow import Event, Stage
from studyapp.models import (
    Comparison,
    ComparisonState,
    Draft,
    ExitAnswer,
    Generation,
    Judgment,
    JudgmentChoice,
    Label,
    LabelChoice,
    Participant,
    Query,
    QueryKind,
)
from studyapp.schedule import ComparisonSlot
from studyapp.services.leases import NOT_WRITTEN, set_aside
from studyapp.services.stages import finish_if_judged, lock, move, record_event, require_stage
from studyapp.texts import clean_note, clean_question, storable

DRAFT_MAX_LENGTH = 20_000


@transaction.atomic
def mark_shown(*, item: Label | Comparison, now: datetime | None = None) -> None:
    """The first time an item is shown is kept; a shown comparison ends the participant's wait."""
    now = now or timezone.now()
    if isinstance(item, Label):
        Label.objects.filter(pk=item.pk, shown_at=None).update(shown_at=now)
        return
    row = lock(item.query.participant)
    shown = Comparison.objects.filter(pk=item.pk, state=ComparisonState.READY, shown_at=None)
    shown.update(shown_at=now)
    if row.waiting_since is not None:
        row.waited_seconds += max(0.0, (now - row.waiting_since).total_seconds())
        row.waiting_since = None
        row.save()


@transaction.atomic
def note_waiting(*, participant: Participant, now: datetime | None = None) -> Participant:
    """Nothing is there to judge: the clock of the longest wait runs from the first call."""
    row = lock(participant)
    if row.stage == Stage.JUDGE and row.waiting_since is None:
        row.waiting_since = now or timezone.now()
        row.save()
    return row


@transaction.atomic
def record_label(*, participant: Participant, item: str, choice: str) -> Participant:
    """Store one label; after the last one the bank questions go to the models, in one transaction.

    The same answer again changes nothing. Raises UnknownItem, UnknownChoice, NotShown,
    AlreadyAnswered (a different answer), WrongStage.
    """
    row = lock(participant)
    if choice not in LabelChoice.values:
        raise UnknownChoice(f"choice: left or right, got {choice!r}")
    label = Label.objects.filter(participant=row, public_id=_uuid(item)).first()
    if label is None:
        raise UnknownItem(f"no label {item!r} for this participant")
    if label.choice is not None:
        if label.choice != choice:
            raise AlreadyAnswered(f"label {label.public_id} is {label.choice!r}, got {choice!r}")
        return row
    require_stage(row, Event.LABELS_DONE)
    if label.shown_at is None:
        raise NotShown(f"label {label.public_id} was not shown yet")
    label.choice = choice
    label.answered_at = timezone.now()
    label.save(update_fields=["choice", "answered_at"])
    if row.labels.filter(choice=None).exists():
        return row
    _queue_bank_questions(row)
    return finish_if_judged(move(row, Event.LABELS_DONE))


@transaction.atomic
def save_draft(*, participant: Participant, field: str, text: str) -> Draft:
    """Keep unfinished text, as typed. Raises InvalidText, UnknownItem (field), WrongStage."""
    row = lock(participant)
    stages = _draft_stages(row.study_version.study_config, field)
    if not stages:
        raise UnknownItem(f"no such draft field, got {field[:80]!r}")
    if row.stage not in stages:
        raise WrongStage(f"no draft of {field!r} at stage {row.stage!r}")
    storable(text, max_length=DRAFT_MAX_LENGTH)
    draft, _created = Draft.objects.update_or_create(
        participant=row, field=field, defaults={"text": text}
    )
    return draft


@transaction.atomic
def ask_questions(*, participant: Participant, texts: Sequence[str]) -> Participant:
    """Store all own questions and queue their answers, in one transaction; drafts are dropped.

    The same questions again change nothing. Raises InvalidQuestions (a message for each field),
    AlreadyAnswered (other questions), WrongStage.
    """
    row = lock(participant)
    config = row.study_version.study_config
    asked = list(
        row.queries.filter(kind=QueryKind.OWN).order_by("position").values_list("text", flat=True)
    )
    if not asked:
        require_stage(row, Event.QUESTIONS_ASKED)
    cleaned = _clean_questions(
        texts,
        count=config.own_questions.count,
        min_length=config.own_questions.min_length,
        max_length=config.own_questions.max_length,
    )
    if asked:
        if asked != cleaned:
            raise AlreadyAnswered(f"{len(asked)} questions were asked already")
        return row
    slots = schedule.own_slots(
        seed=config.seed,
        index=_index(row),
        pairings=len(config.judging.pairings),
        count=len(cleaned),
    )
    _queue(row, QueryKind.OWN, list(zip(cleaned, slots, strict=True)))
    row.drafts.filter(field__startswith="question_").delete()
    return finish_if_judged(move(row, Event.QUESTIONS_ASKED))


@transaction.atomic
def record_judgment(
    *,
    participant: Participant,
    comparison: str,
    choice: str,
    strength: int,
    reason: str = "",
    now: datetime | None = None,
) -> Participant:
    """Store one verdict, once; after the last one the participant moves on.

    The same verdict again changes nothing. Raises UnknownItem, UnknownChoice, InvalidStrength,
    InvalidText, NotShown, AlreadyAnswered, WrongStage.
    """
    row = lock(participant)
    judging = row.study_version.study_config.judging
    if choice not in JudgmentChoice.values or (choice == "tie" and not judging.allow_tie):
        raise UnknownChoice(f"choice: not offered, got {choice!r}")
    if isinstance(strength, bool) or not isinstance(strength, int) or not 1 <= strength <= 5:
        raise InvalidStrength(f"strength: a whole number from 1 to 5, got {strength!r}")
    reason = clean_note(reason, max_length=judging.reason_max_length)
    found = Comparison.objects.filter(query__participant=row, public_id=_uuid(comparison)).first()
    if found is None:
        raise UnknownItem(f"no comparison {comparison!r} for this participant")
    if found.state == ComparisonState.JUDGED:
        if (found.judgment.choice, found.judgment.strength) != (choice, strength):
            raise AlreadyAnswered(f"comparison {found.public_id} was judged already")
        return row
    require_stage(row, Event.JUDGMENTS_DONE)
    if found.state != ComparisonState.READY or found.shown_at is None:
        raise NotShown(f"comparison {found.public_id} was not shown yet")
    Judgment.objects.create(
        comparison=found,
        choice=choice,
        strength=strength,
        reason=reason,
        shown_at=found.shown_at,
        judged_at=max(now or timezone.now(), found.shown_at),
    )
    found.state = ComparisonState.JUDGED
    found.save(update_fields=["state"])
    row.drafts.filter(field="reason").delete()
    return finish_if_judged(row)


@transaction.atomic
def record_exit_answers(*, participant: Participant, answers: Mapping[str, str]) -> Participant:
    """Store the answers to all exit questions; the study is complete then. A repeat is harmless.

    Raises InvalidAnswers (a message for each question), WrongStage.
    """
    row = lock(participant)
    if row.stage == Stage.COMPLETE:
        return row
    require_stage(row, Event.EXIT_ANSWERED)
    problems: dict[str, str] = {}
    cleaned: dict[str, str] = {}
    for question in row.study_version.study_config.exit_questions:
        try:
            cleaned[question.name] = _clean_answer(question, answers.get(question.name, ""))
        except InvalidText as error:
            problems[question.name] = str(error)
    if problems:
        raise InvalidAnswers(problems)
    ExitAnswer.objects.bulk_create(
        ExitAnswer(participant=row, name=name, value=value) for name, value in cleaned.items()
    )
    row.drafts.all().delete()
    return move(row, Event.EXIT_ANSWERED)


@transaction.atomic
def exit_early(*, participant: Participant, now: datetime | None = None) -> Participant:
    """The paid ending after the longest wait. Raises WaitNotOver (seconds waited), WrongStage."""
    row = lock(participant)
    if row.stage == Stage.TECHNICAL:
        return row
    require_stage(row, Event.EXIT_EARLY)
    state = selectors.judge_state(row, now=now)
    if not state.may_exit_early:
        raise WaitNotOver(f"waited {state.waited_seconds:.0f} s of {state.max_wait_seconds} s")
    open_ones = Comparison.objects.filter(
        query__participant=row, state__in=[ComparisonState.WAITING, ComparisonState.READY]
    )
    open_ones.update(
        state=ComparisonState.SET_ASIDE,
        set_aside_reason="the participant left after the longest wait",
        shown_at=None,
    )
    row.drafts.all().delete()
    row.waited_seconds = state.waited_seconds
    row = move(row, Event.EXIT_EARLY)
    record_event(
        study=row.study_version.study,
        actor="participant",
        action="exit_early",
        subject=str(row.public_id),
        detail={"waited_seconds": round(state.waited_seconds, 1)},
    )
    return row


def _queue_bank_questions(participant: Participant) -> None:
    config = participant.study_version.study_config
    slots = schedule.bank_slots(
        seed=config.seed,
        index=_index(participant),
        questions=len(config.bank.questions),
        pairings=len(config.judging.pairings),
        count=config.bank.count,
    )
    texts = [config.bank.questions[slot.bank_question or 0] for slot in slots]
    _queue(participant, QueryKind.BANK, list(zip(texts, slots, strict=True)))


def _queue(
    participant: Participant, kind: QueryKind, items: Sequence[tuple[str, ComparisonSlot]]
) -> None:
    """Questions, their two answers to be written each, and their comparisons; then the wake-up."""
    pairings = participant.study_version.study_config.judging.pairings
    ids = []
    for position, (text, slot) in enumerate(items):
        query = Query.objects.create(
            participant=participant, kind=kind, position=position, text=text
        )
        pairing = pairings[slot.pairing]
        arms = (pairing.arm, pairing.against)
        yoked = [arm for arm in arms if get_arm(arm).reads_another]
        other = _whose_labels(participant) if yoked else None
        for arm in arms:
            seed = schedule.generation_seed(
                participant_seed=participant.seed, kind=kind, position=position, arm=arm
            )
            Generation.objects.create(
                query=query, arm=arm, seed=seed, labels_of=other if arm in yoked else None
            )
        comparison = Comparison.objects.create(
            query=query, arm=pairing.arm, against=pairing.against, arm_is_left=slot.arm_is_left
        )
        if yoked and other is None:
            set_aside(query=query, reason=NOT_WRITTEN)
        else:
            ids.append(comparison.pk)
    if ids:
        queue.wake(ids)


def _whose_labels(participant: Participant) -> Participant | None:
    """The other participant whose labels yoked answers are written on, the same for all of them
    while their labels are there; None before anybody else has labelled all pairs."""
    others = list(selectors.labelled_all(participant))
    earlier = Generation.objects.filter(query__participant=participant, labels_of__in=others)
    if (found := earlier.select_related("labels_of").first()) is not None:
        return found.labels_of
    return others[participant.seed % len(others)] if others else None


def _clean_questions(
    texts: Sequence[str], *, count: int, min_length: int, max_length: int
) -> list[str]:
    problems: dict[str, str] = {}
    cleaned: list[str] = []
    if len(texts) > count:
        problems["questions"] = _("There are %(count)d questions to ask; %(got)d came.") % {
            "count": count,
            "got": len(texts),
        }
    for i, text in enumerate([*texts, *[""] * (count - len(texts))]):
        try:
            cleaned.append(clean_question(text, min_length=min_length, max_length=max_length))
        except InvalidText as error:
            problems[f"question_{i}"] = str(error)
    if problems:
        raise InvalidQuestions(problems)
    return cleaned


def _clean_answer(question: ExitQuestion, value: str) -> str:
    cleaned = clean_note(value, max_length=question.max_length)
    if not cleaned:
        if question.required:
            raise InvalidText(_("Please answer this question."))
        return ""
    if question.kind == "choice" and cleaned not in question.options:
        raise InvalidText(_("Please choose one of the answers offered."))
    points = {str(point) for point in range(1, question.points + 1)}
    if question.kind == "likert" and cleaned not in points:
        raise InvalidText(_("Please choose a number on the scale."))
    return cleaned


def _draft_stages(config: StudyConfig, field: str) -> set[Stage]:
    """The stages at which ``field`` is written; none if the study has no such field."""
    own = {f"question_{place}" for place in range(config.own_questions.count)}
    exit_names = {question.name for question in config.exit_questions}
    fields = {Stage.ASK: own, Stage.JUDGE: {"reason"}, Stage.EXIT: exit_names}
    return {stage for stage, names in fields.items() if field in names}


def _index(participant: Participant) -> int:
    if participant.schedule_index is None:
        raise NotShown("labelling has not begun")
    return participant.schedule_index


def _uuid(value: str) -> uuid.UUID:
    try:
        return uuid.UUID(str(value))
    except ValueError:
        raise UnknownItem(f"not an id, got {str(value)[:80]!r}") from None
