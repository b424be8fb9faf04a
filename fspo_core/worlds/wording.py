"""The hand-written content: read once, hashed, its wordings divided between the splits."""

from __future__ import annotations

import hashlib
import random
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from fspo_core.worlds.base import Split

T = TypeVar("T")
CONTENT = resources.files("fspo_core.worlds") / "content"
HELDOUT_FRACTION = 0.25  # of each list of wordings: its last quarter


@cache
def load_toml(name: str) -> dict[str, Any]:
    """A content file, parsed. ``name`` is its path under ``content/``."""
    return tomllib.loads((CONTENT / name).read_text(encoding="utf-8"))


@cache
def load_folder(name: str) -> dict[str, dict[str, Any]]:
    """Every content file of a folder, by its name without ending, in alphabetical order."""
    files = sorted(f.name for f in (CONTENT / name).iterdir() if f.name.endswith(".toml"))
    return {file.removesuffix(".toml"): load_toml(f"{name}/{file}") for file in files}


@cache
def content_hash(*names: str) -> str:
    """SHA-256 over these files and folders of ``content/``, line ends as in the repository."""
    digest = hashlib.sha256()
    for name in names:
        at = CONTENT / name
        files = [at] if at.is_file() else sorted(at.iterdir(), key=lambda f: f.name)
        for file in files:
            if file.name.endswith((".toml", ".tsv")):
                digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def wordings(items: Sequence[T], split: Split) -> Sequence[T]:
    """The part of a list of wordings that belongs to ``split``: the last quarter is held out."""
    cut = len(items) - max(1, int(len(items) * HELDOUT_FRACTION))
    return items[:cut] if split == "train" else items[cut:]


def pick(rng: random.Random, items: Sequence[T]) -> T:
    """One item, uniformly."""
    return items[int(rng.random() * len(items))]


@cache
def listed(file: str, path: str, split: Split) -> Sequence[Any]:
    """The wordings of ``split`` in a content file's list; ``path`` names it, parted by dots."""
    entry: Any = load_toml(file)
    for part in path.split("."):
        entry = entry[part]
    return wordings(entry, split)
