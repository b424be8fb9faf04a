"""What people do to pages: reload, go back, click twice, open two tabs, lose the connection."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.person import QUESTIONS, Person
from tests.studyapp.demo_process import DemoProcess

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium]


@pytest.fixture
def person(page: Page, demo: DemoProcess) -> Person:
    return Person(page, demo.base)


def test_a_half_typed_question_outlives_a_reload_and_a_closed_tab(person: Person) -> None:
    person.up_to_labels()
    person.label_all()
    typed = "How do I half ty"
    person.page.locator("#question_0").press_sequentially(typed)
    expect(person.page.locator("#question_0-saved")).to_have_text("Saved as a draft")
    person.page.reload()
    expect(person.page.locator("#question_0")).to_have_value(typed)
    other = person.page.context.new_page()
    other.goto(person.url("/s/demo/go"))
    other.locator("#question_1").press_sequentially("typed and closed at once")
    with other.expect_response(lambda r: r.url.endswith("/draft")):
        other.locator("#question_0").focus()  # leaving the field saves it without the pause
    other.close()
    person.page.reload()
    expect(person.page.locator("#question_1")).to_have_value("typed and closed at once")


def test_a_refused_question_comes_back_with_the_focus_on_the_reason(person: Person) -> None:
    person.up_to_labels()
    person.label_all()
    person.page.locator("#question_0").fill("Why?")
    person.page.locator("#question_1").fill(QUESTIONS[1])
    person.press("Send and continue")
    expect(person.page.get_by_role("alert")).to_contain_text("at least 5 characters")
    expect(person.page.locator("#question_1")).to_have_value(QUESTIONS[1])
    person.page.get_by_role("alert").get_by_role("link").click()
    expect(person.page.locator("#question_0")).to_be_focused()


def test_the_page_says_why_one_cannot_go_on(person: Person) -> None:
    person.up_to_labels()
    hint = person.page.locator("[data-hint]")
    expect(hint).to_have_text("To go on, choose the answer you prefer.")
    person.press("Save and continue")
    expect(person.page.get_by_role("alert")).to_contain_text("choose the answer you prefer")
    expect(person.page.get_by_role("alert")).to_be_focused()
    person.page.locator("#choice-left").check()
    expect(person.page.locator("[data-hint]")).to_have_text("")


def test_a_doubled_click_sends_one_label(person: Person) -> None:
    person.up_to_labels()
    sent: list[str] = []
    person.page.on("request", lambda r: sent.append(r.method) if r.method == "POST" else None)
    person.page.locator("#choice-right").check()
    person.page.get_by_role("button", name="Save and continue").dblclick()
    expect(person.page.get_by_text("Pair 2 of 4")).to_be_visible()
    expect(person.page.locator("#choice-right")).not_to_be_checked()
    assert sent == ["POST"]


def test_the_back_button_shows_where_one_is_and_makes_no_duplicate(person: Person) -> None:
    person.up_to_labels()
    person.label(1)
    expect(person.page.get_by_text("Pair 2 of 4")).to_be_visible()
    person.page.go_back()
    person.page.goto(person.url("/s/demo/consent"))
    person.at("label")
    expect(person.page.get_by_text("Pair 2 of 4")).to_be_visible()


def test_two_tabs_answer_one_pair_once(person: Person) -> None:
    person.up_to_labels()
    other = Person(person.page.context.new_page(), person.base)
    other.page.goto(person.url("/s/demo/label"))
    person.label(1, "left")
    expect(person.page.get_by_text("Pair 2 of 4")).to_be_visible()
    other.label(1, "left")  # the same answer: on to the next
    expect(other.page.get_by_text("Pair 2 of 4")).to_be_visible()
    person.label(2, "left")
    expect(person.page.get_by_text("Pair 3 of 4")).to_be_visible()
    other.label(2, "right")  # another answer: the first counts
    expect(other.page.get_by_text("Your first answer counts")).to_be_visible()
    other.page.get_by_role("link", name="Go on with the study").click()
    expect(other.page.get_by_text("Pair 3 of 4")).to_be_visible()


def test_a_reload_during_the_wait_and_in_a_judgment_loses_nothing(person: Person) -> None:
    person.up_to_judging()
    person.page.reload()
    page = person.page
    expect(page.get_by_text("Comparison 1 of 5")).to_be_visible(timeout=60_000)
    left = page.locator("[data-side=left]").inner_text()
    page.locator("#choice-right").check()
    page.locator("[name=strength][value='5']").check()
    page.locator("#reason").press_sequentially("because it")
    page.reload()
    assert page.locator("[data-side=left]").inner_text() == left
    expect(page.locator("#choice-right")).to_be_checked()
    expect(page.locator("[name=strength][value='5']")).to_be_checked()
    expect(page.locator("#reason")).to_have_value("because it")
    person.press("Save and continue")
    expect(page.get_by_text("Comparison 2 of 5")).to_be_visible(timeout=60_000)
    expect(page.locator("#reason")).to_have_value("")


def test_a_personal_link_goes_on_in_another_browser(person: Person, demo: DemoProcess) -> None:
    person.up_to_labels()
    person.label(1)
    expect(person.page.get_by_text("Pair 2 of 4")).to_be_visible()
    person.page.get_by_text("Continue on another device").click()
    link = person.page.locator(".resume-link a").get_attribute("href")
    browser = person.page.context.browser
    assert link is not None
    assert browser is not None
    elsewhere = browser.new_context()
    page = elsewhere.new_page()
    page.goto(link)
    expect(page.get_by_text("Pair 2 of 4")).to_be_visible()
    assert "/r/" not in page.url
    elsewhere.close()


def test_a_click_on_an_answers_text_chooses_it_and_selecting_text_does_not(person: Person) -> None:
    person.up_to_labels()
    text = person.page.locator("[data-side=right]")
    text.click()
    expect(person.page.locator("#choice-right")).to_be_checked()
    # A click that ends a selection is somebody copying, not choosing.
    person.page.locator("[data-side=left] p").first.click(modifiers=["Shift"])
    assert person.page.evaluate("String(getSelection()).length") > 0
    expect(person.page.locator("#choice-right")).to_be_checked()


def test_a_lost_connection_is_told_and_the_choice_is_still_there(person: Person) -> None:
    person.up_to_labels()
    page = person.page
    page.locator("#choice-left").check()
    page.context.set_offline(True)
    person.press("Save and continue")
    expect(page.locator("[data-hint]")).to_contain_text("please try again")
    expect(page.locator("#choice-left")).to_be_checked()
    page.context.set_offline(False)
    person.press("Save and continue")
    expect(page.get_by_text("Pair 2 of 4")).to_be_visible()


def test_a_fault_of_the_server_loses_nothing_of_a_judgment(person: Person) -> None:
    person.up_to_judging()
    page = person.page
    expect(page.get_by_text("Comparison 1 of 5")).to_be_visible(timeout=60_000)
    page.route("**/judge", lambda route: _fault(route, "POST"))
    page.locator("#choice-right").check()
    page.locator("[name=strength][value='5']").check()
    page.locator("#reason").press_sequentially("because it")
    person.press("Save and continue")
    expect(page.get_by_text("A fault")).to_be_visible()
    page.unroute("**/judge")
    page.reload()
    expect(page.locator("#choice-right")).to_be_checked()
    expect(page.locator("[name=strength][value='5']")).to_be_checked()
    expect(page.locator("#reason")).to_have_value("because it")
    person.press("Save and continue")
    expect(page.get_by_text("Comparison 2 of 5")).to_be_visible(timeout=60_000)
    kept = page.evaluate("Object.keys(sessionStorage).filter((key) => key.startsWith('kept:'))")
    assert kept == []


def test_in_the_scale_digits_choose_the_strength_and_leave_the_answer(person: Person) -> None:
    person.up_to_judging()
    page = person.page
    expect(page.get_by_text("Comparison 1 of 5")).to_be_visible(timeout=60_000)
    page.keyboard.press("1")
    expect(page.locator("#choice-left")).to_be_checked()
    page.locator("[name=strength][value='4']").check()
    for key, strength in (("2", "2"), ("5", "5"), ("0", "5")):
        page.keyboard.press(key)
        expect(page.locator(f"[name=strength][value='{strength}']")).to_be_checked()
        expect(page.locator("#choice-left")).to_be_checked()


def test_a_draft_that_could_not_be_saved_is_tried_again_newest_text_last(person: Person) -> None:
    person.up_to_labels()
    person.label_all()
    page = person.page
    page.route("**/draft", lambda route: _fault(route, "POST"))
    page.locator("#question_0").press_sequentially("How do I half")
    expect(page.locator("#question_0-saved")).to_have_text("Not saved yet; we keep trying")
    page.unroute("**/draft")
    expect(page.locator("#question_0-saved")).to_have_text("Saved as a draft")
    seen: list[Route] = []

    def hold_the_first(route: Route) -> None:
        seen.append(route)
        if len(seen) > 1:
            route.continue_()

    page.route("**/draft", hold_the_first)
    with page.expect_request("**/draft"):
        page.locator("#question_0").press_sequentially(" ty")
    page.locator("#question_0").press_sequentially("ped")
    page.wait_for_timeout(1500)
    assert len(seen) == 1  # the newer text waits for the older one's request
    seen[0].continue_()
    expect(page.locator("#question_0-saved")).to_have_text("Saved as a draft")
    assert len(seen) == 2
    page.reload()
    expect(page.locator("#question_0")).to_have_value("How do I half typed")


def _fault(route: Route, method: str) -> None:
    if route.request.method == method:
        route.fulfill(status=503, content_type="text/html", body="<p>A fault</p>")
    else:
        route.continue_()
