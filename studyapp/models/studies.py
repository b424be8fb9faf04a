"""A study and its frozen configuration versions."""

from __future__ import annotations

from functools import cached_property

from django.db import models
from django.utils.translation import gettext_lazy as _

from studyapp.config import StudyConfig
from studyapp.errors import FrozenConfiguration
from studyapp.models.choices import StudyState


class Study(models.Model):
    """What participants are invited to; ``slug`` is part of every link."""

    slug = models.SlugField(_("slug"), unique=True)
    title = models.CharField(_("title"), max_length=200)
    state = models.CharField(_("state"), max_length=10, choices=StudyState, default=StudyState.OPEN)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("study")
        verbose_name_plural = _("studies")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(state__in=StudyState.values), name="study_state_known"
            ),
        )

    def __str__(self) -> str:
        return self.slug

    @property
    def is_open(self) -> bool:
        return self.state == StudyState.OPEN


class StudyVersion(models.Model):
    """One configuration, never changed: a trigger in the database refuses updates too."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField(_("number"))
    config = models.JSONField(_("configuration"))
    config_hash = models.CharField(_("hash"), max_length=64)
    schema_version = models.PositiveSmallIntegerField(_("schema version"))
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("study version")
        constraints = (
            models.UniqueConstraint(fields=["study", "number"], name="version_number_once"),
            models.CheckConstraint(
                condition=models.Q(config_hash__regex=r"^[0-9a-f]{64}$"), name="version_hash_is_hex"
            ),
        )

    def __str__(self) -> str:
        return f"{self.study_id} v{self.number}"

    def save(self, *args: object, **kwargs: object) -> None:
        if self.pk is not None:
            raise FrozenConfiguration(f"version {self.number} is frozen; load a new one")
        super().save(*args, **kwargs)

    @cached_property
    def study_config(self) -> StudyConfig:
        """The configuration, validated."""
        return StudyConfig.model_validate(self.config)


class PairPool(models.Model):
    """One pair that may be labelled; as frozen as its version."""

    study_version = models.ForeignKey(StudyVersion, on_delete=models.CASCADE, related_name="pairs")
    position = models.PositiveIntegerField(_("position"))
    question = models.TextField(_("question"))
    response_a = models.TextField(_("response A"))
    response_b = models.TextField(_("response B"))

    class Meta:
        verbose_name = _("pair")
        constraints = (
            models.UniqueConstraint(
                fields=["study_version", "position"], name="pair_position_once"
            ),
            models.CheckConstraint(
                condition=~models.Q(question="")
                & ~models.Q(response_a="")
                & ~models.Q(response_b=""),
                name="pair_not_empty",
            ),
            models.CheckConstraint(
                condition=~models.Q(response_a=models.F("response_b")), name="pair_answers_differ"
            ),
        )

    def __str__(self) -> str:
        return f"pair {self.position} of version {self.study_version_id}"
