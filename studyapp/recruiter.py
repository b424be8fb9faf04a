"""The recruiter's parameters in a link: read, checked, told from a preview. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from studyapp.errors import InvalidIdentity

MAX_LENGTH = 200


@dataclass(frozen=True, slots=True)
class RecruiterParameters:
    """Who the recruiter says has come. Kept in the signed session until consent is given."""

    pid: str = ""
    study_id: str = ""
    session_id: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """From a link's ``PROLIFIC_PID``, ``STUDY_ID``, ``SESSION_ID``. Raises InvalidIdentity."""
        return cls(
            pid=_checked("PROLIFIC_PID", query.get("PROLIFIC_PID", "")),
            study_id=_checked("STUDY_ID", query.get("STUDY_ID", "")),
            session_id=_checked("SESSION_ID", query.get("SESSION_ID", "")),
        )

    @classmethod
    def from_session(cls, stored: Mapping[str, str] | None) -> Self:
        """From what ``for_session`` gave; an empty one where there is nothing."""
        return cls(**stored) if stored else cls()

    def for_session(self) -> dict[str, str]:
        """Plain values for the signed session."""
        return asdict(self)

    @property
    def is_placeholder(self) -> bool:
        """Whether the recruiter's own preview left ``{{%PROLIFIC_PID%}}`` unsubstituted."""
        return "{{%" in self.pid or "%}}" in self.pid


def _checked(name: str, value: str) -> str:
    value = value.strip()
    if len(value) > MAX_LENGTH:
        raise InvalidIdentity(f"{name}: at most {MAX_LENGTH} characters, got {len(value)}")
    if not value.isprintable():
        raise InvalidIdentity(f"{name}: unprintable characters, got {value!r}")
    return value
