"""What the last page says, for each way in which the study can end."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from studyapp import selectors
from studyapp.flow import Stage
from studyapp.models import Participant


def context(participant: Participant) -> dict[str, Any]:
    """Heading, words, completion code and way back of an ended participant."""
    ending = selectors.ending(participant)
    recruiter = participant.study_version.study_config.recruiter.name
    heading, paragraphs = _words(ending.outcome, recruiter=recruiter, paid=ending.paid)
    return {
        "ending": ending.outcome.value,
        "heading": heading,
        "paragraphs": paragraphs,
        "code": ending.code,
        "return_url": ending.return_url,
        "show_debrief": ending.outcome in {Stage.COMPLETE, Stage.TECHNICAL},
    }


def _words(outcome: Stage, *, recruiter: str, paid: bool) -> tuple[str, list[str]]:
    if outcome is Stage.COMPLETE:
        return _("Thank you for taking part"), [_("You have finished the study.")]
    if outcome is Stage.TECHNICAL:
        return _("Thank you, you can stop here"), [
            _("The answers could not be written in time. That was our fault, not yours."),
            _("You are paid in full."),
        ]
    if outcome is Stage.DECLINED:
        return _("You did not agree to take part"), [
            _("That is fine. Nothing more is stored, and you can close this page."),
        ]
    if outcome is Stage.FAILED_CHECKS:
        return _("The study ends here"), [
            _("The questions about the instructions were not answered as we need it."),
            _("Please return your submission on %(name)s. Thank you for your time.")
            % {"name": recruiter},
        ]
    paragraphs = [_("Your choices and what you wrote have been deleted and are not used.")]
    if paid:
        paragraphs.append(_("You had finished the study before, so that you are paid."))
    else:
        paragraphs.append(
            _("If you came from %(name)s, please return your submission there.")
            % {"name": recruiter}
        )
    return _("You have withdrawn"), paragraphs
