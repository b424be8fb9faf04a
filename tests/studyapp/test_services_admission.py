from __future__ import annotations

import uuid
from typing import Any

import pytest

from studyapp import selectors, services
from studyapp.errors import (
    AlreadyTookPart,
    InvalidAnswers,
    InvalidIdentity,
    NotAdult,
    StudyNotOpen,
    UnknownStudy,
    UnknownToken,
    WrongStage,
)
from studyapp.models import (
    AccessToken,
    AuditEvent,
    ConsentRecord,
    Generation,
    Judgment,
    Label,
    Participant,
    Query,
    RecruiterIdentity,
    Study,
)
from studyapp.recruiter import RecruiterParameters
from tests.studyapp import walk

pytestmark = pytest.mark.django_db
PAUL = RecruiterParameters(pid="paul", study_id="st", session_id="one")


@pytest.fixture
def study() -> Study:
    return walk.load()


def test_start_gives_a_participant_at_consent_and_a_token_of_which_only_the_hash_is_kept(
    study: Study,
) -> None:
    admission = services.start_participant(study=study, recruiter=PAUL)
    assert (admission.participant.stage, admission.resumed) == ("consent", False)
    assert selectors.participant_by_token(admission.token) == admission.participant
    assert admission.token not in AccessToken.objects.get().token_sha256


def test_a_forged_token_and_one_of_another_study_are_refused(study: Study) -> None:
    token = services.start_participant(study=study).token
    walk.load(slug="another")
    for forged, slug in (("x", None), ("", None), (token + "x", None), (token, "another")):
        with pytest.raises(UnknownToken):
            selectors.participant_by_token(forged, slug=slug)


def test_the_recruiters_id_is_stored_at_consent_and_not_before(study: Study) -> None:
    participant = services.start_participant(study=study, recruiter=PAUL).participant
    assert not RecruiterIdentity.objects.exists()
    services.record_consent(participant=participant, adult=True, recruiter=PAUL)
    identity = RecruiterIdentity.objects.get()
    assert (identity.pid, identity.recruiter_study_id, identity.session_id) == ("paul", "st", "one")


def test_the_same_pid_and_session_resume_with_a_token_of_their_own(study: Study) -> None:
    first = services.start_participant(study=study, recruiter=PAUL)
    services.record_consent(participant=first.participant, adult=True, recruiter=PAUL)
    again = services.start_participant(study=study, recruiter=PAUL)
    assert again.resumed
    assert again.participant == first.participant
    assert selectors.participant_by_token(first.token) == first.participant
    assert selectors.participant_by_token(again.token) == first.participant


def test_the_same_pid_with_another_session_already_took_part(study: Study) -> None:
    walk.consented(study, pid="paul", session="one")
    other = RecruiterParameters(pid="paul", session_id="two")
    with pytest.raises(AlreadyTookPart):
        services.start_participant(study=study, recruiter=other)


def test_a_pid_that_consents_in_two_runs_at_once_is_stopped_at_the_second(study: Study) -> None:
    first, second = walk.start(study, pid="paul"), walk.start(study, pid="paul")
    services.record_consent(participant=first, adult=True, recruiter=PAUL)
    with pytest.raises(AlreadyTookPart):
        services.record_consent(participant=second, adult=True, recruiter=PAUL)
    second.refresh_from_db()
    assert second.stage == "consent"


def test_the_run_that_came_second_by_the_same_link_gives_way_to_the_first(study: Study) -> None:
    first, second = walk.start(study, pid="paul"), walk.start(study, pid="paul")
    services.record_consent(participant=first, adult=True, recruiter=PAUL)
    admission = services.continue_known_run(participant=second, recruiter=PAUL)
    assert admission is not None
    assert admission.participant == first
    assert selectors.participant_by_token(admission.token) == first
    second.refresh_from_db()
    assert (second.stage, second.schedule_index) == ("withdrawn", None)
    event = AuditEvent.objects.get(action="continue_known_run")
    assert event.subject == str(second.public_id)
    assert event.detail == {"continued": str(first.public_id)}
    with pytest.raises(WrongStage):
        services.continue_known_run(participant=second, recruiter=PAUL)


def test_a_run_of_another_session_or_of_nobody_known_does_not_give_way(study: Study) -> None:
    walk.consented(study, pid="paul", session="two")
    second = walk.start(study)
    with pytest.raises(AlreadyTookPart):
        services.continue_known_run(participant=second, recruiter=PAUL)
    unknown = RecruiterParameters(pid="paula", session_id="two")
    assert services.continue_known_run(participant=second, recruiter=unknown) is None
    second.refresh_from_db()
    assert second.stage == "consent"


