"""Agreement with oneself and between people."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fspo_core.evaluation.reliability import between_people
from fspo_core.evaluation.reliability import test_retest as retest_of
from fspo_core.types import Judgment, Outcome


def test_agreement_with_oneself_is_counted_over_repeated_items_whatever_the_sides() -> None:
    made = [
        Judgment("1", "ann", "fspo", "base", "win", item="x"),
        Judgment("2", "ann", "base", "fspo", "loss", item="x"),  # the same verdict, mirrored
        Judgment("3", "ann", "fspo", "base", "win", item="y"),
        Judgment("4", "ann", "fspo", "base", "loss", item="y"),
        Judgment("5", "ben", "fspo", "base", "tie", item="x"),
    ]
    found = retest_of(made)
    assert found is not None
    assert (found.agreement, found.items, found.raters, found.ceiling) == (0.5, 2, 1, 0.5)
    other = replace(made[0], judgment_id="6", against="ipo", outcome="loss")
    assert retest_of([*made, other]) == found  # another pairing is another item
    shared = between_people(made)
    assert shared is not None
    assert (shared.agreement, shared.items, shared.raters, shared.ceiling) == (0.0, 1, 2, None)
    assert retest_of(made[2:3]) is None


def test_alpha_is_krippendorffs() -> None:
    # Nominal data of two raters on ten units (Krippendorff, 2011, "Computing Krippendorff's
    # Alpha-Reliability", part A, binary data): alpha 0.095.
    ann = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    ben = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    verdict: dict[int, Outcome] = {0: "loss", 1: "win"}
    made = [
        Judgment(f"{who}{n}", who, "fspo", "base", verdict[v], item=f"i{n}")
        for who, verdicts in (("ann", ann), ("ben", ben))
        for n, v in enumerate(verdicts)
    ]
    found = between_people(made)
    assert found is not None
    assert found.alpha == pytest.approx(0.095, abs=5e-4)
    assert found.agreement == pytest.approx(0.6)
    alike = between_people([replace(j, outcome="win") for j in made])
    assert alike is not None
    assert (alike.agreement, alike.alpha) == (1.0, None)
