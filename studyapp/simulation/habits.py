"""How simulated participants come to a choice, apart from what they like."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal

from fspo_core.worlds.base import sigmoid
from studyapp.simulation.log import Choice

Habit = Literal["exact", "noisy", "inattentive", "left"]
LEFT_SHARE = 0.8  # of the choices of those who click on the left

# Habits of a cohort's participants, in turn. "careless": a third pays no attention to the answers.
COHORTS: dict[str, Sequence[Habit]] = {
    "exact": ("exact",),
    "noisy": ("noisy",),
    "careless": ("noisy", "noisy", "inattentive", "noisy", "noisy", "left"),
}


def habit_of(cohort: str, number: int) -> Habit:
    """The habit of participant ``number`` of a cohort."""
    habits = COHORTS[cohort]
    return habits[number % len(habits)]


def choose(
    habit: Habit, left: float, right: float, *, temperature: float, random: Random
) -> Choice:
    """A choice between two answers with these rewards.

    ``exact``: the higher reward, a tie where they are equal. ``noisy``: Bradley-Terry at the
    world's temperature, as labels are in training. ``inattentive``: a coin. ``left``: mostly the
    left answer, whatever it says.
    """
    if habit == "exact":
        return "tie" if left == right else "left" if left > right else "right"
    shares = {
        "noisy": sigmoid((left - right) / temperature), "inattentive": 0.5, "left": LEFT_SHARE,
    }  # fmt: skip
    return "left" if random.random() < shares[habit] else "right"
