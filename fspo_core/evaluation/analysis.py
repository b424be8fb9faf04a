"""Everything that is said about a study's judgments, as one dictionary that JSON can hold.

Dashboard, API, export and ``fspo winrate`` show figures from here, so that they cannot differ. What
cannot be computed has ``{"refused": why}`` in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np

from fspo_core.errors import FspoError, NoJudgments
from fspo_core.evaluation.effects import effects, length_controlled, plain_length_controlled
from fspo_core.evaluation.label_prediction import (
    LabelPrediction,
    calibration,
    label_prediction,
)
from fspo_core.evaluation.ranking import bradley_terry, davidson, holm
from fspo_core.evaluation.reliability import between_people, test_retest
from fspo_core.evaluation.sensitivity import (
    SetAside,
    bootstrap_interval,
    of_like_length,
    position_view,
    set_aside_bounds,
    sign_test,
)
from fspo_core.evaluation.sequential import confidence_sequence
from fspo_core.evaluation.winrates import (
    Winrate,
    by_pairing,
    participant_means,
    winrate,
    winrate_row,
)
from fspo_core.types import Judgment, WinrateRow

ESTIMAND = (
    "The probability that a participant, drawn like those of this study, prefers the first arm's "
    "answer, averaged over participants: everybody counts once, a tie is half a win."
)
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SummaryRow(WinrateRow):
    """One line of a table with the main figures of a pairing; None where one was refused.

    docs/statistics.md has a sentence for each. ``worst_low`` and ``worst_high`` are the winrate had
    all set-aside comparisons been lost, or won.
    """

    p_value: float | None = None
    p_value_holm: float | None = None
    judgment_winrate: float | None = None
    judgment_low: float | None = None
    judgment_high: float | None = None
    ties_dropped: float | None = None
    ties_dropped_low: float | None = None
    ties_dropped_high: float | None = None
    bootstrap_low: float | None = None
    bootstrap_high: float | None = None
    sequence_low: float | None = None
    sequence_high: float | None = None
    equal_length: float | None = None
    equal_length_low: float | None = None
    equal_length_high: float | None = None
    sign_test_p_value: float | None = None
    set_aside: int = 0
    worst_low: float | None = None
    worst_high: float | None = None


def summary_rows(figures: Figures) -> list[SummaryRow]:
    """The rows of an analysis, flat."""
    return [_summary_row(row) for row in figures["rows"]]


def _summary_row(row: Figures) -> SummaryRow:
    plain = {field.name: row[field.name] for field in fields(WinrateRow)}
    return SummaryRow(
        **plain,
        p_value=row["p_value"],
        p_value_holm=row["p_value_holm"],
        judgment_winrate=row["by_judgment"]["winrate"],
        judgment_low=row["by_judgment"]["low"],
        judgment_high=row["by_judgment"]["high"],
        ties_dropped=row["ties_dropped"].get("winrate"),
        ties_dropped_low=row["ties_dropped"].get("low"),
        ties_dropped_high=row["ties_dropped"].get("high"),
        bootstrap_low=row["bootstrap"]["low"],
        bootstrap_high=row["bootstrap"]["high"],
        sequence_low=row["sequence"].get("low"),
        sequence_high=row["sequence"].get("high"),
        equal_length=row["length_controlled"].get("rate"),
        equal_length_low=row["length_controlled"].get("low"),
        equal_length_high=row["length_controlled"].get("high"),
        sign_test_p_value=row["sign_test"]["p_value"],
        set_aside=row["set_aside"]["set_aside"],
        worst_low=row["set_aside"]["low"],
        worst_high=row["set_aside"]["high"],
    )


def analyse(
    judgments: Iterable[Judgment],
    set_aside: Sequence[SetAside] = (),
    level: float = 0.95,
    unfinished: Collection[str] = (),
    predictions: Sequence[LabelPrediction] = (),
) -> Figures:
    """All figures of all pairings, those over pairings together, and those of predicted labels.

    ``unfinished`` participants may still judge: the confidence sequence leaves them out. Of a
    pairing that nobody judged, comparisons set aside have no row, but are counted. Raises
    InvalidJudgment for a judgment that cannot be counted; no judgments give no rows.
    """
    everything = list(judgments)
    groups = by_pairing(everything)
    together = 1 - (1 - level) / max(1, len(groups))  # the sequences hold for all of them at once
    rows = [
        _pairing(
            key,
            group,
            [s for s in (_oriented(s, groups) for s in set_aside) if _key(s) == key],
            level,
        )
        for key, group in groups.items()
    ]
    adjusted = holm([row["p_value"] for row in rows])
    for row, group, p_value in zip(rows, groups.values(), adjusted, strict=True):
        row["p_value_holm"] = p_value
        row["sequence"] = _or_refusal(partial(_sequence, group, together, unfinished))
    return {
        "estimand": ESTIMAND,
        "level": level,
        "participants": len({judgment.participant for judgment in everything}),
        "judgments": len(everything),
        "set_aside": len(set_aside),
        "rows": rows,
        "position": _or_refusal(lambda: rate_of(winrate(position_view(everything), level=level))),
        "retest": _or_none(test_retest(everything), "no item was judged twice by the same person"),
        "between_people": _or_none(
            between_people(everything), "no item was judged by more than one person"
        ),
        "ranking": _or_refusal(lambda: asdict(bradley_terry(everything, level=level))),
        "ranking_davidson": _or_refusal(lambda: asdict(davidson(everything, level=level))),
        "label_prediction": _or_refusal(partial(_labels, predictions, level)),
    }


def _labels(predictions: Sequence[LabelPrediction], level: float) -> Figures:
    return {
        "rows": [asdict(row) for row in label_prediction(predictions, level)],
        "calibration": [asdict(part) for part in calibration(predictions)],
    }


Key = tuple[str, str, str, int]


def _key(missing: SetAside) -> Key:
    return missing.arm, missing.against, missing.world, missing.shots


def _oriented(missing: SetAside, groups: Collection[Key]) -> SetAside:
    """As the judgments of its pairing are told."""
    if _key(missing) in groups:
        return missing
    return replace(missing, arm=missing.against, against=missing.arm)


def rate_of(result: Winrate) -> Figures:
    """A winrate's headline alone."""
    return {
        "winrate": result.rate, "low": result.low, "high": result.high, "users": result.users,
        "judgments": result.judgments,
    }  # fmt: skip


