"""Labels: which of two prepared answers a participant prefers."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from fspo_core.types import Preference
from studyapp.models.choices import LabelChoice
from studyapp.models.participants import Participant
from studyapp.models.studies import PairPool


class Label(models.Model):
    """One pair for one participant. The server drew the pair, its place and its sides."""

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="labels")
    pair = models.ForeignKey(PairPool, on_delete=models.PROTECT, related_name="labels")
    position = models.PositiveSmallIntegerField(_("position"))
    public_id = models.UUIDField(_("id"), default=uuid.uuid4, unique=True, editable=False)
    left_is_a = models.BooleanField(_("response A stands left"))
    choice = models.CharField(_("choice"), max_length=5, choices=LabelChoice, null=True)  # noqa: DJ001 - null until answered, together with its time
    shown_at = models.DateTimeField(_("shown at"), null=True)
    answered_at = models.DateTimeField(_("answered at"), null=True)

    class Meta:
        verbose_name = _("label")
        ordering = ("participant", "position")
        constraints = (
            models.UniqueConstraint(
                fields=["participant", "position"], name="label_once_per_position"
            ),
            models.UniqueConstraint(fields=["participant", "pair"], name="label_once_per_pair"),
            models.CheckConstraint(
                condition=models.Q(choice__isnull=True) | models.Q(choice__in=LabelChoice.values),
                name="label_choice_known",
            ),
            models.CheckConstraint(
                condition=models.Q(choice__isnull=True, answered_at__isnull=True)
                | models.Q(choice__isnull=False, answered_at__isnull=False, shown_at__isnull=False),
                name="label_choice_with_its_times",
            ),
        )

    def __str__(self) -> str:
        return str(self.public_id)

    @property
    def left_text(self) -> str:
        return self.pair.response_a if self.left_is_a else self.pair.response_b

    @property
    def right_text(self) -> str:
        return self.pair.response_b if self.left_is_a else self.pair.response_a

    def as_preference(self) -> Preference:
        """The labelled pair in the core's words. Raises ValueError where there is no choice yet."""
        if self.choice is None:
            raise ValueError(f"label {self.public_id} has no choice yet")
        left, right = self.left_text, self.right_text
        chosen, rejected = (left, right) if self.choice == LabelChoice.LEFT else (right, left)
        return Preference(self.pair.question, chosen, rejected)


class PredictedLabel(models.Model):
    """What the personal reward model gave to the choice that was made, knowing the labels before.

    Computed once all labels of the participant are in; nothing that a participant sees depends on
    it.
    """

    label = models.OneToOneField(
        Label, on_delete=models.CASCADE, primary_key=True, related_name="prediction"
    )
    probability = models.FloatField(_("probability of the choice"))
    checkpoint = models.CharField(_("checkpoint"), max_length=200)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("predicted label")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(probability__gte=0, probability__lte=1),
                name="prediction_is_a_probability",
            ),
        )

    def __str__(self) -> str:
        return f"{self.label}: {self.probability:.2f}"
