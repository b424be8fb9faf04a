"""How well a personal reward model predicts a person's labels: accuracy, log loss, calibration.

A prediction is the probability that the model gave to the label that was then made: for IPO see
``fspo_core.rewards.ipo_label_probability``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fspo_core.errors import InvalidJudgment, NoJudgments
from fspo_core.evaluation.winrates import clustered_interval

Floats = NDArray[np.float64]

SURE = 0.01  # a clipped probability is never taken for surer than this: log loss stays finite
BINS = 10


@dataclass(frozen=True, slots=True)
class LabelPrediction:
    """The probability of the label made by ``participant`` after ``shots`` others were read."""

    participant: str
    shots: int
    probability: float


@dataclass(frozen=True, slots=True)
class LabelPredictionRow:
    """Figures at one number of shots. ``accuracy`` is the participant-weighted share of labels
    that got over one half (exactly one half is half right), with its clustered interval;
    ``log_loss`` in nats (a coin: 0.693); ``calibration_error`` the mean distance between what was
    predicted and what happened (expected calibration error over ``BINS`` bins of the probability
    of the likelier response, Naeini et al., 2015)."""

    shots: int
    accuracy: float
    low: float
    high: float
    log_loss: float
    calibration_error: float
    users: int
    labels: int


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Labels whose likelier response got ``predicted`` on average, and was right in ``observed``
    of them."""

    predicted: float
    observed: float
    labels: int


def label_prediction(
    predictions: Iterable[LabelPrediction], level: float = 0.95
) -> list[LabelPredictionRow]:
    """A row for each number of shots. Raises NoJudgments, InvalidJudgment."""
    groups: dict[int, list[LabelPrediction]] = {}
    for prediction in predictions:
        _check(prediction)
        groups.setdefault(prediction.shots, []).append(prediction)
    if not groups:
        raise NoJudgments("no label predictions were given")
    return [_row(shots, groups[shots], level) for shots in sorted(groups)]


def calibration(predictions: Iterable[LabelPrediction], bins: int = BINS) -> list[CalibrationBin]:
    """Bins of equal width over 1/2..1 that have any labels, in order."""
    given = list(predictions)
    for prediction in given:
        _check(prediction)
    found = np.array([p.probability for p in given])
    likelier, right = np.maximum(found, 1 - found), _right(found)
    place = np.minimum(((likelier - 0.5) * 2 * bins).astype(int), bins - 1)
    return [
        CalibrationBin(
            float(likelier[place == b].mean()),
            float(right[place == b].mean()),
            int((place == b).sum()),
        )
        for b in sorted(set(place.tolist()))
    ]


def _check(prediction: LabelPrediction) -> None:
    if not 0 <= prediction.probability <= 1:  # also refuses what is not a number
        raise InvalidJudgment(
            f"a label of {prediction.participant!r} has probability {prediction.probability!r}"
        )
    if prediction.shots < 0 or not prediction.participant:
        raise InvalidJudgment(
            f"a label of {prediction.participant!r} after {prediction.shots!r} shots"
        )


def _right(probabilities: Floats) -> Floats:
    return np.where(probabilities == 0.5, 0.5, probabilities > 0.5).astype(np.float64)


def _row(shots: int, group: Sequence[LabelPrediction], level: float) -> LabelPredictionRow:
    by_person: dict[str, list[float]] = {}
    for prediction in group:
        by_person.setdefault(prediction.participant, []).append(prediction.probability)
    right = [_right(np.array(by_person[person])) for person in sorted(by_person)]
    means = np.array([r.mean() for r in right])
    counts = np.array([len(r) for r in right], dtype=np.float64)
    squares = np.array([float((r * r).sum()) for r in right])
    low, high, _ = clustered_interval(means, counts, squares, level)
    found = np.array([p.probability for p in group])
    bins = calibration(group)
    return LabelPredictionRow(
        shots=shots,
        accuracy=float(means.mean()),
        low=low,
        high=high,
        log_loss=float(-np.log(np.clip(found, SURE, 1 - SURE)).mean()),
        calibration_error=sum(b.labels * abs(b.predicted - b.observed) for b in bins) / len(group),
        users=len(means),
        labels=len(group),
    )
