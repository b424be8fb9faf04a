from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from fspo_core.types import Completion, GenerationFailure, GenerationRequest
from studyapp import selectors, services, tasks
from studyapp.models import Comparison, Generation, Participant, WorkerHeartbeat
from tests.engines import EchoEngine
from tests.studyapp import walk

pytestmark = pytest.mark.django_db(transaction=True)


class CountingEngine(EchoEngine):
    """Counts how often it was made and asked, and whether a transaction was open meanwhile."""

    made = 0
    asked: list[str]
    in_transaction: list[bool]

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1
        type(self).asked = []
        type(self).in_transaction = []

    def generate(
        self, requests: Sequence[GenerationRequest]
    ) -> list[Completion | GenerationFailure]:
        self.asked.extend(request.request_id for request in requests)
        self.in_transaction.append(connection.in_atomic_block)
        return super().generate(requests)


class ChokingEngine(EchoEngine):
    """Raises for a batch in which a certain question stands."""

    def generate(
        self, requests: Sequence[GenerationRequest]
    ) -> list[Completion | GenerationFailure]:
        if any(request.question == walk.OWN_QUESTIONS[0] for request in requests):
            raise RuntimeError("one request chokes the batch")
        return super().generate(requests)


@pytest.fixture(autouse=True)
def _fresh_engine() -> None:
    tasks._engine.cache_clear()


@pytest.fixture
def participant() -> Participant:
    return walk.judging(walk.load())


def make_due() -> None:
    Generation.objects.filter(state="pending").update(not_before=Now())


def test_generate_writes_everything_that_is_due(participant: Participant, settings: Any) -> None:
    settings.FSPO_ENGINE = "tests.engines:EchoEngine"
    assert tasks.generate([1, 2]) == 10
    assert set(Comparison.objects.values_list("state", flat=True)) == {"ready"}
    for generation in Generation.objects.select_related("query"):
        assert generation.query.text in (generation.completion or "")
        assert generation.checkpoint == f"echo-{generation.arm}"


def test_generate_twice_changes_nothing_the_second_time_and_loads_the_engine_once(
    participant: Participant, settings: Any
) -> None:
    settings.FSPO_ENGINE = "tests.studyapp.test_tasks:CountingEngine"
    CountingEngine.made = 0
    tasks.generate()
    before = list(Generation.objects.order_by("pk").values())
    assert tasks.generate() == 0
    assert list(Generation.objects.order_by("pk").values()) == before
    assert CountingEngine.made == 1
    assert len(CountingEngine.asked) == len(set(CountingEngine.asked)) == 10
    assert not any(CountingEngine.in_transaction)


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("FailingEngine", "this engine always fails"),
        ("BrokenEngine", "RuntimeError: no batch of 2 can be answered"),
    ],
)
def test_a_model_that_fails_sets_all_aside_and_the_participant_finishes_and_is_paid(
    participant: Participant, settings: Any, engine: str, reason: str
) -> None:
    settings.FSPO_ENGINE = f"tests.engines:{engine}"
    for _ in range(3):
        tasks.generate()
        make_due()
    comparisons = Comparison.objects.all()
    assert {row.state for row in comparisons} == {"set_aside"}
    assert all(row.set_aside_reason.endswith(reason) for row in comparisons)
    participant.refresh_from_db()
    assert participant.stage == "exit"
    answers = {"suited": "1", "device": "desk"}
    participant = services.record_exit_answers(participant=participant, answers=answers)
    assert selectors.ending(participant).paid


def test_a_request_that_chokes_the_batch_takes_no_other_with_it(
    participant: Participant, settings: Any
) -> None:
    settings.FSPO_ENGINE = "tests.studyapp.test_tasks:ChokingEngine"
    for _ in range(3):
        tasks.generate()
        make_due()
    aside = Comparison.objects.filter(state="set_aside")
    assert [row.query.text for row in aside] == [walk.OWN_QUESTIONS[0]]
    assert Comparison.objects.filter(state="ready").count() == 4


def test_the_lease_is_renewed_while_the_engine_writes(
    participant: Participant, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FSPO_ENGINE = "tests.engines:EchoEngine"
    monkeypatch.setenv("ECHO_SECONDS", "1.2")
    monkeypatch.setattr(tasks, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(tasks, "LEASE_SECONDS", 0.5)
    begin = time.monotonic()
    tasks.generate()
    assert time.monotonic() - begin > 1.0
    assert set(Generation.objects.values_list("state", "attempts")) == {("complete", 1)}


def test_the_renewing_thread_ends_with_the_work(participant: Participant) -> None:
    with tasks._renewed(uuid.uuid4()) as thread:
        assert thread.is_alive()
    assert not thread.is_alive()


def test_sweep_frees_what_a_lost_worker_held(participant: Participant, settings: Any) -> None:
    settings.FSPO_ENGINE = "tests.engines:EchoEngine"
    services.claim_generations(batch_size=8, lease_seconds=-1)
    tasks.sweep()
    assert not Generation.objects.filter(state="running").exists()
    assert tasks.generate() == 10


def test_a_woken_worker_frees_lapsed_leases_by_itself(
    participant: Participant, settings: Any
) -> None:
    settings.FSPO_ENGINE = "tests.engines:EchoEngine"
    services.claim_generations(batch_size=8, lease_seconds=-1)
    assert tasks.generate() == 10


def test_a_heartbeat_says_which_worker_lives_and_with_which_engine(settings: Any) -> None:
    settings.FSPO_ENGINE = "tests.studyapp.test_tasks:CountingEngine"
    CountingEngine.made = 0
    tasks.heartbeat()
    assert (WorkerHeartbeat.objects.get().engine, CountingEngine.made) == ("", 0)
    tasks.heartbeat(relay=False)
    beat = WorkerHeartbeat.objects.get()
    assert (beat.worker, beat.engine) == (tasks.worker_name(), settings.FSPO_ENGINE)
    assert CountingEngine.made == 1
    assert selectors.workers_alive() == [beat]
    assert selectors.workers_alive(within_seconds=0) == []


def test_logs_carry_ids_and_no_participants_text(
    participant: Participant, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FSPO_ENGINE = "tests.engines:BrokenEngine"
    caplog.set_level("DEBUG", logger="studyapp")
    tasks.generate()
    assert "the engine failed on generations" in caplog.text
    for text in walk.OWN_QUESTIONS:
        assert text not in caplog.text
