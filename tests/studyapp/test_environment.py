"""What the settings make of the environment, and what they refuse."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from studyapp import environment
from studyapp.children import StartRefused
from studyapp.logs import DiscreetFormatter
from studyapp.preflight import take_lock

NOBODY = 65534


@contextmanager
def as_somebody_else() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


as_root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def test_one_address_yields_hosts_origins_and_secure_cookies() -> None:
    site = environment.parse_base_url("https://study.example.org")
    assert site.is_https
    assert site.hosts == ("study.example.org",)
    assert site.origins == ("https://study.example.org",)


def test_a_local_address_counts_under_all_its_names() -> None:
    site = environment.parse_base_url("http://127.0.0.1:8001")
    assert not site.is_https
    assert "localhost" in site.hosts
    assert "http://localhost:8001" in site.origins


@pytest.mark.parametrize(
    "url", ["", "study.example.org", "ftp://study.example.org", "https://a.org/path", "https://"]
)
def test_an_address_that_is_none_is_refused_with_its_value(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="STUDY_BASE_URL is"):
        environment.parse_base_url(url)


def test_a_database_address_keeps_its_libpq_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://ann:s%40fe@db.example.org:6432/study?sslmode=require"
    monkeypatch.setenv("DATABASE_URL", url)
    assert environment.database(tmp_path) == {
        "NAME": "study",
        "USER": "ann",
        "PASSWORD": "s@fe",
        "HOST": "db.example.org",
        "PORT": "6432",
    }
    assert environment.database_options(tmp_path) == {"sslmode": "require"}


def test_without_an_address_the_running_demos_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    (tmp_path / "database_url").write_text("postgresql://fspo:x@/fspo?host=%2Ftmp%2Fhere\n")
    assert environment.database(tmp_path)["HOST"] == "/tmp/here"


def test_without_a_running_demo_the_host_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert "start-make-demo-or-set-DATABASE_URL" in environment.database(tmp_path)["HOST"]


def test_a_secret_is_made_once_even_by_many_at_the_same_time(tmp_path: Path) -> None:
    found: list[str] = []
    path = tmp_path / "home" / "secret_key"
    threads = [
        threading.Thread(target=lambda: found.append(environment.stored_secret(path)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == {path.read_text()}
    assert len(found[0]) >= 50
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_the_key_of_a_file_is_preferred_to_one_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    (tmp_path / "key").write_text("k" * 60 + "\n")
    monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "key"))
    assert environment.secret_key(tmp_path) == "k" * 60
    (tmp_path / "key").write_text("")
    with pytest.raises(ImproperlyConfigured, match="is empty"):
        environment.secret_key(tmp_path)


def test_a_broker_of_ones_own_needs_no_folders(tmp_path: Path) -> None:
    assert environment.broker_options("redis://127.0.0.1/0", tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@as_root_only
def test_another_users_data_folder_is_refused_by_name(short_folder: Path) -> None:
    environment.stored_secret(short_folder / "secret_key")
    take_lock(short_folder).close()
    with as_somebody_else():
        with pytest.raises(ImproperlyConfigured, match=r"belongs to another user.*DEMO_HOME"):
            environment.stored_secret(short_folder / "secret_key")
        with pytest.raises(ImproperlyConfigured, match=r"belongs to another user.*DEMO_HOME"):
            environment.broker_options("filesystem://localhost/", short_folder)
        with pytest.raises(StartRefused, match=r"belongs to another user.*DEMO_HOME"):
            take_lock(short_folder)


def test_log_lines_carry_neither_tokens_nor_rows_and_are_in_utc() -> None:
    formatter = DiscreetFormatter("%(asctime)sZ %(message)s")
    record = logging.LogRecord("x", logging.WARNING, "", 0, "Not Found: /r/s3cr3t-t0ken/", (), None)
    record.created = 0.0
    line = formatter.format(record)
    assert line.startswith("1970-01-01 00:00:00")
    assert line.endswith("Not Found: /r/[token]/")
    record = logging.LogRecord(
        "x", logging.ERROR, "", 0, "violated\nDETAIL:  Failing row contains (my diary).", (), None
    )
    assert "diary" not in formatter.format(record)
