"""Coming in and leaving: start, consent, comprehension check, withdrawal."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from studyapp import schedule, selectors
from studyapp.errors import (
    AlreadyTookPart,
    InvalidAnswers,
    InvalidIdentity,
    NotAdult,
    StudyNotOpen,
    WrongStage,
)
from studyapp.flow import Event, Stage
from studyapp.models import (
    AccessToken,
    ConsentRecord,
    Label,
    Participant,
    RecruiterIdentity,
    Study,
    StudyState,
    StudyVersion,
)
from studyapp.recruiter import RecruiterParameters
from studyapp.services.stages import lock, move, record_event, require_stage


@dataclass(frozen=True, slots=True)
class Admission:
    """A participant with a fresh token; ``resumed`` tells that the run had begun before."""

    participant: Participant
    token: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of a comprehension check; ``wrong`` are the indexes of wrong answers."""

    participant: Participant
    passed: bool
    attempts_left: int
    wrong: tuple[int, ...] = ()


@transaction.atomic
def start_participant(
    *,
    study: Study,
    recruiter: RecruiterParameters | None = None,
    preview: bool = False,
    start_key: uuid.UUID | None = None,
) -> Admission:
    """The click on Start: a new participant, or the one who had begun.

    Nothing of ``recruiter`` is stored here; hand it to ``record_consent``. ``start_key`` is the
    random value of the form: the same one gives the same participant while consent is open.
    Raises StudyNotOpen, AlreadyTookPart (same PID, another session), InvalidIdentity.
    """
    recruiter = recruiter or RecruiterParameters()
    preview = preview or recruiter.is_placeholder
    known = None if preview else _known_participant(study, recruiter)
    if known is not None:
        return Admission(known, _issue_token(known), resumed=True)
    if study.state != StudyState.OPEN and not (preview and study.state == StudyState.PAUSED):
        raise StudyNotOpen(f"study {study.slug!r} is {study.state}")
    version = selectors.current_version(study)
    if not preview and not recruiter.pid:
        _refuse_missing_id(version)
    if start_key is not None:
        participant, created = Participant.objects.get_or_create(
            start_key=start_key,
            defaults={
                "study_version": version,
                "seed": secrets.randbits(62),
                "is_preview": preview,
            },
        )
        if not created and (
            participant.stage != Stage.CONSENT or participant.study_version.study_id != study.pk
        ):
            raise WrongStage(f"this start was used; its stage is {participant.stage!r}")
    else:
        participant, created = (
            Participant.objects.create(
                study_version=version, seed=secrets.randbits(62), is_preview=preview
            ),
            True,
        )
    return Admission(participant, _issue_token(participant), resumed=not created)


@transaction.atomic
def record_consent(
    *, participant: Participant, adult: bool, recruiter: RecruiterParameters | None = None
) -> Participant:
    """Consent given: its record, and from now on the recruiter's identity. A repeat is harmless.

    Raises NotAdult, WrongStage, InvalidIdentity (the study needs a PID, and there is none),
    AlreadyTookPart (the PID consented in another run meanwhile; see ``continue_known_run``).
    """
    row = lock(participant)
    if ConsentRecord.objects.filter(participant=row).exists():
        return row
    require_stage(row, Event.ACCEPT)
    if adult is not True:
        raise NotAdult(f"adult: must be confirmed, got {adult!r}")
    if not row.is_preview:
        if recruiter is not None and recruiter.pid:
            _store_identity(row, recruiter)
        else:
            _refuse_missing_id(row.study_version)
    consent = row.study_version.study_config.consent
    ConsentRecord.objects.create(
        participant=row,
        version=consent.version,
        text_sha256=consent.text_sha256,
        adult_confirmed=True,
        accepted_at=timezone.now(),
    )
    row = move(row, Event.ACCEPT)
    if not row.study_version.study_config.comprehension.questions:
        row = _begin_labels(row)
    return row


@transaction.atomic
def continue_known_run(
    *, participant: Participant, recruiter: RecruiterParameters
) -> Admission | None:
    """For a link opened in two browsers before consent: the run that consented first goes on.

    ``participant``, the run that came second, holds nothing yet and ends as withdrawn. None if
    nobody is known by the PID. Raises AlreadyTookPart (another session), WrongStage
    (``participant`` is past consent).
    """
    row = lock(participant)
    if row.stage != Stage.CONSENT:
        raise WrongStage(f"only a run at consent gives way; its stage is {row.stage!r}")
    study = row.study_version.study
    known = _known_participant(study, recruiter)
    if known is None:
        return None
    move(row, Event.WITHDRAW)
    record_event(
        study=study,
        actor="participant",
        action="continue_known_run",
        subject=str(row.public_id),
        detail={"continued": str(known.public_id)},
    )
    return Admission(known, _issue_token(known), resumed=True)


