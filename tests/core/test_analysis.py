"""All figures of a study together: numbers or refusals, whatever was judged."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fspo_core.evaluation.analysis import analyse
from fspo_core.evaluation.label_prediction import LabelPrediction
from fspo_core.evaluation.sensitivity import (
    SetAside,
)
from fspo_core.evaluation.winrates import mirror, winrate
from fspo_core.types import Judgment
from tests.core.judgments import any_judgments, judgments_of, study


def test_an_analysis_is_json_and_its_headline_is_the_winrates() -> None:
    judgments = study(60, 8, rate=0.75)
    figures = json.loads(json.dumps(analyse(judgments)))
    (row,) = figures["rows"]
    result = winrate(judgments)
    assert (row["winrate"], row["low"], row["high"]) == (result.rate, result.low, result.high)
    assert row["sequence"]["low"] < row["low"]
    assert row["p_value_holm"] == row["p_value"] < 0.05
    assert {e["term"] for e in row["effects"]} >= {"position", "length"}
    assert figures["between_people"]["items"] == 8
    assert figures["retest"] == {"refused": "no item was judged twice by the same person"}
    assert figures["ranking"]["abilities"][0]["arm"] == "fspo"
    assert analyse([])["rows"] == []


@settings(max_examples=60, deadline=None)
@given(any_judgments())
def test_whatever_is_judged_every_figure_is_a_number_or_a_refusal(
    judgments: list[Judgment],
) -> None:
    def check(found: Any) -> None:
        if isinstance(found, dict):
            for value in found.values():
                check(value)
        elif isinstance(found, list):
            for value in found:
                check(value)
        elif isinstance(found, float):
            assert math.isfinite(found), figures

    figures = analyse(judgments)
    check(figures)
    for row in figures["rows"]:
        event("effects" if isinstance(row["effects"], list) else "no effects")
        for part in (row, row["bootstrap"], row["sequence"], row["length_controlled"]):
            if part.get("low") is not None:
                assert 0 <= part["low"] <= part["high"] <= 1


@settings(max_examples=25, deadline=None)
@given(any_judgments(least=1), st.randoms())
def test_neither_the_order_of_rows_nor_the_arms_names_matter(
    judgments: list[Judgment], random: Any
) -> None:
    shuffled = list(judgments)
    random.shuffle(shuffled)
    seen, again = analyse(judgments)["rows"], analyse(shuffled)["rows"]
    swapped = {
        (row["against"], row["arm"]): row for row in analyse([mirror(j) for j in judgments])["rows"]
    }
    for row, other in zip(seen, again, strict=True):
        for key in ("winrate", "low", "p_value", "bootstrap", "sign_test", "sequence"):
            assert row[key] == other[key], key
        mirrored = swapped[row["arm"], row["against"]]
        assert mirrored["winrate"] == pytest.approx(1 - row["winrate"])
        assert mirrored["p_value_holm"] == pytest.approx(row["p_value_holm"])
        assert mirrored["sign_test"]["over"] == row["sign_test"]["under"]
        if "refused" not in row["sequence"]:
            assert mirrored["sequence"]["low"] == pytest.approx(1 - row["sequence"]["high"])


def test_a_study_as_people_make_it_has_every_figure() -> None:
    """The properties above also hold of refusals alone; here nothing may be refused."""
    judgments = study(30, 8)
    again = [replace(j, judgment_id=f"{j.judgment_id}'") for j in judgments[:40]]
    predictions = [LabelPrediction("p1", n, 0.6) for n in range(4)]
    figures = analyse([*judgments, *again], predictions=predictions)
    assert "refused" not in json.dumps(figures)
    assert figures["retest"]["agreement"] == 1.0
    swapped = analyse([mirror(j) for j in judgments])["rows"][0]["length_controlled"]
    (row,) = analyse(judgments)["rows"]
    assert swapped["rate"] == pytest.approx(1 - row["length_controlled"]["rate"], abs=1e-4)


def test_twice_as_many_people_narrow_what_they_must() -> None:
    once = study(30, 6)
    twice = once + [replace(j, judgment_id=f"{j.judgment_id}'", participant=f"{j.participant}'")
                    for j in once]  # fmt: skip
    (few,), (many,) = (analyse(js)["rows"] for js in (once, twice))

    def width(row: dict[str, Any]) -> float:
        return float(row["high"] - row["low"])

    assert few["winrate"] == pytest.approx(many["winrate"])
    assert width(many) == pytest.approx(width(few) / math.sqrt(2), rel=0.05)
    for key in ("bootstrap", "sequence", "length_controlled"):
        assert width(many[key]) < width(few[key]), key
    more = once + [replace(j, judgment_id=f"{j.judgment_id}'") for j in once]
    (same,) = analyse(more)["rows"]  # the same people, every verdict twice: nothing learned
    assert width(same) == pytest.approx(width(few), rel=0.01)


def test_set_aside_comparisons_count_where_they_belong() -> None:
    judgments = [replace(j, shots=4) for j in judgments_of(("ann", "win"), ("ben", "loss"))]
    missing = [SetAside("ann", "fspo", "base", "fspo", shots=4), SetAside("ann", "fspo", "base",
               shots=8)]  # fmt: skip
    figures = analyse(judgments, missing)
    assert figures["set_aside"] == 2
    assert [row["set_aside"]["set_aside"] for row in figures["rows"]] == [1]


def test_rows_told_from_the_other_side_are_the_same_pairing() -> None:
    judgments = study(10, 4)
    mixed = [mirror(j) if n % 3 else j for n, j in enumerate(judgments)]
    (row,), (other,) = analyse(judgments)["rows"], analyse(mixed)["rows"]
    assert (row["winrate"], row["judgments"]) == (other["winrate"], other["judgments"])
    (with_missing,) = analyse(judgments, [SetAside("p1", "base", "fspo", "base")])["rows"]
    assert with_missing["set_aside"]["against_failed"] == 1


def test_who_may_still_judge_is_not_in_the_confidence_sequence() -> None:
    judgments = study(12, 5)
    (row,) = analyse(judgments, unfinished={"p11"})["rows"]
    (before,) = analyse([j for j in judgments if j.participant != "p11"])["rows"]
    (after,) = analyse(judgments)["rows"]
    assert row["sequence"] == before["sequence"]
    assert after["sequence"]["lows"][:11] == before["sequence"]["lows"]  # what was shown stands
