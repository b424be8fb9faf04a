"""Labels and own questions."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from studyapp import selectors, services
from studyapp.errors import FieldProblems, WrongStage
from studyapp.flow import Stage
from studyapp.participants import forms, pages
from studyapp.participants.access import Visit, participant_page
from studyapp.participants.pages import NO_DATA, problems_of
from studyapp.participants.text import answer_html


@participant_page(Stage.LABEL)
def label(request: HttpRequest, visit: Visit) -> HttpResponse:
    """One pair: left or right."""
    if request.method != "POST":
        return label_page(visit)
    item = forms.required(request.POST, "item")
    choice = request.POST.get("choice")
    if choice is None and visit.stage is Stage.LABEL:
        message = _("Please choose the answer you prefer.")
        return label_page(visit, invalid={"choice": message}, status=400)
    participant = services.record_label(
        participant=visit.participant, item=item, choice=choice or ""
    )
    if pages.wants_fragment(request) and participant.stage == Stage.LABEL:
        return label_page(Visit(request, visit.slug, participant))
    return visit.go_on(participant)


def label_page(
    visit: Visit,
    *,
    data: Mapping[str, str] = NO_DATA,
    invalid: Mapping[str, str] = NO_DATA,
    notice: str = "",
    status: int = 200,
) -> HttpResponse:
    state = selectors.current_label(visit.participant)
    if state is None:
        raise WrongStage("no label is open")
    services.mark_shown(item=state.label)
    context = {
        "item": str(state.label.public_id),
        "question": state.label.pair.question,
        "left": answer_html(state.label.left_text),
        "right": answer_html(state.label.right_text),
        "chosen": data.get("choice"),
        "position": state.number,
        "done": state.number - 1,
        "total": state.total,
        "invalid": invalid,
        "problems": problems_of(invalid),
        "notice": notice,
    }
    return visit.show("participants/label.html", context, status=status)


@participant_page(Stage.ASK)
def ask(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The participant's own questions."""
    if request.method != "POST":
        return ask_page(visit)
    names = [f"question_{i}" for i in range(visit.config.own_questions.count)]
    try:
        participant = services.ask_questions(
            participant=visit.participant,
            texts=[request.POST.get(name, "") for name in names],
        )
    except FieldProblems as error:
        if visit.stage is not Stage.ASK:
            raise
        return ask_page(visit, data=request.POST, invalid=error.problems, status=400)
    return visit.go_on(participant)


def ask_page(
    visit: Visit,
    *,
    data: Mapping[str, str] | None = None,
    invalid: Mapping[str, str] = NO_DATA,
    notice: str = "",
    status: int = 200,
) -> HttpResponse:
    texts = selectors.drafts(visit.participant) if data is None else data
    context = {
        "questions": forms.question_fields(visit.config, texts, invalid),
        "draft_url": reverse("participants:draft", args=[visit.slug]),
        "problems": problems_of(invalid),
        "notice": notice,
    }
    return visit.show("participants/ask.html", context, status=status)


@require_POST
@participant_page()
def draft(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Text as it is typed."""
    for field, text in request.POST.items():
        if field != "csrfmiddlewaretoken":
            services.save_draft(participant=visit.participant, field=field, text=str(text))
    return pages.uncached(HttpResponse(status=204))
