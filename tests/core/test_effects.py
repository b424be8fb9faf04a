"""Effects of side, length, question kind and strength, and what cannot be estimated."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from fspo_core.evaluation.effects import (
    NotEstimable,
    effects,
    length_controlled,
    length_term,
    plain_length_controlled,
)
from fspo_core.evaluation.winrates import winrate
from fspo_core.types import Judgment
from tests.core.judgments import judgments_of, study


def test_the_effects_are_those_simulated_and_the_length_controlled_rate_leaves_length_out() -> None:
    judgments = study(300, 10, side=0.6, length=1.2, rate=0.6, ties=0.0)
    judgments = [replace(j, arm_words=j.arm_words + 30 if j.arm_words else None) for j in judgments]
    found = {effect.term: effect for effect in effects(judgments)}
    assert set(found) == {"position", "length", "own question", "strength"}
    # Averaged over people whose log-odds have a standard deviation of 0.4 (Zeger et al., 1988).
    marginal = 0.6 / math.sqrt(1 + 0.346 * 0.4**2)
    assert found["position"].low < math.exp(marginal) < found["position"].high
    assert found["length"].odds_ratio > 2
    assert found["own question"].low < 1 < found["own question"].high
    raw, adjusted = winrate(judgments).rate, length_controlled(judgments)
    assert adjusted.rate < raw - 0.03  # the arm's answers were longer, and longer answers won
    assert adjusted.low is not None
    assert adjusted.low < adjusted.rate < (adjusted.high or 0)
    plain = plain_length_controlled(judgments)
    assert plain.rate == pytest.approx(adjusted.rate, abs=0.02)


def test_alpacas_model_with_difficulties_is_a_logistic_regression() -> None:
    judgments = study(60, 6, length=0.8)
    difficulty = {f"q{n}": 0.3 * n for n in range(6)}
    hard = np.array([difficulty[str(j.item)] for j in judgments])
    design = np.column_stack([np.ones(len(hard)), length_term(judgments), hard])
    half = [1.0 if j.outcome == "win" else 0.5 if j.outcome == "tie" else 0.0 for j in judgments]
    params = sm.GLM(half, design, family=sm.families.Binomial()).fit().params
    wanted = (1 / (1 + np.exp(-(params[0] + hard * params[2])))).mean()
    assert plain_length_controlled(judgments, difficulty).rate == pytest.approx(wanted)
    with pytest.raises(NotEstimable, match="'q5'"):
        plain_length_controlled(judgments, {k: v for k, v in difficulty.items() if k != "q5"})


@pytest.mark.parametrize(
    ("judgments", "refusal"),
    [
        ([replace(j, outcome="win") for j in study(9, 1)], "all 9 verdicts are the same"),
        (study(3, 2), "3 participants are too few for"),
        (judgments_of(("a", "win"), ("b", "loss"), arm_words=1, against_words=2), "same length"),
        (
            judgments_of(*[(f"p{n}", "win" if n % 2 else "loss") for n in range(9)]),
            "nothing varies",
        ),
        ([], "nothing varies"),
    ],
)
def test_effects_that_cannot_be_estimated_say_why(judgments: list[Judgment], refusal: str) -> None:
    with pytest.raises(NotEstimable, match=refusal):
        effects(judgments)


def test_the_covariance_is_mancl_and_derouens() -> None:
    """By hand, of a model with independent working correlation: one or two verdicts each."""
    judgments = study(14, 1, ties=0.0) + study(3, 1, seed=8, ties=0.0)
    judgments = [replace(j, judgment_id=str(n)) for n, j in enumerate(judgments)]
    design = np.column_stack([np.ones(len(judgments)), length_term(judgments)])
    won = np.array([float(j.outcome == "win") for j in judgments])
    people = np.array([j.participant for j in judgments])
    found = length_controlled(judgments)
    fit = sm.GLM(won, design, family=sm.families.Binomial()).fit()
    chance = fit.fittedvalues
    weight = chance * (1 - chance)
    bread = np.linalg.inv(design.T @ (design * weight[:, None]))
    meat = np.zeros((2, 2))
    for person in set(people):
        own = people == person
        x, w = design[own], weight[own]
        leverage = (w[:, None] * x) @ bread @ x.T
        residual = np.linalg.solve(np.eye(own.sum()) - leverage, (won - chance)[own])
        score = x.T @ residual
        meat += np.outer(score, score)
    error = math.sqrt((bread @ meat @ bread)[0, 0])
    half = stats.t.ppf(0.975, 14 - 2) * error
    assert found.rate == pytest.approx(1 / (1 + math.exp(-fit.params[0])), abs=1e-6)
    assert found.high == pytest.approx(1 / (1 + math.exp(-(fit.params[0] + half))), abs=1e-4)


def test_a_term_that_one_participant_carries_alone_is_refused() -> None:
    made = [
        replace(j, question_kind="own" if j.participant == "p3" else "bank", arm_side=None,
                strength=None, arm_words=None, against_words=None)
        for j in study(12, 5)
    ]  # fmt: skip
    with pytest.raises(NotEstimable, match="participant 'p3' alone"):
        effects(made)


def test_separated_verdicts_are_refused_not_fitted() -> None:
    made = [
        replace(j, arm_words=100 + (50 if j.outcome == "win" else -50 - n), against_words=100)
        for n, j in enumerate(study(20, 4, ties=0.0))
    ]
    with pytest.raises(NotEstimable):
        length_controlled(made)
