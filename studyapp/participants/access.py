"""Who is asking, and for what: the cookie's token, the participant, the page of their stage."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from studyapp import selectors
from studyapp.config import StudyConfig
from studyapp.errors import StudyError, UnknownToken
from studyapp.flow import Event, Stage, allows
from studyapp.models import Participant, Study
from studyapp.participants import pages
from studyapp.participants.failures import refused
from studyapp.recruiter import RecruiterParameters

COOKIE_AGE_SECONDS = 30 * 24 * 3600
IDENTITY_SALT = "studyapp.participants.recruiter"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of one participant."""

    request: HttpRequest
    slug: str
    participant: Participant

    @property
    def config(self) -> StudyConfig:
        return self.participant.study_version.study_config

    @property
    def stage(self) -> Stage:
        return Stage(self.participant.stage)

    def show(
        self, template: str, context: dict[str, Any], *, status: int = 200, steps: bool = True
    ) -> HttpResponse:
        """A page of this participant, with their links and their step."""
        token = self.request.COOKIES.get(cookie_name(self.slug), "")
        can_withdraw = allows(self.participant.stage, Event.WITHDRAW)
        # Before consent the recruiter's parameters are in this browser alone (``set_recruiter``):
        # on another device consent would be recorded without them.
        can_move = not self.participant.has_ended and self.stage is not Stage.CONSENT
        links = {
            "is_preview": self.participant.is_preview,
            "withdraw_url": reverse("participants:withdraw", args=[self.slug])
            if can_withdraw
            else "",
            "resume_url": settings.STUDY_BASE_URL + reverse("participants:resume", args=[token])
            if token and can_move
            else "",
        }
        return pages.show(
            self.request,
            template,
            {**links, **context},
            config=self.config,
            stage=self.stage if steps else None,
            status=status,
        )

    def go_on(self, participant: Participant | None = None) -> HttpResponse:
        """To the page of the participant's stage, which may have changed."""
        stage = (participant or self.participant).stage
        return pages.go(self.request, pages.stage_url(self.slug, stage))


View = Callable[[HttpRequest, Visit], HttpResponse]


def cookie_name(slug: str) -> str:
    return f"fspo_{slug}"


def set_token(response: HttpResponse, slug: str, token: str) -> None:
    """The participant's token, for this study's pages only, out of reach of scripts."""
    response.set_cookie(
        cookie_name(slug),
        token,
        max_age=COOKIE_AGE_SECONDS,
        path=reverse("participants:welcome", args=[slug]),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def set_recruiter(response: HttpResponse, slug: str, recruiter: RecruiterParameters) -> None:
    """The recruiter's parameters, signed, in the browser: the server keeps none before consent."""
    response.set_cookie(
        f"{cookie_name(slug)}_from",
        signing.dumps(recruiter.for_session(), salt=IDENTITY_SALT),
        max_age=24 * 3600,
        path=reverse("participants:welcome", args=[slug]),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def read_recruiter(request: HttpRequest, slug: str) -> RecruiterParameters:
    """What ``set_recruiter`` left; empty where there is none or it was tampered with."""
    signed = request.COOKIES.get(f"{cookie_name(slug)}_from", "")
    if not signed:
        return RecruiterParameters()
    try:
        return RecruiterParameters.from_session(signing.loads(signed, salt=IDENTITY_SALT))
    except signing.BadSignature:
        logger.warning("study %s: recruiter cookie with a bad signature", slug)
        return RecruiterParameters()


@sensitive_variables("token")
def find_participant(request: HttpRequest, study: Study) -> Participant:
    """The participant whose token the cookie holds. Raises UnknownToken."""
    token = request.COOKIES.get(cookie_name(study.slug))
    if not token:
        raise UnknownToken("no cookie of this study")
    return selectors.participant_by_token(token, slug=study.slug)


def participant_page(*stages: Stage) -> Callable[[View], Callable[..., HttpResponse]]:
    """A page for a participant at one of ``stages`` (none named: at any).

    GET at another stage leads to the right page. POST goes to the service, which knows a repeated
    click from a request that does not fit, and whose refusals become pages.
    """

    def decorate(view: View) -> Callable[..., HttpResponse]:
        @require_http_methods(["GET", "HEAD", "POST"])
        @wraps(view)
        def page(request: HttpRequest, slug: str) -> HttpResponse:
            try:
                study = selectors.get_study(slug)
            except StudyError as error:
                return refused(request, error)
            try:
                participant = find_participant(request, study)
            except UnknownToken as error:
                if request.method == "POST" or pages.wants_fragment(request):
                    return refused(request, error, slug=slug)
                return pages.go(request, reverse("participants:welcome", args=[slug]))
            visit = Visit(request, slug, participant)
            if stages and request.method != "POST" and visit.stage not in stages:
                return visit.go_on()
            try:
                return view(request, visit)
            except StudyError as error:
                logger.info(
                    "participant %s: %s at stage %s",
                    participant.public_id,
                    type(error).__name__,
                    participant.stage,
                )
                return refused(request, error, slug=slug, config=visit.config)

        return page

    return decorate
