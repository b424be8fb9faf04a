"""Abilities over all arms, and p-values over all pairings: against published figures and peers."""

from __future__ import annotations

import math
from dataclasses import replace

import evalica
import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests

from fspo_core.evaluation.ranking import NotRankable, bradley_terry, davidson, holm
from fspo_core.types import Judgment, Outcome
from tests.core.judgments import judgments_of, study

HOME_GAMES = """
Milwaukee Detroit 4 3, Milwaukee Toronto 4 2, Milwaukee NewYork 4 3, Milwaukee Boston 6 1,
Milwaukee Cleveland 4 2, Milwaukee Baltimore 6 0, Detroit Milwaukee 3 3, Detroit Toronto 4 2,
Detroit NewYork 4 3, Detroit Boston 6 0, Detroit Cleveland 6 1, Detroit Baltimore 4 3,
Toronto Milwaukee 2 5, Toronto Detroit 4 3, Toronto NewYork 2 4, Toronto Boston 4 3,
Toronto Cleveland 4 2, Toronto Baltimore 6 0, NewYork Milwaukee 3 3, NewYork Detroit 5 1,
NewYork Toronto 2 5, NewYork Boston 4 3, NewYork Cleveland 4 2, NewYork Baltimore 6 1,
Boston Milwaukee 5 1, Boston Detroit 2 5, Boston Toronto 3 3, Boston NewYork 4 2,
Boston Cleveland 5 2, Boston Baltimore 6 0, Cleveland Milwaukee 2 5, Cleveland Detroit 3 3,
Cleveland Toronto 3 4, Cleveland NewYork 4 3, Cleveland Boston 4 2, Cleveland Baltimore 2 4,
Baltimore Milwaukee 2 5, Baltimore Detroit 1 5, Baltimore Toronto 1 6, Baltimore NewYork 2 4,
Baltimore Boston 1 6, Baltimore Cleveland 3 4
"""


def baseball() -> list[Judgment]:
    """The American League's eastern division in 1987 (Agresti, 2002, table 10.11)."""
    made = []
    for line in HOME_GAMES.replace("\n", " ").split(","):
        home, away, won, lost = line.split()
        verdicts: list[Outcome] = ["win"] * int(won) + ["loss"] * int(lost)
        for outcome in verdicts:
            made.append(Judgment(f"g{len(made)}", f"g{len(made)}", home, away, outcome, "left"))
    return made


def test_bradley_terry_gives_the_published_abilities_and_the_effect_of_playing_at_home() -> None:
    found = bradley_terry(baseball(), reference="Baltimore")
    assert [(a.arm, round(a.ability, 2)) for a in found.abilities] == [
        ("Milwaukee", 1.58), ("Detroit", 1.44), ("Toronto", 1.29), ("NewYork", 1.25),
        ("Boston", 1.11), ("Cleveland", 0.68), ("Baltimore", 0.0),
    ]  # fmt: skip
    at_home = bradley_terry(baseball(), reference="Baltimore", position=True)
    assert at_home.left == pytest.approx(0.302, abs=5e-4)


# Benjamini and Hochberg (1995), section 3.2: fifteen hypotheses about a thrombolytic treatment.
BH_1995 = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
    0.6528, 0.7590, 1.0,
]  # fmt: skip


def test_holm_rejects_three_of_benjamini_and_hochbergs_example_as_bonferroni_does() -> None:
    assert sum(p <= 0.05 for p in holm(BH_1995)) == 3
    assert sum(15 * p <= 0.05 for p in BH_1995) == 3
    assert holm(BH_1995) == pytest.approx(list(multipletests(BH_1995, method="holm")[1]))
    # The false discovery rate, which promises less, allows a fourth.
    assert multipletests(BH_1995, method="fdr_bh")[0].sum() == 4


