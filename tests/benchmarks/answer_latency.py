"""From a participant's own question to both of its answers.

    python -m tests.benchmarks.answer_latency --json answers.json

Starts a demo of its own in a temporary folder, warms the worker with one participant, then lets
simulated participants play one after the other, each with two questions of their own, which nobody
asked before. The time of a question is by the database's clock: from the row of the question,
stored as the form comes in, to the second of its two answers. Ends with status 1 above the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import psycopg

from fspo_core.evaluation.provenance import provenance
from tests.benchmarks.page_latency import run_program
from tests.studyapp.demo_process import DemoProcess

PORT = 15761
SECONDS = """
    SELECT EXTRACT(EPOCH FROM comparison.ready_at - query.created_at)
    FROM studyapp_comparison comparison JOIN studyapp_query query ON query.id = comparison.query_id
    WHERE query.kind = 'own' AND comparison.ready_at IS NOT NULL ORDER BY query.created_at, query.id
"""


def play(demo: DemoProcess, participants: int, seed: int) -> None:
    """Simulated participants, one at a time."""
    run_program(
        demo,
        *("manage.py", "simulate_participants", "--study", "demo", "--url", demo.base),
        *("--participants", str(participants), "--seed", str(seed), "--workers", "1"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=20, help="two a participant")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds, 95th percentile")
    parser.add_argument("--engine", default="local", help="FSPO_ENGINE of the worker")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()

    home = Path(tempfile.mkdtemp(prefix="fspo-t-", dir="/tmp"))
    demo = DemoProcess(home, PORT, FSPO_ENGINE=options.engine, OMP_NUM_THREADS=str(os.cpu_count()))
    try:
        demo.wait_until_ready()
        play(demo, 1, seed=100)
        play(demo, (options.questions + 1) // 2, seed=1)
        url = (home / "database_url").read_text(encoding="utf-8").strip()
        with psycopg.connect(url, autocommit=True) as connection:
            seconds = [float(row[0]) for row in connection.execute(SECONDS)][2:]
    finally:
        demo.stop()
        shutil.rmtree(home, ignore_errors=True)

    if len(seconds) < options.questions:
        sys.exit(f"wanted {options.questions} questions answered, got {len(seconds)}")
    ordered = sorted(seconds)
    p95 = ordered[max(0, -(-95 * len(ordered) // 100) - 1)]
    median = statistics.median(ordered)
    print(
        f"{len(ordered)} own questions: both answers after {median:.2f} s (median), "
        f"{p95:.2f} s (95th percentile), {ordered[-1]:.2f} s (longest)"
    )
    if options.json:
        figures = {
            "median_s": median,
            "p95_s": p95,
            "seconds": seconds,
            "provenance": provenance(),
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if p95 > options.limit:
        sys.exit(f"wanted: 95th percentile at most {options.limit} s")


if __name__ == "__main__":
    main()
