"""What the personal reward model thought of a participant's labels."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from studyapp.models import Label, Participant, PredictedLabel
from studyapp.services.stages import lock_by_id


@transaction.atomic
def store_label_predictions(
    *, participant_id: int, probabilities: Sequence[float], checkpoint: str
) -> int:
    """Store the probability of the first labels made, in order; how many were stored.

    None of them where the participant was destroyed, or where another worker was first.
    """
    try:
        lock_by_id(participant_id)
    except Participant.DoesNotExist:
        return 0
    labels = list(Label.objects.filter(participant=participant_id).order_by("position"))
    if not labels:  # withdrawn meanwhile
        return 0
    if not 0 < len(probabilities) <= len(labels):
        raise ValueError(f"{len(probabilities)} probabilities came for {len(labels)} labels")
    if PredictedLabel.objects.filter(label__in=labels).exists():
        return 0
    rows = [
        PredictedLabel(label=label, probability=probability, checkpoint=checkpoint)
        for label, probability in zip(labels, probabilities, strict=False)
    ]
    return len(PredictedLabel.objects.bulk_create(rows))
