"""The Bayes-optimal reader of labels: what anybody could know of a user from N labelled pairs.

It knows the prior over users, the label noise and the answers' latent attributes. The posterior is
an importance sample: users drawn from the prior, weighted by the likelihood of the labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fspo_core.worlds.base import LatentPair
from fspo_core.worlds.roleplay import LABEL_TEMPERATURE, Roleplay

Floats = NDArray[np.float64]


class PosteriorReader:
    """Posterior over users' weights after each label. ``particles`` users stand for the prior."""

    def __init__(self, world: Roleplay, *, particles: int, seed: int) -> None:
        rng = np.random.default_rng([seed, 4])
        self.weights: Floats = np.array([world.sample_weights(rng) for _ in range(particles)])

    def posteriors(self, pairs: Sequence[LatentPair]) -> Floats:
        """Probability of each particle after 0, 1, … labels, shape [len(pairs) + 1, particles]."""
        gaps = np.array([np.subtract(p.chosen, p.rejected) for p in pairs]).reshape(
            len(pairs), self.weights.shape[1]
        )
        logits = gaps @ self.weights.T / LABEL_TEMPERATURE
        log_likelihood = -np.logaddexp(0.0, -logits)
        total = np.vstack([np.zeros(len(self.weights)), np.cumsum(log_likelihood, axis=0)])
        unnormalized = np.exp(total - total.max(axis=1, keepdims=True))
        return np.asarray(unnormalized / unnormalized.sum(axis=1, keepdims=True))

    def mean_weights(self, pairs: Sequence[LatentPair]) -> Floats:
        """Posterior mean weights after 0, 1, … labels, shape [len(pairs) + 1, attributes]."""
        return np.asarray(self.posteriors(pairs) @ self.weights)

    def prefers_chosen(self, pairs: Sequence[LatentPair], unseen: LatentPair) -> float:
        """Posterior probability of the label of an unseen pair, given all of ``pairs``."""
        gap = np.subtract(unseen.chosen, unseen.rejected) @ self.weights.T / LABEL_TEMPERATURE
        return float(self.posteriors(pairs)[-1] @ (1.0 / (1.0 + np.exp(-gap))))
