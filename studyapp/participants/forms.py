"""What each page's fields say, read and no more: what may be stored is for the services to say."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from studyapp.config import ExitQuestion, StudyConfig
from studyapp.errors import BadInput
from studyapp.recruiter import RecruiterParameters

IDENTITY_FIELDS = ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")
STRENGTH_LABELS: tuple[str | Promise, ...] = (
    _("No preference, basically the same"),
    _("Slight"),
    _("Moderate"),
    _("Strong"),
    _("Very strong"),
)


def identity_fields(recruiter: RecruiterParameters, *, preview: bool) -> dict[str, str]:
    """The hidden fields that carry the link's parameters to the click on Start."""
    values = (recruiter.pid, recruiter.study_id, recruiter.session_id)
    fields = dict(zip(IDENTITY_FIELDS, values, strict=True)) | {"preview": "1" if preview else ""}
    return {name: value for name, value in fields.items() if value}


def read_uuid(value: str | None) -> uuid.UUID | None:
    """The welcome form's random value; None where the field was not sent.

    Raises BadInput for anything else.
    """
    if not value:
        return None
    try:
        return uuid.UUID(value)
    except ValueError:
        raise BadInput(f"start_key: a UUID, got {value[:80]!r}") from None


def whole_number(value: str | None) -> int | None:
    """``value`` as a whole number; None where the field was not sent or is no number."""
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 9:
        return None
    return int(value)


def read_checks(data: Mapping[str, str], config: StudyConfig) -> list[int | None]:
    """The chosen option of each comprehension question, None where none was chosen."""
    return [whole_number(data.get(f"q{i}")) for i in range(len(config.comprehension.questions))]


def check_fields(
    config: StudyConfig, data: Mapping[str, str], problems: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The comprehension questions as the template shows them."""
    return [
        {
            "name": f"q{i}",
            "text": item.question,
            "error": problems.get(f"q{i}"),
            "options": [
                {"text": text, "checked": data.get(f"q{i}") == str(number)}
                for number, text in enumerate(item.options)
            ],
        }
        for i, item in enumerate(config.comprehension.questions)
    ]


def question_fields(
    config: StudyConfig, data: Mapping[str, str], problems: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The text fields for own questions."""
    names = [f"question_{i}" for i in range(config.own_questions.count)]
    return [
        {"name": name, "text": data.get(name, ""), "error": problems.get(name)} for name in names
    ]


def strength_options(chosen: str | None) -> list[dict[str, Any]]:
    """The five strengths, with their words."""
    return [
        {"value": value, "text": text, "checked": chosen == str(value)}
        for value, text in enumerate(STRENGTH_LABELS, start=1)
    ]


def exit_fields(
    config: StudyConfig, data: Mapping[str, str], problems: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The exit questions as the template shows them."""
    return [
        {
            "name": item.name,
            "kind": item.kind,
            "question": item.question,
            "required": item.required,
            "max_length": item.max_length,
            "value": data.get(item.name, ""),
            "error": problems.get(item.name),
            "options": [
                {"value": value, "text": text, "checked": data.get(item.name) == value}
                for value, text in exit_options(item)
            ],
        }
        for item in config.exit_questions
    ]


def exit_options(item: ExitQuestion) -> list[tuple[str, str]]:
    """Value and words of each option; the ends of a scale carry their meaning."""
    if item.kind == "choice":
        return [(text, text) for text in item.options]
    if item.kind != "likert":
        return []
    ends = {1: item.low, item.points: item.high}
    return [
        (str(n), f"{n} – {ends[n]}" if ends.get(n) else str(n)) for n in range(1, item.points + 1)
    ]


def required(data: Mapping[str, str], name: str) -> str:
    """A field that every form of this page carries. Raises BadInput, naming it."""
    try:
        return data[name]
    except KeyError:
        raise BadInput(f"the field {name!r} is missing") from None
