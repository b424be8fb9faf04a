"""Reads the environment for ``studyapp.settings`` and refuses, by name, what cannot be used."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
# Not an error yet: many commands need no database. A connection fails at once, by this name.
NO_DATABASE = "postgresql:///fspo?host=/no-database-start-make-demo-or-set-DATABASE_URL"
BROKER_FOLDERS = ("messages", "processed", "control")


@dataclass(frozen=True, slots=True)
class Site:
    """What follows from STUDY_BASE_URL."""

    is_https: bool
    hosts: tuple[str, ...]
    origins: tuple[str, ...]


def demo_home(base_dir: Path) -> Path:
    return Path(os.environ.get("DEMO_HOME") or base_dir / ".demo").resolve()


def parse_base_url(url: str) -> Site:
    """Hosts and origins of the study's address; a local address counts under all its names."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
        raise ImproperlyConfigured(
            f"STUDY_BASE_URL is {url!r}; it must be http(s)://host[:port] without a path"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    hosts = LOCAL_HOSTS if host in LOCAL_HOSTS else (host,)
    port = f":{parts.port}" if parts.port else ""
    return Site(
        is_https=parts.scheme == "https",
        hosts=hosts,
        origins=tuple(f"{parts.scheme}://{name}{port}" for name in hosts),
    )


def secret_key(home: Path) -> str:
    """SECRET_KEY, the content of SECRET_KEY_FILE, or one generated once into ``home``."""
    if value := os.environ.get("SECRET_KEY"):
        return value
    if named := os.environ.get("SECRET_KEY_FILE"):
        value = Path(named).read_text(encoding="ascii").strip()
        if not value:
            raise ImproperlyConfigured(f"SECRET_KEY_FILE {named!r} is empty")
        return value
    return stored_secret(home / "secret_key")


def stored_secret(path: Path) -> str:
    """The secret in ``path``, made on first use; two processes that both make it agree on one."""
    try:
        return path.read_text(encoding="ascii").strip()
    except PermissionError:
        raise _not_ours(path.parent) from None
    except FileNotFoundError:
        _make_folder(path.parent)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
    try:
        # A link, unlike a rename, never replaces the secret another process was first to store.
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text(encoding="ascii").strip()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except PermissionError:
        raise _not_ours(folder) from None
    if not os.access(folder, os.W_OK):
        raise _not_ours(folder)


def _not_ours(folder: Path) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"{folder} belongs to another user: start as that user, "
        "or set DEMO_HOME to a folder of your own"
    )


def database_url(home: Path) -> str:
    """DATABASE_URL, or where the running demo left the address of its own database."""
    if url := os.environ.get("DATABASE_URL"):
        return url
    try:
        return (home / "database_url").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return NO_DATABASE


def _connection(home: Path) -> dict[str, Any]:
    url = database_url(home)
    if urlsplit(url).scheme not in ("postgres", "postgresql"):
        raise ImproperlyConfigured(
            f"DATABASE_URL begins with {urlsplit(url).scheme!r}; only postgresql:// is served"
        )
    return dict(conninfo_to_dict(url))


def database(home: Path) -> dict[str, str]:
    """The parts of the address for which Django has names of its own."""
    connection = _connection(home)
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST"}
    found = {django: str(connection.get(libpq) or "") for libpq, django in names.items()}
    return {**found, "PORT": str(connection.get("port") or "")}


def database_options(home: Path) -> dict[str, Any]:
    """The rest of the address (``sslmode`` and the like), as libpq names it."""
    own = {"dbname", "user", "password", "host", "port"}
    return {name: value for name, value in _connection(home).items() if name not in own}


def broker_options(broker_url: str, home: Path) -> dict[str, Any]:
    """Transport options; for message files also their folders, which must exist beforehand.

    The processed folder lies on the same file system, so that taking a message is one rename.
    """
    if not broker_url.startswith("filesystem://"):
        return {}
    folders = {name: home / "broker" / name for name in BROKER_FOLDERS}
    for folder in folders.values():
        _make_folder(folder)
    return {
        "data_folder_in": str(folders["messages"]),
        "data_folder_out": str(folders["messages"]),
        "processed_folder": str(folders["processed"]),
        "control_folder": str(folders["control"]),
        "store_processed": True,
        "polling_interval": 0.05,
    }
