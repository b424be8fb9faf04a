"""The last questions, the endings, withdrawal."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from studyapp import selectors, services
from studyapp.errors import FieldProblems, UnknownChoice, WrongStage
from studyapp.flow import ENDINGS, Event, Stage, allows
from studyapp.participants import endings, forms, pages
from studyapp.participants.access import Visit, participant_page
from studyapp.participants.pages import NO_DATA, problems_of
from studyapp.participants.views.judging import set_aside_notice


@participant_page(Stage.EXIT)
def exit_questions(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The study's last questions."""
    if request.method != "POST":
        return exit_page(visit)
    try:
        participant = services.record_exit_answers(
            participant=visit.participant, answers=request.POST.dict()
        )
    except FieldProblems as error:
        return exit_page(visit, data=request.POST, invalid=error.problems, status=400)
    return visit.go_on(participant)


def exit_page(
    visit: Visit,
    *,
    data: Mapping[str, str] | None = None,
    invalid: Mapping[str, str] = NO_DATA,
    notice: str = "",
    status: int = 200,
) -> HttpResponse:
    texts = selectors.drafts(visit.participant) if data is None else data
    context = {
        "questions": forms.exit_fields(visit.config, texts, invalid),
        "draft_url": reverse("participants:draft", args=[visit.slug]),
        "problems": problems_of(invalid),
        "notice": notice or set_aside_notice(selectors.judge_state(visit.participant)),
    }
    return visit.show("participants/exit.html", context, status=status)


@participant_page(*ENDINGS)
def done(request: HttpRequest, visit: Visit) -> HttpResponse:
    """How it ended, the completion code and the way back."""
    if request.method == "POST":
        raise WrongStage("there is nothing to send on the last page")
    context = endings.context(visit.participant)
    return visit.show("participants/done.html", context, steps=False)


@participant_page()
def withdraw(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Leave, after being asked once."""
    if request.method != "POST":
        if not allows(visit.participant.stage, Event.WITHDRAW):
            return visit.go_on()
        return withdraw_page(visit)
    if forms.required(request.POST, "confirm") != "yes":
        raise UnknownChoice(f"confirm: yes, got {request.POST['confirm'][:80]!r}")
    return visit.go_on(services.withdraw(participant=visit.participant))


def withdraw_page(visit: Visit, *, notice: str = "", status: int = 200) -> HttpResponse:
    context = {"back_url": pages.stage_url(visit.slug, visit.participant.stage), "notice": notice}
    return visit.show("participants/withdraw.html", context, status=status, steps=False)
