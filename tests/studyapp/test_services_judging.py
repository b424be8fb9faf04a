from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from studyapp import selectors, services
from studyapp.errors import (
    AlreadyAnswered,
    InvalidAnswers,
    InvalidStrength,
    NotShown,
    UnknownChoice,
    UnknownItem,
    WaitNotOver,
    WrongStage,
)
from studyapp.models import AuditEvent, Comparison, ExitAnswer, Judgment, Participant, Study
from tests.studyapp import walk

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    return walk.load()


@pytest.fixture
def judge(study: Study) -> Participant:
    """At the judging stage, all answers written."""
    participant = walk.judging(study)
    walk.write_all()
    return participant


# -- judgments


def test_bank_questions_come_first_and_a_reload_shows_the_same(judge: Participant) -> None:
    kinds = []
    for number in range(1, 6):
        state = selectors.judge_state(judge)
        assert (state.kind, state.number, state.total) == ("ready", number, 5)
        comparison = walk.show_next(judge)
        assert selectors.judge_state(judge).comparison == comparison
        kinds.append(comparison.query.kind)
        judge = services.record_judgment(
            participant=judge, comparison=str(comparison.public_id), choice="tie", strength=1
        )
    assert kinds == ["bank"] * 3 + ["own"] * 2
    assert judge.stage == "exit"


def test_each_answer_stands_on_the_side_that_was_drawn(judge: Participant) -> None:
    for arm_is_left, left, right in ((True, "fspo", "base"), (False, "base", "fspo")):
        Comparison.objects.filter(against="base").update(arm_is_left=arm_is_left, shown_at=None)
        found = Comparison.objects.filter(query__participant=judge, against="base")[0]
        services.mark_shown(item=found)  # what was shown stays on the page
        state = selectors.judge_state(judge)
        assert (state.left_text, state.right_text) == (f"Answer of {left}.", f"Answer of {right}.")


def test_a_judgment_keeps_choice_strength_reason_and_times(judge: Participant) -> None:
    comparison = walk.show_next(judge)
    services.record_judgment(
        participant=judge,
        comparison=str(comparison.public_id),
        choice="right",
        strength=5,
        reason=" Clearer.\r\nWarmer. ",
    )
    judgment = Judgment.objects.get()
    assert (judgment.choice, judgment.strength) == ("right", 5)
    assert judgment.reason == "Clearer.\nWarmer."
    assert judgment.seconds >= 0


def test_the_same_judgment_twice_is_one_and_another_one_is_refused(judge: Participant) -> None:
    item = str(walk.show_next(judge).public_id)
    for _ in range(2):
        services.record_judgment(participant=judge, comparison=item, choice="left", strength=2)
    for choice, strength in (("right", 2), ("left", 3)):
        with pytest.raises(AlreadyAnswered):
            services.record_judgment(
                participant=judge, comparison=item, choice=choice, strength=strength
            )
    assert Judgment.objects.count() == 1


@pytest.mark.parametrize("strength", [0, 6, -1, True, 2.5, "3", None])
def test_a_strength_outside_1_to_5_is_refused(judge: Participant, strength: Any) -> None:
    item = str(walk.show_next(judge).public_id)
    with pytest.raises(InvalidStrength, match="1 to 5, got"):
        services.record_judgment(
            participant=judge, comparison=item, choice="left", strength=strength
        )


def test_a_tie_counts_only_where_the_study_allows_it() -> None:
    judging = {"pairings": walk.PAIRINGS, "allow_tie": False}
    participant = walk.judging(walk.load(judging=judging))
    walk.write_all()
    item = str(walk.show_next(participant).public_id)
    with pytest.raises(UnknownChoice, match="'tie'"):
        services.record_judgment(participant=participant, comparison=item, choice="tie", strength=1)


def test_a_comparison_not_shown_or_of_another_person_is_refused(
    study: Study, judge: Participant
) -> None:
    other = walk.judging(study)
    walk.write_all()
    unseen = Comparison.objects.filter(query__participant=judge, shown_at=None)[0]
    with pytest.raises(NotShown):
        services.record_judgment(
            participant=judge, comparison=str(unseen.public_id), choice="left", strength=1
        )
    theirs = str(walk.show_next(other).public_id)
    for item in (theirs, walk.no_such_id(), "7"):
        with pytest.raises(UnknownItem):
            services.record_judgment(participant=judge, comparison=item, choice="left", strength=1)


def test_judging_at_another_stage_is_refused(study: Study) -> None:
    participant = walk.asking(study)
    walk.write_all()
    comparison = Comparison.objects.filter(query__participant=participant)[0]
    with pytest.raises(WrongStage, match="'ask'"):
        services.record_judgment(
            participant=participant, comparison=str(comparison.public_id), choice="left", strength=1
        )


def test_own_answers_come_before_bank_ones_that_are_not_there_yet(study: Study) -> None:
    participant = walk.judging(study)
    walk.write(services.claim_generations(batch_size=4))  # own questions are claimed first
    state = selectors.judge_state(participant)
    assert state.comparison is not None
    assert state.comparison.query.kind == "own"


# -- waiting and the paid early exit


