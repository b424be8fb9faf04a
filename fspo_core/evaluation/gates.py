"""Gates of the embedded model: are unseen topics named, and are labels read?

Label prediction stands against the Bayes-optimal reader of the same labels, which knows the prior
over users and the label noise: nobody can predict better from the attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fspo_core.engines import Engine
from fspo_core.rewards import PersonalReward
from fspo_core.types import Completion, GenerationRequest, Sampling, UserHistory
from fspo_core.worlds.base import seeded
from fspo_core.worlds.language import topics_named
from fspo_core.worlds.optimum import PosteriorReader
from fspo_core.worlds.roleplay import Roleplay


@dataclass(frozen=True, slots=True)
class LabelPrediction:
    """Share of held-out labels predicted after ``shots`` labels, by model and by optimum."""

    shots: int
    model: float
    optimum: float
    labels: int


@dataclass(frozen=True, slots=True)
class TopicNaming:
    """Share of answers by ``arm`` that name a topic that never occurred in training."""

    arm: str
    named: float
    questions: int


def label_prediction(
    path: Path, *, shots: tuple[int, ...] = (0, 1, 2, 4, 8), users: int = 100, seed: int = 7
) -> list[LabelPrediction]:
    """Accuracy on four held-out pairs of each held-out user, by number of shots."""
    world, reward = Roleplay(), PersonalReward(path)
    reader = PosteriorReader(world, particles=4000, seed=seed)
    rng = seeded("gates", seed)
    right = {n: [0, 0] for n in shots}
    for user in world.sample_users(users, split="heldout", seed=seed):
        pairs = world.sample_pairs(user, max(shots) + 4, rng, split="heldout")
        unseen = pairs[max(shots) :]
        for n in shots:
            history = UserHistory(user.user_id, tuple(p.preference for p in pairs[:n]))
            margins = reward.margins(history, [p.preference for p in unseen])
            right[n][0] += sum(m > 0 for m in margins)
            right[n][1] += sum(reader.prefers_chosen(pairs[:n], p) > 0.5 for p in unseen)
    total = 4 * users
    return [LabelPrediction(n, right[n][0] / total, right[n][1] / total, total) for n in shots]


def topic_naming(
    engine: Engine, arms: tuple[str, ...], *, questions: int = 100, seed: int = 7, shots: int = 4
) -> list[TopicNaming]:
    """How often each arm names the topic of questions whose head nouns are held out."""
    world = Roleplay()
    asked = world.sample_questions(questions, split="heldout", seed=seed)
    users = world.sample_users(questions, split="heldout", seed=seed)
    rows = []
    for arm in arms:
        requests = [
            GenerationRequest(
                str(i), str(i), arm, question.text,
                world.history(user, shots, split="heldout", seed=seed), seed + i, Sampling(),
                world.describe(user),
            )
            for i, (question, user) in enumerate(zip(asked, users, strict=True))
        ]  # fmt: skip
        answers = engine.generate(requests)
        named = sum(
            isinstance(a, Completion) and topics_named(q.topics, a.text)
            for q, a in zip(asked, answers, strict=True)
        )
        rows.append(TopicNaming(arm, named / questions, questions))
    return rows
