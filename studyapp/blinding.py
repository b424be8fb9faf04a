"""Researchers are blind too: arms have no names until someone unblinds a study, on the record."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from string import ascii_uppercase

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils.translation import gettext as _

from fspo_core.arms import ARMS
from studyapp.models import AuditEvent, Study
from studyapp.services import record_event

UNBLINDED = "unblinded"
EXPORTED = "exported_with_arms"
Pairing = tuple[str, str]


def is_unblinded(study: Study) -> bool:
    """Whether someone has unblinded this study."""
    return AuditEvent.objects.filter(study=study, action=UNBLINDED).exists()


@transaction.atomic
def unblind(*, study: Study, user: AbstractBaseUser) -> None:
    """Name the arms from now on, for everybody; the first time is recorded with who did it."""
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)  # two clicks, one event
    if not is_unblinded(study):
        record_event(study=study, actor=f"user:{user.get_username()}", action=UNBLINDED)


def record_export(*, study: Study, actor: str, level: str, judgments: int) -> None:
    """An export names the arms, so it goes on the record like an unblinding."""
    record_event(
        study=study,
        actor=actor,
        action=EXPORTED,
        detail={"level": level, "judgments": judgments},
    )


@dataclass(frozen=True, slots=True)
class PairingName:
    """What a pairing is called on the dashboard and in the API."""

    label: str
    arm: str
    against: str


def name_pairings(
    study: Study, pairings: Iterable[Pairing], *, unblinded: bool
) -> dict[Pairing, PairingName]:
    """Names for pairings; blinded ones are A, B, C in an order that tells nothing of the arms."""
    known = sorted(set(pairings), key=lambda pairing: _shuffle_key(study, pairing))
    names = {}
    for number, pairing in enumerate(known):
        label = _("Pairing %(letter)s") % {"letter": _letter(number)}
        if unblinded:
            names[pairing] = PairingName(f"{pairing[0]} – {pairing[1]}", *pairing)
        else:
            names[pairing] = PairingName(label, _("first arm"), _("second arm"))
    return names


def hide_arms(text: str) -> str:
    """A message without the arms' names in it."""
    names = "|".join(sorted(map(re.escape, ARMS), key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{names})(?!\w)", "•••", text)


def _shuffle_key(study: Study, pairing: Pairing) -> bytes:
    message = f"{study.slug}:{pairing[0]}:{pairing[1]}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).digest()


def _letter(number: int) -> str:
    rounds, index = divmod(number, len(ascii_uppercase))
    return ascii_uppercase[index] + (str(rounds + 1) if rounds else "")
