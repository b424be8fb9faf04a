"""The Celery application: ``celery -A studyapp.celery worker``.

Messages are wake-ups only; what is to be done stands in the database (see ``studyapp.tasks``).
"""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studyapp.settings")

app = Celery("studyapp")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["studyapp"])
