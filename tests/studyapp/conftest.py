"""A running demo, shared by the tests that only look at it or mend what they break."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.studyapp.demo_process import DemoProcess


@pytest.fixture(scope="session")
def demo() -> Iterator[DemoProcess]:
    """The whole demo on an engine that takes a while, so that faults can strike in the middle."""
    home = Path(tempfile.mkdtemp(prefix="fspo-t-", dir="/tmp"))
    demo = DemoProcess(home, 15700, ECHO_SECONDS="1.5")
    try:
        demo.wait_until_ready()
        yield demo
    finally:
        demo.stop()
        shutil.rmtree(home, ignore_errors=True)
