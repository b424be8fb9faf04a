"""What a researcher sees. Staff only; arms stay unnamed until a study is unblinded."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from studyapp import blinding
from studyapp.dashboard.access import staff_only
from studyapp.dashboard.overview import overview, study_list
from studyapp.dashboard.plot import forest_plot
from studyapp.models import Study


@require_safe
@staff_only
def index(request: HttpRequest) -> HttpResponse:
    """All studies."""
    return render(request, "dashboard/index.html", {"studies": study_list()})


@require_safe
@staff_only
def study(request: HttpRequest, slug: str) -> HttpResponse:
    """One study: funnel, winrates, generations, workers, what was set aside."""
    found = overview(get_object_or_404(Study, slug=slug), now=timezone.now())
    context = {"overview": found, "study": found.study, "plot": forest_plot(found.results)}
    return render(request, "dashboard/study.html", context)


@require_POST
@staff_only
def unblind(request: HttpRequest, slug: str) -> HttpResponse:
    """Name the arms, on the record."""
    found = get_object_or_404(Study, slug=slug)
    if request.POST.get("confirm") != "yes":
        messages.error(request, _("Please tick the box to confirm that you want to unblind."))
    else:
        blinding.unblind(study=found, user=request.user)  # type: ignore[arg-type]  # staff_only
    return redirect("dashboard:study", slug=slug)
