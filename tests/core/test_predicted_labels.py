"""Accuracy, log loss and calibration of predicted labels."""

from __future__ import annotations

import math

import pytest

from fspo_core.errors import InvalidJudgment, NoJudgments
from fspo_core.evaluation.label_prediction import LabelPrediction, calibration, label_prediction


def test_label_prediction_by_hand() -> None:
    made = [
        LabelPrediction("ann", 1, 0.9), LabelPrediction("ann", 1, 0.4),
        LabelPrediction("ben", 1, 0.5), LabelPrediction("ben", 4, 1.0),
        LabelPrediction("ann", 4, 0.0),
    ]  # fmt: skip
    one, four = label_prediction(made)
    assert (one.shots, one.accuracy, one.users, one.labels) == (1, 0.5, 2, 3)
    assert one.log_loss == pytest.approx(-(math.log(0.9) + math.log(0.4) + math.log(0.5)) / 3)
    assert four.log_loss == pytest.approx(-(math.log(0.99) + math.log(0.01)) / 2)
    bins = calibration(made[:2])
    assert [(b.predicted, b.observed) for b in bins] == [(0.6, 0.0), (0.9, 1.0)]
    assert label_prediction(made[:2])[0].calibration_error == pytest.approx((0.6 + 0.1) / 2)
    with pytest.raises(InvalidJudgment, match=r"1\.2"):
        label_prediction([LabelPrediction("ann", 1, 1.2)])
    with pytest.raises(NoJudgments):
        label_prediction([])
