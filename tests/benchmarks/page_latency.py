"""How long the server takes for a page while the worker is writing answers.

    python -m tests.benchmarks.page_latency --json latency.json

Starts a demo of its own in a temporary folder, gives its worker a backlog of answers to write, and
lets simulated participants play over HTTP. The times are gunicorn's own, of each request from its
arrival to the last byte of its response; the networks and the player's pauses are not in them.
Ends with status 1 if the 95th percentile is not below the limit, or too few requests were made.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from fspo_core.evaluation.provenance import provenance
from tests.studyapp.demo_process import ROOT, DemoProcess, demo_environment

PORT = 15760
PAGE = re.compile(r"^(GET|POST) (/s/demo/\S*|/r/\S*) (\d{3}) (\d+)$")
GENERATING = "SELECT count(*) FROM studyapp_generation WHERE state IN ('pending', 'running')"


@dataclass(frozen=True, slots=True)
class PageTimes:
    """Times of one page's requests, in milliseconds."""

    page: str
    requests: int
    median_ms: float
    p95_ms: float
    longest_ms: float


def times_of(page: str, milliseconds: list[float]) -> PageTimes:
    ordered = sorted(milliseconds)
    # The smallest time that at least 95 % of the requests did not exceed.
    p95 = ordered[max(0, -(-95 * len(ordered) // 100) - 1)]
    return PageTimes(page, len(ordered), statistics.median(ordered), p95, ordered[-1])


def read_times(log: Path) -> dict[str, list[float]]:
    """Page -> times, from gunicorn's access log. A server's own error ends the measurement."""
    found: dict[str, list[float]] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        if not (match := PAGE.match(line)):
            continue
        method, path, status, microseconds = match.groups()
        if status.startswith("5"):
            raise SystemExit(f"a page failed while it was measured: {line}")
        name = path.removeprefix("/s/demo/") or "welcome"
        found.setdefault(f"{method} {name}", []).append(int(microseconds) / 1000)
    return found


def run_program(demo: DemoProcess, *arguments: str) -> str:
    environment = demo_environment(demo.home, DJANGO_SETTINGS_MODULE="studyapp.settings")
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"{arguments[1]} failed with status {done.returncode}")
    return done.stdout


def measure(demo: DemoProcess, participants: int, backlog: int) -> tuple[int, int]:
    """Play the study; returns how many answers were due before and after."""
    run_program(demo, "-m", "tests.studyapp.play", str(backlog))
    url = (demo.home / "database_url").read_text(encoding="utf-8").strip()
    with psycopg.connect(url, autocommit=True) as connection:
        before = connection.execute(GENERATING).fetchone()
        run_program(
            demo,
            *("manage.py", "simulate_participants", "--study", "demo", "--url", demo.base),
            *("--participants", str(participants), "--seed", "1"),
        )
        after = connection.execute(GENERATING).fetchone()
    assert before is not None
    assert after is not None
    return before[0], after[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--participants", type=int, default=8)
    parser.add_argument("--backlog", type=int, default=20, help="further participants who wait")
    parser.add_argument("--requests", type=int, default=200, help="fewer requests count as failed")
    parser.add_argument("--limit", type=float, default=100.0, help="milliseconds")
    parser.add_argument("--engine", default="local", help="FSPO_ENGINE of the worker")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()

    home = Path(tempfile.mkdtemp(prefix="fspo-t-", dir="/tmp"))
    log = home / "access.log"
    access = f"--access-logfile {log} --access-logformat '%(m)s %(U)s %(s)s %(D)s'"
    demo = DemoProcess(
        home,
        PORT,
        FSPO_ENGINE=options.engine,
        GUNICORN_CMD_ARGS=access,
        OMP_NUM_THREADS=str(os.cpu_count()),
    )
    try:
        demo.wait_until_ready()
        due = measure(demo, options.participants, options.backlog)
        pages = read_times(log)
    finally:
        demo.stop()
        shutil.rmtree(home, ignore_errors=True)

    rows = [times_of(page, times) for page, times in sorted(pages.items())]
    total = times_of("all pages", [time for times in pages.values() for time in times])
    for row in [*rows, total]:
        print(
            f"{row.page:24} {row.requests:5} requests, median {row.median_ms:6.1f} ms, "
            f"95th percentile {row.p95_ms:6.1f} ms, longest {row.longest_ms:6.1f} ms"
        )
    print(f"answers due: {due[0]} at the beginning, {due[1]} at the end; engine {options.engine}")
    if options.json:
        figures = {
            "engine": options.engine,
            "provenance": provenance(),
            "answers_due": {"before": due[0], "after": due[1]},
            "all": asdict(total),
            "pages": [asdict(row) for row in rows],
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if total.requests < options.requests or total.p95_ms >= options.limit:
        sys.exit(f"wanted: {options.requests} requests, 95th percentile < {options.limit} ms")


if __name__ == "__main__":
    main()
