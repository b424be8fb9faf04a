"""The pages off the main way: declined, failed checks, withdrawn, refused, and a broken model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import load_study, run_demo
from tests.e2e.person import Person, photograph
from tests.studyapp.demo_process import ROOT, DemoProcess

pytestmark = [pytest.mark.slow, pytest.mark.needs_chromium]


@pytest.fixture
def person(page: Page, demo: DemoProcess) -> Person:
    return Person(page, demo.base, photograph(page))


def quiet(person: Person) -> Person:
    """The same person, not looking at every page."""
    return Person(person.page, person.base)


def test_who_does_not_agree_gets_the_no_consent_ending(person: Person) -> None:
    quiet(person).start("/s/demo/?preview=1")
    person.look("preview")
    person.press("I do not agree")
    person.at("done")
    expect(person.page.locator("[data-code]")).to_have_text("DEMONOCON")
    person.look("declined")


def test_a_missing_age_is_told_at_its_box(person: Person) -> None:
    quiet(person).start()
    person.press("I agree to take part")
    expect(person.page.get_by_role("alert")).to_contain_text("18 years old")
    person.look("consent-refused")


def test_two_failed_checks_end_the_study(person: Person) -> None:
    walker = quiet(person)
    walker.start()
    walker.consent()
    for name in ("checks-again", "checks-failed"):
        person.page.locator("[name=q0]").nth(0).check()
        person.page.locator("[name=q1]").nth(0).check()
        person.press("Continue")
        person.look(name)
    expect(person.page.locator("[data-code]")).to_have_text("DEMOCHECK")


def test_withdrawing_is_asked_once_and_told(person: Person) -> None:
    quiet(person).up_to_labels()
    person.page.get_by_role("link", name="Withdraw from the study").click()
    person.look("withdraw")
    person.page.get_by_role("link", name="Go back to the study").click()
    person.at("label")
    person.page.get_by_role("link", name="Withdraw from the study").click()
    person.press("Withdraw from the study")
    expect(person.page.get_by_role("heading", name="You have withdrawn")).to_be_visible()
    person.look("withdrawn")


def test_the_same_id_in_another_session_already_took_part(person: Person) -> None:
    walker = quiet(person)
    walker.start("/s/demo/?PROLIFIC_PID=twice&SESSION_ID=one")
    walker.consent()
    person.page.context.clear_cookies()
    person.page.goto(person.url("/s/demo/?PROLIFIC_PID=twice&SESSION_ID=two"))
    person.press("Start")
    expect(person.page.get_by_role("heading", name="You already took part")).to_be_visible()
    person.look("already-took-part")


@pytest.mark.parametrize(
    ("path", "name"),
    [("/s/none/", "404"), ("/r/forged/", "403"), ("/s/demo/?PROLIFIC_PID=%07", "400")],
)
def test_refusals_are_calm_pages(person: Person, path: str, name: str) -> None:
    person.page.goto(person.url(path))
    expect(person.page.locator(f"[data-error='{name}']")).to_be_visible()
    person.look(f"error-{name}")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProcess]:
    """A demo whose model never answers, with a second study that waits for five seconds only."""
    text = (ROOT / "studies" / "demo.toml").read_text()
    text = re.sub(r'^slug = "demo"', 'slug = "short"', text, flags=re.M)
    text = re.sub(r"^max_wait_seconds = \d+", "max_wait_seconds = 5", text, flags=re.M)
    file: Path = tmp_path_factory.mktemp("studies") / "short.toml"
    file.write_text(text)
    for demo in run_demo("tests.engines:FailingEngine"):
        load_study(demo, file)
        yield demo


def test_a_wait_that_is_too_long_has_a_paid_way_out(page: Page, broken: DemoProcess) -> None:
    Person(page, broken.base).up_to_judging("/s/short/")
    person = Person(page, broken.base, photograph(page))
    expect(page.locator("[data-waiting]")).to_be_visible()
    person.look("judge-waiting")
    expect(page.locator("[data-wait-over]")).to_be_visible(timeout=60_000)
    person.look("judge-too-long")
    person.press("Finish now")
    expect(page.locator("[data-code]")).to_have_text("DEMOTECH")
    person.look("technical")


def test_the_wait_goes_on_by_itself_after_a_lost_connection_and_a_fault(
    page: Page, broken: DemoProcess
) -> None:
    seen: list[str] = []

    def disturb(route: Route) -> None:
        seen.append(route.request.url)
        if len(seen) == 1:
            route.abort("connectionfailed")
        elif len(seen) == 2:
            route.fulfill(status=503, content_type="text/html", body="<p>A fault</p>")
        else:
            route.continue_()

    page.route("**/judge?poll=*", disturb)
    Person(page, broken.base).up_to_judging("/s/short/")
    with page.expect_response(lambda r: r.status == 503, timeout=60_000):
        expect(page.locator("[data-waiting]")).to_be_visible()
    expect(page.locator("[data-waiting]")).to_be_visible()
    expect(page.locator("[data-wait-over]")).to_be_visible(timeout=60_000)
    assert len(seen) >= 3


def test_when_the_model_fails_one_is_told_and_paid(page: Page, broken: DemoProcess) -> None:
    walker = Person(page, broken.base)
    walker.up_to_judging()
    expect(page).to_have_url(re.compile(r"/s/demo/questions$"), timeout=90_000)
    expect(page.get_by_text("could not be written")).to_be_visible()
    person = Person(page, broken.base, photograph(page))
    person.look("exit-after-failure")
    walker.exit()
    expect(page.locator("[data-code]")).to_have_text("DEMODONE")
