"""The whole study in a real browser; every page photographed and checked by axe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import run_demo
from tests.e2e.person import Person, photograph
from tests.studyapp.demo_process import DemoProcess

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium]


def test_the_whole_study_from_the_link_to_the_code(page: Page, demo: DemoProcess) -> None:
    person = Person(page, demo.base, photograph(page))
    person.start("/s/demo/?PROLIFIC_PID=walk&STUDY_ID=s&SESSION_ID=x")
    person.consent()
    person.pass_checks()
    person.label_all()
    person.ask()
    person.judge_all()
    person.exit()
    person.look("done")
    expect(page.locator("[data-code]")).to_have_text("DEMODONE")
    back = page.get_by_role("link", name="Return to Prolific")
    expect(back).to_have_attribute(
        "href", "https://app.prolific.com/submissions/complete?cc=DEMODONE"
    )


def test_the_study_can_be_done_by_keyboard_alone(page: Page, demo: DemoProcess) -> None:
    person = Person(page, demo.base)
    keys = page.keyboard
    page.goto(person.url("/s/demo/"))
    tab_to(page, "button[type=submit]")
    keys.press("Enter")
    person.at("consent")
    tab_to(page, "#adult")
    keys.press("Space")
    tab_to(page, "button[value=accept]")
    keys.press("Enter")
    person.at("instructions")
    for name, downs in (("q0", 1), ("q1", 2)):
        tab_to(page, f"[name={name}]")
        keys.press("Space")
        for _ in range(downs):
            keys.press("ArrowDown")
    tab_to(page, "button[type=submit]")
    keys.press("Enter")
    person.at("label")
    for number, key in enumerate(("1", "2", "ArrowLeft", "ArrowRight"), start=1):
        expect(page.get_by_text(f"Pair {number} of 4")).to_be_visible()
        keys.press(key)
        expect(page.locator(f"#choice-{'left' if number % 2 else 'right'}")).to_be_checked()
        keys.press("Enter")
    person.at("ask")
    for name in ("question_0", "question_1"):
        tab_to(page, f"#{name}")
        keys.type("How do I get from 1 to 2, or to 0?")  # digits in a text choose nothing
    tab_to(page, "button[type=submit]")
    keys.press("Enter")
    person.at("judge")
    for number in range(1, 6):
        expect(page.get_by_text(f"Comparison {number} of 5")).to_be_visible(timeout=60_000)
        keys.press("0" if number == 1 else "2")
        expect(page.locator(f"#choice-{'tie' if number == 1 else 'right'}")).to_be_checked()
        tab_to(page, "[name=strength]")
        keys.press("Space")
        keys.press("ArrowRight")
        expect(page.locator("[name=strength][value='2']")).to_be_checked()
        keys.press("Enter")
    person.at("questions")


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the focus is there; where it is must be visible."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("(s) => document.activeElement.matches(s)", selector):
            return
    raise AssertionError(f"Tab never reached {selector}")


def test_the_study_can_be_done_without_javascript(chromium: Browser, demo: DemoProcess) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    person = Person(page, demo.base)
    person.up_to_judging()
    for number in range(1, 6):
        for _ in range(30):
            if page.locator("[data-comparison]").count():
                break
            page.wait_for_timeout(1000)
            page.goto(person.url("/s/demo/judge"))
        person.judge(number)
    person.exit()
    expect(page.locator("[data-code]")).to_have_text("DEMODONE")
    context.close()


@pytest.fixture
def embedded() -> Iterator[DemoProcess]:
    yield from run_demo("local")


@pytest.mark.needs_checkpoint
def test_the_whole_study_with_the_embedded_model(page: Page, embedded: DemoProcess) -> None:
    person = Person(page, embedded.base)
    person.up_to_judging()
    for number in range(1, 6):
        person.judge(number)
    person.exit()
    expect(page.locator("[data-code]")).to_have_text("DEMODONE")
