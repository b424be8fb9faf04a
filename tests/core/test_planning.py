"""How many people a study needs, against published sizes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_effectsize

from fspo_core.evaluation.planning import (
    ImpossiblePlan,
    design_effect,
    detectable,
    independent_judgments,
    plan,
    power_of,
)


def test_planning_gives_the_published_sizes() -> None:
    # Two groups, 0.50 against 0.75, power 0.90: 76.7 each (by statsmodels, arcsine).
    effect = proportion_effectsize(0.5, 0.75)
    assert NormalIndPower().solve_power(abs(effect), power=0.9, alpha=0.05) == pytest.approx(
        76.7, abs=0.05
    )
    # One sample, 0.72 against 0.5: about 50; three times that at ICC 0.2 with 11 a participant.
    assert independent_judgments(0.72, 0.9) == pytest.approx(50, abs=0.5)
    assert design_effect(11, 0.2) == pytest.approx(3)
    needed = plan(0.72, power=0.9, icc=0.2, per_participant=11)
    assert needed.independent == 50
    assert needed.participants == math.ceil(3 * independent_judgments(0.72, 0.9) / 11)
    assert needed.judgments == 11 * needed.participants


def test_power_and_the_smallest_winrate_belong_together() -> None:
    rate = detectable(50, power=0.8, icc=0.1)
    assert power_of(50, rate, icc=0.1) == pytest.approx(0.8)
    assert plan(rate, power=0.8, icc=0.1).participants in (50, 51)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"winrate": 0.5}, r"0\.5"),
        ({"winrate": 1.2}, r"1\.2"),
        ({"winrate": 0.6, "power": 1.0}, r"1\.0"),
        ({"winrate": 0.6, "icc": -0.1}, r"-0\.1"),
        ({"winrate": 0.6, "per_participant": 0}, "got 0"),
    ],
)
def test_impossible_plans_are_refused(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(ImpossiblePlan, match=message):
        plan(**settings_)
    if "power" not in settings_:
        with pytest.raises(ImpossiblePlan, match=message):
            power_of(25, **settings_)


def test_a_plan_never_promises_what_the_analysis_cannot_keep() -> None:
    found = plan(0.95, icc=0.0)
    assert found.participants >= 2
    assert power_of(found.participants, 0.95, icc=0.0) >= 0.9
    with pytest.raises(ImpossiblePlan, match="2 participants tell no winrate"):
        detectable(2, icc=1.0)
    with pytest.raises(ImpossiblePlan, match="got 1"):
        power_of(1, 0.6)
