"""The person in the study, what identifies them, and what they said about themselves."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from studyapp import flow
from studyapp.models.choices import StageChoice
from studyapp.models.studies import Study, StudyVersion

# Sorted: a set's order differs between runs, and a migration would see a change.
_ENDINGS = sorted(stage.value for stage in flow.ENDINGS)


class Participant(models.Model):
    """One run through the study. Holds no personal data.

    ``start_key`` is the random value of the welcome form: a doubled click starts one participant.
    ``schedule_index`` is given when labelling begins, so that those who leave before it do not
    unbalance the schedule. ``paid_ending`` is the stage that earned the payment, and stays when one
    withdraws after it. ``waiting_since`` and ``waited_seconds`` add up all time spent waiting.
    """

    study_version = models.ForeignKey(
        StudyVersion, on_delete=models.PROTECT, related_name="participants"
    )
    public_id = models.UUIDField(_("id"), default=uuid.uuid4, unique=True, editable=False)
    start_key = models.UUIDField(_("start key"), null=True, unique=True, editable=False)
    seed = models.BigIntegerField(_("seed"))
    schedule_index = models.PositiveIntegerField(_("schedule index"), null=True)
    stage = models.CharField(
        _("stage"), max_length=20, choices=StageChoice, default=StageChoice.CONSENT
    )
    is_preview = models.BooleanField(_("preview"), default=False)
    comprehension_attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    waiting_since = models.DateTimeField(_("waiting since"), null=True)
    waited_seconds = models.FloatField(_("seconds waited"), default=0.0)
    started_at = models.DateTimeField(_("started at"), auto_now_add=True)
    stage_changed_at = models.DateTimeField(_("stage since"), auto_now_add=True)
    completed_at = models.DateTimeField(_("completed at"), null=True)
    ended_at = models.DateTimeField(_("ended at"), null=True)
    paid_ending = models.CharField(
        _("paid ending"), max_length=20, choices=StageChoice, blank=True, default=""
    )

    class Meta:
        verbose_name = _("participant")
        indexes = (models.Index(fields=["study_version", "stage"], name="participant_by_stage"),)
        constraints = (
            models.UniqueConstraint(
                fields=["study_version", "is_preview", "schedule_index"],
                name="schedule_index_once",
            ),
            models.CheckConstraint(
                condition=models.Q(stage__in=StageChoice.values), name="stage_known"
            ),
            models.CheckConstraint(
                condition=models.Q(stage__in=_ENDINGS, ended_at__isnull=False)
                | (~models.Q(stage__in=_ENDINGS) & models.Q(ended_at__isnull=True)),
                name="ended_with_its_time",
            ),
            models.CheckConstraint(
                condition=~models.Q(stage__in=["label", "ask", "judge", "exit", "complete"])
                | models.Q(schedule_index__isnull=False),
                name="scheduled_before_labels",
            ),
            models.CheckConstraint(
                condition=models.Q(waited_seconds__gte=0), name="waited_not_negative"
            ),
        )

    def __str__(self) -> str:
        return str(self.public_id)

    @property
    def has_ended(self) -> bool:
        return self.stage in flow.ENDINGS


class AccessToken(models.Model):
    """A key to one participant's run; only the SHA-256 of the random token is kept.

    A person who resumes in another browser gets another token, and the first one still works.
    """

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="tokens")
    token_sha256 = models.CharField(_("hash of the token"), max_length=64, unique=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("access token")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(token_sha256__regex=r"^[0-9a-f]{64}$"), name="token_is_a_hash"
            ),
        )

    def __str__(self) -> str:
        return f"token {self.pk}"


class RecruiterIdentity(models.Model):
    """Who the recruiter says this is. Personal data in a table of its own, deletable at will."""

    participant = models.OneToOneField(
        Participant, on_delete=models.CASCADE, related_name="recruiter_identity"
    )
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="identities")
    pid = models.CharField(_("recruiter's id"), max_length=200)
    recruiter_study_id = models.CharField(_("recruiter's study"), max_length=200, blank=True)
    session_id = models.CharField(_("session"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("recruiter identity")
        verbose_name_plural = _("recruiter identities")
        constraints = (
            # Previews never get a row here (services.admission), so the rule needs no exception.
            models.UniqueConstraint(fields=["study", "pid"], name="pid_once_per_study"),
            models.CheckConstraint(condition=~models.Q(pid=""), name="pid_not_empty"),
        )

    def __str__(self) -> str:
        return f"identity {self.pk}"


class ConsentRecord(models.Model):
    """What was agreed to, and when."""

    participant = models.OneToOneField(
        Participant, on_delete=models.CASCADE, related_name="consent"
    )
    version = models.CharField(_("version"), max_length=50)
    text_sha256 = models.CharField(_("hash of the text"), max_length=64)
    adult_confirmed = models.BooleanField(_("18 or older"))
    accepted_at = models.DateTimeField(_("accepted at"))

    class Meta:
        verbose_name = _("consent")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(adult_confirmed=True), name="consent_by_adults"
            ),
            models.CheckConstraint(
                condition=models.Q(text_sha256__regex=r"^[0-9a-f]{64}$"), name="consent_hash_is_hex"
            ),
        )

    def __str__(self) -> str:
        return f"consent {self.version} of participant {self.participant_id}"


class Draft(models.Model):
    """Text as it was last typed, so that a reload loses nothing; deleted when it is handed in."""

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="drafts")
    field = models.CharField(_("field"), max_length=80)
    text = models.TextField(_("text"), blank=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    class Meta:
        verbose_name = _("draft")
        constraints = (
            models.UniqueConstraint(fields=["participant", "field"], name="draft_once_per_field"),
        )

    def __str__(self) -> str:
        return f"draft {self.field} of participant {self.participant_id}"


class ExitAnswer(models.Model):
    """The answer to one exit question; ``name`` is the question's name in the configuration."""

    participant = models.ForeignKey(
        Participant, on_delete=models.CASCADE, related_name="exit_answers"
    )
    name = models.CharField(_("question"), max_length=40)
    value = models.TextField(_("answer"), blank=True)
    answered_at = models.DateTimeField(_("answered at"), auto_now_add=True)

    class Meta:
        verbose_name = _("exit answer")
        constraints = (
            models.UniqueConstraint(
                fields=["participant", "name"], name="exit_answer_once_per_question"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} of participant {self.participant_id}"
