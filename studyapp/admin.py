"""Records for researchers: read only, and without the arms, so that browsing does not unblind.

What may be done here: pause or close a study (through its service), delete a recruiter identity.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db import models as db
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from studyapp import models, services
from studyapp.blinding import hide_arms


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Shows rows; the study's own services write them."""

    hidden: ClassVar[tuple[str, ...]] = ()
    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: db.Model | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: db.Model | None = None) -> bool:  # noqa: ARG002
        return False

    def get_fields(self, request: HttpRequest, obj: db.Model | None = None) -> list[Any]:
        return [name for name in super().get_fields(request, obj) if name not in self.hidden]


@admin.register(models.Study)
class StudyAdmin(ReadOnlyAdmin):
    list_display = ("slug", "title", "state", "created_at")
    list_filter = ("state",)
    actions = ("open_studies", "pause_studies", "close_studies")

    def has_change_permission(self, request: HttpRequest, obj: db.Model | None = None) -> bool:
        # On the list only, because the actions there need it; a study's own page stays read only.
        return obj is None and request.user.has_perm("studyapp.change_study")

    @admin.action(description=_("Open: take participants"))
    def open_studies(self, request: HttpRequest, queryset: db.QuerySet[models.Study]) -> None:
        self._set_state(request, queryset, models.StudyState.OPEN)

    @admin.action(description=_("Pause: no new participants"))
    def pause_studies(self, request: HttpRequest, queryset: db.QuerySet[models.Study]) -> None:
        self._set_state(request, queryset, models.StudyState.PAUSED)

    @admin.action(description=_("Close"))
    def close_studies(self, request: HttpRequest, queryset: db.QuerySet[models.Study]) -> None:
        self._set_state(request, queryset, models.StudyState.CLOSED)

    def _set_state(
        self, request: HttpRequest, studies: db.QuerySet[models.Study], state: models.StudyState
    ) -> None:
        for study in studies:
            services.set_study_state(
                study=study, state=state, actor=f"user:{request.user.get_username()}"
            )
        messages.success(request, _("Done."))


@admin.register(models.StudyVersion)
class StudyVersionAdmin(ReadOnlyAdmin):
    # The configuration is not blind to which arms are compared, only to which pairing is which.
    list_display = ("study", "number", "config_hash", "created_at")
    list_select_related = ("study",)


@admin.register(models.Participant)
class ParticipantAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "study_version", "stage", "is_preview", "started_at", "ended_at")
    list_filter = ("stage", "is_preview", "study_version__study")
    list_select_related = ("study_version",)
    search_fields = ("public_id",)
    hidden = ("start_key", "seed")


@admin.register(models.RecruiterIdentity)
class RecruiterIdentityAdmin(ReadOnlyAdmin):
    list_display = ("pid", "study", "participant", "created_at")
    list_select_related = ("study", "participant")
    search_fields = ("pid",)

    def has_delete_permission(self, request: HttpRequest, obj: db.Model | None = None) -> bool:  # noqa: ARG002
        return request.user.is_superuser


@admin.register(models.ConsentRecord)
class ConsentRecordAdmin(ReadOnlyAdmin):
    list_display = ("participant", "version", "accepted_at")
    list_select_related = ("participant",)


@admin.register(models.Comparison)
class ComparisonAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "state", "set_aside", "ready_at", "shown_at")
    list_filter = ("state",)
    search_fields = ("public_id",)
    hidden = ("arm", "against", "arm_is_left", "set_aside_reason")

    @admin.display(description=_("why set aside"))
    def set_aside(self, comparison: models.Comparison) -> str:
        return hide_arms(comparison.set_aside_reason)


@admin.register(models.Judgment)
class JudgmentAdmin(ReadOnlyAdmin):
    list_display = ("comparison", "choice", "strength", "judged_at")
    list_select_related = ("comparison",)


@admin.register(models.ExitAnswer)
class ExitAnswerAdmin(ReadOnlyAdmin):
    list_display = ("participant", "name", "value", "answered_at")
    list_select_related = ("participant",)
    list_filter = ("name",)


@admin.register(models.WorkerHeartbeat)
class WorkerHeartbeatAdmin(ReadOnlyAdmin):
    list_display = ("worker", "engine", "started_at", "seen_at")


@admin.register(models.AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "study", "actor", "action", "subject")
    list_filter = ("action",)
    list_select_related = ("study",)
