"""What ``manage.py demo`` runs: PostgreSQL, web, workers and beat, as children of one process.

One supervisor a data folder (a ``flock``, which the kernel frees however its holder ends). A child
that dies is started again, after a pause that grows with its failures. The end is in order: web,
workers, PostgreSQL, within five seconds; after a SIGKILL of the supervisor the kernel ends the
children, and the next start goes on with the same data.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from studyapp.children import Child, ChildSpec, StartRefused, end_together, last_lines
from studyapp.postgres import EmbeddedPostgres
from studyapp.preflight import check_engine, check_port, take_lock

BASE_DIR = Path(__file__).resolve().parent.parent
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0
WEB_SECONDS = 120.0
PREPARE_SECONDS = 300.0
PROCESSED_SECONDS = 600.0
TIDY_SECONDS = 60.0
TICK = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What the demo is started with.

    ``database_url`` and ``broker_url`` name services that run already; None: the demo's own.
    """

    home: Path
    study: Path
    base_url: str
    engine: str
    host: str = "127.0.0.1"
    port: int = 8000
    web_workers: int = 2
    model_workers: int = 1
    database_url: str | None = None
    broker_url: str | None = None


class StopRequested(Exception):
    """Somebody pressed Ctrl-C or sent SIGTERM or SIGHUP."""


@dataclass(slots=True)
class Supervised:
    """A child that is to be there, and when to start it next if it is not."""

    spec: ChildSpec
    child: Child | None = None
    failures: int = 0
    start_at: float = 0.0

    def start(self) -> None:
        self.child = Child(self.spec)

    def tend(self, now: float, say: Callable[[str], None]) -> None:
        """Notice a death; start again once the pause is over."""
        if self.child is not None:
            if self.child.is_running():
                return
            lived = now - self.child.started_at
            status = self.child.process.returncode
            self.child.signal_all(signal.SIGKILL)  # what it left behind
            self.child = None
            self.failures = 1 if lived > STEADY_SECONDS else self.failures + 1
            pause = min(FIRST_PAUSE * 2 ** (self.failures - 1), LONGEST_PAUSE)
            self.start_at = now + pause
            say(
                f"{self.spec.name} ended (status {status}), starting it again in {pause:.1f} s; "
                f"its log: {self.spec.log}"
            )
        elif now >= self.start_at:
            self.start()


