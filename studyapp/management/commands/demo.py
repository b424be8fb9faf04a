"""``manage.py demo``: the whole study on this machine, until Ctrl-C (see studyapp.supervisor)."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from studyapp.children import StartRefused
from studyapp.supervisor import BASE_DIR, DemoOptions, Supervisor


class Command(BaseCommand):
    help = "Runs PostgreSQL, the web server, the workers and beat until Ctrl-C."
    requires_system_checks: list[str] = []  # the database is not there yet

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--web-workers", type=int, default=2)
        parser.add_argument("--model-workers", type=int, default=1)
        parser.add_argument("--study", type=Path, default=BASE_DIR / "studies" / "demo.toml")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        local = f"http://127.0.0.1:{options['port']}"
        demo = DemoOptions(
            home=settings.DEMO_HOME,
            study=options["study"],
            base_url=os.environ.get("STUDY_BASE_URL", local).rstrip("/"),
            engine=settings.FSPO_ENGINE,
            host=options["host"],
            port=options["port"],
            web_workers=options["web_workers"],
            model_workers=options["model_workers"],
            database_url=os.environ.get("DATABASE_URL"),
            broker_url=os.environ.get("CELERY_BROKER_URL"),
        )
        try:
            Supervisor(demo, self.say).run()
        except StartRefused as error:
            raise CommandError(str(error)) from None

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
