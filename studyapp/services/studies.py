"""Loading a study and opening, pausing or closing it."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from studyapp.config import StudyConfig
from studyapp.errors import UnknownChoice
from studyapp.models import PairPool, Study, StudyState, StudyVersion
from studyapp.services.stages import record_event


@dataclass(frozen=True, slots=True)
class LoadedStudy:
    """The version in force; ``created`` is False where the configuration had not changed."""

    version: StudyVersion
    created: bool


@transaction.atomic
def load_study(*, config: StudyConfig, actor: str = "command line") -> LoadedStudy:
    """Make the study, or a new frozen version of it when the configuration's hash changed.

    Participants who began under an older version finish under it.
    """
    Study.objects.get_or_create(slug=config.slug, defaults={"title": config.title})
    study = Study.objects.select_for_update().get(slug=config.slug)
    digest = config.sha256()
    latest = study.versions.order_by("-number").first()
    if latest is not None and latest.config_hash == digest:
        return LoadedStudy(latest, created=False)
    version = StudyVersion.objects.create(
        study=study,
        number=latest.number + 1 if latest else 1,
        config=config.canonical(),
        config_hash=digest,
        schema_version=config.schema_version,
    )
    PairPool.objects.bulk_create(
        PairPool(study_version=version, position=position, **pair.model_dump())
        for position, pair in enumerate(config.pairs)
    )
    study.title = config.title
    study.save(update_fields=["title"])
    record_event(
        study=study,
        actor=actor,
        action="load_study",
        detail={"version": version.number, "config_hash": digest},
    )
    return LoadedStudy(version, created=True)


@transaction.atomic
def set_study_state(*, study: Study, state: str, actor: str) -> Study:
    """Open, pause or close; those who began may finish. Raises UnknownChoice."""
    if state not in StudyState.values:
        raise UnknownChoice(f"state: {', '.join(StudyState.values)}; got {state!r}")
    row = Study.objects.select_for_update().get(pk=study.pk)
    if row.state != state:
        record_event(
            study=row,
            actor=actor,
            action="set_study_state",
            detail={"from": row.state, "to": state},
        )
        row.state = state
        row.save(update_fields=["state"])
    return row