@pytest.mark.parametrize(
    ("pid", "preview"), [("{{%PROLIFIC_PID%}}", False), ("paul", True), ("", True)]
)
def test_a_preview_is_flagged_and_leaves_no_identity(study: Study, pid: str, preview: bool) -> None:
    recruiter = RecruiterParameters(pid=pid, session_id="one")
    for _ in range(2):
        participant = services.start_participant(
            study=study, recruiter=recruiter, preview=preview
        ).participant
        services.record_consent(participant=participant, adult=True, recruiter=recruiter)
        assert participant.is_preview
    assert not RecruiterIdentity.objects.exists()
    assert Participant.objects.count() == 2


def test_a_doubled_click_on_start_makes_one_participant(study: Study) -> None:
    key = uuid.uuid4()
    first = services.start_participant(study=study, start_key=key)
    second = services.start_participant(study=study, start_key=key)
    assert (second.participant, second.resumed) == (first.participant, True)
    services.record_consent(participant=first.participant, adult=True)
    with pytest.raises(WrongStage, match="instructions"):
        services.start_participant(study=study, start_key=key)


@pytest.mark.parametrize(
    ("state", "preview", "admitted"),
    [
        ("open", False, True),
        ("paused", False, False),
        ("closed", False, False),
        ("paused", True, True),
        ("closed", True, False),
    ],
)
def test_who_may_start_depends_on_the_studys_state(
    study: Study, state: str, preview: bool, admitted: bool
) -> None:
    study = services.set_study_state(study=study, state=state, actor="test")
    if admitted:
        services.start_participant(study=study, preview=preview)
    else:
        with pytest.raises(StudyNotOpen, match=state):
            services.start_participant(study=study, preview=preview)


def test_who_began_before_the_study_closed_resumes(study: Study) -> None:
    participant = walk.consented(study, pid="paul", session="one")
    study = services.set_study_state(study=study, state="closed", actor="test")
    assert services.start_participant(study=study, recruiter=PAUL).participant == participant


def test_a_study_may_require_the_recruiters_id() -> None:
    study = walk.load(recruiter={"require_id": True})
    with pytest.raises(InvalidIdentity, match="PROLIFIC_PID"):
        services.start_participant(study=study)
    services.start_participant(study=study, preview=True)
    services.start_participant(study=study, recruiter=PAUL)


@pytest.mark.parametrize("recruiter", [None, RecruiterParameters(session_id="one")])
def test_consent_without_the_id_that_a_study_requires_is_refused(
    recruiter: RecruiterParameters | None,
) -> None:
    study = walk.load(recruiter={"require_id": True})
    participant = walk.start(study, pid="paul", session="one")
    with pytest.raises(InvalidIdentity, match="PROLIFIC_PID"):
        services.record_consent(participant=participant, adult=True, recruiter=recruiter)
    assert not ConsentRecord.objects.exists()
    preview = walk.start(study, preview=True)
    assert services.record_consent(participant=preview, adult=True).stage == "instructions"
    services.record_consent(participant=participant, adult=True, recruiter=PAUL)
    assert RecruiterIdentity.objects.get().pid == "paul"


def test_recruiter_parameters_that_are_too_long_or_unprintable_are_refused() -> None:
    with pytest.raises(InvalidIdentity, match="at most 200 characters, got 201"):
        RecruiterParameters.from_query({"PROLIFIC_PID": "x" * 201})
    with pytest.raises(InvalidIdentity, match="SESSION_ID: unprintable"):
        RecruiterParameters.from_query({"SESSION_ID": "a\x00b"})
    read = RecruiterParameters.from_query({"PROLIFIC_PID": " paul ", "SESSION_ID": "one"})
    assert read == RecruiterParameters(pid="paul", session_id="one")
    assert RecruiterParameters.from_session(read.for_session()) == read
    assert RecruiterParameters.from_session(None) == RecruiterParameters()


def test_a_study_that_does_not_exist_or_has_no_version_is_named(study: Study) -> None:
    with pytest.raises(UnknownStudy, match="'nope'"):
        selectors.get_study("nope")
    with pytest.raises(UnknownStudy, match="'bare'"):
        services.start_participant(study=Study.objects.create(slug="bare", title="Bare"))


