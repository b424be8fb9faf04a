from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from fspo_core.types import Preference
from studyapp import selectors, services
from studyapp.errors import (
    AlreadyAnswered,
    InvalidQuestions,
    InvalidText,
    NotShown,
    UnknownChoice,
    UnknownItem,
    WrongStage,
)
from studyapp.models import (
    Comparison,
    Draft,
    Generation,
    Label,
    Participant,
    Query,
    Study,
)
from tests.studyapp import walk

pytestmark = pytest.mark.django_db
# Of Unicode 15: Python 3.11 does not know it.
NEW_EMOJI = "\U0001fa77"
BROKER = Path(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_out"])


@pytest.fixture
def study() -> Study:
    return walk.load()


def shown_label(participant: Participant) -> Label:
    state = selectors.current_label(participant)
    assert state is not None
    services.mark_shown(item=state.label)
    return state.label


def messages() -> list[tuple[str, list[Any]]]:
    """Names and arguments of the messages that lie at the broker, which is a real one of files."""
    found = []
    for path in sorted(BROKER.iterdir()):
        message = json.loads(path.read_text())
        args, _kwargs, _embed = json.loads(base64.b64decode(message["body"]))
        found.append((message["headers"]["task"], args))
    return found


def purge() -> None:
    for path in BROKER.iterdir():
        path.unlink()


# -- labels


def test_labels_come_in_order_and_the_last_one_leads_to_the_questions(study: Study) -> None:
    participant = walk.labelling(study)
    for number in range(1, 5):
        state = selectors.current_label(participant)
        assert state is not None
        assert (state.number, state.total, participant.stage) == (number, 4, "label")
        item = str(shown_label(participant).public_id)
        participant = services.record_label(participant=participant, item=item, choice="right")
    assert selectors.current_label(participant) is None
    assert participant.stage == "ask"


def test_the_last_label_queues_the_bank_questions_with_two_answers_each(study: Study) -> None:
    participant = walk.asking(study)
    assert list(participant.queries.values_list("kind", flat=True)) == ["bank"] * 3
    comparisons = Comparison.objects.filter(query__participant=participant)
    assert {(row.arm, row.against) for row in comparisons} == {
        ("fspo", "base"),
        ("fspo", "ipo"),
        ("fspo", "pref_ft"),
    }
    for comparison in comparisons:
        arms = set(comparison.query.generations.values_list("arm", flat=True))
        assert arms == {comparison.arm, comparison.against}


def test_the_wake_up_is_sent_after_the_commit_by_name_with_ids(
    study: Study, django_capture_on_commit_callbacks: Any
) -> None:
    purge()
    with django_capture_on_commit_callbacks(execute=True):
        walk.asking(study)
        assert messages() == []
    ids = list(Comparison.objects.order_by("pk").values_list("pk", flat=True))
    assert messages() == [("studyapp.tasks.generate", [ids])]


def test_a_broker_out_of_reach_costs_the_participant_nothing(
    study: Study, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_args: object, **_kwargs: object) -> None:
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr("studyapp.queue.current_app.send_task", unreachable)
    with django_capture_on_commit_callbacks(execute=True):
        assert walk.asking(study).stage == "ask"
    assert selectors.has_due_generations()


def test_the_same_label_twice_changes_nothing_and_another_choice_is_refused(study: Study) -> None:
    participant = walk.labelling(study)
    label = shown_label(participant)
    for _ in range(2):
        services.record_label(participant=participant, item=str(label.public_id), choice="left")
    with pytest.raises(AlreadyAnswered, match="'left', got 'right'"):
        services.record_label(participant=participant, item=str(label.public_id), choice="right")
    label.refresh_from_db()
    assert label.choice == "left"


def test_a_label_that_was_not_shown_or_is_another_persons_is_refused(study: Study) -> None:
    mine, other = walk.labelling(study), walk.labelling(study)
    later = mine.labels.get(position=2)
    with pytest.raises(NotShown):
        services.record_label(participant=mine, item=str(later.public_id), choice="left")
    for item in (str(shown_label(other).public_id), walk.no_such_id(), "1", ""):
        with pytest.raises(UnknownItem):
            services.record_label(participant=mine, item=item, choice="left")


@pytest.mark.parametrize("choice", ["tie", "", "LEFT", "a"])
def test_a_label_is_left_or_right(study: Study, choice: str) -> None:
    participant = walk.labelling(study)
    label = shown_label(participant)
    with pytest.raises(UnknownChoice, match=f"got '{choice}'"):
        services.record_label(participant=participant, item=str(label.public_id), choice=choice)


def test_what_was_shown_first_keeps_its_time(study: Study) -> None:
    label = shown_label(walk.labelling(study))
    label.refresh_from_db()
    first = label.shown_at
    services.mark_shown(item=label)
    label.refresh_from_db()
    assert label.shown_at == first


def test_the_history_holds_chosen_and_rejected_whatever_the_side(study: Study) -> None:
    participant = walk.asking(study)  # who always chose left
    participant.labels.filter(position=0).update(left_is_a=True)
    participant.labels.filter(position=1).update(left_is_a=False)
    labels = list(participant.labels.order_by("position"))
    expected = tuple(
        Preference(label.pair.question, label.pair.response_a, label.pair.response_b)
        if label.left_is_a
        else Preference(label.pair.question, label.pair.response_b, label.pair.response_a)
        for label in labels
    )
    assert selectors.history(participant).preferences == expected


# -- own questions and drafts


def test_asking_queues_the_own_questions_and_drops_their_drafts(study: Study) -> None:
    participant = walk.asking(study)
    services.save_draft(participant=participant, field="question_0", text="How do")
    assert selectors.drafts(participant) == {"question_0": "How do"}
    texts = [" How do I\r\nbake  bread? ", "👩‍🍳 <script>alert(1)</script> # Task"]
    for _ in range(2):
        participant = services.ask_questions(participant=participant, texts=texts)
    own = Query.objects.filter(participant=participant, kind="own").order_by("position")
    assert [query.text for query in own] == ["How do I bake bread?", texts[1]]
    assert participant.stage == "judge"
    assert Comparison.objects.filter(query__in=own).count() == 2
    assert Generation.objects.filter(query__in=own).count() == 4
    assert not Draft.objects.exists()


def test_other_questions_afterwards_are_refused(study: Study) -> None:
    participant = walk.judging(study)
    with pytest.raises(AlreadyAnswered):
        services.ask_questions(participant=participant, texts=["Another one?", "And one more?"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\t\u3000 ", "is empty"),
        ("\u200b\u200b\u200b\u200b\u200b", "is empty"),
        ("abcd", "at least 5 .* 4 characters"),
        ("x" * 301, "at most 300 .* 301 characters"),
        ("x" * 10_000, "at most 300 .* 10000 characters"),
        ("How do I\x00 bake?", r"U\+0000.* place 9"),
        ("How do I\x1b bake?", r"control character \(U\+001B\)"),
        ("How \u202edo I bake?", r"direction mark \(U\+202E\)"),
        ("How \u200fdo I bake?", r"direction mark \(U\+200F\)"),
        ("How \ud800do I bake?", r"U\+D800"),
        ("How \ufdd0do I bake?", r"U\+FDD0"),
        ("How \U0001ffffdo I bake?", r"U\+1FFFF"),
    ],
)
def test_a_question_that_cannot_be_used_is_refused_with_its_field_and_why(
    study: Study, text: str, message: str
) -> None:
    participant = walk.asking(study)
    with pytest.raises(InvalidQuestions, match=message) as caught:
        services.ask_questions(participant=participant, texts=["How do I bake bread?", text])
    assert list(caught.value.problems) == ["question_1"]
    assert not Query.objects.filter(participant=participant, kind="own").exists()


@pytest.mark.parametrize("texts", [[], ["How do I bake?"], ["How do I bake?"] * 3])
def test_the_number_of_questions_is_the_configured_one(study: Study, texts: list[str]) -> None:
    with pytest.raises(InvalidQuestions):
        services.ask_questions(participant=walk.asking(study), texts=texts)


@pytest.mark.parametrize(
    "text", ["12345", "x" * 300, "Wie backe ich ein Brot? 🍞", "e\u0301" * 5, NEW_EMOJI * 5]
)
def test_questions_within_the_limits_are_taken(study: Study, text: str) -> None:
    participant = services.ask_questions(participant=walk.asking(study), texts=[text, text])
    assert participant.stage == "judge"


def test_accents_are_stored_composed(study: Study) -> None:
    services.ask_questions(participant=walk.asking(study), texts=["Cafe\u0301 at home?"] * 2)
    assert Query.objects.filter(kind="own")[0].text == "Caf\u00e9 at home?"


def test_a_draft_of_an_unknown_field_or_too_long_or_too_early_is_refused(study: Study) -> None:
    participant = walk.asking(study)
    for field in ("Question 0", "question_2", "csrftoken", ""):
        with pytest.raises(UnknownItem):
            services.save_draft(participant=participant, field=field, text="x")
    with pytest.raises(InvalidText, match="20001"):
        services.save_draft(participant=participant, field="question_0", text="x" * 20_001)
    with pytest.raises(InvalidText, match="cannot be stored"):
        services.save_draft(participant=participant, field="question_0", text="\x00")
    with pytest.raises(WrongStage):
        services.save_draft(participant=walk.labelling(study), field="question_0", text="x")


def test_a_draft_is_taken_only_at_the_stage_at_which_its_field_is_written(study: Study) -> None:
    for participant, fits, others in (
        (walk.asking(study), "question_0", ("reason", "comment")),
        (walk.judging(study), "reason", ("question_0", "comment")),
        (walk.exiting(study), "comment", ("question_0", "reason")),
    ):
        services.save_draft(participant=participant, field=fits, text="half a sen")
        for field in others:
            with pytest.raises(WrongStage, match=field):
                services.save_draft(participant=participant, field=field, text="too late")
        assert selectors.drafts(participant) == {fits: "half a sen"}
