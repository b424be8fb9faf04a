"""Coming in: welcome, Start, previews, personal links, consent, comprehension check."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from studyapp import services
from studyapp.models import ConsentRecord, Participant, RecruiterIdentity, Study
from tests.studyapp import walk
from tests.studyapp.people import browser, leads_to, page, shown, token_of

pytestmark = pytest.mark.django_db
LINK = "/s/small/?PROLIFIC_PID=p1&STUDY_ID=s1&SESSION_ID=x1"
PERSON = {"PROLIFIC_PID": "p1", "STUDY_ID": "s1", "SESSION_ID": "x1"}


@pytest.fixture
def study() -> Study:
    return walk.load()


def start(client: Client, link: str = "/s/small/", **further: str) -> Any:
    """Open the link and click on Start, with the fields the page gave."""
    welcome = client.get(link)
    assert welcome.status_code == 200
    fields = {"start_key": shown(welcome, "start_key")}
    for name in (*PERSON, "preview"):
        if f'name="{name}"' in page(welcome):
            fields[name] = shown(welcome, name)
    return client.post("/s/small/", fields | further)


def consent(client: Client, **fields: str) -> Any:
    return client.post("/s/small/consent", {"adult": "on", "choice": "accept"} | fields)


def test_opening_the_link_makes_no_participant(study: Study, client: Client) -> None:
    for _ in range(2):
        response = client.get(LINK)
        assert response.status_code == 200
        assert study.title in page(response)
    assert not Participant.objects.exists()
    assert not response.cookies.get("fspo_small")


def test_the_click_on_start_makes_a_participant_and_leads_to_consent(
    study: Study, client: Client
) -> None:
    response = start(client)
    assert leads_to(response, "/s/small/consent")
    participant = Participant.objects.get()
    assert participant.stage == "consent"
    assert participant.study_version.study == study
    cookie = response.cookies["fspo_small"]
    assert cookie["httponly"]
    assert cookie["path"] == "/s/small/"
    assert client.get("/s/small/consent").status_code == 200


def test_a_doubled_click_on_start_makes_one_participant(study: Study) -> None:
    client = Client()
    fields = {"start_key": shown(client.get("/s/small/"), "start_key")}
    first, second = Client(), Client()
    assert first.post("/s/small/", fields).status_code == 303
    assert second.post("/s/small/", fields).status_code == 303
    assert Participant.objects.count() == 1


def test_start_in_a_second_tab_goes_on_with_the_first(study: Study, client: Client) -> None:
    other_tab = {"start_key": shown(client.get("/s/small/"), "start_key")}
    start(client)
    assert leads_to(client.post("/s/small/", other_tab), "/s/small/go")
    assert Participant.objects.count() == 1


def test_start_with_a_forged_start_key_is_refused(study: Study, client: Client) -> None:
    assert client.post("/s/small/", {"start_key": "1; DROP TABLE"}).status_code == 400
    assert not Participant.objects.exists()


def test_the_welcome_page_offers_to_go_on_to_who_has_begun(study: Study) -> None:
    client = browser(walk.labelling(study))
    response = client.get("/s/small/")
    assert 'href="/s/small/go"' in page(response)
    assert "start_key" not in page(response)
    assert leads_to(client.get("/s/small/go"), "/s/small/label")


def test_another_person_on_the_same_browser_gets_a_start_of_their_own(study: Study) -> None:
    client = browser(walk.labelling(study, pid="p0", session="x0"))
    assert "start_key" in page(client.get(LINK))


def test_the_recruiters_id_is_stored_at_consent_and_not_before(
    study: Study, client: Client
) -> None:
    start(client, LINK)
    assert not RecruiterIdentity.objects.exists()
    assert leads_to(consent(client), "/s/small/instructions")
    identity = RecruiterIdentity.objects.get()
    assert (identity.pid, identity.recruiter_study_id, identity.session_id) == ("p1", "s1", "x1")


def test_a_tampered_recruiter_cookie_counts_as_none(study: Study, client: Client) -> None:
    start(client, LINK)
    client.cookies["fspo_small_from"] = client.cookies["fspo_small_from"].value + "x"
    consent(client)
    assert Participant.objects.get().stage == "instructions"
    assert not RecruiterIdentity.objects.exists()


def test_the_same_id_and_session_resume_in_another_browser(study: Study) -> None:
    participant = walk.labelling(study, pid="p1", session="x1")
    elsewhere = Client()
    assert leads_to(start(elsewhere, LINK), "/s/small/label")
    assert Participant.objects.get() == participant
    assert elsewhere.get("/s/small/label").status_code == 200


def test_the_same_id_in_another_session_already_took_part(study: Study) -> None:
    walk.labelling(study, pid="p1", session="another")
    response = start(Client(), LINK)
    assert response.status_code == 403
    assert "You already took part" in page(response)
    assert Participant.objects.count() == 1


def test_two_runs_begun_with_one_id_cannot_both_consent(study: Study) -> None:
    first, second = Client(), Client()
    start(first, LINK)
    start(second, LINK.replace("x1", "x2"))
    assert leads_to(consent(first), "/s/small/instructions")
    response = consent(second)
    assert response.status_code == 403
    assert "You already took part" in page(response)
    assert ConsentRecord.objects.count() == 1


def test_one_link_opened_in_two_browsers_before_consent_is_one_run(study: Study) -> None:
    first, second = Client(), Client()
    start(first, LINK)
    start(second, LINK)
    consent(first)
    first.post("/s/small/instructions", {"q0": "0", "q1": "2"})
    assert leads_to(consent(second), "/s/small/label")
    items = [shown(client.get("/s/small/label"), "item") for client in (first, second)]
    assert items[0] == items[1]
    assert ConsentRecord.objects.count() == 1
    assert sorted(Participant.objects.values_list("stage", flat=True)) == ["label", "withdrawn"]


@pytest.mark.parametrize(
    "link", ["/s/small/?preview=1", "/s/small/?PROLIFIC_PID={{%25PROLIFIC_PID%25}}&SESSION_ID=x"]
)
def test_a_preview_is_flagged_and_says_so(study: Study, client: Client, link: str) -> None:
    start(client, link)
    assert Participant.objects.get().is_preview
    assert "Preview." in page(client.get("/s/small/consent"))
    consent(client)
    assert not RecruiterIdentity.objects.exists()


def test_who_is_no_preview_sees_no_banner(study: Study, client: Client) -> None:
    start(client)
    assert "Preview." not in page(client.get("/s/small/consent"))


@pytest.mark.parametrize("query", ["?PROLIFIC_PID=" + "x" * 201, "?PROLIFIC_PID=a%00b"])
def test_an_unreadable_recruiter_id_is_refused_with_what_to_do(
    study: Study, client: Client, query: str
) -> None:
    response = client.get(f"/s/small/{query}")
    assert response.status_code == 400
    assert "open the study from the recruiter" in page(response)


def test_a_study_that_needs_an_id_refuses_a_start_without(client: Client) -> None:
    walk.load(recruiter={"require_id": True})
    assert start(client).status_code == 400
    assert not Participant.objects.exists()


def test_a_study_that_needs_an_id_takes_no_consent_without(client: Client) -> None:
    walk.load(recruiter={"require_id": True})
    start(client, LINK)
    del client.cookies["fspo_small_from"]
    response = consent(client)
    assert response.status_code == 400
    assert "open the study from the recruiter" in page(response)
    assert not ConsentRecord.objects.exists()
    assert leads_to(start(client, LINK), "/s/small/consent")
    assert leads_to(consent(client), "/s/small/instructions")
    assert RecruiterIdentity.objects.get().pid == "p1"


def test_the_link_to_another_device_is_offered_from_consent_on(study: Study) -> None:
    for participant, offered in ((walk.start(study), False), (walk.consented(study), True)):
        response = browser(participant).get("/s/small/go", follow=True)
        assert response.status_code == 200
        assert ("/r/" in page(response)) == offered


@pytest.mark.parametrize(("state", "words"), [("paused", "is paused"), ("closed", "is closed")])
def test_a_study_that_is_not_open_takes_nobody(
    study: Study, client: Client, state: str, words: str
) -> None:
    key = shown(client.get("/s/small/"), "start_key")
    services.set_study_state(study=study, state=state, actor="test")
    assert words in page(client.get("/s/small/"))
    response = client.post("/s/small/", {"start_key": key})
    assert response.status_code == 403
    assert words in page(response)
    assert not Participant.objects.exists()


def test_who_began_before_the_study_closed_may_finish(study: Study) -> None:
    client = browser(walk.labelling(study))
    services.set_study_state(study=study, state="closed", actor="test")
    assert client.get("/s/small/label").status_code == 200


@pytest.mark.parametrize("state", ["paused", "closed"])
def test_who_began_comes_back_by_the_recruiters_link_when_the_study_is_not_open(
    study: Study, state: str
) -> None:
    walk.labelling(study, pid="p1", session="x1")
    services.set_study_state(study=study, state=state, actor="test")
    assert leads_to(start(Client(), LINK), "/s/small/label")
    assert Participant.objects.count() == 1
    for other in ("/s/small/", LINK.replace("x1", "x2"), LINK.replace("p1", "p2")):
        assert f"is {state}" in page(Client().get(other))


def test_there_is_no_unknown_study(client: Client) -> None:
    for response in (client.get("/s/none/"), client.post("/s/none/"), client.get("/s/none/go")):
        assert response.status_code == 404


def test_a_personal_link_sets_the_cookie_and_leaves_the_address_bar(study: Study) -> None:
    token = token_of(walk.asking(study))
    client = Client()
    response = client.get(f"/r/{token}/")
    assert leads_to(response, "/s/small/ask")
    assert response.cookies["fspo_small"].value == token
    assert client.get("/s/small/ask").status_code == 200


@pytest.mark.parametrize("token", ["forged", "x" * 5000, "%00", "é", "<script>"])
def test_a_forged_personal_link_is_refused(study: Study, client: Client, token: str) -> None:
    walk.asking(study)
    response = client.get(f"/r/{token}/")
    assert response.status_code == 403
    assert "fspo_small" not in response.cookies


def test_a_personal_link_takes_no_post(study: Study, client: Client) -> None:
    assert client.post(f"/r/{token_of(walk.asking(study))}/").status_code == 405


# -- consent


def test_consent_needs_the_age(study: Study) -> None:
    participant = walk.start(study)
    response = browser(participant).post("/s/small/consent", {"choice": "accept"})
    assert response.status_code == 400
    assert "18 years old or older" in page(response)
    assert 'aria-invalid="true"' in page(response)
    assert not ConsentRecord.objects.exists()


def test_consent_twice_is_one_consent(study: Study) -> None:
    client = browser(walk.start(study))
    for _ in range(2):
        assert leads_to(consent(client), "/s/small/instructions")
    assert ConsentRecord.objects.count() == 1


def test_declining_stores_nothing_more_and_gives_the_no_consent_ending(study: Study) -> None:
    participant = walk.start(study)
    client = browser(participant)
    assert leads_to(consent(client, choice="decline"), "/s/small/done")
    assert not ConsentRecord.objects.exists()
    assert "NOCON1" in page(client.get("/s/small/done"))
    assert client.post("/s/small/consent", {"adult": "on", "choice": "accept"}).status_code == 409


@pytest.mark.parametrize("fields", [{}, {"choice": "maybe"}])
def test_consent_without_a_known_choice_is_refused(study: Study, fields: dict[str, str]) -> None:
    assert browser(walk.start(study)).post("/s/small/consent", fields).status_code == 400
    assert not ConsentRecord.objects.exists()


def test_nothing_can_be_done_without_consent(study: Study) -> None:
    client = browser(walk.start(study))
    for path in ("instructions", "label", "ask", "judge", "questions", "done"):
        assert leads_to(client.get(f"/s/small/{path}"), "/s/small/consent")
    label = client.post("/s/small/label", {"item": walk.no_such_id(), "choice": "left"})
    assert label.status_code == 404
    assert client.post("/s/small/ask", {"question_0": "How do I bake?"}).status_code == 409


# -- comprehension check


def test_right_answers_lead_to_the_labels(study: Study) -> None:
    client = browser(walk.consented(study))
    response = client.post("/s/small/instructions", {"q0": "0", "q1": "2"})
    assert leads_to(response, "/s/small/label")


def test_a_wrong_answer_leaves_one_attempt_and_a_second_ends_the_study(study: Study) -> None:
    client = browser(walk.consented(study))
    response = client.post("/s/small/instructions", {"q0": "1", "q1": "2", "attempt": "0"})
    assert response.status_code == 200
    assert "last attempt" in page(response)
    assert shown(response, "attempt") == "1"
    response = client.post("/s/small/instructions", {"q0": "1", "q1": "2", "attempt": "1"})
    assert leads_to(response, "/s/small/done")
    ending = page(client.get("/s/small/done"))
    assert "CHECK1" in ending
    assert "return your submission" in ending


def test_a_doubled_click_on_a_wrong_answer_costs_one_attempt(study: Study) -> None:
    client = browser(walk.consented(study))
    for _ in range(2):
        client.post("/s/small/instructions", {"q0": "1", "q1": "2", "attempt": "0"})
    assert Participant.objects.get().comprehension_attempts == 1


@pytest.mark.parametrize("answer", ["", "9", "-1", "first", "0.0", "²"])
def test_an_unknown_option_costs_no_attempt(study: Study, answer: str) -> None:
    client = browser(walk.consented(study))
    response = client.post("/s/small/instructions", {"q0": answer, "q1": "2"})
    assert response.status_code == 400
    assert "choose one of the answers" in page(response)
    assert Participant.objects.get().comprehension_attempts == 0
