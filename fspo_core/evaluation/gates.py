"""Gates of the embedded model: are unseen topics named, and are labels read?

Label prediction stands against the Bayes-optimal reader of the same labels, which knows the prior
over users and the label noise: nobody can predict better from the attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fspo_core.engines import Engine
from fspo_core.evaluation.label_prediction import LabelPrediction
from fspo_core.rewards import PersonalReward, ipo_label_probability
from fspo_core.types import Completion, GenerationRequest, Sampling, UserHistory
from fspo_core.worlds.base import seeded
from fspo_core.worlds.language import topics_named
from fspo_core.worlds.optimum import PosteriorReader
from fspo_core.worlds.roleplay import Roleplay

PAIRS = 4  # that are predicted of each user


@dataclass(frozen=True, slots=True)
class TopicNaming:
    """Share of answers by ``arm`` that name a topic that never occurred in training."""

    arm: str
    named: float
    questions: int


def predicted_labels(
    reward: PersonalReward,
    *,
    shots: Sequence[int] = (0, 1, 2, 4, 8),
    users: int = 100,
    seed: int = 7,
) -> dict[str, list[LabelPrediction]]:
    """By reader, the model and the optimum: four held-out pairs of each held-out user, by shots."""
    world = Roleplay()
    reader = PosteriorReader(world, particles=4000, seed=seed)
    rng = seeded("gates", seed)
    found: dict[str, list[LabelPrediction]] = {"model": [], "optimum": []}
    for user in world.sample_users(users, split="heldout", seed=seed):
        pairs = world.sample_pairs(user, max(shots) + PAIRS, rng, split="heldout")
        unseen = pairs[max(shots) :]
        for n in shots:
            history = UserHistory(user.user_id, tuple(p.preference for p in pairs[:n]))
            margins = reward.margins(history, [p.preference for p in unseen])
            said = {
                "model": [ipo_label_probability(m, reward.beta) for m in margins],
                "optimum": [reader.prefers_chosen(pairs[:n], p) for p in unseen],
            }
            for name, probabilities in said.items():
                found[name] += [LabelPrediction(user.user_id, n, p) for p in probabilities]
    return found


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
