"""The last questions, each ending with its code, and withdrawal from everywhere."""

from __future__ import annotations

import pytest
from django.test import Client

from studyapp import services
from studyapp.models import ExitAnswer, Judgment, Label, Participant, Query, Study
from tests.studyapp import walk
from tests.studyapp.people import browser, leads_to, page

pytestmark = pytest.mark.django_db
ANSWERS = {"suited": "4", "device": "desk", "comment": "Nice <b>page</b>."}
STAGES = {
    "consent": walk.start,
    "instructions": walk.consented,
    "label": walk.labelling,
    "ask": walk.asking,
    "judge": walk.judging,
    "questions": walk.exiting,
    "done": walk.completed,
}


@pytest.fixture
def study() -> Study:
    return walk.load()


@pytest.fixture
def exiting(study: Study) -> Client:
    return browser(walk.exiting(study))


def test_the_configured_questions_are_shown_each_in_its_kind(exiting: Client) -> None:
    text = page(exiting.get("/s/small/questions"))
    assert text.count('name="suited"') == 5
    assert text.count('name="device"') == 2
    assert '<textarea name="comment"' in text


def test_the_answers_are_stored_before_the_code_is_shown(exiting: Client) -> None:
    assert "DONE1" not in page(exiting.get("/s/small/questions"))
    assert leads_to(exiting.post("/s/small/questions", ANSWERS), "/s/small/done")
    assert dict(ExitAnswer.objects.values_list("name", "value")) == ANSWERS
    ending = page(exiting.get("/s/small/done"))
    assert ">DONE1</code>" in ending
    assert "https://app.prolific.com/submissions/complete?cc=DONE1" in ending
    assert "What this study is about" in ending


def test_answers_sent_twice_are_stored_once(exiting: Client) -> None:
    for _ in range(2):
        assert leads_to(exiting.post("/s/small/questions", ANSWERS), "/s/small/done")
    assert ExitAnswer.objects.count() == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"suited": ""},
        {"suited": "6"},
        {"suited": "0"},
        {"device": "toaster"},
        {"comment": "x" * 2001},
    ],
)
def test_an_unusable_answer_comes_back_with_all_that_was_entered(
    exiting: Client, changes: dict[str, str]
) -> None:
    response = exiting.post("/s/small/questions", ANSWERS | {"comment": "My words."} | changes)
    assert response.status_code == 400
    assert f'href="#{next(iter(changes))}"' in page(response)
    assert changes.get("comment", "My words.") in page(response)
    assert not ExitAnswer.objects.exists()


def test_a_draft_of_a_last_answer_is_kept(exiting: Client) -> None:
    exiting.post("/s/small/draft", {"comment": "half a sen"})
    assert "half a sen" in page(exiting.get("/s/small/questions"))


def test_the_end_is_the_end(study: Study) -> None:
    client = browser(walk.completed(study))
    for path in ("consent", "instructions", "label", "ask", "judge", "questions", "go"):
        assert leads_to(client.get(f"/s/small/{path}"), "/s/small/done")
    assert client.post("/s/small/done").status_code == 409


def test_a_reload_of_the_end_shows_the_same_code(study: Study) -> None:
    client = browser(walk.completed(study))
    for _ in range(3):
        assert ">DONE1</code>" in page(client.get("/s/small/done"))
    assert Participant.objects.count() == 1


# -- withdrawal


@pytest.mark.parametrize("path", STAGES)
def test_a_withdraw_link_stands_on_every_page(study: Study, path: str) -> None:
    client = browser(STAGES[path](study))
    assert 'href="/s/small/withdraw"' in page(client.get(f"/s/small/{path}"))


@pytest.mark.parametrize("path", STAGES)
def test_who_withdraws_is_asked_once_and_their_answers_are_deleted(study: Study, path: str) -> None:
    participant = STAGES[path](study)
    client = browser(participant)
    asked = client.get("/s/small/withdraw")
    assert asked.status_code == 200
    assert f'href="/s/small/{path}"' in page(asked)
    assert Participant.objects.get().stage == participant.stage
    assert leads_to(client.post("/s/small/withdraw", {"confirm": "yes"}), "/s/small/done")
    for model in (Label, Query, Judgment, ExitAnswer):
        assert not model.objects.exists()
    ending = page(client.get("/s/small/done"))
    assert "You have withdrawn" in ending
    assert ("DONE1" in ending) == (path == "done")  # who had finished is paid


@pytest.mark.parametrize("fields", [{}, {"confirm": "no"}])
def test_without_the_confirmation_nobody_withdraws(study: Study, fields: dict[str, str]) -> None:
    client = browser(walk.labelling(study))
    assert client.post("/s/small/withdraw", fields).status_code == 400
    assert Participant.objects.get().stage == "label"


def test_who_declined_has_nothing_to_withdraw(study: Study) -> None:
    client = browser(services.decline_consent(participant=walk.start(study)))
    assert leads_to(client.get("/s/small/withdraw"), "/s/small/done")
    assert client.post("/s/small/withdraw", {"confirm": "yes"}).status_code == 409
    assert "/withdraw" not in page(client.get("/s/small/done"))


def test_withdrawing_twice_is_withdrawing(study: Study) -> None:
    client = browser(walk.labelling(study))
    for _ in range(2):
        assert leads_to(client.post("/s/small/withdraw", {"confirm": "yes"}), "/s/small/done")
