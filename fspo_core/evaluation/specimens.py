"""Answers to read: labels of a held-out user, a question of theirs, and what the arms wrote."""

from __future__ import annotations

from fspo_core.engines import Engine
from fspo_core.types import Completion, GenerationRequest, Sampling
from fspo_core.worlds.roleplay import Roleplay


def specimens_markdown(engine: Engine, *, count: int, seed: int, shots: int = 4) -> str:
    """``count`` questions with labels, the user's true likes, and the answers of base and fspo."""
    world = Roleplay()
    users = world.sample_users(count, split="heldout", seed=seed)
    questions = world.sample_questions(count, split="heldout", seed=seed)
    parts = [
        "# Answers to read",
        "",
        f"Written by `fspo specimens --count {count} --seed {seed}`: {shots} labels of a held-out",
        "user, a question on a held-out topic, the answers of base and fspo. The verdicts were",
        "written by a large language model that read them as a critical person would.",
        "",
    ]
    for i, (user, question) in enumerate(zip(users, questions, strict=True), 1):
        history = world.history(user, shots, split="heldout", seed=seed, wording="train")
        answers = engine.generate(
            [
                # As in a study, every arm draws from a seed of its own.
                GenerationRequest(
                    arm, str(i), arm, question.text, history, 2 * (seed + i) + k, Sampling()
                )
                for k, arm in enumerate(("base", "fspo"))
            ]
        )
        texts = [a.text if isinstance(a, Completion) else f"({a.reason})" for a in answers]
        rewards = [world.reward(user, question.text, text) for text in texts]
        parts.append(f"## {i}. {question.text}\n")
        parts.append(f"The user, unseen by the model: {world.describe(user)}\n")
        for number, pair in enumerate(history.preferences, 1):
            parts.append(f"Label {number}: *{pair.question}*\n")
            parts.append(f"{_quote(pair.chosen)}\n\nrather than\n\n{_quote(pair.rejected)}\n")
        for arm, text, reward in zip(("base", "fspo"), texts, rewards, strict=True):
            parts.append(f"**{arm}** (the user's reward: {reward:+.0f})\n\n{_quote(text)}\n")
        parts.append("Verdict: \n")
    return "\n".join(parts)


def _quote(text: str) -> str:
    return "\n".join(f"> {line}  " for line in text.splitlines())
