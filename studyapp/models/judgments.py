"""Comparisons of two arms' answers, and the participants' verdicts on them."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from studyapp.models.choices import ComparisonState, JudgmentChoice
from studyapp.models.generations import Generation, Query


class Comparison(models.Model):
    """One question answered by two arms; the server drew the pairing and the sides.

    Winrates are told from ``arm``'s point of view, against ``against``.
    """

    query = models.OneToOneField(Query, on_delete=models.CASCADE, related_name="comparison")
    public_id = models.UUIDField(_("id"), default=uuid.uuid4, unique=True, editable=False)
    arm = models.CharField(_("arm"), max_length=40)
    against = models.CharField(_("against"), max_length=40)
    arm_is_left = models.BooleanField(_("the arm stands left"))
    state = models.CharField(
        _("state"), max_length=10, choices=ComparisonState, default=ComparisonState.WAITING
    )
    set_aside_reason = models.CharField(_("why set aside"), max_length=500, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    ready_at = models.DateTimeField(_("ready at"), null=True)
    shown_at = models.DateTimeField(_("shown at"), null=True)

    class Meta:
        verbose_name = _("comparison")
        indexes = (models.Index(fields=["state"], name="comparison_by_state"),)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(state__in=ComparisonState.values), name="comparison_state_known"
            ),
            models.CheckConstraint(
                condition=~models.Q(arm=models.F("against")), name="comparison_of_two_arms"
            ),
            models.CheckConstraint(
                condition=(models.Q(state="set_aside") & ~models.Q(set_aside_reason=""))
                | (~models.Q(state="set_aside") & models.Q(set_aside_reason="")),
                name="comparison_set_aside_with_reason",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["waiting", "set_aside"], shown_at__isnull=True)
                | models.Q(state="ready", ready_at__isnull=False)
                | models.Q(state="judged", ready_at__isnull=False, shown_at__isnull=False),
                name="comparison_shown_when_ready",
            ),
        )

    def __str__(self) -> str:
        return str(self.public_id)

    @property
    def arm_left(self) -> str:
        return self.arm if self.arm_is_left else self.against

    @property
    def arm_right(self) -> str:
        return self.against if self.arm_is_left else self.arm

    def answer_of(self, arm: str) -> Generation:
        """The generation of ``arm``; reads the query's prefetched generations."""
        for generation in self.query.generations.all():
            if generation.arm == arm:
                return generation
        raise Generation.DoesNotExist(f"comparison {self.pk} has no generation of arm {arm!r}")


class Judgment(models.Model):
    """One blind verdict, given once."""

    comparison = models.OneToOneField(Comparison, on_delete=models.CASCADE, related_name="judgment")
    choice = models.CharField(_("choice"), max_length=5, choices=JudgmentChoice)
    strength = models.PositiveSmallIntegerField(_("strength"))
    reason = models.TextField(_("reason"), blank=True)
    shown_at = models.DateTimeField(_("shown at"))
    judged_at = models.DateTimeField(_("judged at"))

    class Meta:
        verbose_name = _("judgment")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(choice__in=JudgmentChoice.values), name="judgment_choice_known"
            ),
            models.CheckConstraint(
                condition=models.Q(strength__gte=1, strength__lte=5), name="strength_1_to_5"
            ),
            models.CheckConstraint(
                condition=models.Q(judged_at__gte=models.F("shown_at")), name="judged_after_shown"
            ),
        )

    def __str__(self) -> str:
        return f"judgment {self.pk}"

    @property
    def seconds(self) -> float:
        """Seconds between showing the answers and the verdict."""
        return (self.judged_at - self.shown_at).total_seconds()
