"""Child processes that cannot outlive their parent, and that a terminal's Ctrl-C does not reach.

Each child leads a session of its own, so the terminal signals the supervisor alone, which then ends
its children in the right order, each with everything it started. Should the supervisor itself be
killed, the kernel signals the children (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
LOG_LIMIT = 10 * 1024 * 1024


class StartRefused(Exception):
    """The demo cannot start; the message is one line that says what is wrong and how to mend it."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user a child runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to start one child, and how to end it.

    ``end_signals`` are sent in turn, each with the seconds it is given before the next; after the
    last, the whole session is killed. ``orphan_signal`` is what the kernel sends should the parent
    die. ``account`` is another user to run as (only root can).
    """

    name: str
    command: Sequence[str]
    log: Path
    env: Mapping[str, str]
    cwd: Path
    end_signals: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 1.5),)
    orphan_signal: signal.Signals = signal.SIGKILL
    account: Account | None = None


class Child:
    """A running child; ``spec`` says what it is."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.started_at = time.monotonic()
        parent = os.getpid()

        def bind_to_parent() -> None:
            LIBC.prctl(PR_SET_PDEATHSIG, spec.orphan_signal)
            if os.getppid() != parent:  # the parent died before the line above
                os._exit(1)

        # The user changes before preexec_fn runs; a later change would clear the death signal.
        account = spec.account
        with open_log(spec.log) as log:
            self.process = subprocess.Popen(
                list(spec.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(spec.env),
                cwd=spec.cwd,
                start_new_session=True,
                preexec_fn=bind_to_parent,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_running(self) -> bool:
        return self.process.poll() is None

    def signal_all(self, number: signal.Signals) -> None:
        """Signal the child and all it started (it leads their process group)."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass

    def end(self) -> None:
        """End the child, gently first, and whatever is left of its session."""
        for number, seconds in self.spec.end_signals:
            if not self.is_running():
                break
            self.process.send_signal(number)
            try:
                self.process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                continue
        self.signal_all(signal.SIGKILL)
        self.process.wait()


def end_together(children: Sequence[Child]) -> None:
    """End several children at once: all are asked before any is waited for.

    The first signal and its seconds count, for all of them together; who needs longer is killed.
    """
    asked = [child for child in children if child.is_running()]
    for child in asked:
        child.process.send_signal(child.spec.end_signals[0][0])
    deadline = time.monotonic() + max((c.spec.end_signals[0][1] for c in asked), default=0.0)
    while time.monotonic() < deadline and any(child.is_running() for child in asked):
        time.sleep(0.02)
    for child in children:
        child.signal_all(signal.SIGKILL)
        child.process.wait()


def open_log(path: Path) -> IO[bytes]:
    """The log to append to; one that has grown long is set aside once."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_suffix(".old.log"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def last_lines(path: Path, count: int = 1) -> str:
    """The end of a log in one line, for a refusal."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return " / ".join(line.strip() for line in lines[-count:])
