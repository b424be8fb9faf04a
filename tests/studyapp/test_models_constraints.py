"""Each invariant of the schema, and an attempt to break it past the services."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from studyapp.errors import FrozenConfiguration
from studyapp.models import (
    AccessToken,
    AnalysisSnapshot,
    AuditEvent,
    Comparison,
    ConsentRecord,
    Draft,
    ExitAnswer,
    Generation,
    Judgment,
    Label,
    PairPool,
    Participant,
    Query,
    RecruiterIdentity,
    Study,
    StudyVersion,
    WorkerHeartbeat,
)
from tests.studyapp import walk

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    return walk.load()


@pytest.fixture
def judged(study: Study) -> Participant:
    return walk.completed(study, pid="p1", session="s1")


@pytest.fixture
def waiting(study: Study) -> Participant:
    return walk.judging(study)


def refused(name: str, act: Callable[[], Any]) -> None:
    """The database refuses ``act`` and names the constraint."""
    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        act()


def refused_update(name: str, row: Any, **values: Any) -> None:
    refused(name, lambda: type(row).objects.filter(pk=row.pk).update(**values))


def refused_copy(name: str, row: Any, **values: Any) -> None:
    """A second row like ``row``, but for ``values``."""

    def insert() -> None:
        row.pk = None
        for field, value in values.items():
            setattr(row, field, value)
        row.save(force_insert=True)

    refused(name, insert)


def test_a_study_has_a_known_state_and_its_slug_once(study: Study) -> None:
    refused_update("study_state_known", study, state="ajar")
    refused_copy("studyapp_study_slug_key", study)


def test_a_frozen_version_cannot_be_changed_by_save_or_by_sql(study: Study) -> None:
    version = study.versions.get()
    version.config = {"slug": "other"}
    with pytest.raises(FrozenConfiguration, match="version 1 is frozen"):
        version.save()
    refused("rows are frozen", lambda: StudyVersion.objects.update(config={}))
    refused("rows are frozen", lambda: PairPool.objects.update(question="Another?"))
    assert StudyVersion.objects.get().config["slug"] == "small"


def test_a_version_number_stands_once_and_its_hash_is_a_hash(study: Study) -> None:
    version = study.versions.get()
    refused_copy("version_number_once", version)
    refused_copy("version_hash_is_hex", version, number=2, config_hash="x")


def test_a_version_with_participants_cannot_be_deleted(study: Study) -> None:
    walk.start(study)
    with pytest.raises(ProtectedError):
        study.versions.get().delete()


def test_a_pair_stands_once_and_has_two_different_answers(study: Study) -> None:
    pair = PairPool.objects.get(position=0)
    refused_copy("pair_position_once", pair)
    refused_copy("pair_not_empty", pair, position=90, question="")
    refused_copy("pair_answers_differ", pair, position=90, question="?", response_b=pair.response_a)


def test_a_participant_has_a_known_stage_and_an_end_with_its_time(judged: Participant) -> None:
    refused_update("stage_known", judged, stage="welcome", ended_at=None)
    refused_update("ended_with_its_time", judged, ended_at=None)
    refused_update("ended_with_its_time", judged, stage="exit")
    refused_update("scheduled_before_labels", judged, schedule_index=None)
    refused_update("waited_not_negative", judged, waited_seconds=-1)


def test_a_place_in_the_schedule_is_given_once_but_previews_have_their_own(study: Study) -> None:
    first, second = walk.labelling(study), walk.labelling(study)
    preview = walk.labelling(study, preview=True)
    assert (first.schedule_index, second.schedule_index, preview.schedule_index) == (0, 1, 0)
    refused_update("schedule_index_once", second, schedule_index=0)


def test_a_start_key_makes_one_participant(study: Study) -> None:
    participant = walk.start(study)
    Participant.objects.filter(pk=participant.pk).update(start_key=uuid.uuid4())
    participant.refresh_from_db()
    refused_copy("start_key", participant, public_id=uuid.uuid4())


def test_tokens_are_kept_as_hashes_only_and_belong_to_one_participant(judged: Participant) -> None:
    token = AccessToken.objects.get(participant=judged)
    refused_update("token_is_a_hash", token, token_sha256="the token itself")
    refused_copy("token_sha256", token)


def test_a_recruiter_id_takes_part_once_in_a_study(study: Study, judged: Participant) -> None:
    other = walk.start(study)
    identity = RecruiterIdentity.objects.get(pid="p1")
    refused_update("pid_not_empty", identity, pid="")
    refused_copy("pid_once_per_study", identity, participant=other, session_id="s2")
    another_study = walk.load(slug="another")
    RecruiterIdentity.objects.create(participant=other, study=another_study, pid="p1")


def test_consent_is_recorded_once_and_by_adults(judged: Participant) -> None:
    consent = ConsentRecord.objects.get(participant=judged)
    refused_update("consent_by_adults", consent, adult_confirmed=False)
    refused_update("consent_hash_is_hex", consent, text_sha256="text")
    refused_copy("participant_id", consent)


def test_one_draft_a_field_and_one_answer_an_exit_question(judged: Participant) -> None:
    refused_copy("draft_once_per_field", Draft.objects.create(participant=judged, field="reason"))
    refused_copy("exit_answer_once_per_question", ExitAnswer.objects.get(name="device"))


def test_one_label_a_position_and_a_pair(waiting: Participant) -> None:
    first, second = waiting.labels.order_by("position")[:2]
    refused_update("label_once_per_position", second, position=first.position)
    refused_update("label_once_per_pair", second, pair=first.pair)


def test_a_label_has_its_choice_and_its_times_together(waiting: Participant) -> None:
    label = waiting.labels.get(position=0)
    refused_update("label_choice_known", label, choice="both")
    refused_update("label_choice_with_its_times", label, choice=None)
    refused_update("label_choice_with_its_times", label, answered_at=None)
    refused_update("label_choice_with_its_times", label, shown_at=None)


def test_a_pair_that_was_labelled_stays(waiting: Participant) -> None:
    with pytest.raises(ProtectedError):
        Label.objects.filter(participant=waiting)[0].pair.delete()


def test_a_question_stands_once_and_is_not_empty(waiting: Participant) -> None:
    query = Query.objects.get(participant=waiting, kind="own", position=0)
    refused_update("query_kind_known", query, kind="any")
    refused_update("query_not_empty", query, text="")
    refused_copy("query_once_per_position", query)


def test_one_generation_a_question_and_arm(waiting: Participant) -> None:
    generation = Generation.objects.filter(arm="fspo")[0]
    refused_update("generation_arm_known", generation, arm="gpt")
    refused_update("generation_state_known", generation, state="lost")
    refused_update("generation_attempts_capped", generation, attempts=4)
    refused_copy("generation_once_per_arm", generation)


def test_a_generation_is_complete_exactly_with_text_and_provenance(judged: Participant) -> None:
    done = Generation.objects.filter(state="complete")[0]
    refused_update("generation_complete_with_text", done, state="pending")
    refused_update("generation_complete_with_text", done, completion=None)
    refused_update("generation_text_not_empty", done, completion="")
    for field in ("prompt_sha256", "checkpoint", "shots_used", "sampling", "completed_at"):
        refused_update("generation_complete_with_text", done, **{field: None})


def test_a_pending_generation_has_no_text_and_a_failed_one_a_reason(waiting: Participant) -> None:
    pending = Generation.objects.filter(state="pending")[0]
    refused_update("generation_complete_with_text", pending, completion="a text")
    refused_update("generation_complete_with_text", pending, state="complete")
    refused_update("generation_failed_with_reason", pending, state="failed")


def test_a_lease_is_held_exactly_while_running(waiting: Participant) -> None:
    pending = Generation.objects.filter(state="pending")[0]
    lease = {"lease_token": uuid.uuid4(), "lease_until": timezone.now()}
    refused_update("generation_leased_while_running", pending, state="running")
    refused_update("generation_leased_while_running", pending, **lease)
    lease["lease_until"] = None
    refused_update("generation_leased_while_running", pending, state="running", **lease)


def test_a_comparison_is_of_two_arms_and_stands_once_a_question(waiting: Participant) -> None:
    comparison = Comparison.objects.filter(query__participant=waiting)[0]
    refused_update("comparison_of_two_arms", comparison, against=comparison.arm)
    refused_update("comparison_state_known|shown_when_ready", comparison, state="lost")
    refused_copy("query_id", comparison, public_id=uuid.uuid4())


def test_a_comparison_is_set_aside_exactly_with_a_reason(waiting: Participant) -> None:
    comparison = Comparison.objects.filter(query__participant=waiting)[0]
    refused_update("comparison_set_aside_with_reason", comparison, state="set_aside")
    refused_update("comparison_set_aside_with_reason", comparison, set_aside_reason="because")


def test_a_comparison_is_shown_only_when_ready(waiting: Participant, judged: Participant) -> None:
    comparison = Comparison.objects.filter(query__participant=waiting)[0]
    Comparison.objects.filter(pk=comparison.pk).update(
        state="waiting", ready_at=None, shown_at=None
    )
    now = timezone.now()
    refused_update("comparison_shown_when_ready", comparison, shown_at=now)
    refused_update("comparison_shown_when_ready", comparison, state="ready")
    done = Comparison.objects.filter(query__participant=judged)[0]
    refused_update("comparison_shown_when_ready", done, shown_at=None)


def test_a_comparison_is_judged_once_with_a_strength_from_1_to_5(judged: Participant) -> None:
    judgment = Judgment.objects.filter(comparison__query__participant=judged)[0]
    refused_update("strength_1_to_5", judgment, strength=0)
    refused_update("strength_1_to_5", judgment, strength=6)
    refused_update("judgment_choice_known", judgment, choice="both")
    too_early = judgment.shown_at - timedelta(seconds=1)
    refused_update("judged_after_shown", judgment, judged_at=too_early)
    refused_copy("comparison_id", judgment)


def test_the_audit_log_takes_new_lines_only(study: Study) -> None:
    event = AuditEvent.objects.get(action="load_study")
    refused("rows are frozen", lambda: AuditEvent.objects.update(actor="nobody"))
    refused("rows are frozen", lambda: AuditEvent.objects.filter(pk=event.pk).delete())
    refused("audit_says_who_did_what", lambda: AuditEvent.objects.create(actor="", action="x"))


def test_one_snapshot_an_input_and_one_line_a_worker(study: Study) -> None:
    refused_copy(
        "snapshot_once_per_input",
        AnalysisSnapshot.objects.create(study=study, input_hash="a" * 64, payload={}),
    )
    refused_copy("worker", WorkerHeartbeat.objects.create(worker="host:1"))


def test_the_refusals_hold_against_plain_sql_too(waiting: Participant) -> None:
    for statement in (
        "UPDATE studyapp_participant SET stage = 'welcome'",
        "UPDATE studyapp_generation SET state = 'complete'",
        "UPDATE studyapp_studyversion SET number = 2",
        "DELETE FROM studyapp_auditevent",
    ):
        with (
            pytest.raises(DatabaseError, match=r"constraint|frozen"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
