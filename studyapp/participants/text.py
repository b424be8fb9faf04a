"""Answers as HTML: escaped text in paragraphs, numbered lines indented, nothing interpreted."""

from __future__ import annotations

import re

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

_LIST_ITEM = re.compile(r"\s*(?:\d{1,3}[.)]|[-*•–])\s+\S")
_FURTHER_ITEM = re.compile(r"\s\d{1,3}[.)]\s")


def answer_html(text: str) -> SafeString:
    """``text`` with one ``<p>`` a line; everything in it is escaped.

    The line breaks stay between the paragraphs, so that the element's text content is the answer,
    character for character: what is measured is what was shown.
    """
    parts: list[str] = []
    after_gap = False
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n")):
        if not line.strip():
            parts.append(line)
            after_gap = True
            continue
        names = ["line"]
        if after_gap and number:
            names.append("line-gap")
        # Steps that run on in one line are a paragraph, which a hanging indent would deform.
        if _LIST_ITEM.match(line) and not _FURTHER_ITEM.search(line.lstrip()):
            names.append("line-item")
        parts.append(format_html('<p class="{}" dir="auto">{}</p>', " ".join(names), line))
        after_gap = False
    return mark_safe("\n".join(parts))  # every line is escaped above