def test_holm_rejects_as_by_hand() -> None:
    # Holm (1979): sorted p-values times 4, 3, 2, 1, never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_bradley_terry_is_evalicas() -> None:
    games = baseball()
    winners = {"win": evalica.Winner.X, "loss": evalica.Winner.Y, "tie": evalica.Winner.Draw}
    games = [replace(g, outcome="tie") if n % 9 == 0 else g for n, g in enumerate(games)]
    theirs = evalica.bradley_terry(
        [g.arm for g in games], [g.against for g in games], [winners[g.outcome] for g in games],
        tolerance=1e-12, limit=10_000,
    )  # fmt: skip
    logs = np.log(theirs.scores) - np.log(theirs.scores["Baltimore"])
    ours = bradley_terry(games, reference="Baltimore")
    assert {a.arm: a.ability for a in ours.abilities} == pytest.approx(dict(logs), abs=1e-3)


def test_bradley_terrys_covariance_is_statsmodels_clustered_by_participant() -> None:
    judgments = study()
    half = [1.0 if j.outcome == "win" else 0.5 if j.outcome == "tie" else 0.0 for j in judgments]
    model = sm.GLM(half, np.ones(len(half)), family=sm.families.Binomial())
    people = [int(j.participant[1:]) for j in judgments]
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": people, "use_correction": False})
    (strong, weak) = bradley_terry(judgments, reference="base").abilities
    assert strong.ability == pytest.approx(fit.params[0])
    assert (strong.arm, weak.arm, strong.low is not None) == ("fspo", "base", True)
    width = (strong.high or 0) - (strong.low or 0)
    error = width / 2 / stats.t.ppf(0.975, 39)
    assert error == pytest.approx(fit.bse[0] * math.sqrt(40 / 39))


def test_davidson_finds_what_it_was_simulated_with() -> None:
    rng = np.random.default_rng(4)
    truth, tie = {"a": 0.0, "b": 0.8, "c": -0.5}, 0.6
    made = []
    for n in range(6000):
        first, second = rng.permutation(list(truth))[:2]
        strengths = math.exp(truth[first]), math.exp(truth[second])
        weights = np.array([*strengths, tie * math.sqrt(strengths[0] * strengths[1])])
        kind = int(rng.choice(3, p=weights / weights.sum()))
        outcome: Outcome = ("win", "loss", "tie")[kind]  # type: ignore[assignment]
        made.append(Judgment(f"j{n}", f"p{n % 300}", str(first), str(second), outcome))
    found = davidson(made, reference="a")
    for arm in found.abilities:
        assert arm.ability == pytest.approx(truth[arm.arm], abs=0.12)
        if arm.low is not None and arm.high is not None:
            assert arm.low < truth[arm.arm] < arm.high
    assert found.tie == pytest.approx(tie, abs=0.06)


def test_agreement_by_luck_does_not_make_abilities_certain() -> None:
    made = judgments_of(*[(f"p{n}", "tie") for n in range(8)])
    strong = next(a for a in bradley_terry(made).abilities if a.low is not None)
    assert strong.high is not None
    assert strong.low is not None
    assert strong.high - strong.low > 1
    narrow = next(a for a in bradley_terry(made, level=0.5).abilities if a.low is not None)
    assert narrow.high is not None
    assert narrow.high < strong.high


def test_arms_that_cannot_be_ranked_say_why() -> None:
    with pytest.raises(NotRankable, match="always lost"):
        bradley_terry(judgments_of(("a", "win"), ("b", "win")))
    with pytest.raises(NotRankable, match="needs ties"):
        davidson(judgments_of(("a", "win"), ("b", "loss")))
    with pytest.raises(NotRankable, match="all verdicts are ties"):
        davidson(judgments_of(("a", "tie"), ("b", "tie")))
    with pytest.raises(NotRankable, match="compare no two arms"):
        bradley_terry([])
    with pytest.raises(NotRankable, match="'nobody' is none of base, fspo"):
        bradley_terry(study(), reference="nobody")
