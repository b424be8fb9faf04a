"""Addresses of the participants' pages, one a stage."""

from __future__ import annotations

from django.urls import path

from studyapp.participants import views

app_name = "participants"
urlpatterns = [
    path("r/<str:token>/", views.resume, name="resume"),
    path("s/<slug:slug>/", views.welcome, name="welcome"),
    path("s/<slug:slug>/go", views.stage, name="stage"),
    path("s/<slug:slug>/consent", views.consent, name="consent"),
    path("s/<slug:slug>/instructions", views.instructions, name="instructions"),
    path("s/<slug:slug>/label", views.label, name="label"),
    path("s/<slug:slug>/ask", views.ask, name="ask"),
    path("s/<slug:slug>/draft", views.draft, name="draft"),
    path("s/<slug:slug>/judge", views.judge, name="judge"),
    path("s/<slug:slug>/questions", views.exit_questions, name="exit"),
    path("s/<slug:slug>/done", views.done, name="done"),
    path("s/<slug:slug>/withdraw", views.withdraw, name="withdraw"),
]
