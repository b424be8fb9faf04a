"""Wakes workers. The rows are the queue's truth; a message only says that there is something."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

GENERATE = "studyapp.tasks.generate"


def wake(comparison_ids: Sequence[int]) -> None:
    """Once the transaction is committed, tell a worker that these comparisons wait for answers."""
    transaction.on_commit(partial(_send, list(comparison_ids)))


def _send(comparison_ids: list[int]) -> None:
    try:
        current_app.send_task(GENERATE, args=[comparison_ids])
    except (OperationalError, OSError):
        # The rows are stored; the next sweep wakes a worker. The participant must not see an error.
        logger.exception("no wake-up for comparisons %s: broker out of reach", comparison_ids)
