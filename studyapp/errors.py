"""Named refusals of the study. Each states the value received, and the HTTP status it maps to."""

from __future__ import annotations

from collections.abc import Mapping


class StudyError(Exception):
    """Base of every refusal; ``status`` is the HTTP status a view maps it to."""

    status = 400


# -- 400: the value itself cannot be used


class BadInput(StudyError):
    """A value that no participant's form would send, or that is outside its limits."""


class UnknownChoice(BadInput):
    """A choice that is not offered."""


class InvalidStrength(BadInput):
    """A strength that is not a whole number from 1 to 5."""


class InvalidText(BadInput):
    """A free text (draft, reason) that cannot be stored."""


class InvalidIdentity(BadInput):
    """Recruiter parameters that are missing where the study needs them, or malformed."""


class NotAdult(BadInput):
    """Consent without the confirmation of being 18 or older."""


class FieldProblems(BadInput):
    """Several fields, each with a message for the participant.

    ``problems`` maps the field (a question's index, an exit question's key) to its message.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{field}: {text}" for field, text in self.problems.items()))


class InvalidQuestions(FieldProblems):
    """Own questions that cannot be used; keys are ``question_0``, ``question_1`` …"""


class InvalidAnswers(FieldProblems):
    """Exit or comprehension answers that cannot be used; keys are the questions' names."""


# -- 403: not for this person, or not now


class Forbidden(StudyError):
    """A well-formed request that this person may not make."""

    status = 403


class StudyNotOpen(Forbidden):
    """The study takes no new participants."""


class AlreadyTookPart(Forbidden):
    """The recruiter's person is known from another session."""


class UnknownToken(Forbidden):
    """A token that belongs to nobody in this study."""


# -- 404: there is no such thing for this person


class NotFound(StudyError):
    """No such study, or the item is not this participant's."""

    status = 404


class UnknownStudy(NotFound):
    """No study with this name."""


class UnknownItem(NotFound):
    """No such label or comparison for this participant (another's item reads the same)."""


# -- 409: the request does not fit the state


class Conflict(StudyError):
    """A request that came too late, too early or twice with different content."""

    status = 409


class WrongStage(Conflict):
    """The participant's stage does not take this event."""


class AlreadyAnswered(Conflict):
    """A second, different answer to something that is locked."""


class NotShown(Conflict):
    """An answer to something the server has not shown."""


class WaitNotOver(Conflict):
    """The paid early exit before the longest wait has passed."""


# -- for operators, not participants


class ConfigError(StudyError):
    """A study configuration that cannot be used; every line names the key and the value."""


class FrozenConfiguration(StudyError):
    """An attempt to change a study version after it was made."""

    status = 409
