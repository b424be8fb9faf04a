"""Faults in mid-study, on a running demo: lost workers, lost messages, a database that restarts.

The engine is slow on purpose (see tests.engines), so that a fault can strike in the middle.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from tests.studyapp.demo_process import ROOT, DemoProcess, demo_environment, wait_for

pytestmark = pytest.mark.slow

ANSWERS_WITHIN = 60
COMPARISONS = 5  # the demo's: three of the bank, two of one's own
STATES = """
    SELECT generation.state, count(*) FROM studyapp_generation generation
    JOIN studyapp_query query ON query.id = generation.query_id
    WHERE query.participant_id = %s GROUP BY 1
"""
FINISHED = """
    SELECT generation.id, generation.completed_at, generation.completion, query.text
    FROM studyapp_generation generation
    JOIN studyapp_query query ON query.id = generation.query_id
    WHERE query.participant_id = %s AND generation.state = 'complete' ORDER BY 1
"""
READY = """
    SELECT count(*) FROM studyapp_comparison comparison
    JOIN studyapp_query query ON query.id = comparison.query_id
    WHERE query.participant_id = %s AND comparison.state = 'ready'
"""


def select(demo: DemoProcess, query: str, *values: object) -> list[tuple[object, ...]]:
    url = (demo.home / "database_url").read_text().strip()
    with psycopg.connect(url) as connection:
        return connection.execute(query, values).fetchall()


def play(demo: DemoProcess) -> int:
    """A new participant who has labelled and asked; their answers are due."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.studyapp.play"],
        cwd=ROOT,
        env=demo_environment(demo.home, DJANGO_SETTINGS_MODULE="studyapp.settings"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def states(demo: DemoProcess, participant: int) -> dict[object, object]:
    return dict(select(demo, STATES, participant))  # type: ignore[arg-type]


def all_answers_come(demo: DemoProcess, participant: int) -> None:
    wait_for(
        lambda: states(demo, participant) == {"complete": 2 * COMPARISONS},
        ANSWERS_WITHIN,
        "all answers",
    )
    assert select(demo, READY, participant) == [(COMPARISONS,)]
    for _, _, answer, question in select(demo, FINISHED, participant):
        assert str(question) in str(answer)


def test_a_worker_killed_in_mid_generation_is_replaced_and_each_answer_comes_once(
    demo: DemoProcess,
) -> None:
    participant = play(demo)
    wait_for(lambda: "running" in states(demo, participant), 60, "a generation to begin")
    worker = demo.children()["models"]
    os.killpg(worker, signal.SIGKILL)
    wait_for(lambda: demo.children().get("models", worker) != worker, 30, "a new worker")
    all_answers_come(demo, participant)
    before = select(demo, FINISHED, participant)
    time.sleep(7)  # a sweep and whatever it wakes
    assert select(demo, FINISHED, participant) == before


def test_empty_messages_and_rubbish_stop_nothing(demo: DemoProcess) -> None:
    messages = demo.home / "broker" / "messages"
    for queue in ("models", "upkeep"):
        (messages / f"0_empty.{queue}.msg").touch()
        (messages / f"0_rubbish.{queue}.msg").write_bytes(b'{"body": "\xff not json')
    participant = play(demo)
    all_answers_come(demo, participant)
    assert not [*messages.glob("0_empty.*"), *messages.glob("0_rubbish.*")]


def test_deleted_messages_lose_no_answer(demo: DemoProcess) -> None:
    messages = demo.home / "broker" / "messages"
    worker = demo.children()["models"]
    os.kill(worker, signal.SIGSTOP)  # so that the messages are there to be deleted
    try:
        participant = play(demo)
        doomed = list(messages.glob("*.models.msg"))
        assert doomed
        for message in doomed:
            message.unlink()
    finally:
        os.kill(worker, signal.SIGCONT)
    all_answers_come(demo, participant)


def test_after_a_database_restart_no_page_fails_and_the_answers_come(demo: DemoProcess) -> None:
    for _ in range(8):  # fills the pools with connections that will be dead
        assert demo.get("/s/demo/")[0] == 200
    participant = play(demo)
    wait_for(lambda: "running" in states(demo, participant), 60, "a generation to begin")
    before = demo.children()["postgres"]
    os.kill(before, signal.SIGINT)
    wait_for(lambda: demo.children().get("postgres", before) != before, 60, "a new server")

    def accepts() -> bool:
        try:
            return bool(select(demo, "SELECT 1"))
        except psycopg.OperationalError:
            return False

    wait_for(accepts, 30, "the database")
    assert [demo.get("/s/demo/")[0] for _ in range(20)] == [200] * 20
    all_answers_come(demo, participant)
