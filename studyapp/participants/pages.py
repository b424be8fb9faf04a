"""How a participant's page is sent: whole or as htmx's fragment, never cached, with its step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django_htmx.http import HttpResponseClientRedirect

from studyapp import flow
from studyapp.config import StudyConfig
from studyapp.flow import Stage

STEP_TITLES: dict[Stage, str | Promise] = {
    Stage.CONSENT: _("Your consent"),
    Stage.INSTRUCTIONS: _("Instructions"),
    Stage.LABEL: _("Your preferences"),
    Stage.ASK: _("Your questions"),
    Stage.JUDGE: _("Comparing answers"),
    Stage.EXIT: _("A few last questions"),
}


NO_DATA: Mapping[str, str] = {}


class HttpResponseSeeOther(HttpResponseRedirect):
    """After a POST: look there, with GET."""

    status_code = 303


@dataclass(frozen=True, slots=True)
class Problem:
    """Why one cannot go on, in words, and the id of the element to mend."""

    message: str | Promise
    anchor: str = ""


def wants_fragment(request: HttpRequest) -> bool:
    """Whether htmx asks for a part; when it restores its history it needs the whole page."""
    htmx = getattr(request, "htmx", None)
    return htmx is not None and bool(htmx) and not htmx.history_restore_request


def show(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    *,
    config: StudyConfig | None = None,
    stage: Stage | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render ``template`` inside the layout, or alone for htmx."""
    name = "fragment" if wants_fragment(request) else "layout"
    full = {
        "layout": f"participants/{name}.html",
        "config": config,
        **_steps(config, stage),
        **context,
    }
    response = render(request, template, full, status=status)
    return uncached(response)


def uncached(response: HttpResponse) -> HttpResponse:
    """What one participant sees is stored nowhere; one address serves page and fragment."""
    response["Cache-Control"] = "no-store, private"
    patch_vary_headers(response, ["HX-Request", "Cookie"])
    return response


def go(request: HttpRequest, url: str) -> HttpResponse:
    """Send the browser on; htmx must be told to load the whole page."""
    if wants_fragment(request):
        return uncached(HttpResponseClientRedirect(url))
    return uncached(HttpResponseSeeOther(url))


def stage_url(slug: str, stage: str) -> str:
    """The address of a stage's page."""
    return reverse(f"participants:{flow.PAGES[Stage(stage)]}", args=[slug])


def _steps(config: StudyConfig | None, stage: Stage | None) -> dict[str, Any]:
    if config is None or stage not in STEP_TITLES:
        return {}
    line = [step for step in STEP_TITLES if step not in config.empty_stages]
    at = line.index(stage)
    css = [
        "is-done" if i < at else "is-current" if i == at else "is-ahead" for i in range(len(line))
    ]
    return {
        "steps": [{"css": name} for name in css],
        "step_number": at + 1,
        "step_title": STEP_TITLES[stage],
    }


def problems_of(invalid: Mapping[str, str]) -> list[Problem]:
    """The list at the top of a page, each linked to its field."""
    return [Problem(message, anchor) for anchor, message in invalid.items()]
