"""A cohort of simulated participants: who they are, and playing them several at once."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fspo_core.worlds import get_world
from studyapp.config import StudyConfig
from studyapp.simulation.habits import habit_of
from studyapp.simulation.log import EndRecord, SimulationLog
from studyapp.simulation.player import Part, Player


@dataclass(frozen=True, slots=True)
class CohortPlan:
    """How many play, from which world and seed, how many at once, where the study is, and with
    which habits (``studyapp.simulation.habits``)."""

    study: str
    participants: int
    seed: int
    url: str
    workers: int
    world: str
    cohort: str = "exact"


def parts(plan: CohortPlan, config: StudyConfig) -> list[Part]:
    """The cast: held-out users with held-out questions, the same for the same seed.

    The recruiter's ids are new in each run: the same seed may play again as new participants.
    """
    world, run = get_world(plan.world), secrets.token_hex(6)
    users = world.sample_users(plan.participants, split="heldout", seed=plan.seed)
    wanted = config.own_questions.count
    questions = world.sample_questions(plan.participants * wanted, split="heldout", seed=plan.seed)
    return [
        Part(
            run=run,
            number=number,
            user=user,
            questions=questions[number * wanted : (number + 1) * wanted],
            check_answers=[question.answer for question in config.comprehension.questions],
            seed=plan.seed,
            pid=f"{run}{number:012x}",
            session=secrets.token_hex(12),
            habit=habit_of(plan.cohort, number),
        )
        for number, user in enumerate(users)
    ]


def steps_each(config: StudyConfig) -> int:
    """Labels and judgments of one participant: what a progress bar counts."""
    return config.labels.count + config.bank.count + config.own_questions.count


def play(
    plan: CohortPlan, config: StudyConfig, log: SimulationLog, on_step: Callable[[], None]
) -> list[EndRecord]:
    """Play all parts, ``plan.workers`` at once; one record each, in their order."""
    world = get_world(plan.world)
    start = f"{plan.url.rstrip('/')}/s/{plan.study}/"
    with ThreadPoolExecutor(max_workers=plan.workers) as pool:
        return list(
            pool.map(
                lambda part: Player(part, world, start, log, on_step=on_step).play(),
                parts(plan, config),
            )
        )
