"""A running demo (PostgreSQL, gunicorn, workers, beat) and Debian's Chromium to look at it.

E2E_ENGINE names the engine of the demo; ``local`` walks with the embedded model.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.studyapp.demo_process import ROOT, DemoProcess, demo_environment

WRITTEN = "tests.e2e.engines:WrittenEngine"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_demo(engine: str, **environment: str) -> Iterator[DemoProcess]:
    """Start a demo of its own, and end it."""
    home = Path(tempfile.mkdtemp(prefix="fspo-e2e-", dir="/tmp"))
    home.chmod(0o711)
    demo = DemoProcess(home / "d", free_port(), FSPO_ENGINE=engine, **environment)
    try:
        demo.wait_until_ready()
        yield demo
    finally:
        demo.stop()
        shutil.rmtree(home, ignore_errors=True)


def load_study(demo: DemoProcess, file: Path) -> None:
    """Put another study into a running demo."""
    subprocess.run(
        [sys.executable, "manage.py", "load_study", str(file)],
        cwd=ROOT,
        env=demo_environment(demo.home),
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="package")
def demo() -> Iterator[DemoProcess]:
    engine = os.environ.get("E2E_ENGINE", WRITTEN)
    yield from run_demo(engine, WRITTEN_SECONDS="2.5")


# Not for the whole session: while Playwright runs, Django refuses the database to this thread.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(FLAGS)
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page in which no script may break and nothing may go against the content policy."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if "Security Policy" in m.text else None)
    yield page
    context.close()
    assert errors == []