def _pairing(
    key: Key,
    group: Sequence[Judgment],
    set_aside: Sequence[SetAside],
    level: float,
) -> Figures:
    result = winrate(group, level=level)
    low, high = bootstrap_interval(group, level=level)
    return asdict(winrate_row(key, result)) | {
        "p_value": result.p_value,
        "by_judgment": {
            "winrate": result.judgment_rate,
            "low": result.judgment_low,
            "high": result.judgment_high,
        },
        "ties_dropped": _or_refusal(lambda: rate_of(winrate(group, ties="drop", level=level))),
        "bootstrap": {"low": low, "high": high},
        "sign_test": asdict(sign_test(group, level=level)),
        "set_aside": asdict(set_aside_bounds(group, set_aside)),
        "like_length": _or_refusal(lambda: rate_of(winrate(of_like_length(group), level=level))),
        "length_controlled": _or_refusal(lambda: asdict(length_controlled(group, level))),
        "plain_length_controlled": _or_refusal(lambda: asdict(plain_length_controlled(group))),
        "effects": _or_refusal(lambda: [asdict(effect) for effect in effects(group, level)]),
    }


def _sequence(group: Sequence[Judgment], level: float, unfinished: Collection[str]) -> Figures:
    """Bounds now and after each participant, in the order in which they gave their last verdict.

    A participant's winrate comes in once and stays: those who may still judge are not in it.
    """
    left_out = set(unfinished)
    group = [judgment for judgment in group if judgment.participant not in left_out]
    ended: dict[str, float] = {}
    if untimed := sum(judgment.judged_at is None for judgment in group):
        raise NoJudgments(f"{untimed} of {len(group)} judgments have no time")
    for judgment in group:
        at = judgment.judged_at or 0.0
        ended[judgment.participant] = max(ended.get(judgment.participant, at), at)
    people = sorted(ended)  # as participant_means has them
    order = np.array(sorted(range(len(people)), key=lambda i: (ended[people[i]], people[i])))
    found = confidence_sequence(participant_means(group)[order], level)
    return {
        "low": float(found.low[-1]),
        "high": float(found.high[-1]),
        "users": len(people),
        "lows": [round(float(bound), 3) for bound in found.low],
        "highs": [round(float(bound), 3) for bound in found.high],
    }


def _or_refusal(compute: Callable[[], Any]) -> Any:
    try:
        return compute()
    except FspoError as error:
        return {"refused": str(error)}


def _or_none(found: Any, reason: str) -> Figures:
    return {"refused": reason} if found is None else asdict(found)
