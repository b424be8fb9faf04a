"""The demo as a whole, run as a person runs it: start, faults, stop, start again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from studyapp.postgres import FAST_AND_FORGETFUL, EmbeddedPostgres
from tests.studyapp.demo_process import (
    ROOT,
    DemoProcess,
    is_alive,
    refused_start,
    wait_for,
)

pytestmark = pytest.mark.slow

PARTS = {"postgres", "web", "models", "upkeep", "beat"}


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def database_url(demo: DemoProcess) -> str:
    return (demo.home / "database_url").read_text().strip()


def killed_part_comes_back(demo: DemoProcess, name: str) -> None:
    before = demo.children()[name]
    os.killpg(before, signal.SIGKILL)
    wait_for(lambda: demo.children().get(name, before) != before, 60, f"a new {name}")


def test_the_start_prints_both_links_and_all_parts_run(demo: DemoProcess) -> None:
    assert f"Participants:  {demo.base}/s/demo/" in demo.lines
    assert f"Dashboard:     {demo.base}/dashboard/" in demo.lines
    assert set(demo.children()) == PARTS
    assert demo.get("/s/demo/")[0] == 200
    assert demo.get("/static/admin/css/base.css")[0] == 200


def test_the_printed_password_signs_in_and_is_stored_hashed(demo: DemoProcess) -> None:
    password = demo.password()
    assert password is not None
    assert demo.signs_in(password)
    assert not demo.signs_in(password + "x")
    with psycopg.connect(database_url(demo)) as connection:
        stored = connection.execute("SELECT password FROM auth_user").fetchone()
    assert stored is not None
    assert stored[0].startswith("pbkdf2_sha256$")
    files = [path for path in demo.home.glob("*") if path.is_file()]
    files += (demo.home / "logs").iterdir()
    assert files
    for file in files:
        assert password.encode() not in file.read_bytes(), file


def test_secrets_are_readable_by_their_owner_only(demo: DemoProcess) -> None:
    for name in ("secret_key", "database_url", "database_password", "lock"):
        assert (demo.home / name).stat().st_mode & 0o077 == 0, name
    for log in (demo.home / "logs").iterdir():
        assert log.stat().st_mode & 0o077 == 0, log


def test_a_second_demo_on_the_same_data_is_refused_and_the_first_goes_on(
    demo: DemoProcess,
) -> None:
    children = demo.children()
    line = refused_start(demo.home, "--port", "15701")
    assert "a demo already runs" in line
    assert "DEMO_HOME" in line
    assert demo.children() == children


def test_a_demo_on_a_port_in_use_is_refused(demo: DemoProcess, short_folder: Path) -> None:
    line = refused_start(short_folder, "--port", str(demo.port))
    assert f"cannot use port {demo.port}" in line
    assert "--port" in line
    assert demo.get("/healthz/")[0] == 200


@pytest.mark.parametrize("name", ["web", "beat", "upkeep"])
def test_a_killed_part_is_started_again(demo: DemoProcess, name: str) -> None:
    killed_part_comes_back(demo, name)
    wait_for(lambda: demo.get("/healthz/")[0] == 200, 60, "the web server")
    assert set(demo.children()) == PARTS


def test_after_a_kill_of_the_database_server_pages_and_data_come_back(demo: DemoProcess) -> None:
    password = demo.password()
    assert password is not None
    assert demo.signs_in(password)
    os.kill(demo.children()["postgres"], signal.SIGKILL)
    wait_for(lambda: demo.get("/healthz/")[0] == 200, 60, "the database")
    assert demo.signs_in(password)
    assert demo.get("/s/demo/")[0] == 200


def test_other_commands_find_the_running_demos_database(demo: DemoProcess) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "showmigrations", "studyapp"],
        cwd=ROOT,
        env={
            **os.environ,
            "DEMO_HOME": str(demo.home),
            "DATABASE_URL": "",
            "SECRET_KEY": "",
            "DJANGO_SETTINGS_MODULE": "studyapp.settings",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "[X] 0001_initial" in done.stdout, done.stderr


def test_stopped_killed_and_started_again_the_demo_goes_on_with_its_data(
    short_folder: Path, bystander: subprocess.Popen[bytes]
) -> None:
    first = DemoProcess(short_folder, 15710)
    try:
        first.wait_until_ready()
        password = first.password()
        assert password is not None
        with psycopg.connect(database_url(first), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
        parts = first.descendants()
        sockets = Path((short_folder / "socket_folder").read_text())
        assert first.stop(signal.SIGINT) < 5
        assert first.process.returncode == 0
        assert first.lines[-1] == "Stopped."
        assert [pid for pid in parts if is_alive(pid)] == []
        assert bystander.poll() is None
        assert not sockets.exists()
    finally:
        first.stop(signal.SIGKILL)

    second = DemoProcess(short_folder, 15710)
    try:
        second.wait_until_ready()
        assert second.password() is None, "the password is shown once"
        assert second.signs_in(password)
        parts = second.descendants()
    finally:
        second.stop(signal.SIGKILL)

    third = DemoProcess(short_folder, 15710)  # at once, while the old parts are going down
    try:
        third.wait_until_ready()
        assert [pid for pid in parts if is_alive(pid)] == []
        with psycopg.connect(database_url(third)) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (42,)
        assert third.signs_in(password)
        assert third.stop(signal.SIGTERM) < 5
    finally:
        third.stop(signal.SIGKILL)
    assert bystander.poll() is None


def test_a_missing_checkpoint_is_refused(short_folder: Path) -> None:
    line = refused_start(short_folder, "--port", "15730", FSPO_ENGINE="local:/nowhere")
    assert "no checkpoint: /nowhere/config.json is missing" in line
    assert "FSPO_ENGINE" in line


def test_a_database_folder_of_another_version_is_refused(short_folder: Path) -> None:
    server = EmbeddedPostgres(short_folder, options=FAST_AND_FORGETFUL)
    server.prepare()
    (server.data / "PG_VERSION").write_text("12\n")
    line = refused_start(short_folder, "--port", "15730")
    assert "was made by PostgreSQL 12" in line
    assert "DEMO_HOME" in line


def test_a_stale_lock_file_naming_a_stranger_is_refused_and_the_stranger_lives(
    short_folder: Path, bystander: subprocess.Popen[bytes]
) -> None:
    server = EmbeddedPostgres(short_folder, options=FAST_AND_FORGETFUL)
    server.prepare()
    (server.data / "postmaster.pid").write_text(f"{bystander.pid}\n{server.data}\n1\n5432\n")
    line = refused_start(short_folder, "--port", "15730")
    assert f"names process {bystander.pid}, which is alive and not PostgreSQL" in line
    assert bystander.poll() is None


@pytest.mark.parametrize("url", ["mysql://localhost/x", "sqlite:///db"])
def test_another_kind_of_database_is_refused(short_folder: Path, url: str) -> None:
    line = refused_start(short_folder, "--port", "15730", DATABASE_URL=url)
    assert "only postgresql:// is served" in line


def test_an_address_with_a_path_is_refused(short_folder: Path) -> None:
    line = refused_start(short_folder, STUDY_BASE_URL="https://example.org/study")
    assert "STUDY_BASE_URL is 'https://example.org/study'" in line


@pytest.mark.needs_redis
def test_database_and_broker_of_ones_own_are_used_instead(short_folder: Path) -> None:
    elsewhere = short_folder / "elsewhere"
    elsewhere.mkdir()
    server = EmbeddedPostgres(elsewhere, options=FAST_AND_FORGETFUL)
    server.prepare()
    database = server.start()
    redis = subprocess.Popen(
        ["redis-server", "--port", "15741", "--save", "", "--dir", str(elsewhere)],
        stdout=subprocess.DEVNULL,
    )
    home = short_folder / "home"
    demo = DemoProcess(
        home,
        15740,
        DATABASE_URL=server.url(),
        CELERY_BROKER_URL="redis://127.0.0.1:15741/0",
    )
    try:
        demo.wait_until_ready()
        assert set(demo.children()) == PARTS - {"postgres"}
        assert not (home / "postgres").exists()
        assert not (home / "broker").exists()
        with psycopg.connect(server.url()) as connection:
            # The heartbeat goes from beat through Redis to both workers, and into this database.
            query = "SELECT count(*) FROM studyapp_workerheartbeat"
            wait_for(lambda: connection.execute(query).fetchone() == (2,), 60, "both workers")
        assert demo.stop() < 5
        assert database.is_running()
        assert redis.poll() is None
        with socket.create_connection(("127.0.0.1", 15741)):
            pass
    finally:
        demo.stop(signal.SIGKILL)
        redis.terminate()
        redis.wait()
        database.end()
        server.clean_up()
