"""Reads a participant's page as a browser without JavaScript would: forms, and what is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "wbr"}
)
BLOCKS = frozenset({"p", "div", "br", "li", "ul", "ol", "h1", "h2", "h3", "section", "pre"})


@dataclass(slots=True)
class Field:
    """A form field: ``values`` are the options of radio buttons, selects and buttons."""

    name: str
    kind: str
    values: list[str] = field(default_factory=list)
    required: bool = False


@dataclass(slots=True)
class Form:
    """A form: where it goes, its attributes (``data-comparison`` …) and fields by name."""

    action: str
    method: str
    attributes: dict[str, str]
    hidden: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Field] = field(default_factory=dict)

    def add(self, name: str, kind: str, value: str, *, required: bool) -> None:
        if kind == "hidden":
            self.hidden[name] = value
            return
        entry = self.fields.setdefault(name, Field(name, kind))
        entry.required |= required
        if kind in {"radio", "option", "submit", "checkbox"}:
            entry.values.append(value)


@dataclass(slots=True)
class Page:
    """A page that was received. ``shown`` maps question, left, right to the text displayed."""

    url: str
    forms: list[Form]
    shown: dict[str, str]
    attributes: dict[str, str]
    text: str

    @property
    def name(self) -> str:
        """The last part of the address: consent, label, judge …; empty for the welcome page."""
        parts = urlsplit(self.url).path.strip("/").split("/")
        return parts[2] if len(parts) > 2 else ""

    @property
    def is_waiting(self) -> bool:
        return "data-waiting" in self.attributes

    def form_with(self, name: str) -> Form | None:
        """The first form that has a field, hidden or not, of this name."""
        return next((f for f in self.forms if name in f.fields or name in f.hidden), None)

    def form_to(self, last: str) -> Form | None:
        """The first form whose address ends with this part."""
        paths = ((urlsplit(urljoin(self.url, f.action)).path.strip("/"), f) for f in self.forms)
        return next((form for path, form in paths if path.rsplit("/", 1)[-1] == last), None)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.shown: dict[str, list[str]] = {}
        self.attributes: dict[str, str] = {}
        self.text: list[str] = []
        self._open: list[tuple[str, str | None]] = []
        self._form: Form | None = None
        self._select: tuple[str, bool] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.attributes |= {k: v for k, v in given.items() if k.startswith("data-")}
        if tag in BLOCKS:
            self._write("\n")
        if tag not in VOID:
            self._open.append((tag, self._key(given)))
        if tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower(), given)
            self.forms.append(self._form)
        elif self._form is not None:
            self._read_field(self._form, tag, given)

    def _read_field(self, form: Form, tag: str, given: dict[str, str]) -> None:
        name, required = given.get("name", ""), "required" in given
        if tag == "option" and self._select:
            if value := given.get("value", ""):
                form.add(self._select[0], "option", value, required=self._select[1])
        elif not name:
            return
        elif tag == "input":
            kind = given.get("type", "text")
            value = given.get("value", "on" if kind == "checkbox" else "")
            form.add(name, kind, value, required=required)
        elif tag == "textarea":
            form.add(name, "textarea", "", required=required)
        elif tag == "button":
            form.add(name, "submit", given.get("value", ""), required=False)
        elif tag == "select":
            self._select = (name, required)

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            self._write("\n")
        if any(name == tag for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None

    def handle_data(self, data: str) -> None:
        self._write(data)

    def _write(self, data: str) -> None:
        self.text.append(data)
        for _, key in self._open:
            if key:
                self.shown.setdefault(key, []).append(data)

    @staticmethod
    def _key(given: dict[str, str]) -> str | None:
        if "data-question" in given:
            return "question"
        side = given.get("data-side")
        return side if side in {"left", "right"} else None


def read_page(url: str, html: str) -> Page:
    """A page from its HTML; displayed text keeps its paragraphs, other white space is one blank."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    shown = {key: _tidy("".join(parts)) for key, parts in reader.shown.items()}
    return Page(url, reader.forms, shown, reader.attributes, _tidy("".join(reader.text)))


def _tidy(text: str) -> str:
    lines = (re.sub(r"[ \t\r\f\v]+", " ", line).strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
