"""Random texts of every world, as a reader meets them."""

from __future__ import annotations

from fspo_core.worlds import WORLDS, Split, get_world
from fspo_core.worlds.base import seeded


def samples_markdown(count: int, seed: int) -> str:
    """``count`` questions a world, each with one answer; both splits in turn."""
    parts = [
        "# Samples of the worlds",
        "",
        f"Written by `fspo samples --count {count} --seed {seed}`: random questions with an answer",
        "each. What a blind reader marked in them stands in [worlds.md](worlds.md).",
        "",
    ]
    for name in WORLDS:
        world = get_world(name)
        parts.append(f"## {name}\n")
        for number in range(1, count + 1):
            split: Split = "train" if number % 2 else "heldout"
            rng = seeded("samples", name, seed, number)
            question = world.sample_question(rng, split=split)
            answer = world.respond(question, world.sample_values(rng), rng, split=split)
            quoted = "\n".join(f"> {line}  " for line in answer.splitlines())
            parts.append(f"**{name} {number}.** {question.text}\n\n{quoted}\n")
    return "\n".join(parts)
