"""What anybody could know of a user from N labelled pairs, and how often that wins.

The reader knows the prior over users, the answers' latent attributes, the label noise, and that a
pair was kept only because the user chose alike in both orders. Its posterior is an importance
sample: users drawn from the prior (all of them, where they are finitely many), weighted by the
likelihood of the labels. The *ceiling* is the winrate of the answerer who maximizes the posterior
probability of beating a stored base answer and writes the world's own text (see docs/worlds.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fspo_core.worlds.base import LatentPair, Split, User, Values, World, seeded

Floats = NDArray[np.float64]
Labelled = tuple[Values, Values]  # chosen, rejected


class PosteriorReader:
    """Posterior over users' weights after each label. ``particles`` users stand for the prior."""

    def __init__(self, world: World, *, particles: int, seed: int, probes: int = 1500) -> None:
        self.world = world
        self.weights: Floats = world.prior(particles, seed)
        rng = seeded(world.name, "probes", seed)
        first, second = (
            np.array([world.sample_values(rng) for _ in range(probes)]) for _ in range(2)
        )
        p = _sigmoid((first - second) @ self.weights.T / world.temperature)
        # How likely a random pair of answers is kept, for each user: it divides the likelihood.
        self.log_kept: Floats = np.log((p**2 + (1 - p) ** 2).mean(axis=0))

    def log_likelihood(self, chosen: Values, rejected: Values) -> Floats:
        """log P(this label and the pair kept | user, a kept pair), up to the pair's own density."""
        gap = np.subtract(chosen, rejected) @ self.weights.T / self.world.temperature
        return np.asarray(-2.0 * np.logaddexp(0.0, -gap) - self.log_kept)

    def posteriors_of(self, labels: Sequence[Labelled]) -> Floats:
        """Probability of each particle after 0, 1, … labels, shape [len(labels) + 1, particles]."""
        steps = [self.log_likelihood(chosen, rejected) for chosen, rejected in labels]
        total = np.vstack([np.zeros(len(self.weights)), *steps]).cumsum(axis=0)
        unnormalized = np.exp(total - total.max(axis=1, keepdims=True))
        return np.asarray(unnormalized / unnormalized.sum(axis=1, keepdims=True))

    def posteriors(self, pairs: Sequence[LatentPair]) -> Floats:
        """``posteriors_of`` the pairs' attribute values."""
        return self.posteriors_of([(p.chosen, p.rejected) for p in pairs])

    def mean_weights(self, pairs: Sequence[LatentPair]) -> Floats:
        """Posterior mean weights after 0, 1, … labels, shape [len(pairs) + 1, attributes]."""
        return np.asarray(self.posteriors(pairs) @ self.weights)

    def prefers_chosen(self, pairs: Sequence[LatentPair], unseen: LatentPair) -> float:
        """Posterior probability of the label of an unseen kept pair, given all of ``pairs``."""
        gap = np.subtract(unseen.chosen, unseen.rejected) @ self.weights.T / self.world.temperature
        return float(self.posteriors(pairs)[-1] @ _sigmoid(2.0 * gap))


class BestAnswerer:
    """Chooses, of all answers a world has, the one likeliest to beat a base answer."""

    def __init__(self, reader: PosteriorReader) -> None:
        self.reader = reader
        world = reader.world
        self.rewards = (world.value_matrix @ reader.weights.T.astype(np.float32)).astype(np.float32)

    def best(self, posterior: Floats, opponents: Sequence[Values]) -> list[Values]:
        """For each opponent the values that maximize P(win) + P(tie) / 2 against it."""
        order = np.argsort(-posterior)
        mass = np.cumsum(posterior[order])
        likely = order[: int(np.searchsorted(mass, 0.999)) + 1]
        p = posterior[likely].astype(np.float32)
        rewards = self.rewards[:, likely]
        others = np.asarray(opponents, np.float32) @ self.reader.weights[likely].T
        margin = np.empty_like(rewards)
        chosen = []
        for other in others.astype(np.float32):
            # Rewards are small multiples of a half, exact in single precision: ties are exact.
            np.subtract(rewards, other, out=margin)
            np.sign(margin, out=margin)
            chosen.append(self.reader.world.values[int((margin @ p).argmax())])
        return chosen


