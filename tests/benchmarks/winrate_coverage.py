"""How often the 95 % intervals of ``fspo_core.evaluation.winrates`` hold the true winrate.

Run: python -m tests.benchmarks.winrate_coverage [--repetitions 2000] [--seed 1] [--json FILE]

People differ by a beta distribution with the given intraclass correlation; each judges 5 to 11
times. Printed: coverage of the clustered interval and, beside it, of Wilson's, which takes the
judgments as independent.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from fspo_core.evaluation.winrates import winrate
from fspo_core.types import Judgment, Outcome

Row = dict[str, float]


def coverage(
    truth: float,
    icc: float,
    people: int,
    repetitions: int,
    generator: np.random.Generator,
) -> Row:
    alpha, beta = truth * (1 / icc - 1), (1 - truth) * (1 / icc - 1)
    clustered = wilson = width = 0.0
    for _ in range(repetitions):
        judgments = []
        for person in range(people):
            likes = generator.beta(alpha, beta)
            for number in range(int(generator.integers(5, 12))):
                outcome: Outcome = "win" if generator.random() < likes else "loss"
                name = f"p{person}"
                judgments.append(Judgment(f"{name}-{number}", name, "fspo", "base", outcome))
        result = winrate(judgments)
        clustered += result.low <= truth <= result.high
        wilson += result.wilson_low <= truth <= result.wilson_high
        width += result.high - result.low
    return {
        "winrate": truth,
        "icc": icc,
        "people": people,
        "clustered": clustered / repetitions,
        "wilson": wilson / repetitions,
        "width": width / repetitions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of the winrate intervals")
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    rows = [
        coverage(truth, icc, people, options.repetitions, generator)
        for truth, icc, people in product((0.5, 0.72, 0.9), (0.05, 0.2, 0.4), (25, 50))
    ]
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:.3f}".rstrip("0").rstrip(".") for value in row.values()))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
