"""Judgments that the tests of the statistics share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fspo_core.types import Judgment, Outcome

Verdict = tuple[str, Outcome]


def judgments_of(*verdicts: Verdict, **said: Any) -> list[Judgment]:
    return [Judgment(f"j{n}", who, "fspo", "base", outcome, **said) for n, (who, outcome) in
            enumerate(verdicts)]  # fmt: skip


def study(
    people: int = 40, each: int = 8, *, seed: int = 1, rate: float = 0.7, side: float = 0.0,
    length: float = 0.0, ties: float = 0.1,
) -> list[Judgment]:  # fmt: skip
    """Simulated judgments with effects of side and length on the log-odds."""
    rng = np.random.default_rng(seed)
    made = []
    for person in range(people):
        own = rng.normal(math.log(rate / (1 - rate)), 0.4)
        for number in range(each):
            left, longer = bool(rng.integers(2)), float(rng.normal())
            odds = own + side * (0.5 if left else -0.5) + length * math.tanh(longer)
            outcome: Outcome = "win" if rng.random() < 1 / (1 + math.exp(-odds)) else "loss"
            if rng.random() < ties:
                outcome = "tie"
            made.append(
                Judgment(
                    f"{person}-{number}", f"p{person}", "fspo", "base", outcome,
                    "left" if left else "right", "own" if number % 2 else "bank",
                    int(rng.integers(1, 6)), round(200 + 40 * longer), 200,
                    judged_at=1e9 + 100 * person + number, item=f"q{number}",
                )
            )  # fmt: skip
    return made


outcomes: st.SearchStrategy[Outcome] = st.sampled_from(["win", "loss", "tie"])


@st.composite
def any_judgments(draw: st.DrawFn, least: int = 0) -> list[Judgment]:
    """A study: what is known of its judgments is known of all of them, or of none."""
    people, arms = draw(st.integers(1, 9)), draw(st.sampled_from(["ab", "abc"]))
    sides, kinds, strengths, lengths, items, times = (draw(st.booleans()) for _ in range(6))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    rate, ties = draw(st.sampled_from([0.0, 0.5, 0.8, 1.0])), draw(st.sampled_from([0.0, 0.3, 1.0]))
    made = []
    for n in range(draw(st.integers(least, 40))):
        arm, against = sorted(rng.permutation(list(arms))[:2])
        kind = "tie" if rng.random() < ties else "win" if rng.random() < rate else "loss"
        made.append(
            Judgment(
                f"j{n}", f"p{rng.integers(people)}", str(arm), str(against), kind,  # type: ignore[arg-type]
                ("left", "right")[rng.integers(2)] if sides else None,  # type: ignore[arg-type]
                ("own", "bank")[rng.integers(2)] if kinds else None,  # type: ignore[arg-type]
                int(rng.integers(1, 6)) if strengths else None,
                int(rng.integers(0, 90)) if lengths else None, 50 if lengths else None,
                item=f"i{rng.integers(4)}" if items else None,
                judged_at=float(rng.integers(9)) if times else None,
            )
        )  # fmt: skip
    return made
