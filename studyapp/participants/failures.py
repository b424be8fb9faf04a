"""Refusals as pages: each says what happened, that nothing was lost, and where to go on."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from studyapp.config import StudyConfig
from studyapp.errors import (
    AlreadyAnswered,
    AlreadyTookPart,
    InvalidIdentity,
    StudyError,
    StudyNotOpen,
    UnknownStudy,
    UnknownToken,
    WaitNotOver,
)
from studyapp.models import Study, StudyState
from studyapp.participants import pages


def refused(
    request: HttpRequest,
    error: StudyError,
    *,
    slug: str = "",
    config: StudyConfig | None = None,
) -> HttpResponse:
    """The page of a refusal, with its status. What the error says is for logs, not for people."""
    context: dict[str, Any] = {"paragraphs": _paragraphs(error)}
    if slug and error.status != 404:
        context |= {
            "action_url": reverse("participants:stage", args=[slug]),
            "action_text": _("Go on with the study"),
        }
    template = f"{error.status if error.status in (400, 403, 404, 409) else 400}.html"
    return pages.show(request, template, context, config=config, status=error.status)


def not_open(
    request: HttpRequest, study: Study, config: StudyConfig, *, status: int
) -> HttpResponse:
    """A paused or closed study."""
    if study.state == StudyState.PAUSED:
        heading = _("This study is paused")
        text = _("No new participants can start at the moment. Please try again later.")
    else:
        heading = _("This study is closed")
        text = _("It takes no more participants. Thank you for your interest.")
    return _message(request, study.state, heading, [text], config=config, status=status)


def already_took_part(request: HttpRequest, config: StudyConfig) -> HttpResponse:
    """The recruiter's person is known from another session."""
    return _message(
        request,
        "already",
        _("You already took part"),
        [
            _("Each person can take part once, and your recruiter's id has been here before."),
            _("If you think that this is a mistake, please write to the address below."),
        ],
        config=config,
        status=403,
    )


def _message(
    request: HttpRequest,
    kind: str,
    heading: str,
    paragraphs: list[str],
    *,
    config: StudyConfig,
    status: int,
) -> HttpResponse:
    context = {"kind": kind, "heading": heading, "paragraphs": paragraphs}
    return pages.show(request, "participants/message.html", context, config=config, status=status)


def _paragraphs(error: StudyError) -> list[str]:
    """In words for participants; an empty list leaves the template's own."""
    texts: dict[type[StudyError], list[str]] = {
        UnknownStudy: [_("There is no study at this address.")],
        UnknownToken: [
            _(
                "We could not tell who you are: the link is not valid, or the browser did not send "
                "the study's cookie."
            ),
            _("Please allow cookies for this page and open the study from where you were invited."),
        ],
        StudyNotOpen: [_("This study takes no new participants at the moment.")],
        AlreadyTookPart: [_("Your recruiter's id has taken part in another session.")],
        AlreadyAnswered: [
            _("You have answered this already, here or in another tab. Your first answer counts.")
        ],
        InvalidIdentity: [
            _("The link is incomplete: your recruiter's id is missing or cannot be read."),
            _("Please open the study from the recruiter's page again."),
        ],
        WaitNotOver: [_("The time after which you can leave with payment is not over yet.")],
    }
    return texts.get(type(error), [])
