"""When the security token is missing or stale: the form again, with what was typed.

Django has refused the request before any view ran. Nothing is written here; the page that comes
back has a fresh token, so that sending it once more works.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve, reverse
from django.utils.translation import gettext as _
from django.views.csrf import csrf_failure as django_csrf_failure

from studyapp import selectors
from studyapp.errors import StudyError
from studyapp.flow import Stage
from studyapp.participants import pages
from studyapp.participants.access import Visit, find_participant
from studyapp.participants.failures import refused
from studyapp.participants.views import entry, judging, leaving, work
from studyapp.recruiter import RecruiterParameters

PageAgain = Callable[..., HttpResponse]

AGAIN: dict[str, tuple[Stage, PageAgain]] = {
    "consent": (Stage.CONSENT, entry.consent_page),
    "instructions": (Stage.INSTRUCTIONS, entry.instructions_page),
    "label": (Stage.LABEL, work.label_page),
    "ask": (Stage.ASK, work.ask_page),
    "judge": (Stage.JUDGE, judging.judge_page),
    "exit": (Stage.EXIT, leaving.exit_page),
}


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW."""
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return django_csrf_failure(request, reason)
    if match.namespace != "participants" or match.url_name is None:
        return django_csrf_failure(request, reason)
    notice = _(
        "This was not sent, because the page was open for long or the browser blocks cookies. "
        "What you entered is still here: please send it again."
    )
    slug = match.kwargs.get("slug", "")
    try:
        study = selectors.get_study(slug)
        if match.url_name == "welcome":
            return _welcome_again(request, slug, notice)
        visit = Visit(request, slug, find_participant(request, study))
        if match.url_name == "withdraw":
            return leaving.withdraw_page(visit, notice=notice, status=403)
        stage, again = AGAIN.get(match.url_name, (None, None))
        if again is not None and visit.stage is stage:
            return again(visit, data=request.POST, notice=notice, status=403)
    except StudyError as error:
        return refused(request, error, slug=slug)
    context = {
        "paragraphs": [notice],
        "action_url": reverse("participants:stage", args=[slug]),
        "action_text": _("Go on with the study"),
    }
    return pages.show(request, "403.html", context, config=visit.config, status=403)


def _welcome_again(request: HttpRequest, slug: str, notice: str) -> HttpResponse:
    study = selectors.get_study(slug)
    recruiter = RecruiterParameters.from_query(request.POST)
    return entry.welcome_page(
        request,
        study,
        selectors.current_version(study).study_config,
        recruiter,
        preview=request.POST.get("preview") == "1" or recruiter.is_placeholder,
        notice=notice,
        status=403,
    )
