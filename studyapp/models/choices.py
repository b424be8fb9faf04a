"""The closed vocabularies of the schema."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class StudyState(models.TextChoices):
    OPEN = "open", _("open")
    PAUSED = "paused", _("paused")
    CLOSED = "closed", _("closed")


class StageChoice(models.TextChoices):
    """The stored stages of ``studyapp.flow.Stage`` (a test keeps the two equal)."""

    CONSENT = "consent", _("consent")
    INSTRUCTIONS = "instructions", _("instructions")
    LABEL = "label", _("labelling")
    ASK = "ask", _("asking")
    JUDGE = "judge", _("judging")
    EXIT = "exit", _("exit questions")
    COMPLETE = "complete", _("complete")
    DECLINED = "declined", _("declined")
    FAILED_CHECKS = "failed_checks", _("failed the checks")
    WITHDRAWN = "withdrawn", _("withdrawn")
    TECHNICAL = "technical", _("technical failure")


class QueryKind(models.TextChoices):
    OWN = "own", _("own question")
    BANK = "bank", _("bank question")


class LabelChoice(models.TextChoices):
    LEFT = "left", _("left")
    RIGHT = "right", _("right")


class JudgmentChoice(models.TextChoices):
    LEFT = "left", _("left")
    RIGHT = "right", _("right")
    TIE = "tie", _("tie")


class GenerationState(models.TextChoices):
    PENDING = "pending", _("pending")
    RUNNING = "running", _("running")
    COMPLETE = "complete", _("complete")
    FAILED = "failed", _("failed")


class ComparisonState(models.TextChoices):
    WAITING = "waiting", _("waiting for answers")
    READY = "ready", _("ready")
    JUDGED = "judged", _("judged")
    SET_ASIDE = "set_aside", _("set aside")
