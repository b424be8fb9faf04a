"""The yoked arm: the FSPO model on another participant's labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from studyapp import selectors, services, tasks
from studyapp.analysis import judgment_rows, set_aside_of
from studyapp.models import Comparison, Generation, Participant, Study
from studyapp.services.leases import NOT_WRITTEN
from tests.studyapp import walk

pytestmark = pytest.mark.django_db
YOKED = {
    "judging": {
        "pairings": [{"arm": "fspo", "against": "yoked"}],
        "allow_tie": True,
        "max_wait_seconds": 60,
    }
}


@pytest.fixture
def study() -> Study:
    return walk.load(**YOKED)


def labels_of(participant: Participant) -> list[str]:
    labels = participant.labels.order_by("position")
    return [label.as_preference().chosen for label in labels]


def requests_of(participant: Participant) -> dict[str, list[list[str]]]:
    """The labels in each request, by arm."""
    rows = Generation.objects.filter(query__participant=participant).order_by("pk")
    found: dict[str, list[list[str]]] = {}
    for request in selectors.generation_requests([row.pk for row in rows]):
        shown = [preference.chosen for preference in request.history.preferences]
        found.setdefault(request.arm, []).append(shown)
    return found


def test_yoked_answers_are_written_on_one_other_persons_labels(study: Study) -> None:
    others = [walk.asking(study) for _ in range(3)]
    person = walk.judging(study)
    requests = requests_of(person)
    assert requests["fspo"] == [labels_of(person)] * 5
    read = [other for other in others if requests["yoked"] == [labels_of(other)] * 5]
    assert len(read) == 1
    walk.write_all()
    walk.judge_all(person)
    for row in judgment_rows(study):
        assert (row.arm_labels_of, row.against_labels_of) == (None, str(read[0].public_id))


def test_the_first_participant_has_nobody_to_be_yoked_to_and_goes_on(study: Study) -> None:
    person = walk.judging(study)
    comparisons = Comparison.objects.filter(query__participant=person)
    assert {row.state for row in comparisons} == {"set_aside"}
    # Nothing tells a researcher who is still blind which of the two answers it was.
    assert {row.set_aside_reason for row in comparisons} == {NOT_WRITTEN}
    assert set(Generation.objects.values_list("state", "error")) == {("failed", NOT_WRITTEN)}
    assert {missing.failed for missing in set_aside_of(study)} == {None}
    assert not selectors.has_due_generations()
    person.refresh_from_db()
    assert person.stage == "exit"


def test_previews_and_those_who_withdrew_or_have_not_labelled_all_are_no_source(
    study: Study,
) -> None:
    walk.asking(study, preview=True)
    walk.labelling(study)
    services.withdraw(participant=walk.asking(study))
    person = walk.asking(study)
    assert not selectors.labelled_all(person).exists()
    assert person in selectors.labelled_all(walk.labelling(study))


def test_where_some_pairings_are_not_yoked_only_the_others_wait_for_nobody() -> None:
    pairings = [{"arm": "fspo", "against": "base"}, {"arm": "fspo", "against": "yoked"}]
    judging = {"pairings": pairings, "allow_tie": True, "max_wait_seconds": 60}
    person = walk.judging(walk.load(judging=judging))
    states = Comparison.objects.filter(query__participant=person).values_list("against", "state")
    assert set(states) == {("base", "waiting"), ("yoked", "set_aside")}
    assert person.stage == "judge"


def gone_by_withdrawal(source: Participant) -> None:
    services.withdraw(participant=source)


def gone_for_good(source: Participant) -> None:
    source.delete()


@pytest.mark.parametrize("leave", [gone_by_withdrawal, gone_for_good])
def test_nothing_is_written_on_labels_that_are_gone(
    study: Study, settings: Any, leave: Callable[[Participant], None]
) -> None:
    settings.FSPO_ENGINE = "tests.engines:EchoEngine"
    tasks._engine.cache_clear()
    source = walk.asking(study)
    person = walk.judging(study)
    assert requests_of(person)["yoked"] == [labels_of(source)] * 5
    leave(source)
    assert "yoked" not in requests_of(person)
    tasks.generate()
    comparisons = Comparison.objects.filter(query__participant=person)
    assert {(row.state, row.set_aside_reason) for row in comparisons} == {
        ("set_aside", NOT_WRITTEN)
    }
    assert not Generation.objects.filter(query__participant=person, state="complete").exists()
    person.refresh_from_db()
    assert person.stage == "exit"


def test_a_new_source_is_taken_where_the_first_one_withdrew(study: Study) -> None:
    first = walk.asking(study)
    person = walk.asking(study)  # its bank questions are yoked to the first
    services.withdraw(participant=first)
    second = walk.asking(study)
    person = services.ask_questions(participant=person, texts=walk.OWN_QUESTIONS)
    own = Generation.objects.filter(query__participant=person, query__kind="own", arm="yoked")
    assert {row.labels_of for row in own} == {second}


def test_the_source_may_be_destroyed_afterwards(study: Study) -> None:
    source = walk.asking(study)
    person = walk.judging(study)
    walk.write_all()
    source.delete()
    walk.judge_all(person)
    assert {row.against_labels_of for row in judgment_rows(study)} == {None}
