"""``manage.py load_study studies/demo.toml``: check a study's file and put it in force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from studyapp import services
from studyapp.config import parse_study
from studyapp.errors import ConfigError


class Command(BaseCommand):
    help = "Load a study's TOML file; a changed configuration becomes a new frozen version."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the study's TOML file")
        parser.add_argument(
            "--check", action="store_true", help="only check the file; change nothing"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            config = parse_study(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path}: cannot be read: {error}") from error
        except ConfigError as error:
            lines = str(error).splitlines()
            raise CommandError("\n".join(f"{path}: {line}" for line in lines)) from error
        if options["check"]:
            self.stdout.write(f"{path}: valid, study {config.slug!r}, hash {config.sha256()[:12]}")
            return
        loaded = services.load_study(config=config)
        word = "new version" if loaded.created else "unchanged, version"
        self.stdout.write(f"study {config.slug}: {word} {loaded.version.number}")
