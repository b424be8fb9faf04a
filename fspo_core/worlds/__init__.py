"""Synthetic worlds: users whose reward is known, so that a winrate has a ground truth."""

from __future__ import annotations

from functools import cache

from fspo_core.errors import WorldError
from fspo_core.worlds.base import GateResult, Question, Split, User, World
from fspo_core.worlds.elix import ElixEasy, ElixHard
from fspo_core.worlds.reviews import Reviews
from fspo_core.worlds.roleplay import Roleplay

__all__ = ["WORLDS", "GateResult", "Question", "Split", "User", "World", "get_world"]

WORLDS: dict[str, type[World]] = {
    world.name: world for world in (Reviews, ElixEasy, ElixHard, Roleplay)
}


@cache
def get_world(name: str) -> World:
    """The world called ``name``. Raises WorldError, naming the value and the known worlds."""
    if name not in WORLDS:
        raise WorldError(f"unknown world {name!r}; known worlds: {', '.join(WORLDS)}")
    return WORLDS[name]()