@transaction.atomic
def decline_consent(*, participant: Participant) -> Participant:
    """No consent: the ending, and nothing more is stored. Raises WrongStage."""
    row = lock(participant)
    if row.stage == Stage.DECLINED:
        return row
    return move(row, Event.DECLINE)


@transaction.atomic
def record_comprehension(
    *, participant: Participant, answers: Sequence[int | None], attempt: int | None = None
) -> CheckResult:
    """Check the answers (option indexes, in the questions' order).

    ``attempt`` is the number of attempts made when the form was shown: a doubled click of a wrong
    form costs one attempt, not two. Raises WrongStage, InvalidAnswers (missing or no option).
    """
    row = lock(participant)
    check = row.study_version.study_config.comprehension
    if row.schedule_index is not None:
        return CheckResult(row, passed=True, attempts_left=0)
    if row.stage == Stage.FAILED_CHECKS:
        return CheckResult(row, passed=False, attempts_left=0)
    require_stage(row, Event.PASS_CHECKS)
    if attempt is not None and attempt < row.comprehension_attempts:
        return CheckResult(row, False, check.attempts - row.comprehension_attempts)
    problems = {
        f"q{i}": f"one of {len(question.options)} options, got {answer!r}"
        for i, (question, answer) in enumerate(
            zip(check.questions, [*answers, *[None] * len(check.questions)], strict=False)
        )
        if answer is None or not 0 <= answer < len(question.options)
    }
    if problems or len(answers) != len(check.questions):
        raise InvalidAnswers(
            problems or {"answers": f"expected {len(check.questions)}, got {len(answers)}"}
        )
    row.comprehension_attempts += 1
    wrong = tuple(
        i
        for i, (question, answer) in enumerate(zip(check.questions, answers, strict=True))
        if answer != question.answer
    )
    left = check.attempts - row.comprehension_attempts
    if not wrong:
        return CheckResult(_begin_labels(row), passed=True, attempts_left=max(left, 0))
    if left <= 0:
        return CheckResult(move(row, Event.FAIL_CHECKS), False, 0, wrong)
    row.save()
    return CheckResult(row, False, left, wrong)


@transaction.atomic
def withdraw(*, participant: Participant) -> Participant:
    """Leave and take one's answers along: labels, questions, answers to them, judgments, drafts.

    The consent record and the recruiter's identity stay until the researcher deletes them, because
    payment and "already took part" need them. Raises WrongStage (declined, failed checks).
    """
    row = lock(participant)
    if row.stage == Stage.WITHDRAWN:
        return row
    came_from = row.stage
    row = move(row, Event.WITHDRAW)
    row.drafts.all().delete()
    row.exit_answers.all().delete()
    row.queries.all().delete()
    row.labels.all().delete()
    record_event(
        study=row.study_version.study,
        actor="participant",
        action="withdraw",
        subject=str(row.public_id),
        detail={"stage": came_from},
    )
    return row


def hash_token(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _issue_token(participant: Participant) -> str:
    token = secrets.token_urlsafe(24)
    AccessToken.objects.create(participant=participant, token_sha256=hash_token(token))
    return token


def _known_participant(study: Study, recruiter: RecruiterParameters) -> Participant | None:
    identity = selectors.known_identity(study, recruiter)
    if identity is None:
        return None
    if identity.session_id != recruiter.session_id:
        raise AlreadyTookPart("this recruiter id took part in another session")
    return identity.participant


def _refuse_missing_id(version: StudyVersion) -> None:
    if version.study_config.recruiter.require_id:
        raise InvalidIdentity("PROLIFIC_PID: needed in this study, got none")


def _store_identity(participant: Participant, recruiter: RecruiterParameters) -> None:
    try:
        with transaction.atomic():
            RecruiterIdentity.objects.create(
                participant=participant,
                study=participant.study_version.study,
                pid=recruiter.pid,
                recruiter_study_id=recruiter.study_id,
                session_id=recruiter.session_id,
            )
    except IntegrityError as error:
        raise AlreadyTookPart("this recruiter id consented in another run") from error


def _begin_labels(participant: Participant) -> Participant:
    """Give the schedule index and draw the pairs."""
    version = StudyVersion.objects.select_for_update().get(pk=participant.study_version_id)
    last = Participant.objects.filter(
        study_version=version, is_preview=participant.is_preview
    ).aggregate(last=Max("schedule_index"))["last"]
    index = 0 if last is None else last + 1
    participant.schedule_index = index
    participant = move(participant, Event.PASS_CHECKS)
    config = version.study_config
    pairs = list(version.pairs.order_by("position"))
    slots = schedule.label_slots(
        seed=config.seed,
        index=index,
        pool=len(pairs),
        count=config.labels.count,
    )
    Label.objects.bulk_create(
        Label(
            participant=participant,
            pair=pairs[slot.pair],
            position=position,
            left_is_a=slot.left_is_a,
        )
        for position, slot in enumerate(slots)
    )
    return participant
