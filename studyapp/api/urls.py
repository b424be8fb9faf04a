"""Addresses of the API."""

from __future__ import annotations

from django.urls import path

from studyapp.api.views import Winrates

app_name = "api"
urlpatterns = [path("studies/<slug:slug>/winrates/", Winrates.as_view(), name="winrates")]
