"""``manage.py prepare_demo``: what the demo's database and files need before the web starts.

Run by the supervisor at each start; everything here may run again without harm.
"""

from __future__ import annotations

import hashlib
import json
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand

ADMIN = "admin"


class Command(BaseCommand):
    help = "Migrates, loads the study, collects static files and creates the admin account."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--study", type=Path, required=True)
        parser.add_argument("--result", type=Path, required=True, help="JSON file to write")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        call_command("migrate", interactive=False, verbosity=1)
        call_command("createcachetable")
        call_command("load_study", str(options["study"]))
        collect_static_files()
        created = create_admin(os.environ["DEMO_ADMIN_PASSWORD"])
        options["result"].write_text(json.dumps({"admin_created": created}), encoding="utf-8")


def create_admin(password: str) -> bool:
    """Make the admin account unless it is there; True if it was made."""
    users = get_user_model().objects
    if users.filter(username=ADMIN).exists():
        return False
    users.create_superuser(username=ADMIN, password=password)
    return True


def collect_static_files() -> None:
    """Collect, hash and compress the static files if any of them changed since the last time."""
    digest = hashlib.sha256(django.__version__.encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            found = Path(storage.path(name)).stat()
            digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    stamp = Path(settings.STATIC_ROOT).with_suffix(".stamp")
    if stamp.is_file() and stamp.read_text(encoding="ascii") == digest.hexdigest():
        return
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    stamp.write_text(digest.hexdigest(), encoding="ascii")
