"""The root of all addresses; each room keeps its own."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from studyapp.health import healthz

urlpatterns = [
    path("healthz/", healthz, name="healthz"),
    path("admin/", admin.site.urls),
    path("dashboard/", include("studyapp.dashboard.urls")),
    path("api/", include("studyapp.api.urls")),
    path("", include("studyapp.participants.urls")),
]
