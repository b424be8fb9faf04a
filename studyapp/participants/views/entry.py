"""Coming in: what the study is, the click on Start, the personal link, consent, instructions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from studyapp import selectors, services
from studyapp.config import StudyConfig
from studyapp.errors import (
    AlreadyTookPart,
    FieldProblems,
    NotAdult,
    StudyError,
    StudyNotOpen,
    UnknownChoice,
    UnknownToken,
    WrongStage,
)
from studyapp.flow import Stage
from studyapp.models import Participant, Study
from studyapp.participants import forms, pages
from studyapp.participants.access import (
    Visit,
    find_participant,
    participant_page,
    read_recruiter,
    set_recruiter,
    set_token,
)
from studyapp.participants.failures import already_took_part, not_open, refused
from studyapp.participants.pages import NO_DATA, problems_of
from studyapp.recruiter import RecruiterParameters


@require_http_methods(["GET", "HEAD", "POST"])
def welcome(request: HttpRequest, slug: str) -> HttpResponse:
    """What the study is. Only the click on Start makes a participant: crawlers must not."""
    try:
        study = selectors.get_study(slug)
        config = selectors.current_version(study).study_config
        link = request.POST if request.method == "POST" else request.GET
        recruiter = RecruiterParameters.from_query(link)
    except StudyError as error:
        return refused(request, error)
    preview = link.get("preview") == "1" or recruiter.is_placeholder
    if request.method == "POST":
        return _start(request, study, config, recruiter, preview=preview)
    return welcome_page(request, study, config, recruiter, preview=preview)


def welcome_page(
    request: HttpRequest,
    study: Study,
    config: StudyConfig,
    recruiter: RecruiterParameters,
    *,
    preview: bool,
    notice: str = "",
    status: int = 200,
) -> HttpResponse:
    """The first page, or that the study takes nobody."""
    participant = _known(request, study, recruiter, preview=preview)
    takes_them = study.is_open or preview or selectors.can_resume(study, recruiter)
    if participant is None and not takes_them:
        return not_open(request, study, config, status=status)
    context = {
        "notice": notice,
        "is_preview": preview,
        "judgment_count": config.bank.count + config.own_questions.count,
        "identity": forms.identity_fields(recruiter, preview=preview),
        "start_key": uuid.uuid4(),
        "go_on_url": reverse("participants:stage", args=[study.slug]) if participant else "",
    }
    return pages.show(request, "participants/welcome.html", context, config=config, status=status)


def _known(
    request: HttpRequest, study: Study, recruiter: RecruiterParameters, *, preview: bool
) -> Participant | None:
    """Who the cookie says this is, unless the link brings another person, or asks for a preview."""
    try:
        participant = find_participant(request, study)
    except UnknownToken:
        return None
    same = not recruiter.pid or read_recruiter(request, study.slug) == recruiter
    return participant if same and not preview else None


def _start(
    request: HttpRequest,
    study: Study,
    config: StudyConfig,
    recruiter: RecruiterParameters,
    *,
    preview: bool,
) -> HttpResponse:
    on_their_way = reverse("participants:stage", args=[study.slug])
    if _known(request, study, recruiter, preview=preview) is not None:
        return pages.go(request, on_their_way)  # Start in a second tab
    try:
        admission = services.start_participant(
            study=study,
            recruiter=recruiter,
            preview=preview,
            start_key=forms.read_uuid(request.POST.get("start_key")),
        )
    except StudyNotOpen as error:
        return not_open(request, study, config, status=error.status)
    except AlreadyTookPart:
        return already_took_part(request, config)
    except WrongStage:
        # The same form once more, after consent (back button): on to where they are.
        return pages.go(request, on_their_way)
    except StudyError as error:
        return refused(request, error, config=config)
    response = pages.go(request, pages.stage_url(study.slug, admission.participant.stage))
    set_token(response, study.slug, admission.token)
    set_recruiter(response, study.slug, recruiter)
    return response


@sensitive_variables("token")
@require_safe
def resume(request: HttpRequest, token: str) -> HttpResponse:
    """A personal link: the token moves from the address into a cookie."""
    try:
        participant = selectors.participant_by_token(token)
    except StudyError as error:
        return refused(request, error)
    slug = participant.study_version.study.slug
    response = pages.go(request, pages.stage_url(slug, participant.stage))
    set_token(response, slug, token)
    return response


@participant_page()
def stage(request: HttpRequest, visit: Visit) -> HttpResponse:  # noqa: ARG001
    """To the page of the participant's stage."""
    return visit.go_on()


