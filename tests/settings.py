"""Settings of the test session: the study's own, away from the demo's data."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

if "DEMO_HOME" not in os.environ:
    os.environ["DEMO_HOME"] = tempfile.mkdtemp(prefix="fspo-tests-", dir="/tmp")
os.environ.setdefault("SECRET_KEY", "only-for-tests-" + "x" * 50)
# Folder and key are this process's; a test that starts the demo gives it its own.

from studyapp.settings import *  # noqa: F403

# tests/conftest.py names the database once it runs.
DATABASES["default"]["OPTIONS"]["pool"] = DATABASE_POOL  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
STATIC_ROOT = Path(os.environ["DEMO_HOME"]) / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # WhiteNoise warns of a missing folder
WHITENOISE_AUTOREFRESH = True
WHITENOISE_USE_FINDERS = True
