"""How far a winrate depends on how it was counted: other intervals, other tests, what is missing.

Pure functions over judgments of one pairing. The headline is in ``winrates``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from fspo_core.errors import InvalidJudgment, NoJudgments
from fspo_core.evaluation.winrates import TieRule, participant_means, winrate
from fspo_core.types import Judgment, Outcome

RESAMPLES = 2000
NEAR = 0.1  # lengths within a tenth of each other
GATHERED = 4_000_000  # resampled means in memory at a time


@dataclass(frozen=True, slots=True)
class SignTest:
    """People whose winrate is over, under, or exactly one half.

    Over those who are not undecided: the exact two-sided binomial test, and Clopper and Pearson's
    (1934) interval for the share that is over. Without any of them ``p_value`` is 1, the interval
    0 to 1.
    """

    over: int
    under: int
    undecided: int
    p_value: float
    share_low: float
    share_high: float


@dataclass(frozen=True, slots=True)
class SetAside:
    """A comparison nobody could judge, since an answer failed. ``failed`` is the arm whose answer
    it was, None where both or neither are to blame."""

    participant: str
    arm: str
    against: str
    failed: str | None = None
    world: str = "people"
    shots: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """The winrate had all set-aside comparisons been lost (``low``) or won (``high``) by the arm,
    and had each been lost by the arm whose answer failed (``blamed``; a tie where none is known).
    ``set_aside`` counts them; ``arm_failed`` and ``against_failed`` say whose answer it was."""

    low: float
    high: float
    blamed: float
    set_aside: int
    arm_failed: int
    against_failed: int


def bootstrap_interval(
    judgments: Iterable[Judgment], *, ties: TieRule = "half", level: float = 0.95, seed: int = 1
) -> tuple[float, float]:
    """Percentile bootstrap over participants (Field and Welsh, 2007, "cluster bootstrap").

    Known to be too short for few people; beside the headline for comparison. One participant:
    0..1. Raises NoJudgments as ``winrate`` does.
    """
    means = participant_means(judgments, ties)
    if len(means) < 2:
        return 0.0, 1.0
    found = stats.bootstrap(
        (means,), np.mean, n_resamples=RESAMPLES, confidence_level=level, method="percentile",
        batch=max(1, GATHERED // len(means)), rng=np.random.default_rng(seed),
    )  # fmt: skip
    low, high = (float(bound) for bound in found.confidence_interval)
    return low, high


def sign_test(
    judgments: Iterable[Judgment], *, ties: TieRule = "half", level: float = 0.95
) -> SignTest:
    """Whether more people preferred the arm than its opponent. Raises NoJudgments."""
    means = participant_means(judgments, ties)
    # Means are sums of halves over counts: one half comes out exactly.
    over, under = int((means > 0.5).sum()), int((means < 0.5).sum())
    undecided = len(means) - over - under
    if not over + under:
        return SignTest(over, under, undecided, 1.0, 0.0, 1.0)
    test = stats.binomtest(over, over + under)
    share = test.proportion_ci(level, method="exact")
    return SignTest(over, under, undecided, float(test.pvalue), float(share.low), float(share.high))


def set_aside_bounds(judgments: Sequence[Judgment], set_aside: Sequence[SetAside]) -> Bounds:
    """Worst cases over comparisons that were set aside (Manski, 1990, bounds without assumptions).

    Ties are half wins. Raises InvalidJudgment where one is of another pairing, NoJudgments where
    nothing was judged or set aside.
    """
    pairings = {(j.arm, j.against, j.world, j.shots) for j in judgments}
    pairings |= {(s.arm, s.against, s.world, s.shots) for s in set_aside}
    if len(pairings) > 1:
        raise InvalidJudgment(f"bounds were asked for {len(pairings)} pairings: {pairings!r}")
    if not pairings:
        raise NoJudgments("no judgments to count, and nothing was set aside")
    ((arm, against, world, shots),) = pairings
    blame: dict[str | None, Outcome] = {arm: "loss", against: "win", None: "tie"}
    for missing in set_aside:
        if missing.failed not in blame:
            raise InvalidJudgment(f"the failed arm {missing.failed!r} is none of {arm}, {against}")
    pattern = Judgment("", "", arm, against, "tie", world=world, shots=shots)

    def rate(outcomes: Iterable[Outcome]) -> float:
        made = [
            replace(pattern, judgment_id=f"set aside {i}", participant=s.participant, outcome=o)
            for i, (s, o) in enumerate(zip(set_aside, outcomes, strict=True))
        ]
        return winrate([*judgments, *made]).rate

    failed = Counter(s.failed for s in set_aside)
    return Bounds(
        low=rate(["loss"] * len(set_aside)),
        high=rate(["win"] * len(set_aside)),
        blamed=rate([blame[s.failed] for s in set_aside]),
        set_aside=len(set_aside),
        arm_failed=failed[arm],
        against_failed=failed[against],
    )


def of_like_length(judgments: Iterable[Judgment], near: float = NEAR) -> list[Judgment]:
    """Judgments between answers whose lengths differ by at most ``near`` of the longer one.

    Those without lengths are left out.
    """
    return [
        j
        for j in judgments
        if j.arm_words is not None
        and j.against_words is not None
        and abs(j.arm_words - j.against_words) <= near * max(j.arm_words, j.against_words)
    ]


def position_view(judgments: Iterable[Judgment]) -> list[Judgment]:
    """The same verdicts from the left answer's point of view, whatever arm stood there.

    A winrate of these over one half is position bias. Those whose sides are unknown are left out.
    """
    mirrored: dict[Outcome, Outcome] = {"win": "loss", "loss": "win", "tie": "tie"}
    return [
        replace(
            j, arm="left", against="right", arm_side="left", world="", shots=0,
            outcome=j.outcome if j.arm_side == "left" else mirrored[j.outcome],
        )
        for j in judgments
        if j.arm_side is not None
    ]  # fmt: skip
