"""Other ways to count: people, worst cases, sides, like lengths; against published figures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from fspo_core.errors import InvalidJudgment, NoJudgments
from fspo_core.evaluation.sensitivity import (
    SetAside,
    bootstrap_interval,
    of_like_length,
    position_view,
    set_aside_bounds,
    sign_test,
)
from fspo_core.evaluation.winrates import alpaca_eval, winrate
from tests.core.judgments import Verdict, judgments_of


def test_the_exact_interval_for_18_of_20_people_is_the_published_one() -> None:
    verdicts: list[Verdict] = [(f"p{n}", "win" if n < 18 else "loss") for n in range(20)]
    found = sign_test(judgments_of(*verdicts))
    assert (found.over, found.under) == (18, 2)
    assert (round(found.share_low, 6), round(found.share_high, 6)) == (0.683017, 0.987651)
    # The peer that other figures are held against prints the published ones as well.
    assert proportion_confint(18, 20, method="beta") == pytest.approx(
        (found.share_low, found.share_high), abs=1e-12
    )
    jeffreys = proportion_confint(18, 20, method="jeffreys")
    assert [round(bound, 6) for bound in jeffreys] == [0.716147, 0.978628]
    undecided = sign_test(judgments_of(("ann", "tie")))
    assert (undecided.share_low, undecided.share_high) == (0.0, 1.0)


def test_alpaca_eval_is_the_mean_and_its_standard_error() -> None:
    given_preferences = [1.0, 2.0, 1.5, 1.93, 1.2]
    found = alpaca_eval(given_preferences)
    values = np.array(given_preferences) - 1
    assert found.win_rate == pytest.approx(100 * values.mean())
    assert found.standard_error == pytest.approx(100 * values.std(ddof=1) / math.sqrt(5))
    with pytest.raises(InvalidJudgment, match=r"2\.3"):
        alpaca_eval([1.0, 2.3])
    with pytest.raises(NoJudgments):
        alpaca_eval([])


def test_position_bias_is_the_lefts_winrate() -> None:
    judgments = judgments_of(("ann", "win"), ("ann", "loss"), ("ben", "tie"))
    sides = [replace(j, arm_side="right" if n == 1 else "left") for n, j in enumerate(judgments)]
    assert winrate(position_view(sides)).rate == pytest.approx(0.75)  # ann 2 of 2, ben a tie
    assert position_view(judgments) == []


def test_the_bootstrap_and_the_sign_test_by_hand() -> None:
    verdicts: list[Verdict] = [(f"p{n}", "win" if n < 9 else "loss") for n in range(12)]
    found = sign_test(judgments_of(*verdicts, ("q", "tie")))
    assert (found.over, found.under, found.undecided) == (9, 3, 1)
    assert found.p_value == pytest.approx(stats.binomtest(9, 12).pvalue)
    low, high = bootstrap_interval(judgments_of(*verdicts))
    means = np.array([1.0] * 9 + [0.0] * 3)  # resampled means are binomial: exact percentiles
    expected = stats.binom.ppf([0.025, 0.975], 12, means.mean()) / 12
    assert (low, high) == pytest.approx(tuple(expected), abs=1e-9)
    assert bootstrap_interval(judgments_of(("ann", "win"))) == (0.0, 1.0)
    assert sign_test(judgments_of(("ann", "tie"))).p_value == 1.0


def test_set_aside_comparisons_bound_the_winrate() -> None:
    judgments = judgments_of(("ann", "win"), ("ben", "loss"))
    missing = [SetAside("ann", "fspo", "base", "fspo"), SetAside("cat", "fspo", "base", "base"),
               SetAside("ben", "fspo", "base")]  # fmt: skip
    found = set_aside_bounds(judgments, missing)
    assert found.low == pytest.approx((0.5 + 0 + 0) / 3)
    assert found.high == pytest.approx((1 + 0.5 + 1) / 3)
    assert found.blamed == pytest.approx((0.5 + 0.25 + 1) / 3)
    assert (found.set_aside, found.arm_failed, found.against_failed) == (3, 1, 1)
    nothing = set_aside_bounds(judgments, [])
    assert nothing.low == nothing.high == nothing.blamed == 0.5
    with pytest.raises(NoJudgments):
        set_aside_bounds([], [])
    with pytest.raises(InvalidJudgment, match="'ipo'"):
        set_aside_bounds(judgments, [SetAside("ann", "fspo", "base", "ipo")])


def test_answers_of_like_length_differ_by_a_tenth_at_most() -> None:
    first, second, third = judgments_of(("a", "win"), ("b", "win"), ("c", "win"))
    near = [replace(first, arm_words=90, against_words=100), replace(second, arm_words=89,
            against_words=100), third]  # fmt: skip
    assert [j.participant for j in of_like_length(near)] == ["a"]
