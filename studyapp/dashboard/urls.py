"""Addresses of the researchers' pages."""

from __future__ import annotations

from django.urls import path

from studyapp.dashboard import views

app_name = "dashboard"
urlpatterns = [
    path("", views.index, name="index"),
    path("<slug:slug>/", views.study, name="study"),
    path("<slug:slug>/unblind", views.unblind, name="unblind"),
]
