"""What all tests share: a real PostgreSQL, and the list of tests that could not run.

The database is the embedded one, started on first use in a temporary folder, unless DATABASE_URL
names another.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from studyapp import environment
from studyapp.children import StartRefused
from studyapp.postgres import FAST_AND_FORGETFUL, EmbeddedPostgres
from studyapp.preflight import check_engine

# A path with few letters and open folders above it: a socket's path is short, and root's tests run
# the server as another user, who cannot enter pytest's own temporary folders.
TEMPORARY = "/tmp"

NOT_RUN = pytest.StashKey[list[tuple[str, str]]]()


@functools.cache
def _missing(marker: str) -> str | None:
    """What a test so marked lacks on this machine, and how to mend it; None: nothing."""
    programs = {"needs_chromium": "chromium", "needs_redis": "redis-server"}
    if program := programs.get(marker):
        # Ubuntu's chromium is a stub that starts and fails, so being there is not enough.
        found = shutil.which(program)
        works = found and subprocess.run([found, "--version"], capture_output=True).returncode == 0
        return None if works else f"{program} is missing: apt-get install {program}"
    if marker == "needs_checkpoint":
        try:
            check_engine("local")
        except StartRefused as error:
            return str(error)
    if marker == "needs_gpu" and not Path("/dev/nvidiactl").exists():
        return "no GPU on this machine"
    return None


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOT_RUN] = []


def pytest_unconfigure(config: pytest.Config) -> None:
    if "/fspo-tests-" in str(settings.DEMO_HOME):  # made by tests/settings.py
        shutil.rmtree(settings.DEMO_HOME, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run; under CI nothing may be left out but the GPU's tests."""
    for marker in ("needs_chromium", "needs_redis", "needs_checkpoint", "needs_gpu"):
        if item.get_closest_marker(marker) and (reason := _missing(marker)):
            item.config.stash[NOT_RUN].append((item.nodeid, reason))
            if os.environ.get("CI") == "true" and marker != "needs_gpu":
                pytest.fail(f"not run: {reason}", pytrace=False)
            pytest.skip(reason)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    not_run = terminalreporter.config.stash[NOT_RUN]
    if not_run:
        terminalreporter.section(f"{len(not_run)} tests not run")
        for name, reason in not_run:
            terminalreporter.line(f"not run: {name} ({reason})")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> Iterator[None]:
    """Start the database before pytest-django makes its test database in it."""
    if os.environ.get("DATABASE_URL"):
        yield
        return
    home = Path(tempfile.mkdtemp(prefix="fspo-db-", dir=TEMPORARY))
    server = EmbeddedPostgres(home, options=FAST_AND_FORGETFUL)
    child = None
    try:
        server.prepare()
        child = server.start()
        os.environ["DATABASE_URL"] = server.url()
        settings.DATABASES["default"].update(environment.database(home))
        yield
    finally:
        os.environ.pop("DATABASE_URL", None)
        if child is not None:
            child.end()
        server.clean_up()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A temporary folder with a short path that other users may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="fspo-t-", dir=TEMPORARY))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
