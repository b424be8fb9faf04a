"""The worlds' difficulty, frozen: the hash of everything that decides it, kept in frozen.json.

A world that a model was trained on must not change under its figures. ``fspo ceiling`` prints the
hashes and whether they are the frozen ones; ``--freeze`` is for a deliberate new world.
"""

from __future__ import annotations

import hashlib
import json

from fspo_core.worlds.base import World
from fspo_core.worlds.wording import CONTENT


def fingerprint_hash(world: World) -> str:
    """SHA-256 over the world's parameters and hand-written content."""
    canonical = json.dumps(world.fingerprint(), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def frozen() -> dict[str, str]:
    """The hashes on record, by world."""
    found: dict[str, str] = json.loads((CONTENT / "frozen.json").read_text(encoding="utf-8"))
    return found


def freeze(worlds: list[World]) -> None:
    """Put these worlds' hashes on record."""
    hashes = {world.name: fingerprint_hash(world) for world in worlds}
    text = json.dumps(hashes, indent=1) + "\n"
    (CONTENT / "frozen.json").write_text(text, encoding="utf-8")  # type: ignore[attr-defined]
