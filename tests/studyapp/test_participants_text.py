"""Answers as HTML: everything is escaped, nothing is lost, lists stay lists to the eye."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyapp.participants.text import answer_html


class TextContent(HTMLParser):
    """What a browser's textContent would be, and which elements there are."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@given(st.text(st.characters(exclude_characters="\r\x00", exclude_categories=["Cs"])))
def test_the_text_content_is_the_answer_and_all_elements_are_ours(text: str) -> None:
    parsed = TextContent(answer_html(text))
    assert parsed.text == text
    assert {tag for tag, _ in parsed.tags} <= {"p"}


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "<b>x", "&lt;", '"><img src=x>'])
def test_markup_in_an_answer_is_shown_as_text(text: str) -> None:
    html = str(answer_html(text))
    assert "<script" not in html
    assert "<img" not in html
    assert TextContent(html).text == text


def test_numbered_lines_and_paragraphs_are_told_apart() -> None:
    parsed = TextContent(
        answer_html("Begin so:\n1. Wash.\n2) Dry.\n- Rest.\n\nThen wait.\n2024 ends.")
    )
    classes = [attributes["class"] for _, attributes in parsed.tags]
    assert classes == [
        "line",
        "line line-item",
        "line line-item",
        "line line-item",
        "line line-gap",
        "line",
    ]


def test_steps_that_run_on_in_one_line_are_a_paragraph() -> None:
    parsed = TextContent(answer_html("1. Wash it. 2. Dry it. 3) Put it away."))
    assert [attributes["class"] for _, attributes in parsed.tags] == ["line"]


def test_windows_line_ends_are_line_ends() -> None:
    assert answer_html("a\r\nb") == answer_html("a\nb")