def test_while_nothing_is_ready_the_state_tells_how_long_it_may_take(study: Study) -> None:
    participant = walk.judging(study)
    state = selectors.judge_state(participant)
    assert (state.kind, state.number, state.total, state.may_exit_early) == ("waiting", 1, 5, False)
    assert state.seconds_left is not None
    assert 1 <= state.seconds_left <= 60


def test_all_waits_add_up_to_the_cap_and_showing_an_answer_stops_the_clock(study: Study) -> None:
    participant = walk.judging(study)
    begin = timezone.now()
    participant = services.note_waiting(participant=participant, now=begin)
    services.note_waiting(participant=participant, now=begin + timedelta(seconds=30))
    walk.write(services.claim_generations(batch_size=2))
    comparison = selectors.judge_state(participant).comparison
    assert comparison is not None
    services.mark_shown(item=comparison, now=begin + timedelta(seconds=40))
    participant = services.record_judgment(
        participant=participant, comparison=str(comparison.public_id), choice="left", strength=1
    )
    assert participant.waited_seconds == pytest.approx(40)
    later = begin + timedelta(seconds=1000)
    participant = services.note_waiting(participant=participant, now=later)
    early = later + timedelta(seconds=19)
    assert selectors.judge_state(participant, now=early).kind == "waiting"
    with pytest.raises(WaitNotOver, match="59 s of 60 s"):
        services.exit_early(participant=participant, now=early)
    enough = later + timedelta(seconds=20)
    assert selectors.judge_state(participant, now=enough).kind == "capped"
    participant = services.exit_early(participant=participant, now=enough)
    assert services.exit_early(participant=participant) == participant
    ending = selectors.ending(participant)
    assert (participant.stage, ending.code, ending.paid) == ("technical", "TECH1", True)
    assert AuditEvent.objects.filter(action="exit_early").count() == 1
    assert set(Comparison.objects.values_list("state", flat=True)) == {"judged", "set_aside"}
    assert not services.claim_generations().generation_ids


def test_who_withdraws_after_the_early_exit_keeps_its_code(study: Study) -> None:
    participant = services.note_waiting(participant=walk.judging(study))
    later = timezone.now() + timedelta(seconds=61)
    participant = services.exit_early(participant=participant, now=later)
    participant = services.withdraw(participant=participant)
    ending = selectors.ending(participant)
    assert (participant.stage, ending.code, ending.paid) == ("withdrawn", "TECH1", True)
    assert ending.return_url.endswith("cc=TECH1")


def test_an_answer_that_comes_after_the_longest_wait_does_not_close_the_way_out(
    judge: Participant,
) -> None:
    Participant.objects.update(waited_seconds=10_000)
    judge.refresh_from_db()
    services.save_draft(participant=judge, field="reason", text="half a sen")
    assert selectors.judge_state(judge).kind == "ready"  # looked at again, the answer comes first
    participant = services.exit_early(participant=judge)
    assert selectors.ending(participant).code == "TECH1"
    assert set(Comparison.objects.values_list("state", flat=True)) == {"set_aside"}
    assert not participant.drafts.exists()


def test_an_answer_that_is_there_in_time_leaves_no_early_exit(judge: Participant) -> None:
    with pytest.raises(WaitNotOver):
        services.exit_early(participant=judge)


# -- exit questions and endings


def test_the_exit_answers_complete_the_study_once(study: Study) -> None:
    participant = walk.exiting(study)
    for _ in range(2):
        participant = services.record_exit_answers(
            participant=participant, answers={"suited": "5", "device": "phone", "comment": " ok "}
        )
    assert dict(ExitAnswer.objects.values_list("name", "value")) == {
        "suited": "5",
        "device": "phone",
        "comment": "ok",
    }
    ending = selectors.ending(participant)
    assert (ending.outcome, ending.code, ending.paid) == ("complete", "DONE1", True)
    assert ending.return_url == "https://app.prolific.com/submissions/complete?cc=DONE1"


@pytest.mark.parametrize(
    ("answers", "fields"),
    [
        ({}, {"suited", "device"}),
        ({"suited": "6", "device": "phone"}, {"suited"}),
        ({"suited": "five", "device": "phone"}, {"suited"}),
        ({"suited": "1", "device": "fridge"}, {"device"}),
        ({"suited": "1", "device": "phone", "comment": "x" * 2001}, {"comment"}),
        ({"suited": "1", "device": "phone", "comment": "\x07bell"}, {"comment"}),
    ],
)
def test_exit_answers_that_cannot_be_used_are_named(
    study: Study, answers: dict[str, str], fields: set[str]
) -> None:
    participant = walk.exiting(study)
    with pytest.raises(InvalidAnswers) as caught:
        services.record_exit_answers(participant=participant, answers=answers)
    assert set(caught.value.problems) == fields
    assert not ExitAnswer.objects.exists()


def test_a_study_without_own_and_exit_questions_goes_straight_through() -> None:
    study = walk.load(own_questions={"count": 0}, exit_questions=[])
    participant = walk.asking(study)
    assert participant.stage == "judge"
    walk.write_all()
    participant = walk.judge_all(participant)
    assert participant.stage == "complete"
    assert participant.completed_at is not None
