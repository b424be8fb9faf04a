"""Every page for the right participant, the wrong one, the wrong method and the wrong stage."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client, RequestFactory
from django.views.defaults import server_error

from studyapp.models import Participant, Query, Study
from tests.studyapp import walk
from tests.studyapp.people import HTMX, browser, leads_to, page, shown

pytestmark = pytest.mark.django_db

# Each page: who stands at it, a POST that fits it, and a participant of another stage.
PAGES: dict[str, tuple[Any, dict[str, str], Any]] = {
    "consent": (walk.start, {"adult": "on", "choice": "decline"}, walk.labelling),
    "instructions": (walk.consented, {"q0": "0", "q1": "2"}, walk.start),
    "label": (walk.labelling, {"item": "", "choice": "left"}, walk.start),
    "ask": (
        walk.asking,
        {"question_0": "How do I bake?", "question_1": "And why so?"},
        walk.labelling,
    ),
    "judge": (walk.judging, {"exit_early": "1"}, walk.asking),
    "questions": (walk.exiting, {"suited": "3", "device": "desk"}, walk.judging),
    "done": (walk.completed, {}, walk.labelling),
}
ALL = (*PAGES, "go", "withdraw", "draft")


@pytest.fixture
def study() -> Study:
    return walk.load()


@pytest.mark.parametrize("path", PAGES)
def test_the_right_participant_sees_the_page(study: Study, path: str) -> None:
    walk_there, _, _ = PAGES[path]
    response = browser(walk_there(study)).get(f"/s/small/{path}")
    assert response.status_code == 200
    assert "<h1" in page(response)


@pytest.mark.parametrize("path", PAGES)
def test_at_another_stage_a_page_leads_to_ones_own(study: Study, path: str) -> None:
    _, _, elsewhere = PAGES[path]
    participant = elsewhere(study)
    response = browser(participant).get(f"/s/small/{path}")
    own = {"consent": "consent", "label": "label", "ask": "ask", "judge": "judge"}
    assert leads_to(response, f"/s/small/{own[participant.stage]}")


@pytest.mark.parametrize("path", ["consent", "instructions", "ask", "judge", "questions", "done"])
def test_a_post_at_the_wrong_stage_changes_nothing(study: Study, path: str) -> None:
    _, fields, elsewhere = PAGES[path]
    participant = elsewhere(study)
    response = browser(participant).post(f"/s/small/{path}", fields)
    assert response.status_code == 409
    assert 'href="/s/small/go"' in page(response)
    stored = Participant.objects.get()
    assert stored.stage == participant.stage
    assert stored.comprehension_attempts == participant.comprehension_attempts
    assert not Query.objects.filter(kind="own").exists() or participant.stage == "judge"


@pytest.mark.parametrize("path", ALL)
def test_a_stranger_is_led_to_the_welcome_page_and_may_send_nothing(
    study: Study, path: str
) -> None:
    if path != "draft":
        assert leads_to(Client().get(f"/s/small/{path}"), "/s/small/")
    assert Client().post(f"/s/small/{path}", {"choice": "accept"}).status_code == 403


@pytest.mark.parametrize("path", ALL)
@pytest.mark.parametrize("token", ["forged", "x" * 4000, "é", "'; --"])
def test_a_forged_cookie_is_nobodys(study: Study, path: str, token: str) -> None:
    walk.labelling(study)
    client = Client()
    client.cookies["fspo_small"] = token
    assert client.post(f"/s/small/{path}").status_code == 403


@pytest.mark.parametrize("path", ALL)
def test_a_token_of_another_study_is_nobodys_here(study: Study, path: str) -> None:
    walk.load(slug="other")
    client = browser(walk.labelling(study))
    client.cookies["fspo_other"] = client.cookies["fspo_small"].value
    assert client.post(f"/s/other/{path}").status_code == 403


@pytest.mark.parametrize("path", [*PAGES, "go", "withdraw", ""])
@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_pages_take_get_and_post_only(study: Study, path: str, method: str) -> None:
    client = browser(walk.labelling(study))
    assert getattr(client, method)(f"/s/small/{path}").status_code == 405


@pytest.mark.parametrize("path", ALL)
def test_pages_of_an_unknown_study_are_not_found(path: str) -> None:
    assert Client().post(f"/s/nothing/{path}").status_code == 404


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_stored_nowhere_and_vary_with_htmx(study: Study, path: str) -> None:
    walk_there, _, _ = PAGES[path]
    client = browser(walk_there(study))
    response = client.get(f"/s/small/{path}")
    assert response["Cache-Control"] == "no-store, private"
    assert "HX-Request" in response["Vary"]
    fragment = client.get(f"/s/small/{path}", **HTMX)
    assert "<html" not in page(fragment)
    assert "<title>" in page(fragment)
    restored = client.get(f"/s/small/{path}", **HTMX, HTTP_HX_HISTORY_RESTORE_REQUEST="true")
    assert "<html" in page(restored)


@pytest.mark.parametrize("path", PAGES)
def test_pages_have_no_inline_script_style_or_handler(study: Study, path: str) -> None:
    walk_there, _, _ = PAGES[path]
    text = page(browser(walk_there(study)).get(f"/s/small/{path}"))
    assert not re.search(r"<script(?![^>]* src=)", text)
    assert "<style" not in text
    assert not re.search(r"\s(style|on\w+|hx-on[^=]*)=", text)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_costs_few_queries(
    study: Study, path: str, django_assert_max_num_queries: Any
) -> None:
    walk_there, _, _ = PAGES[path]
    client = browser(walk_there(study))
    client.get(f"/s/small/{path}")
    with django_assert_max_num_queries(14):
        client.get(f"/s/small/{path}")


# -- security tokens


def strict(participant: Participant) -> Client:
    return browser(participant, enforce_csrf_checks=True)


TYPED: dict[str, tuple[dict[str, str], str]] = {
    "consent": ({"adult": "on", "choice": "accept"}, r'name="adult"[^>]* checked'),
    "instructions": ({"q0": "1", "q1": "2"}, r'name="q0" value="1"\s+checked'),
    "label": ({"choice": "right"}, r'value="right"[^>]* checked'),
    "ask": ({"question_0": "half a ques"}, "half a ques"),
    "judge": ({"strength": "5", "choice": "tie", "reason": "half a rea"}, "half a rea"),
    "questions": ({"comment": "half a com"}, "half a com"),
}


@pytest.mark.parametrize("path", TYPED)
def test_without_a_security_token_the_form_comes_back_with_its_text(
    study: Study, path: str
) -> None:
    participant = PAGES[path][0](study)
    walk.write_all()
    client = strict(participant)
    fields, kept = TYPED[path]
    first = page(client.get(f"/s/small/{path}"))
    if path == "judge":
        fields = fields | {"comparison": re.search(r'data-comparison="([^"]+)"', first)[1]}  # type: ignore[index]
    response = client.post(f"/s/small/{path}", fields)
    assert response.status_code == 403
    assert "please send it again" in page(response)
    assert re.search(kept, page(response))
    assert Participant.objects.get().stage == participant.stage


def test_the_form_that_came_back_can_be_sent(study: Study) -> None:
    client = strict(walk.asking(study))
    fields = {"question_0": "How do I bake?", "question_1": "How do I sew?"}
    refused = client.post("/s/small/ask", fields)
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page(refused))[1]  # type: ignore[index]
    again = client.post("/s/small/ask", fields | {"csrfmiddlewaretoken": token})
    assert leads_to(again, "/s/small/judge")


def test_start_without_a_security_token_comes_back_with_the_recruiters_id(study: Study) -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.post("/s/small/", {"PROLIFIC_PID": "p1", "SESSION_ID": "x1"})
    assert response.status_code == 403
    assert shown(response, "PROLIFIC_PID") == "p1"
    assert not Participant.objects.exists()


def test_withdrawing_without_a_security_token_asks_again(study: Study) -> None:
    client = strict(walk.labelling(study))
    response = client.post("/s/small/withdraw", {"confirm": "yes"})
    assert response.status_code == 403
    assert "Do you want to withdraw?" in page(response)
    assert Participant.objects.get().stage == "label"


def test_a_draft_without_a_security_token_is_not_kept(study: Study) -> None:
    client = strict(walk.asking(study))
    assert client.post("/s/small/draft", {"question_0": "x"}).status_code == 403


def test_a_security_token_does_not_help_a_stranger(study: Study) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post("/s/small/ask", {"question_0": "x"}).status_code == 403
    assert client.post("/s/nothing/ask", {"question_0": "x"}).status_code == 404


def test_the_admins_forms_keep_their_own_csrf_page(study: Study) -> None:
    response = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "x"})
    assert response.status_code == 403
    assert "CSRF" in page(response)


# -- what stands around the pages


def test_an_address_that_does_not_exist_has_a_calm_page(client: Client) -> None:
    response = client.get("/nowhere/")
    assert response.status_code == 404
    assert "There is no such page" in page(response)


def test_the_vendored_files_are_what_their_list_says() -> None:
    folder = settings.BASE_DIR / "static" / "vendor"
    listed = dict(
        re.findall(r"\| `([^`]+)` \|.*`([0-9a-f]{64})`", (folder / "README.md").read_text())
    )
    present = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.js")}
    assert listed == present


def test_every_static_file_a_template_names_exists() -> None:
    for template in Path(settings.BASE_DIR / "templates").rglob("*.html"):
        for name in re.findall(r"{% static '([^']+)' %}", template.read_text()):
            assert finders.find(name), (template.name, name)


def test_every_word_for_participants_can_be_translated() -> None:
    """Between a template's tags there is no bare text; whatever shows comes through gettext."""
    bare = []
    folder = settings.BASE_DIR / "templates"
    for template in [*folder.glob("*.html"), *(folder / "participants").rglob("*.html")]:
        text = re.sub(r"{#.*?#}", "", template.read_text(), flags=re.S)
        text = re.sub(r"{% blocktranslate.*?{% endblocktranslate %}", "", text, flags=re.S)
        text = re.sub(r"{%.*?%}|{{.*?}}", "", text, flags=re.S)
        text = re.sub(r"<kbd.*?</kbd>|<!doctype html>", "", text, flags=re.S)
        text = re.sub(r"<[^>]*>", "\n", text)
        bare += [(template.name, word) for word in re.findall(r"[A-Za-z]{2,}", text)]
    assert bare == []


def test_a_page_in_error_says_what_is_safe_and_shows_no_detail(rf: RequestFactory) -> None:
    response = server_error(rf.get("/s/small/label"))
    assert response.status_code == 500
    assert "Something went wrong on our side" in page(response)


def test_a_request_for_another_host_gets_a_calm_page(study: Study) -> None:
    response = browser(walk.labelling(study)).get("/s/small/label", HTTP_HOST="evil.example")
    assert response.status_code == 400
    assert "That could not be read" in page(response)
