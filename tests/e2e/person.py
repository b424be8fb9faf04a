"""A participant with a real browser, who clicks through the study page by page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

SCREENSHOTS = Path(__file__).resolve().parents[2] / "screenshots"
WIDTHS = (375, 1280)
SCHEMES = ("light", "dark")
QUESTIONS = ("How do I bake bread without a machine?", "How can I learn to juggle?")


def nothing(name: str) -> None:
    """Looks at no page."""


def photograph(page: Page) -> Callable[[str], None]:
    """A way to look at pages: screenshots in both widths and schemes, checked by axe on the way."""

    def look(name: str) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
                if width == WIDTHS[0]:
                    has_no_violations(page, f"{name} {width} {scheme}")
        for width in (320, 640):  # 640: a desktop's 1280 at 200 % zoom
            page.set_viewport_size({"width": width, "height": 800})
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} px wide at {width} px"
        too_small = page.evaluate(SMALL_TARGETS)
        assert not too_small, f"{name}: targets below 44 px: {too_small}"
        page.set_viewport_size({"width": 1280, "height": 800})
        page.emulate_media(color_scheme="light")

    return look


# Buttons and options (by their whole label) that are lower than 44 px; links in running text are
# exempt from the rule.
SMALL_TARGETS = """
[...document.querySelectorAll('.button, .option, .site-footer p > a, summary, textarea')]
  .filter((e) => e.offsetParent && e.getBoundingClientRect().height < 44)
  .map((e) => e.outerHTML.slice(0, 80))
"""


def has_no_violations(page: Page, where: str) -> None:
    """No violation of axe's rules."""
    found = Axe().run(page).response["violations"]
    said = [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in found]
    assert not said, f"{where}: {said}"


class Person:
    """Goes through the pages; ``look`` is called with each page's name."""

    def __init__(self, page: Page, base: str, look: Callable[[str], None] = nothing) -> None:
        self.page = page
        self.base = base
        self.look = look

    def url(self, path: str) -> str:
        return f"{self.base}{path}"

    def at(self, path: str) -> None:
        expect(self.page).to_have_url(re.compile(rf"/s/[\w-]+/{path}$"))

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).click()

    def start(self, link: str = "/s/demo/") -> None:
        self.page.goto(self.url(link))
        self.look("welcome")
        self.press("Start")
        self.at("consent")

    def consent(self) -> None:
        self.look("consent")
        self.page.get_by_label("I am 18 years old or older.").check()
        self.press("I agree to take part")
        self.at("instructions")

    def pass_checks(self) -> None:
        self.look("instructions")
        self.page.locator("[name=q0]").nth(1).check()
        self.page.locator("[name=q1]").nth(2).check()
        self.press("Continue")
        self.at("label")

    def label(self, number: int, side: str = "left") -> None:
        expect(self.page.get_by_text(f"Pair {number} of 4")).to_be_visible()
        self.page.locator(f"#choice-{side}").check()
        self.look("label") if number == 1 else None
        self.press("Save and continue")

    def label_all(self) -> None:
        for number in range(1, 5):
            self.label(number, "left" if number % 2 else "right")
        self.at("ask")

    def ask(self) -> None:
        for number, text in enumerate(QUESTIONS):
            self.page.locator(f"#question_{number}").fill(text)
        self.look("ask")
        self.press("Send and continue")
        self.at("judge")

    def judge(self, number: int, side: str = "left", strength: int = 4, reason: str = "") -> None:
        expect(self.page.get_by_text(f"Comparison {number} of 5")).to_be_visible(timeout=60_000)
        self.page.locator(f"#choice-{side}").check()
        self.page.locator(f"[name=strength][value='{strength}']").check()
        self.page.locator("#reason").fill(reason)
        self.look("judge-own" if number == 4 else "judge") if number in (1, 4) else None
        self.press("Save and continue")

    def judge_all(self) -> None:
        for number in range(1, 6):
            if number in (1, 4) and self.page.locator("[data-waiting]").count():
                self.look("judge-waiting")
            self.judge(number, ("left", "right", "tie")[number % 3], number, "It suits me.")
        self.at("questions")

    def exit(self) -> None:
        self.page.locator("[name=suited]").nth(3).check()
        self.page.locator("[name=device]").nth(2).check()
        self.look("exit")
        self.press("Finish")
        self.at("done")

    def up_to_labels(self, link: str = "/s/demo/") -> None:
        self.start(link)
        self.consent()
        self.pass_checks()

    def up_to_judging(self, link: str = "/s/demo/") -> None:
        self.up_to_labels(link)
        self.label_all()
        self.ask()
