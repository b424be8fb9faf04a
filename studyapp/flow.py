"""Participant stages: one transition table, pure. Nothing else decides a participant's stage."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from studyapp.errors import WrongStage


class Stage(StrEnum):
    """Where a participant stands. ``welcome`` is before the click on Start: no row yet."""

    WELCOME = "welcome"
    CONSENT = "consent"
    INSTRUCTIONS = "instructions"
    LABEL = "label"
    ASK = "ask"
    JUDGE = "judge"
    EXIT = "exit"
    COMPLETE = "complete"
    DECLINED = "declined"
    FAILED_CHECKS = "failed_checks"
    WITHDRAWN = "withdrawn"
    TECHNICAL = "technical"


class Event(StrEnum):
    """What can happen to a participant."""

    START = "start"
    ACCEPT = "accept"
    DECLINE = "decline"
    PASS_CHECKS = "pass_checks"
    FAIL_CHECKS = "fail_checks"
    LABELS_DONE = "labels_done"
    QUESTIONS_ASKED = "questions_asked"
    JUDGMENTS_DONE = "judgments_done"
    EXIT_ANSWERED = "exit_answered"
    EXIT_EARLY = "exit_early"
    WITHDRAW = "withdraw"


ENDINGS = frozenset(
    {Stage.COMPLETE, Stage.DECLINED, Stage.FAILED_CHECKS, Stage.WITHDRAWN, Stage.TECHNICAL}
)
PAID = frozenset({Stage.COMPLETE, Stage.TECHNICAL})

TRANSITIONS: dict[tuple[Stage, Event], Stage] = {
    (Stage.WELCOME, Event.START): Stage.CONSENT,
    (Stage.CONSENT, Event.ACCEPT): Stage.INSTRUCTIONS,
    (Stage.CONSENT, Event.DECLINE): Stage.DECLINED,
    (Stage.INSTRUCTIONS, Event.PASS_CHECKS): Stage.LABEL,
    (Stage.INSTRUCTIONS, Event.FAIL_CHECKS): Stage.FAILED_CHECKS,
    (Stage.LABEL, Event.LABELS_DONE): Stage.ASK,
    (Stage.ASK, Event.QUESTIONS_ASKED): Stage.JUDGE,
    (Stage.JUDGE, Event.JUDGMENTS_DONE): Stage.EXIT,
    (Stage.JUDGE, Event.EXIT_EARLY): Stage.TECHNICAL,
    (Stage.EXIT, Event.EXIT_ANSWERED): Stage.COMPLETE,
    # One may withdraw on every page, also after the end: the data go, the payment stays.
    (Stage.CONSENT, Event.WITHDRAW): Stage.WITHDRAWN,
    (Stage.INSTRUCTIONS, Event.WITHDRAW): Stage.WITHDRAWN,
    (Stage.LABEL, Event.WITHDRAW): Stage.WITHDRAWN,
    (Stage.ASK, Event.WITHDRAW): Stage.WITHDRAWN,
    (Stage.JUDGE, Event.WITHDRAW): Stage.WITHDRAWN,
    (Stage.EXIT, Event.WITHDRAW): Stage.WITHDRAWN,
    (Stage.COMPLETE, Event.WITHDRAW): Stage.WITHDRAWN,
    (Stage.TECHNICAL, Event.WITHDRAW): Stage.WITHDRAWN,
}

# How a stage is passed over when the configuration leaves it empty.
SKIPPED_BY: dict[Stage, Event] = {
    Stage.ASK: Event.QUESTIONS_ASKED,
    Stage.EXIT: Event.EXIT_ANSWERED,
}

# The URL name (namespace ``participants``) of each stage's page.
PAGES: dict[Stage, str] = {
    Stage.WELCOME: "welcome",
    Stage.CONSENT: "consent",
    Stage.INSTRUCTIONS: "instructions",
    Stage.LABEL: "label",
    Stage.ASK: "ask",
    Stage.JUDGE: "judge",
    Stage.EXIT: "exit",
} | dict.fromkeys(ENDINGS, "done")

# The order in which a progress bar shows the stages.
MAIN_LINE: tuple[Stage, ...] = (
    Stage.CONSENT,
    Stage.INSTRUCTIONS,
    Stage.LABEL,
    Stage.ASK,
    Stage.JUDGE,
    Stage.EXIT,
    Stage.COMPLETE,
)


def advance(stage: str, event: Event, *, empty: Collection[Stage] = ()) -> Stage:
    """The stage after ``event``; stages in ``empty`` (nothing to do there) are passed over.

    Raises WrongStage, naming both, where the table has no such transition.
    """
    try:
        result = TRANSITIONS[Stage(stage), event]
    except (KeyError, ValueError):
        raise WrongStage(f"event {event.value!r} does not fit stage {stage!r}") from None
    while result in empty:
        result = TRANSITIONS[result, SKIPPED_BY[result]]
    return result


def allows(stage: str, event: Event) -> bool:
    """Whether ``event`` may happen at ``stage``."""
    return (Stage(stage), event) in TRANSITIONS