@dataclass(slots=True)
class Supervisor:
    """Runs the demo until it is told to stop; see ``run``."""

    options: DemoOptions
    say: Callable[[str], None]
    postgres: EmbeddedPostgres | None = None
    database: Supervised | None = None
    workers: list[Supervised] = field(default_factory=list)
    web: Supervised | None = None
    tidy_at: float = 0.0

    # -- the whole life

    def run(self) -> None:
        """Start everything, tend it, stop it on a signal. Raises StartRefused before that."""
        with ExitStack() as undo:
            undo.callback(_listen_for_stop())
            try:
                lock = take_lock(self.options.home)
                undo.callback(lock.close)
                try:
                    self._start()
                    while True:
                        self._tend()
                finally:
                    _ignore_stop()
                    self._stop()
            except StopRequested:
                self.say("Stopped.")

    def _start(self) -> None:
        options = self.options
        check_engine(options.engine)
        note = options.home / "database_url"
        # A note left behind: the last supervisor was killed, and its web server is going down.
        check_port(options.host, options.port, patience=5.0 if note.exists() else 2.0)
        env = self._environment()
        if options.database_url is None:
            self.say("Starting PostgreSQL …")
            self.postgres = EmbeddedPostgres(options.home)
            self.postgres.prepare()
            self.database = Supervised(self.postgres.spec())
            self.database.start()
            assert self.database.child is not None
            self.postgres.wait_until_ready(self.database.child)
            env["DATABASE_URL"] = self.postgres.url()
            _write_private(note, env["DATABASE_URL"])
        password = self._prepare(env)
        self.web = Supervised(self._web_spec(env))
        self.workers = [Supervised(spec) for spec in self._worker_specs(env)]
        for part in (self.web, *self.workers):
            part.start()
        self._wait_for_web()
        self._greet(password)

    def _parts(self) -> list[Supervised]:
        """In the order in which they are started again."""
        return [part for part in (self.database, *self.workers, self.web) if part is not None]

    def _tend(self) -> None:
        now = time.monotonic()
        for part in self._parts():
            part.tend(now, self.say)
        if now >= self.tidy_at:
            remove_processed_messages(self.options.home / "broker" / "processed", time.time())
            self.tidy_at = now + TIDY_SECONDS
        time.sleep(TICK)

    def _stop(self) -> None:
        if self.web is not None and self.web.child is not None:
            self.web.child.end()
        end_together([part.child for part in self.workers if part.child is not None])
        if self.database is not None and self.database.child is not None:
            self.database.child.end()
        if self.postgres is not None:
            self.postgres.clean_up()
            (self.options.home / "database_url").unlink(missing_ok=True)

    # -- the children

    def _environment(self) -> dict[str, str]:
        options = self.options
        env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "studyapp.settings",
            "DJANGO_DEBUG": "",
            "DEMO_HOME": str(options.home),
            "STUDY_BASE_URL": options.base_url,
            "FSPO_ENGINE": options.engine,
            "PYTHONUNBUFFERED": "1",
        }
        if options.database_url is not None:
            env["DATABASE_URL"] = options.database_url
        if options.broker_url is not None:
            env["CELERY_BROKER_URL"] = options.broker_url
        return env

    def _spec(self, name: str, env: dict[str, str], *arguments: str) -> ChildSpec:
        return ChildSpec(
            name=name,
            command=[sys.executable, *arguments],
            log=self.options.home / "logs" / f"{name}.log",
            env=env,
            cwd=BASE_DIR,
            end_signals=((signal.SIGTERM, 0.8),),
        )

    def _prepare(self, env: dict[str, str]) -> str | None:
        """Migrations, the demo study, static files, the admin.

        Returns the admin's password where the account was made just now. Raises StartRefused.
        """
        self.say("Preparing the database and the demo study …")
        password = secrets.token_urlsafe(12)
        result = self.options.home / "prepared.json"
        result.unlink(missing_ok=True)
        spec = self._spec(
            "prepare",
            {**env, "DEMO_ADMIN_PASSWORD": password},
            *("manage.py", "prepare_demo", "--study", str(self.options.study)),
            *("--result", str(result)),
        )
        child = Child(spec)
        try:
            child.process.wait(timeout=PREPARE_SECONDS)
        except subprocess.TimeoutExpired:
            pass  # ended below, which leaves a status other than 0
        finally:
            child.end()
        if child.process.returncode != 0:
            raise StartRefused(f"cannot prepare the demo, see {spec.log}: {last_lines(spec.log)}")
        made = json.loads(result.read_text(encoding="utf-8"))["admin_created"]
        result.unlink()
        return password if made else None

    def _web_spec(self, env: dict[str, str]) -> ChildSpec:
        options = self.options
        return self._spec(
            "web",
            env,
            *("-m", "gunicorn", "studyapp.wsgi", "--bind", f"{options.host}:{options.port}"),
            *("--workers", str(options.web_workers), "--worker-class", "gthread"),
            *("--threads", "4", "--graceful-timeout", "1", "--timeout", "60"),
            *("--no-control-socket", "--log-level", "warning"),
        )

    def _worker_specs(self, env: dict[str, str]) -> list[ChildSpec]:
        celery = ("-m", "celery", "--quiet", "-A", "studyapp.celery")
        # One process a worker (solo): the model's own threads use the cores, and nothing is left
        # over when a worker is killed.
        worker = ("worker", "--pool", "solo", "--loglevel", "WARNING")
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        models = [
            self._spec(name, env, *celery, *worker, *quiet, "-Q", "models", "-n", f"{name}@%h")
            for name in (f"models{number}" for number in range(1, self.options.model_workers + 1))
        ]
        upkeep = self._spec(
            "upkeep", env, *celery, *worker, *quiet, "-Q", "upkeep", "-n", "upkeep@%h"
        )
        beat = self._spec("beat", env, *celery, "beat", "--pidfile=", "--loglevel", "WARNING")
        return [*models, upkeep, beat]

    # -- the end of the start

    def _wait_for_web(self) -> None:
        deadline = time.monotonic() + WEB_SECONDS
        address = (self.options.host, self.options.port)
        site = urlsplit(self.options.base_url).netloc
        while not answers(*address, site=site):
            web = self.web.child if self.web else None
            if web is None or not web.is_running():
                log = self.options.home / "logs" / "web.log"
                raise StartRefused(f"the web server ended at once, see {log}: {last_lines(log)}")
            if time.monotonic() > deadline:
                raise StartRefused(
                    f"the web server does not answer on {self.options.host}:{self.options.port}, "
                    f"see {self.options.home / 'logs' / 'web.log'}"
                )
            time.sleep(TICK)

    def _greet(self, password: str | None) -> None:
        base = self.options.base_url
        self.say("")
        self.say(f"Participants:  {base}/s/{self.options.study.stem}/")
        self.say(f"Dashboard:     {base}/dashboard/")
        if password is not None:
            self.say(f"Sign in as:    admin, password {password}  (shown this once)")
        else:
            self.say("Sign in as:    admin (password shown at the first start; a new one: ")
            self.say("               .venv/bin/python manage.py changepassword admin)")
        self.say(f"Data and logs: {self.options.home}")
        self.say("Ctrl-C stops everything.")


# -- small parts


def answers(host: str, port: int, *, site: str) -> bool:
    """Whether the web server of ``site`` says that it and its database are well."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/healthz/", headers={"Host": site})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def remove_processed_messages(folder: Path, now: float) -> None:
    """Remove wake-ups that were read long ago; the folder would grow for ever."""
    if not folder.is_dir():
        return
    for message in folder.iterdir():
        try:
            if now - message.stat().st_ctime > PROCESSED_SECONDS:
                message.unlink()
        except FileNotFoundError:
            continue


def _listen_for_stop() -> Callable[[], None]:
    """Turn the stop signals into StopRequested; returns what restores the old handlers."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def request_stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        _ignore_stop()
        raise StopRequested

    for number in STOP_SIGNALS:
        # nohup means it; a shell's background job that ignores SIGINT is still told to stop by it.
        if number != signal.SIGHUP or before[number] != signal.SIG_IGN:
            signal.signal(number, request_stop)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


def _ignore_stop() -> None:
    """A second Ctrl-C must not cut the orderly end short, which is bounded anyway."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text + "\n")
