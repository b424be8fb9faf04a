"""Blind judgments, the wait for them, and the way out of a wait that is too long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from studyapp import selectors, services
from studyapp.errors import InvalidStrength, InvalidText, StudyError, UnknownChoice
from studyapp.flow import Stage
from studyapp.models import Comparison, QueryKind
from studyapp.participants import forms, pages
from studyapp.participants.access import Visit, participant_page
from studyapp.participants.pages import NO_DATA, problems_of
from studyapp.participants.text import answer_html
from studyapp.selectors import JudgeState

# Seconds between one look and the next; the last one stays.
POLL_SECONDS = (2.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)


@participant_page(Stage.JUDGE)
def judge(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Two answers, blind: which, how strongly, why. Or the wait for them, or the way out of it."""
    if request.method != "POST":
        return judge_page(visit, poll=forms.whole_number(request.GET.get("poll")))
    if request.POST.get("exit_early") == "1":
        return visit.go_on(services.exit_early(participant=visit.participant))
    data = request.POST
    try:
        participant = services.record_judgment(
            participant=visit.participant,
            comparison=forms.required(data, "comparison"),
            choice=data.get("choice", ""),
            strength=forms.whole_number(data.get("strength")),  # type: ignore[arg-type]
            reason=data.get("reason", ""),
        )
    except (UnknownChoice, InvalidStrength, InvalidText) as error:
        if visit.stage is not Stage.JUDGE:
            raise
        return judge_page(visit, data=data, invalid=_judge_problems(error, data), status=400)
    if pages.wants_fragment(request) and participant.stage == Stage.JUDGE:
        return judge_page(Visit(request, visit.slug, participant))
    return visit.go_on(participant)


def _judge_problems(error: StudyError, data: Mapping[str, str]) -> dict[str, str]:
    """Everything that is missing at once, rather than one thing a click."""
    invalid: dict[str, str] = {}
    if isinstance(error, UnknownChoice):
        invalid["choice"] = _("Please choose the answer you prefer.")
    strength = forms.whole_number(data.get("strength"))
    if isinstance(error, InvalidStrength) or strength is None:
        invalid["strength"] = _("Please say how strong your preference is, from 1 to 5.")
    if isinstance(error, InvalidText):
        invalid["reason"] = str(error)
    return invalid


def judge_page(
    visit: Visit,
    *,
    data: Mapping[str, str] = NO_DATA,
    invalid: Mapping[str, str] = NO_DATA,
    notice: str = "",
    poll: int | None = None,
    status: int = 200,
) -> HttpResponse:
    state = selectors.judge_state(visit.participant)
    if state.kind == "waiting":
        services.note_waiting(participant=visit.participant)
        return _waiting_page(visit, state, poll=poll)
    if state.kind == "finished":
        # The last open comparison was set aside between the two reads; the stage has moved on.
        visit.participant.refresh_from_db()
        return visit.go_on()
    context: dict[str, Any] = {
        "state": state.kind,
        "notice": notice or set_aside_notice(state),
        "invalid": invalid,
        "problems": problems_of(invalid),
    }
    if state.comparison is not None:
        services.mark_shown(item=state.comparison)
        # Another comparison than the one that was sent (two tabs): its text does not belong here.
        same = data.get("comparison") == str(state.comparison.public_id)
        typed = data if same else NO_DATA
        context |= _comparison_context(visit, state, state.comparison, typed)
    response = visit.show("participants/judge.html", context, status=status)
    if poll is not None:
        response["HX-Retarget"] = "#page"
        response["HX-Reswap"] = "innerHTML"
    return response


def _comparison_context(
    visit: Visit, state: JudgeState, comparison: Comparison, data: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "comparison": str(comparison.public_id),
        "is_own": comparison.query.kind == QueryKind.OWN,
        "question": state.question,
        "left": answer_html(state.left_text),
        "right": answer_html(state.right_text),
        "position": state.number,
        "done": state.number - 1,
        "total": state.total,
        "allow_tie": visit.config.judging.allow_tie,
        "chosen": data.get("choice"),
        "strengths": forms.strength_options(data.get("strength")),
        "reason": data.get("reason", ""),
    }


def _waiting_page(visit: Visit, state: JudgeState, *, poll: int | None) -> HttpResponse:
    number = poll or 0
    context = {
        "state": "waiting",
        "comparisons_done": state.number - 1,
        "comparisons_total": state.total,
        "seconds_left": state.seconds_left,
        "next_poll": number + 1,
        "delay": POLL_SECONDS[min(number, len(POLL_SECONDS) - 1)],
        "notice": set_aside_notice(state),
    }
    if poll is not None and pages.wants_fragment(visit.request):
        template = "participants/partials/waiting.html"
        return pages.uncached(render(visit.request, template, context))
    return visit.show("participants/judge.html", context)


def set_aside_notice(state: JudgeState) -> str:
    """What the participant is told of answers that could not be written."""
    if not state.set_aside:
        return ""
    return _(
        "Some answers could not be written, because of a fault on our side. You go on without "
        "them, and are paid all the same."
    )
