"""Participants with a browser: a Django test client that holds the cookie of their study."""

from __future__ import annotations

import re
import secrets
from typing import Any

from django.http import HttpResponse
from django.test import Client

from studyapp.models import AccessToken, Participant
from studyapp.services.admission import hash_token

HTMX = {"HTTP_HX_REQUEST": "true"}


def token_of(participant: Participant) -> str:
    """A new personal token."""
    token = secrets.token_urlsafe(24)
    AccessToken.objects.create(participant=participant, token_sha256=hash_token(token))
    return token


def browser(participant: Participant, **options: Any) -> Client:
    """The participant's own browser."""
    client = Client(**options)
    client.cookies[f"fspo_{participant.study_version.study.slug}"] = token_of(participant)
    return client


def page(response: Any) -> str:
    """The HTML of a response."""
    return response.content.decode()


def shown(response: Any, name: str) -> str:
    """The value of a ``data-…`` attribute or a hidden field of this name."""
    html = page(response)
    found = re.search(rf'data-{name}="([^"]*)"', html) or re.search(
        rf'name="{name}" value="([^"]*)"', html
    )
    assert found is not None, f"no {name} in the page"
    return found.group(1)


def leads_to(response: HttpResponse, path: str) -> bool:
    """Whether this is a redirect to ``path``, by HTTP or for htmx."""
    if "HX-Redirect" in response:
        return response.status_code == 200 and response["HX-Redirect"] == path
    return response.status_code == 303 and response["Location"] == path
