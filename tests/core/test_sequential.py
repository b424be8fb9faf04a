"""The confidence sequence, and the simulation that holds every interval to its promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fspo_core.errors import FspoError, InvalidJudgment
from fspo_core.evaluation.coverage import METHODS, coverage
from fspo_core.evaluation.sequential import confidence_sequence, log_capital


def test_the_confidence_sequence_tightens_and_holds_the_truth() -> None:
    values = np.random.default_rng(2).beta(7, 3, 400)
    found = confidence_sequence(values)
    assert (np.diff(found.low) >= 0).all()
    assert (np.diff(found.high) <= 0).all()
    assert ((found.low <= 0.7) & (found.high >= 0.7)).all()
    assert found.high[-1] - found.low[-1] < 0.15
    assert found.low[0] < 0.2
    mirrored = confidence_sequence(1 - values)
    assert mirrored.low == pytest.approx(1 - found.high, abs=1e-9)


def test_the_sequence_holds_at_all_times_together_also_for_wins_alone() -> None:
    rng = np.random.default_rng(3)
    values = (rng.random((2000, 60)) < 0.6).astype(float)
    reached = log_capital(values, np.array(0.6)).max(-1) >= math.log(20)
    assert reached.mean() <= 0.05
    wins = confidence_sequence(np.ones(40))
    assert wins.high[-1] == 1.0
    assert wins.low[-1] > 0.8
    with pytest.raises(InvalidJudgment, match=r"1\.5"):
        confidence_sequence(np.array([0.5, 1.5]))


def test_the_simulation_of_coverage_tells_the_methods_apart() -> None:
    rows = coverage(replicates=300, seed=2)
    assert len(rows) == 2 * 3 * 3 * len(METHODS)
    by_method = {m: [r.coverage for r in rows if r.method == m] for m in METHODS}
    assert min(by_method["clustered"]) > 0.90  # 300 replicates: 95 % within 3.8 points
    assert min(by_method["sequence"]) > 0.95
    assert min(by_method["wilson"]) < 0.80
    with pytest.raises(FspoError, match="got 0"):
        coverage(replicates=0)
