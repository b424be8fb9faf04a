"""A snapshot's winrates under the names a viewer may see; dashboard and API both show these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from studyapp import blinding
from studyapp.blinding import Pairing, PairingName
from studyapp.models import AnalysisSnapshot, Study


@dataclass(frozen=True, slots=True)
class PairingResult:
    """One pairing's winrate, as fractions, under the name this viewer may see."""

    name: PairingName
    world: str
    shots: int
    winrate: float
    low: float
    high: float
    by_judgment: float
    ties_dropped: float | None
    wilson_low: float
    wilson_high: float
    users: int
    judgments: int
    wins: int
    losses: int
    ties: int


def pairing_names(study: Study, *, unblinded: bool) -> dict[Pairing, PairingName]:
    """Names for every pairing that any version of the study compares."""
    configured: set[Pairing] = {
        (pairing["arm"], pairing["against"])
        for config in study.versions.values_list("config", flat=True)
        for pairing in config["judging"]["pairings"]
    }
    return blinding.name_pairings(study, configured, unblinded=unblinded)


def results_of(
    snapshot: AnalysisSnapshot | None, names: dict[Pairing, PairingName]
) -> list[PairingResult]:
    """A snapshot's rows under the names this viewer may see, in the order of the names."""
    if snapshot is None:
        return []
    rows: list[dict[str, Any]] = snapshot.payload["rows"]
    results = [
        PairingResult(
            name=names[row["arm"], row["against"]],
            by_judgment=row["by_judgment"]["winrate"],
            ties_dropped=row["ties_dropped"] and row["ties_dropped"]["winrate"],
            **{
                key: row[key]
                for key in (
                    "world", "shots", "winrate", "low", "high", "wilson_low", "wilson_high",
                    "users", "judgments", "wins", "losses", "ties",
                )
            },
        )
        for row in rows
    ]  # fmt: skip
    return sorted(results, key=lambda result: (result.name.label, result.shots))
