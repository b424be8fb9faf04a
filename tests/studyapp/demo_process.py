"""Runs ``manage.py demo`` as a person would: a process, its printed lines, signals, HTTP."""

from __future__ import annotations

import http.cookiejar
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY = "Ctrl-C stops everything."
OWN = (
    "DATABASE_URL",
    "CELERY_BROKER_URL",
    "DJANGO_SETTINGS_MODULE",
    "SECRET_KEY",
    "STUDY_BASE_URL",
)


def demo_environment(home: Path, **further: str) -> dict[str, str]:
    """A clean environment: nothing of the test session's database or settings gets through."""
    clean = {name: value for name, value in os.environ.items() if name not in OWN}
    return {
        **clean,
        "DEMO_HOME": str(home),
        "FSPO_ENGINE": "tests.engines:EchoEngine",
        "OMP_NUM_THREADS": "1",
        **further,
    }


def refused_start(home: Path, *arguments: str, **environment: str) -> str:
    """Start a demo that must refuse; returns what it says, which must be one line."""
    done = subprocess.run(
        [sys.executable, "manage.py", "demo", *arguments],
        cwd=ROOT,
        env=demo_environment(home, **environment),
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert len(lines) == 1, done.stderr
    return lines[0]


class DemoProcess:
    """A running demo; ``lines`` is what it has printed so far."""

    def __init__(self, home: Path, port: int, *arguments: str, **environment: str) -> None:
        self.home = home
        self.port = port
        self.base = f"http://127.0.0.1:{port}"
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--port", str(port), *arguments],
            cwd=ROOT,
            env=demo_environment(home, **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self.lines.extend(line.rstrip("\n") for line in output)

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_until_ready(self) -> None:
        wait_for(lambda: READY in self.lines or self.process.poll() is not None, 240, "the start")
        assert READY in self.lines, self.output

    def password(self) -> str | None:
        found = re.search(r"admin, password (\S+)", self.output)
        return found[1] if found else None

    def stop(self, number: signal.Signals = signal.SIGINT) -> float:
        """Signal the supervisor and wait for its end; returns the seconds that took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=30)
        seconds = time.monotonic() - began
        self.reader.join(timeout=10)
        return seconds

    def children(self) -> dict[str, int]:
        """The supervisor's children: what runs (a word of the command line) -> process id."""
        found = {}
        words = {
            "bin/postgres ": "postgres",
            " gunicorn ": "web",
            " beat ": "beat",
            " models ": "models",
            " upkeep ": "upkeep",
        }
        for pid in processes():
            if parent_of(pid) == self.process.pid:
                command = command_of(pid)
                name = next((name for word, name in words.items() if word in command), command)
                found[name] = pid
        return found

    def descendants(self) -> set[int]:
        parents = {pid: parent_of(pid) for pid in processes()}
        found: set[int] = set()
        level = {self.process.pid}
        while level:
            level = {pid for pid, parent in parents.items() if parent in level}
            found |= level
        return found

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(self.base + path, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def signs_in(self, password: str) -> bool:
        """Sign in to the admin over HTTP."""
        opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )
        address = f"{self.base}/admin/login/?next=/admin/"
        with opener.open(address, timeout=20) as response:
            token = re.search(
                r'name="csrfmiddlewaretoken" value="([^"]+)"', response.read().decode()
            )
        assert token is not None
        form = {"csrfmiddlewaretoken": token[1], "username": "admin", "password": password}
        request = urllib.request.Request(address, urllib.parse.urlencode(form).encode())
        with opener.open(request, timeout=20) as response:
            return response.url == f"{self.base}/admin/"


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def parent_of(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = stat.rpartition(")")[2].split()[:2]
    return None if state == "Z" else int(parent)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_alive(pid: int) -> bool:
    return parent_of(pid) is not None


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)