def test_consent_records_hash_version_and_time_once(study: Study) -> None:
    participant = walk.start(study)
    for _ in range(2):
        participant = services.record_consent(participant=participant, adult=True)
    record = ConsentRecord.objects.get()
    assert participant.stage == "instructions"
    assert record.version == "1"
    assert record.text_sha256 == participant.study_version.study_config.consent.text_sha256


def test_consent_needs_the_confirmation_of_age(study: Study) -> None:
    participant = walk.start(study, pid="paul")
    with pytest.raises(NotAdult, match="got False"):
        services.record_consent(participant=participant, adult=False, recruiter=PAUL)
    assert not ConsentRecord.objects.exists()
    assert not RecruiterIdentity.objects.exists()


def test_declining_stores_nothing_more_and_ends(study: Study) -> None:
    participant = walk.start(study, pid="paul")
    for _ in range(2):
        participant = services.decline_consent(participant=participant)
    assert participant.stage == "declined"
    assert not RecruiterIdentity.objects.exists()
    assert not ConsentRecord.objects.exists()
    ending = selectors.ending(participant)
    assert (ending.code, ending.paid) == ("NOCON1", False)
    with pytest.raises(WrongStage):
        services.record_consent(participant=participant, adult=True)


def test_passing_the_check_draws_the_pairs(study: Study) -> None:
    participant = walk.consented(study)
    result = services.record_comprehension(participant=participant, answers=[0, 2])
    assert (result.passed, result.participant.stage) == (True, "label")
    assert Label.objects.filter(participant=participant).count() == 4
    assert services.record_comprehension(participant=participant, answers=[1, 1]).passed
    assert Label.objects.filter(participant=participant).count() == 4


def test_failing_the_check_twice_asks_to_return(study: Study) -> None:
    participant = walk.consented(study)
    first = services.record_comprehension(participant=participant, answers=[1, 2])
    assert (first.passed, first.attempts_left, first.wrong) == (False, 1, (0,))
    second = services.record_comprehension(participant=participant, answers=[0, 1])
    assert (second.passed, second.participant.stage) == (False, "failed_checks")
    assert selectors.ending(second.participant).code == "CHECK1"
    assert not services.record_comprehension(participant=participant, answers=[0, 2]).passed


def test_a_doubled_click_on_a_wrong_check_costs_one_attempt(study: Study) -> None:
    participant = walk.consented(study)
    for _ in range(3):
        result = services.record_comprehension(participant=participant, answers=[1, 1], attempt=0)
    assert result.attempts_left == 1


@pytest.mark.parametrize("answers", [[], [0], [0, 3], [0, -1], [None, 2], [0, 2, 1]])
def test_an_answer_that_is_no_option_costs_no_attempt(study: Study, answers: list[Any]) -> None:
    participant = walk.consented(study)
    with pytest.raises(InvalidAnswers):
        services.record_comprehension(participant=participant, answers=answers)
    participant.refresh_from_db()
    assert participant.comprehension_attempts == 0


def test_a_study_without_check_questions_goes_on_to_the_labels() -> None:
    participant = walk.consented(walk.load(comprehension={}))
    assert participant.stage == "label"
    assert participant.labels.count() == 4


def test_withdrawing_deletes_the_answers_and_keeps_what_payment_needs(study: Study) -> None:
    participant = walk.completed(study, pid="paul", session="one")
    for _ in range(2):
        participant = services.withdraw(participant=participant)
    assert participant.stage == "withdrawn"
    for model in (Label, Query, Generation, Judgment):
        assert not model.objects.exists()
    assert RecruiterIdentity.objects.exists()
    assert ConsentRecord.objects.exists()
    assert AuditEvent.objects.filter(action="withdraw").count() == 1
    ending = selectors.ending(participant)
    assert (ending.code, ending.paid) == ("DONE1", True)


@pytest.mark.parametrize(
    "way", [walk.start, walk.consented, walk.labelling, walk.asking, walk.judging, walk.exiting]
)
def test_one_may_withdraw_at_every_stage_and_has_no_code_then(study: Study, way: Any) -> None:
    participant = services.withdraw(participant=way(study))
    ending = selectors.ending(participant)
    assert (participant.stage, ending.code, ending.return_url) == ("withdrawn", "", "")


def test_who_declined_has_nothing_to_withdraw(study: Study) -> None:
    participant = services.decline_consent(participant=walk.start(study))
    with pytest.raises(WrongStage):
        services.withdraw(participant=participant)