@participant_page(Stage.CONSENT)
def consent(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Agree, being 18 or older, or not."""
    if request.method != "POST":
        return consent_page(visit)
    match forms.required(request.POST, "choice"):
        case "decline":
            return visit.go_on(services.decline_consent(participant=visit.participant))
        case "accept":
            pass
        case other:
            raise UnknownChoice(f"choice: accept or decline, got {other[:80]!r}")
    recruiter = read_recruiter(request, visit.slug)
    try:
        participant = services.record_consent(
            participant=visit.participant,
            adult=request.POST.get("adult") == "on",
            recruiter=recruiter,
        )
    except NotAdult:
        message = _("Please confirm that you are 18 years old or older.")
        return consent_page(visit, invalid={"adult": message}, status=400)
    except AlreadyTookPart:
        return _continue_known_run(visit, recruiter)
    return visit.go_on(participant)


def _continue_known_run(visit: Visit, recruiter: RecruiterParameters) -> HttpResponse:
    """Consent after the same recruiter's id consented elsewhere: with the same link, on as that."""
    try:
        admission = services.continue_known_run(participant=visit.participant, recruiter=recruiter)
    except AlreadyTookPart:
        return already_took_part(visit.request, visit.config)
    if admission is None:  # deleted in between: the consent can be given once more
        return visit.go_on()
    response = visit.go_on(admission.participant)
    set_token(response, visit.slug, admission.token)
    return response


def consent_page(
    visit: Visit,
    *,
    data: Mapping[str, str] = NO_DATA,
    invalid: Mapping[str, str] = NO_DATA,
    notice: str = "",
    status: int = 200,
) -> HttpResponse:
    context = {
        "adult": data.get("adult") == "on",
        "invalid": invalid,
        "problems": problems_of(invalid),
        "notice": notice,
    }
    return visit.show("participants/consent.html", context, status=status)


@participant_page(Stage.INSTRUCTIONS)
def instructions(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What to do, and whether it was understood."""
    if request.method != "POST":
        return instructions_page(visit)
    try:
        result = services.record_comprehension(
            participant=visit.participant,
            answers=forms.read_checks(request.POST, visit.config),
            attempt=forms.whole_number(request.POST.get("attempt")),
        )
    except FieldProblems as error:
        missing = dict.fromkeys(error.problems, _("Please choose one of the answers."))
        return instructions_page(visit, data=request.POST, invalid=missing, status=400)
    if result.passed or result.participant.has_ended:
        return visit.go_on(result.participant)
    again = Visit(request, visit.slug, result.participant)
    notice = (
        _(
            "That was not quite right. Please read the instructions once more and try again; "
            "this is your last attempt."
        )
        if result.attempts_left == 1
        else _("That was not quite right. Please read the instructions once more and try again.")
    )
    return instructions_page(again, notice=notice)


def instructions_page(
    visit: Visit,
    *,
    data: Mapping[str, str] = NO_DATA,
    invalid: Mapping[str, str] = NO_DATA,
    notice: str = "",
    status: int = 200,
) -> HttpResponse:
    context = {
        "questions": forms.check_fields(visit.config, data, invalid),
        "attempt": visit.participant.comprehension_attempts,
        "problems": problems_of(invalid),
        "notice": notice,
    }
    return visit.show("participants/instructions.html", context, status=status)
