"""What happened, append-only, and what the statistics said at a moment."""

from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _

from studyapp.models.studies import Study


class AuditEvent(models.Model):
    """One act worth remembering. A trigger in the database refuses changes and deletions.

    ``subject`` is a public id, not a reference: destroying a participant leaves the log whole.
    """

    study = models.ForeignKey(Study, on_delete=models.PROTECT, null=True, related_name="+")
    at = models.DateTimeField(_("at"), auto_now_add=True)
    actor = models.CharField(_("actor"), max_length=200)
    action = models.CharField(_("action"), max_length=60)
    subject = models.CharField(_("subject"), max_length=200, blank=True)
    detail = models.JSONField(_("detail"), default=dict, encoder=DjangoJSONEncoder)

    class Meta:
        verbose_name = _("audit event")
        indexes = (models.Index(fields=["study", "at"], name="audit_by_time"),)
        constraints = (
            models.CheckConstraint(
                condition=~models.Q(action="") & ~models.Q(actor=""), name="audit_says_who_did_what"
            ),
        )

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"


class AnalysisSnapshot(models.Model):
    """The statistics of a study over one state of its judgments."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="snapshots")
    input_hash = models.CharField(_("hash of the input"), max_length=64)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    payload = models.JSONField(_("payload"), encoder=DjangoJSONEncoder)

    class Meta:
        verbose_name = _("analysis snapshot")
        get_latest_by = "created_at"
        constraints = (
            models.UniqueConstraint(fields=["study", "input_hash"], name="snapshot_once_per_input"),
        )

    def __str__(self) -> str:
        return f"snapshot {self.pk}"
