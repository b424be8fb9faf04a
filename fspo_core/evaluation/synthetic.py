"""Winrates in a synthetic world: arms against the base's stored answers, by the known reward.

Held-out users ask held-out questions; everybody's labels and answers are seeded. Besides the arms
there are two controls of the FSPO arm: *swapped* (chosen and rejected exchanged in the context) and
*stranger* (another user's labels). All arms decode alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fspo_core.engines import Engine
from fspo_core.errors import FspoError
from fspo_core.evaluation.winrates import winrate_rows
from fspo_core.types import (
    Completion,
    GenerationRequest,
    Judgment,
    Outcome,
    Preference,
    Sampling,
    UserHistory,
    WinrateRow,
)
from fspo_core.worlds import User, World
from fspo_core.worlds.base import Question, Split
from fspo_core.worlds.language import topics_named

CONTROLS = {"swapped": "fspo", "stranger": "fspo"}
USERS_AT_ONCE = 48
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """What to evaluate. ``users`` held-out users, one question a user and seed.

    ``wording`` is the split of the sentences in the labelled pairs: "train" as in a study that
    takes its pairs from the world, "heldout" for sentences that training never showed.
    """

    world: str
    shots: int
    users: int
    seed: int
    seeds: int = 4
    arms: tuple[str, ...] = ("prompted", "pref_ft", "ipo", "fspo", "fspo_rat", "oracle", *CONTROLS)
    wording: Split = "train"
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class Answer:
    """One arm's answer to one question of one user under one seed."""

    user: User
    question: Question
    history: UserHistory
    arm: str
    repeat: int
    text: str
    reward: float
    passes_gate: bool
    detector_rewards: tuple[float, float] = (0.0, 0.0)  # as detectors a and b alone read the text


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """How an arm's answers are, apart from who likes them."""

    arm: str
    gate_pass_rate: float
    topic_named: float
    words: float


def swap(history: UserHistory) -> UserHistory:
    """The history with chosen and rejected exchanged in every pair."""
    return replace(
        history,
        preferences=tuple(
            Preference(p.question, p.rejected, p.chosen) for p in history.preferences
        ),
    )


def answer_all(
    engine: Engine, world: World, config: EvaluationConfig, progress: Progress = lambda _: None
) -> list[Answer]:
    """Every arm's answers (and the base's) for every user and seed, with their rewards."""
    users = world.sample_users(config.users, split="heldout", seed=config.seed)
    histories = [
        world.history(user, config.shots, split="heldout", seed=config.seed, wording=config.wording)
        for user in users
    ]
    questions = [
        world.sample_questions(config.users, split="heldout", seed=config.seed * 1000 + repeat)
        for repeat in range(config.seeds)
    ]
    answers: list[Answer] = []
    for arm in ("base", *config.arms):
        for at in range(0, config.users, USERS_AT_ONCE):
            # All questions of a user together: the engine computes their context once.
            asked = [
                (i, repeat)
                for i in range(at, min(at + USERS_AT_ONCE, config.users))
                for repeat in range(config.seeds)
            ]
            requests = [
                _request(world, config, arm, repeat, i, users, histories, questions[repeat])
                for i, repeat in asked
            ]
            for (i, repeat), result in zip(asked, engine.generate(requests), strict=True):
                # An arm that ends before its first word has answered badly: it fails the gate.
                if not isinstance(result, Completion) and result.reason != "empty answer":
                    raise FspoError(f"arm {arm!r} wrote no answer: {result.reason}")
                text = result.text if isinstance(result, Completion) else ""
                question = questions[repeat][i]
                a, b = (world.reward(users[i], question.text, text, d) for d in ("a", "b"))
                answers.append(
                    Answer(
                        users[i], question, histories[i], arm, repeat, text, (a + b) / 2,
                        world.gate(question.text, text).ok, (a, b),
                    )
                )  # fmt: skip
            progress(len(requests))
    return answers


def _request(
    world: World,
    config: EvaluationConfig,
    arm: str,
    repeat: int,
    i: int,
    users: Sequence[User],
    histories: Sequence[UserHistory],
    questions: Sequence[Question],
) -> GenerationRequest:
    history = histories[i]
    if arm == "swapped":
        history = swap(history)
    elif arm == "stranger":
        history = histories[(i + 1) % len(histories)]
    real_arm = CONTROLS.get(arm, arm)
    # The same seed for every arm: common random numbers make the comparison sharper.
    seed = hash_seed(config.seed, repeat, i)
    return GenerationRequest(
        f"{i}-{repeat}", f"{i}-{repeat}", real_arm, questions[i].text, history, seed,
        config.sampling, world.describe(users[i]) if real_arm == "oracle" else None,
    )  # fmt: skip


def hash_seed(*parts: int) -> int:
    """A 31-bit seed from integers, the same on every platform."""
    value = 0
    for part in parts:
        value = (value * 1_000_003 + part + 12_345) % (2**31 - 1)
    return value


def judge(
    answers: Sequence[Answer], world: str, shots: int, against: str = "base"
) -> list[Judgment]:
    """Judgments by the world's reward of every arm against ``against``; equal rewards tie."""
    stored = {(a.user.user_id, a.repeat): a for a in answers if a.arm == against}
    judgments = []
    for a in answers:
        if a.arm == against:
            continue
        other = stored[a.user.user_id, a.repeat]
        gap = a.reward - other.reward
        outcome: Outcome = "tie" if abs(gap) < 1e-9 else "win" if gap > 0 else "loss"
        judgments.append(
            Judgment(
                f"{a.arm}-{a.user.user_id}-{a.repeat}", a.user.user_id, a.arm, against, outcome,
                arm_words=len(a.text.split()), against_words=len(other.text.split()),
                world=world, shots=shots,
            )
        )  # fmt: skip
    return judgments


def table(answers: Sequence[Answer], config: EvaluationConfig) -> list[WinrateRow]:
    """Winrates of every arm against base, in the configuration's order, then against IPO."""
    rows = winrate_rows(judge(answers, config.world, config.shots))
    order = {arm: i for i, arm in enumerate(config.arms)}
    rows.sort(key=lambda row: order[row.arm])
    if {"fspo", "ipo"} <= set(config.arms):
        versus = [a for a in answers if a.arm in ("ipo", "fspo", "stranger")]
        rows += winrate_rows(judge(versus, config.world, config.shots, against="ipo"))
    return rows


@dataclass(frozen=True, slots=True)
class DetectorRow:
    """An arm's winrate against base as a fraction, by each detector alone."""

    arm: str
    detector_a: float
    detector_b: float


def by_detector(answers: Sequence[Answer], config: EvaluationConfig) -> list[DetectorRow]:
    """Winrates by each detector alone: an arm that pleases one of them only is found out."""
    rates = []
    for k in (0, 1):
        read = [replace(a, reward=a.detector_rewards[k]) for a in answers]
        rows = winrate_rows(judge(read, config.world, config.shots))
        rates.append({row.arm: row.winrate for row in rows})
    return [DetectorRow(arm, rates[0][arm], rates[1][arm]) for arm in config.arms]


def summaries(answers: Sequence[Answer]) -> list[ArmSummary]:
    """Gate pass rate, share of answers that name the topic, and mean length of every arm."""
    result = []
    for arm in dict.fromkeys(a.arm for a in answers):
        own = [a for a in answers if a.arm == arm]
        result.append(
            ArmSummary(
                arm,
                sum(a.passes_gate for a in own) / len(own),
                sum(topics_named(a.question.topics, a.text) for a in own) / len(own),
                sum(len(a.text.split()) for a in own) / len(own),
            )
        )
    return result
