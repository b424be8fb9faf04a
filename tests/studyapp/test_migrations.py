"""The migrations are what the models say."""

from __future__ import annotations

import pytest
from django.core.management import call_command


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    # Ends with SystemExit, and with that the test, if a model was changed without a migration.
    call_command("makemigrations", "--check", "--dry-run")
