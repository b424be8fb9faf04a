"""What the demo looks at before it starts anything; each refusal says how to mend it."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import socket
import time
from pathlib import Path
from typing import IO

import fspo_core
from studyapp.children import StartRefused

CHECKPOINT_FILES = ("config.json", "model.safetensors", "tokenizer.json")
TICK = 0.1


def take_lock(home: Path) -> IO[bytes]:
    """Hold the data folder for as long as the returned file is open. Raises StartRefused."""
    path = home / "lock"
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    except PermissionError:
        raise StartRefused(
            f"{home} belongs to another user: start as that user, "
            "or set DEMO_HOME to a folder of your own"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StartRefused(
            f"a demo already runs on {home}: stop it with Ctrl-C in its terminal, "
            "or set DEMO_HOME to another folder and choose another --port"
        ) from None
    return lock


def check_engine(spec: str) -> None:
    """See, without loading torch, whether there is something to answer with."""
    kind, _, rest = spec.partition(":")
    if kind == "local":
        embedded = Path(fspo_core.__file__).parent / "checkpoints" / "embedded"
        folder = Path(rest) if rest else embedded
        for name in CHECKPOINT_FILES:
            if not (folder / name).is_file():
                raise StartRefused(
                    f"no checkpoint: {folder / name} is missing; check out the whole repository, "
                    "or set FSPO_ENGINE=local:/path/to/a/checkpoint"
                )
        return
    try:
        found = rest and importlib.util.find_spec(kind)
    except (ImportError, ValueError):
        found = None
    if not found:
        raise StartRefused(
            f"FSPO_ENGINE is {spec!r}: use local, local:/path/to/a/checkpoint "
            "or package.module:factory"
        )


def check_port(host: str, port: int, *, patience: float = 0.0) -> None:
    """Raise StartRefused unless the port is free; ``patience`` seconds for one about to be."""
    deadline = time.monotonic() + patience
    while True:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if time.monotonic() > deadline:
                    raise StartRefused(
                        f"cannot use port {port} on {host} ({os.strerror(error.errno or 0)}): "
                        "stop what uses it, or choose another with --port"
                    ) from None
            else:
                return
        time.sleep(TICK)
