"""What participants type: normalised and checked. Messages are for participants. Pure."""

from __future__ import annotations

import unicodedata

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from studyapp.errors import InvalidText

# Marks, embeddings, overrides and isolates: invisible, and able to show a text in another order
# than the one that is stored.
_DIRECTION_MARKS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_SPACE_CONTROLS = "\t\n\r\x0b\x0c\x85"


def clean_question(text: str, *, min_length: int, max_length: int) -> str:
    """One line of normalised text. Raises InvalidText with a message that states what was received.

    Line breaks and runs of spaces become one space. The length is counted in characters (code
    points) after that.
    """
    cleaned = _refuse_bad_characters(" ".join(unicodedata.normalize("NFC", text).split()))
    if not _has_visible(cleaned):
        raise InvalidText(_("Please write a question; this one is empty."))
    _check_length(len(cleaned), min_length, max_length)
    return cleaned


def clean_note(text: str, *, max_length: int) -> str:
    """An optional free text that may have lines. Raises InvalidText like ``clean_question``."""
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    cleaned = _refuse_bad_characters("\n".join(" ".join(line.split()) for line in lines).strip())
    if not _has_visible(cleaned):
        return ""
    _check_length(len(cleaned), 0, max_length)
    return cleaned


def storable(text: str, *, max_length: int) -> str:
    """Unfinished text, kept as typed. Raises InvalidText if too long or not storable (NUL)."""
    if len(text) > max_length:
        _check_length(len(text), 0, max_length)
    if "\x00" in text or any(unicodedata.category(char) == "Cs" for char in text):
        raise InvalidText(_("The text has characters that cannot be stored."))
    return text


def _refuse_bad_characters(text: str) -> str:
    for place, char in enumerate(text, start=1):
        if char == "\n":
            continue
        if char in _DIRECTION_MARKS:
            raise InvalidText(
                _("Please remove the invisible direction mark (U+%(code)s) at place %(place)d.")
                % {"code": f"{ord(char):04X}", "place": place}
            )
        if unicodedata.category(char) in {"Cc", "Cs"} or _is_noncharacter(char):
            raise InvalidText(
                _("Please remove the control character (U+%(code)s) at place %(place)d.")
                % {"code": f"{ord(char):04X}", "place": place}
            )
    return text


def _is_noncharacter(char: str) -> bool:
    return 0xFDD0 <= ord(char) <= 0xFDEF or ord(char) & 0xFFFE == 0xFFFE


def _has_visible(text: str) -> bool:
    # Cn is what Python's Unicode tables do not know: an emoji that is newer than they are.
    categories = (unicodedata.category(char) for char in text)
    return any(category == "Cn" or category[0] not in {"Z", "C"} for category in categories)


def _check_length(length: int, min_length: int, max_length: int) -> None:
    if length < min_length:
        raise InvalidText(
            ngettext(
                "Please write at least %(least)d characters; this is %(length)d character.",
                "Please write at least %(least)d characters; these are %(length)d characters.",
                length,
            )
            % {"least": min_length, "length": length}
        )
    if length > max_length:
        raise InvalidText(
            _("Please write at most %(most)d characters; these are %(length)d characters.")
            % {"most": max_length, "length": length}
        )
