"""The Django application; its label, ``studyapp``, is part of every table name."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class StudyAppConfig(AppConfig):
    name = "studyapp"
    label = "studyapp"
    verbose_name = _("Study")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Makes it Celery's current app, so that web processes wake workers by the right broker.
        from studyapp import celery  # noqa: F401
