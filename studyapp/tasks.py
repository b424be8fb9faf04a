"""Celery tasks: load, call the core, call a service. The only door to the models, and it opens
inside the task's body, so that web processes never load them. Every task can run twice."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from celery import current_app, shared_task
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from fspo_core.types import GenerationFailure, GenerationRequest
from studyapp import queue, selectors, services
from studyapp.models import Study

if TYPE_CHECKING:
    from fspo_core.engines import Engine
    from fspo_core.types import Completion

logger = logging.getLogger(__name__)

BATCH_SIZE = 8
LEASE_SECONDS = services.LEASE_SECONDS
RENEW_SECONDS = LEASE_SECONDS / 4
MODELS_QUEUE = "models"
REWARD_ARM = "fspo"  # whose weights predict labels
PREDICTED_AT_ONCE = 20  # participants a task
_unpredictable: set[int] = set()


@shared_task
def generate(comparison_ids: list[int] | None = None) -> int:
    """Write answers until none is due. The ids only say what woke us; the rows say what to do."""
    engine = _engine(settings.FSPO_ENGINE)
    settled = 0
    services.sweep_leases()
    while (claim := _claim()).generation_ids:
        services.record_heartbeat(worker=worker_name(), engine=settings.FSPO_ENGINE)
        with _renewed(claim.lease_token):
            requests = selectors.generation_requests(claim.generation_ids)
            asked = {int(request.request_id) for request in requests}
            gone = [pk for pk in claim.generation_ids if pk not in asked]
            if gone:
                services.set_aside_unyoked(gone, lease_token=claim.lease_token)
            settled += sum(_store(claim.lease_token, answer) for answer in _write(engine, requests))
    logger.info("woken for %s, settled %d generations", comparison_ids, settled)
    return settled


@shared_task
def sweep() -> None:
    """Free what lost workers held, and wake a worker where something is due."""
    result = services.sweep_leases()
    if result.put_back or result.set_aside:
        logger.warning("lapsed: %d put back, %d set aside", result.put_back, result.set_aside)
    if selectors.has_due_generations():
        queue.wake([])


@shared_task
def heartbeat(relay: bool = True) -> None:
    """Say that this worker lives; by relay also one that has the models, which loads them then."""
    if not relay:
        _engine(settings.FSPO_ENGINE)
    services.record_heartbeat(worker=worker_name(), engine="" if relay else settings.FSPO_ENGINE)
    if relay:
        current_app.send_task(
            heartbeat.name, kwargs={"relay": False}, queue=MODELS_QUEUE, expires=10.0
        )


@shared_task
def predict_labels() -> int:
    """Ask the personal reward model about labels that were made, while no answer is due."""
    from fspo_core.engines import LabelPredictor

    engine = _engine(settings.FSPO_ENGINE)
    if not isinstance(engine, LabelPredictor):
        return 0
    stored = 0
    for _ in range(PREDICTED_AT_ONCE):
        if selectors.has_due_generations():
            break
        participant = selectors.next_unpredicted(leave_out=_unpredictable)
        if participant is None:
            break
        history = selectors.history(participant)
        try:
            stored += services.store_label_predictions(
                participant_id=participant.pk,
                probabilities=engine.label_probabilities(history),
                checkpoint=engine.fingerprint(REWARD_ARM),
            )
        except Exception:
            # Not worth a participant's wait: this worker lets these labels be.
            logger.exception("the labels of participant %d were not predicted", participant.pk)
            _unpredictable.add(participant.pk)
    return stored


@shared_task
def snapshot() -> None:
    """Bring each study's statistics up to date."""
    from studyapp import analysis

    for study in Study.objects.all():
        analysis.refresh_snapshot(study=study)


def worker_name() -> str:
    """Host and process, as the dashboard names a worker."""
    return f"{socket.gethostname()}:{os.getpid()}"


@lru_cache(maxsize=1)
def _engine(spec: str) -> Engine:
    from fspo_core.engines import load_engine

    return load_engine(spec)


def _write(
    engine: Engine, requests: list[GenerationRequest]
) -> list[Completion | GenerationFailure]:
    """The engine's answers, outside any transaction; a crash of the batch fails each of them."""
    if not requests:
        return []
    try:
        return engine.generate(requests)
    except Exception as error:
        # Whatever an engine raises, the rows must not stay leased: the reason is stored with each.
        logger.exception("the engine failed on generations %s", [r.request_id for r in requests])
        reason = f"{type(error).__name__}: {error}"
        return [GenerationFailure(r.request_id, r.arm, reason) for r in requests]


def _store(lease_token: uuid.UUID, answer: Completion | GenerationFailure) -> bool:
    generation_id = int(answer.request_id)
    if isinstance(answer, GenerationFailure):
        return services.fail_generation(
            generation_id=generation_id, lease_token=lease_token, reason=answer.reason
        )
    return services.store_completion(
        generation_id=generation_id, lease_token=lease_token, completion=answer
    )


def _claim() -> services.Claim:
    return services.claim_generations(batch_size=BATCH_SIZE, lease_seconds=LEASE_SECONDS)


@contextmanager
def _renewed(lease_token: uuid.UUID) -> Iterator[threading.Thread]:
    """Renew the lease from a thread while the body runs."""
    done = threading.Event()
    thread = threading.Thread(target=_renew, args=(lease_token, done), daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        done.set()
        thread.join()


def _renew(lease_token: uuid.UUID, done: threading.Event) -> None:
    try:
        while not done.wait(RENEW_SECONDS):
            try:
                services.renew_lease(lease_token=lease_token, lease_seconds=LEASE_SECONDS)
                services.record_heartbeat(worker=worker_name(), engine=settings.FSPO_ENGINE)
            except DatabaseError:
                # A database that restarts: try again while the lease lasts.
                logger.exception("lease %s was not renewed", lease_token)
                connection.close()
    finally:
        connection.close()
