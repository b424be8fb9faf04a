"""Blind judgments: what is shown, what is stored, the wait, the fault and the way out."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from fspo_core.arms import ARMS
from studyapp import services
from studyapp.models import Comparison, Judgment, Participant, Study
from tests.studyapp import walk
from tests.studyapp.people import HTMX, browser, leads_to, page, shown

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    return walk.load()


@pytest.fixture
def participant(study: Study) -> Participant:
    return walk.judging(study)


@pytest.fixture
def waiting(participant: Participant) -> Client:
    return browser(participant)


@pytest.fixture
def judging(participant: Participant) -> Client:
    walk.write_all()
    return browser(participant)


def verdict(client: Client, **changes: str) -> dict[str, str]:
    fields = {"choice": "left", "strength": "4", "reason": "Clear.\nAnd short."}
    return {"comparison": shown(client.get("/s/small/judge"), "comparison")} | fields | changes


def fail_next() -> None:
    """What a worker does with a model that fails for good."""
    while (claim := services.claim_generations(batch_size=2)).generation_ids:
        services.fail_generation(
            generation_id=claim.generation_ids[0], lease_token=claim.lease_token, reason="broken"
        )


def test_the_page_shows_both_answers_on_the_sides_the_server_drew(judging: Client) -> None:
    response = judging.get("/s/small/judge")
    found = Comparison.objects.get(public_id=shown(response, "comparison"))
    left, right = re.findall(r'data-side="(?:left|right)"[^>]*>(.*?)</div>', page(response), re.S)
    assert f"Answer of {found.arm_left}." in left
    assert f"Answer of {found.arm_right}." in right
    assert html.escape(found.query.text) in page(response)
    assert found.shown_at is not None


def test_a_reload_shows_the_same_comparison_with_the_same_sides(judging: Client) -> None:
    first, second = (page(judging.get("/s/small/judge")) for _ in range(2))
    without_tokens = [
        re.sub(r'csrfmiddlewaretoken" value="\w+"', "", text) for text in (first, second)
    ]
    assert without_tokens[0] == without_tokens[1]


def test_all_judgments_lead_to_the_last_questions(judging: Client) -> None:
    for number in range(5):
        response = judging.post("/s/small/judge", verdict(judging))
        assert leads_to(response, "/s/small/judge" if number < 4 else "/s/small/questions")
    stored = Judgment.objects.first()
    assert stored is not None
    assert (stored.choice, stored.strength, stored.reason) == ("left", 4, "Clear.\nAnd short.")
    assert Judgment.objects.count() == 5


def test_bank_questions_come_first_and_own_ones_after(judging: Client) -> None:
    seen = []
    for _ in range(5):
        fields = verdict(judging)
        seen.append(Comparison.objects.get(public_id=fields["comparison"]).query.kind)
        judging.post("/s/small/judge", fields)
    assert seen == ["bank"] * 3 + ["own"] * 2


def test_with_htmx_the_next_comparison_comes_in_the_answer(judging: Client) -> None:
    fields = verdict(judging)
    response = judging.post("/s/small/judge", fields, **HTMX)
    assert "Comparison 2 of 5" in page(response)
    assert "<!doctype" not in page(response)
    assert shown(response, "comparison") != fields["comparison"]


@pytest.mark.parametrize("htmx", [{}, HTMX])
def test_a_judgment_sent_twice_is_one_judgment(judging: Client, htmx: dict[str, str]) -> None:
    fields = verdict(judging)
    for _ in range(2):
        assert judging.post("/s/small/judge", fields, **htmx).status_code in (200, 303)
    assert Judgment.objects.count() == 1


def test_the_last_judgment_sent_twice_goes_on_as_well(judging: Client) -> None:
    for _ in range(5):
        fields = verdict(judging)
        judging.post("/s/small/judge", fields)
    assert leads_to(judging.post("/s/small/judge", fields), "/s/small/questions")


def test_a_judgment_is_locked(judging: Client) -> None:
    fields = verdict(judging)
    judging.post("/s/small/judge", fields)
    response = judging.post("/s/small/judge", fields | {"choice": "right"})
    assert response.status_code == 409
    assert "Your first answer counts" in page(response)
    assert Judgment.objects.get().choice == "left"


@pytest.mark.parametrize("strength", ["0", "6", "", "-1", "3.5", "five", "٣", "99999999999"])
def test_a_strength_outside_1_to_5_is_refused_and_the_rest_is_kept(
    judging: Client, strength: str
) -> None:
    response = judging.post("/s/small/judge", verdict(judging, strength=strength))
    assert response.status_code == 400
    text = page(response)
    assert "how strong your preference is" in text
    assert "Clear.\nAnd short." in text
    assert re.search(r'value="left"[^>]* checked', text)
    assert not Judgment.objects.exists()


@pytest.mark.parametrize("choice", ["", "both", "LEFT", "fspo"])
def test_an_unknown_choice_is_refused_and_the_rest_is_kept(judging: Client, choice: str) -> None:
    response = judging.post("/s/small/judge", verdict(judging, choice=choice))
    assert response.status_code == 400
    assert "Please choose the answer you prefer." in page(response)
    assert re.search(r'name="strength" value="4" checked', page(response))
    assert not Judgment.objects.exists()


def test_an_empty_form_names_both_things_that_are_missing(judging: Client) -> None:
    fields = {"comparison": shown(judging.get("/s/small/judge"), "comparison")}
    text = page(judging.post("/s/small/judge", fields))
    assert 'href="#choice"' in text
    assert 'href="#strength"' in text


def test_a_tie_is_stored_where_the_study_allows_it(judging: Client) -> None:
    judging.post("/s/small/judge", verdict(judging, choice="tie", strength="1"))
    assert Judgment.objects.get().choice == "tie"


def test_a_tie_is_neither_offered_nor_taken_where_the_study_does_not_allow_it() -> None:
    study = walk.load(judging={"pairings": walk.PAIRINGS, "allow_tie": False})
    client = browser(walk.judging(study))
    walk.write_all()
    assert 'value="tie"' not in page(client.get("/s/small/judge"))
    assert client.post("/s/small/judge", verdict(client, choice="tie")).status_code == 400


def test_a_reason_that_is_too_long_comes_back_whole(judging: Client) -> None:
    reason = "because " * 200
    response = judging.post("/s/small/judge", verdict(judging, reason=reason))
    assert response.status_code == 400
    assert reason in page(response)
    assert "at most 1000 characters" in page(response)


def test_anothers_comparison_an_unknown_one_and_no_id_read_the_same(
    study: Study, judging: Client
) -> None:
    other = walk.judging(study)
    walk.write_all()
    theirs = walk.show_next(other)
    ids = [str(theirs.public_id), walk.no_such_id(), "1", ""]
    answers = [judging.post("/s/small/judge", verdict(judging, comparison=i)) for i in ids]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert len({page(answer) for answer in answers}) == 1
    assert not Judgment.objects.exists()


def test_a_comparison_that_was_not_shown_cannot_be_judged(
    participant: Participant, judging: Client
) -> None:
    later = Comparison.objects.filter(query__kind="own").last()
    assert later is not None
    response = judging.post("/s/small/judge", verdict(judging, comparison=str(later.public_id)))
    assert response.status_code == 409


def test_nothing_sent_tells_the_arm(judging: Client) -> None:
    response = judging.get("/s/small/judge")
    headers = {k: v for k, v in response.headers.items() if k != "Content-Security-Policy"}
    text = re.sub(r"Answer of \w+\.", "", page(response)) + str(headers)
    for arm in ARMS:
        assert not re.search(rf"\b{arm}\b", text), arm
    for word in ("arm", "against", "checkpoint", "seed", "adapter"):
        assert not re.search(rf"\b{word}\b", text), word


# -- the wait


def test_the_wait_says_how_long_and_holds_no_input(waiting: Client) -> None:
    response = waiting.get("/s/small/judge")
    text = page(response)
    assert "data-waiting" in text
    assert re.search(r"about <strong[^>]*>\d+ seconds?</strong>", text)
    panel = text[text.index("data-waiting") : text.index("</main>")]
    assert "<input" not in panel
    assert "<textarea" not in panel
    assert Participant.objects.get().waiting_since is not None


def test_the_polls_grow_apart_and_swap_the_panel_only(waiting: Client) -> None:
    delays = []
    path = "/s/small/judge?poll=1"
    for _ in range(8):
        response = waiting.get(path, **HTMX)
        assert "<main" not in page(response)
        delays.append(float(re.search(r"load delay:([\d.]+)s", page(response))[1]))  # type: ignore[index]
        path = re.search(r'hx-get="([^"]+)"', page(response))[1]  # type: ignore[index]
    assert delays == sorted(delays)
    assert delays[0] < delays[-1] == 10.0


def test_a_poll_brings_the_comparison_as_soon_as_it_is_ready(waiting: Client) -> None:
    waiting.get("/s/small/judge")
    walk.write_all()
    response = waiting.get("/s/small/judge?poll=3", **HTMX)
    assert response["HX-Retarget"] == "#page"
    assert "data-comparison" in page(response)
    assert Participant.objects.get().waiting_since is None


@pytest.mark.parametrize("poll", ["-1", "x", "1e9", "99999999999999999999"])
def test_a_strange_poll_number_is_taken_for_none(waiting: Client, poll: str) -> None:
    assert waiting.get("/s/small/judge", {"poll": poll}, **HTMX).status_code == 200


def test_a_wait_that_is_too_long_has_a_paid_way_out(
    participant: Participant, waiting: Client
) -> None:
    services.note_waiting(participant=participant, now=timezone.now() - timedelta(seconds=61))
    response = waiting.get("/s/small/judge")
    assert "paid in full" in page(response)
    assert leads_to(waiting.post("/s/small/judge", {"exit_early": "1"}), "/s/small/done")
    ending = page(waiting.get("/s/small/done"))
    assert "TECH1" in ending
    assert "paid in full" in ending


def test_the_poll_of_a_wait_that_is_too_long_brings_the_way_out(
    participant: Participant, waiting: Client
) -> None:
    services.note_waiting(participant=participant, now=timezone.now() - timedelta(seconds=61))
    response = waiting.get("/s/small/judge?poll=9", **HTMX)
    assert response["HX-Retarget"] == "#page"
    assert "data-wait-over" in page(response)


def test_nobody_leaves_early_before_the_time_is_over(waiting: Client) -> None:
    waiting.get("/s/small/judge")
    response = waiting.post("/s/small/judge", {"exit_early": "1"})
    assert response.status_code == 409
    assert "is not over yet" in page(response)
    assert Participant.objects.get().stage == "judge"


# -- a model that fails


def test_a_failed_answer_is_told_and_the_others_are_judged(
    participant: Participant, waiting: Client
) -> None:
    claim = services.claim_generations(batch_size=2)
    for _ in range(3):
        services.fail_generation(
            generation_id=claim.generation_ids[0], lease_token=claim.lease_token, reason="broken"
        )
        type(participant.queries.first().generations.first()).objects.filter(  # type: ignore[union-attr]
            state="pending"
        ).update(not_before=timezone.now())
        claim = services.claim_generations(batch_size=2)
    walk.write(claim)
    walk.write_all()
    assert Comparison.objects.filter(state="set_aside").count() == 1
    response = waiting.get("/s/small/judge")
    assert "could not be written" in page(response)
    assert "Comparison 1 of 4" in page(response)
    assert "broken" not in page(response)


def test_when_all_answers_failed_one_can_finish_and_is_paid(
    participant: Participant, waiting: Client
) -> None:
    waiting.get("/s/small/judge")
    generations = Comparison.objects.get(query=participant.queries.first()).query.generations
    for _ in range(3):
        fail_next()
        generations.model.objects.filter(state="pending").update(not_before=timezone.now())
    assert Comparison.objects.filter(state="set_aside").count() == 5
    assert leads_to(waiting.get("/s/small/judge?poll=2", **HTMX), "/s/small/questions")
    assert "could not be written" in page(waiting.get("/s/small/questions"))
    waiting.post("/s/small/questions", {"suited": "1", "device": "desk"})
    assert "DONE1" in page(waiting.get("/s/small/done"))
