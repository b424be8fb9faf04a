"""Questions, the answers written to them, and the workers that write. The rows are the queue."""

from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from fspo_core.arms import ARMS
from studyapp.models.choices import GenerationState, QueryKind
from studyapp.models.participants import Participant

MAX_ATTEMPTS = 3

_PROVENANCE = (
    "finish_reason",
    "shots_used",
    "shots_dropped",
    "prompt_sha256",
    "checkpoint",
    "prompt_tokens",
    "completion_tokens",
    "seconds",
    "sampling",
    "completed_at",
)


class Query(models.Model):
    """A question to be answered for one participant: their own, or one from the bank."""

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="queries")
    kind = models.CharField(_("kind"), max_length=4, choices=QueryKind)
    position = models.PositiveSmallIntegerField(_("position"))
    text = models.TextField(_("text"))
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("question")
        constraints = (
            models.UniqueConstraint(
                fields=["participant", "kind", "position"], name="query_once_per_position"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=QueryKind.values), name="query_kind_known"
            ),
            models.CheckConstraint(condition=~models.Q(text=""), name="query_not_empty"),
        )

    def __str__(self) -> str:
        return f"{self.kind} question {self.position} of participant {self.participant_id}"


class Generation(models.Model):
    """One answer of one arm to one question: a job with a lease, then a text with provenance."""

    query = models.ForeignKey(Query, on_delete=models.CASCADE, related_name="generations")
    arm = models.CharField(_("arm"), max_length=40)
    state = models.CharField(
        _("state"), max_length=10, choices=GenerationState, default=GenerationState.PENDING
    )
    seed = models.BigIntegerField(_("seed"))
    labels_of = models.ForeignKey(
        Participant,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("labels of another participant"),
    )
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    not_before = models.DateTimeField(_("not before"), db_default=Now())
    lease_token = models.UUIDField(_("lease"), null=True)
    lease_until = models.DateTimeField(_("leased until"), null=True)
    started_at = models.DateTimeField(_("started at"), null=True)
    error = models.CharField(_("error"), max_length=500, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    completion = models.TextField(_("answer"), null=True)  # noqa: DJ001 - null until complete, with its provenance
    description = models.TextField(_("description written first"), blank=True)
    finish_reason = models.CharField(_("finish reason"), max_length=10, null=True)  # noqa: DJ001
    shots_used = models.PositiveSmallIntegerField(_("labels used"), null=True)
    shots_dropped = models.PositiveSmallIntegerField(_("labels dropped"), null=True)
    prompt_sha256 = models.CharField(_("hash of the prompt"), max_length=64, null=True)  # noqa: DJ001
    checkpoint = models.CharField(_("checkpoint"), max_length=200, null=True)  # noqa: DJ001
    prompt_tokens = models.PositiveIntegerField(_("prompt tokens"), null=True)
    completion_tokens = models.PositiveIntegerField(_("answer tokens"), null=True)
    seconds = models.FloatField(_("seconds of its batch"), null=True)
    sampling = models.JSONField(_("sampling"), null=True, encoder=DjangoJSONEncoder)
    completed_at = models.DateTimeField(_("completed at"), null=True)

    class Meta:
        verbose_name = _("generation")
        indexes = (
            models.Index(
                fields=["not_before"],
                condition=models.Q(state="pending"),
                name="generation_pending",
            ),
            models.Index(
                fields=["lease_until"],
                condition=models.Q(state="running"),
                name="generation_running",
            ),
            models.Index(
                fields=["-completed_at"],
                condition=models.Q(state="complete"),
                name="generation_recent",
            ),
        )
        constraints = (
            models.UniqueConstraint(fields=["query", "arm"], name="generation_once_per_arm"),
            models.CheckConstraint(
                condition=models.Q(state__in=GenerationState.values), name="generation_state_known"
            ),
            models.CheckConstraint(
                condition=models.Q(arm__in=list(ARMS)), name="generation_arm_known"
            ),
            models.CheckConstraint(
                condition=models.Q(
                    state="complete",
                    completion__isnull=False,
                    **{f"{field}__isnull": False for field in _PROVENANCE},
                )
                | (
                    ~models.Q(state="complete")
                    & models.Q(
                        completion__isnull=True,
                        **{f"{field}__isnull": True for field in _PROVENANCE},
                    )
                ),
                name="generation_complete_with_text",
            ),
            models.CheckConstraint(
                condition=~models.Q(completion=""), name="generation_text_not_empty"
            ),
            models.CheckConstraint(
                condition=models.Q(
                    state="running", lease_token__isnull=False, lease_until__isnull=False
                )
                | (
                    ~models.Q(state="running")
                    & models.Q(lease_token__isnull=True, lease_until__isnull=True)
                ),
                name="generation_leased_while_running",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="failed") | ~models.Q(error=""),
                name="generation_failed_with_reason",
            ),
            models.CheckConstraint(
                condition=models.Q(attempts__lte=MAX_ATTEMPTS), name="generation_attempts_capped"
            ),
        )

    def __str__(self) -> str:
        return f"generation {self.pk}"


class WorkerHeartbeat(models.Model):
    """When each worker was last heard of."""

    worker = models.CharField(_("worker"), max_length=200, unique=True)
    engine = models.CharField(_("engine"), max_length=200, blank=True)
    started_at = models.DateTimeField(_("started at"), db_default=Now())
    seen_at = models.DateTimeField(_("seen at"), db_default=Now())

    class Meta:
        verbose_name = _("worker")

    def __str__(self) -> str:
        return self.worker
