"""The Bayes-optimal reader counts prior, noise and selection rightly: a bound on winning."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from fspo_core.worlds import get_world
from fspo_core.worlds.base import seeded
from fspo_core.worlds.optimum import (
    BestAnswerer,
    PosteriorReader,
    agnostic_winrate,
    ceiling,
    outcome,
)
from fspo_core.worlds.reviews import Reviews


def test_the_posterior_is_bayes_rule_by_hand() -> None:
    """Reviews has eight users and four answers: every sum can be written out."""
    world = Reviews()
    users = world.prior(0, 0)
    answers = world.values

    def p(user: np.ndarray, first: tuple[int, ...], second: tuple[int, ...]) -> float:
        return float(1 / (1 + np.exp(-user @ np.subtract(first, second) / world.temperature)))

    labels = [((1, 1), (-1, 1)), ((1, -1), (1, 1))]
    by_hand = np.ones(len(users))
    for i, user in enumerate(users):
        for chosen, rejected in labels:
            kept = np.mean([p(user, a, b) ** 2 + p(user, b, a) ** 2
                            for a, b in product(answers, answers)])  # fmt: skip
            by_hand[i] *= p(user, chosen, rejected) ** 2 / kept
    by_hand /= by_hand.sum()
    reader = PosteriorReader(world, particles=0, seed=1, probes=40_000)
    assert reader.posteriors_of(labels)[-1] == pytest.approx(by_hand, abs=0.005)


def test_how_pairs_were_selected_shifts_the_posterior() -> None:
    """A user without strong likes keeps fewer pairs: having kept one speaks against them."""
    world = get_world("roleplay")
    reader = PosteriorReader(world, particles=800, seed=1)
    indifferent = np.abs(reader.weights).sum(axis=1) <= 3
    assert reader.log_kept[indifferent].mean() < reader.log_kept[~indifferent].mean() - 0.1


def test_the_posterior_is_calibrated() -> None:
    """Of the labels given probability p, about p come true."""
    world = get_world("roleplay")
    reader = PosteriorReader(world, particles=1500, seed=2)
    rng = seeded("calibration")
    told, came = [], []
    for user in world.sample_users(150, split="heldout", seed=2):
        pairs = world.sample_pairs(user, 5, rng, split="heldout")
        # The chosen answer's side is no news to the reader: ask about the one that stood first.
        p = reader.prefers_chosen(pairs[:4], pairs[4])
        told.append(p if pairs[4].chosen_first else 1 - p)
        came.append(pairs[4].chosen_first)
    brier = np.mean((np.array(told) - came) ** 2)
    expected = np.mean(np.array(told) * (1 - np.array(told)))
    assert brier == pytest.approx(expected, abs=0.05)


def test_more_labels_bring_the_posterior_closer_to_the_user() -> None:
    world = get_world("roleplay")
    rng = seeded(2)
    reader = PosteriorReader(world, particles=1500, seed=1)
    right = {1: 0.0, 8: 0.0}
    users = world.sample_users(150, split="heldout", seed=2)
    for user in users:
        pairs = world.sample_pairs(user, 9, rng, split="heldout")
        for n in right:
            right[n] += reader.prefers_chosen(pairs[:n], pairs[8]) > 0.5
    assert right[8] > right[1] > 0.5 * len(users)


def test_the_best_answer_for_a_known_user_wins_whenever_it_can() -> None:
    world = get_world("elix_hard")
    reader = PosteriorReader(world, particles=0, seed=1)
    answerer = BestAnswerer(reader)
    rng = seeded(3)
    for i in (0, 7, 40):
        sure = np.zeros(len(reader.weights))
        sure[i] = 1.0
        user = type(world.sample_users(1, split="train", seed=1)[0])("u", tuple(reader.weights[i]))
        for _ in range(5):
            opponent = world.sample_values(rng)
            (mine,) = answerer.best(sure, [opponent])
            top = world.best_values(user.weights, rng)
            assert outcome(world, user, mine, opponent) == outcome(world, user, top, opponent)


def test_the_difficulty_of_roleplay_is_what_the_study_needs() -> None:
    """Small samples: the frozen figures with their errors are in docs/worlds.md."""
    world = get_world("roleplay")
    rows = {
        r.shots: r
        for r in ceiling(
            world, split="heldout", shots=(1, 4, 8), episodes=120, particles=800, seed=1
        )
    }
    assert rows[1].ceiling < 75 + 3 * rows[1].ceiling_error
    assert rows[8].ceiling == pytest.approx(92, abs=4 + 3 * rows[8].ceiling_error)
    assert rows[4].oracle - rows[4].ceiling > 3
    assert rows[4].copycat < rows[4].ceiling - 10
    users = world.sample_users(400, split="train", seed=1)
    assert 0.57 < agnostic_winrate(world, users, seed=1) < 0.68