@dataclass(frozen=True, slots=True)
class CeilingRow:
    """Winrates in percent against a user-agnostic writer, with their Monte-Carlo errors."""

    world: str
    users: str
    shots: int
    ceiling: float
    ceiling_error: float
    oracle: float
    oracle_error: float
    copycat: float
    copycat_error: float
    agnostic: float
    episodes: int


def agnostic_winrate(world: World, users: Sequence[User], *, seed: int, probes: int = 500) -> float:
    """The best winrate of one answer for everybody, against random answers."""
    rng = seeded(world.name, "agnostic", seed)
    base = np.array([world.sample_values(rng) for _ in range(probes)], dtype=np.float32)
    weights = np.array([u.weights for u in users], dtype=np.float32).T
    mine, others = world.value_matrix @ weights, np.sort(base @ weights, axis=0)
    wins = np.zeros(len(mine))
    for j in range(weights.shape[1]):
        below = np.searchsorted(others[:, j], mine[:, j] - 1e-4, "left")
        upto = np.searchsorted(others[:, j], mine[:, j] + 1e-4, "right")
        wins += (below + upto) / (2 * probes)
    return float(wins.max() / weights.shape[1])


def outcome(world: World, user: User, mine: Values, other: Values) -> float:
    """1 for a win, a half for a tie, 0 for a loss, by the user's latent reward."""
    gap = world.latent_reward(user.weights, mine) - world.latent_reward(user.weights, other)
    return 0.5 if abs(gap) < 1e-9 else float(gap > 0)


def ceiling(
    world: World,
    *,
    split: Split,
    shots: Sequence[int],
    episodes: int,
    particles: int,
    seed: int,
    opponents_each: int = 3,
    progress: Callable[[int], None] = lambda _: None,
) -> list[CeilingRow]:
    """The ceiling by number of shots, with oracle, copycat and the best user-agnostic policy.

    An episode is a user, their labels, and ``opponents_each`` answers of a user-agnostic writer.
    The copycat takes the attributes of the chosen answer of one shot, drawn at random.
    """
    reader = PosteriorReader(world, particles=particles, seed=seed)
    answerer = BestAnswerer(reader)
    rng = seeded(world.name, "ceiling", split, seed)
    users = world.sample_users(episodes, split=split, seed=seed)
    won = {n: {"ceiling": [], "oracle": [], "copycat": []} for n in shots}  # type: ignore[var-annotated]
    for user in users:
        labels = [world.sample_latent_pair(user, rng)[:2] for _ in range(max(shots))]
        posteriors = reader.posteriors_of(labels)
        opponents = [world.sample_values(rng) for _ in range(opponents_each)]
        top = world.best_values(user.weights, rng)
        for n in shots:
            copied = [
                labels[int(rng.random() * n)][0] if n else world.sample_values(rng)
                for _ in opponents
            ]
            best = answerer.best(posteriors[n], opponents)
            for key, answers in (
                ("ceiling", best), ("oracle", [top] * len(opponents)), ("copycat", copied),
            ):  # fmt: skip
                scores = [
                    outcome(world, user, mine, o)
                    for mine, o in zip(answers, opponents, strict=True)
                ]
                won[n][key].append(float(np.mean(scores)))
        progress(1)
    agnostic = agnostic_winrate(world, users, seed=seed)
    rows = []
    for n in shots:
        figures: dict[str, float] = {}
        for key, values in won[n].items():
            figures[key] = 100 * float(np.mean(values))
            figures[f"{key}_error"] = 100 * float(np.std(values, ddof=1) / np.sqrt(len(values)))
        rows.append(
            CeilingRow(world.name, split, n, agnostic=100 * agnostic, episodes=episodes, **figures)
        )
    return rows


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -500, 500))))
