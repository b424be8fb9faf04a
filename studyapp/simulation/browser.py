"""A browser of the plainest kind: cookies, redirects, forms. One a participant, one a thread."""

from __future__ import annotations

from http.client import HTTPException
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener

from studyapp.simulation.pages import Form, Page, read_page

TIMEOUT_SECONDS = 60


class SimulationError(Exception):
    """A simulated participant met something it cannot go on from; states address and status."""


class Browser:
    """Holds the cookies of one participant. No proxies, no JavaScript, no parallel requests."""

    def __init__(self) -> None:
        # Plain http on localhost is served by name or by number; the jar must not be strict on it.
        jar = CookieJar(DefaultCookiePolicy(strict_ns_domain=DefaultCookiePolicy.DomainLiberal))
        self._opener = build_opener(HTTPCookieProcessor(jar), ProxyHandler({}))

    def get(self, url: str) -> Page:
        return self._send(Request(url))

    def submit(self, page: Page, form: Form, **values: str) -> Page:
        """Send a form with its hidden fields (the CSRF token among them) and these values."""
        url = urljoin(page.url, form.action) if form.action else page.url
        body = urlencode(form.hidden | values).encode()
        return self._send(Request(url, data=body, headers={"Referer": page.url}))

    def _send(self, request: Request) -> Page:
        request.add_header("User-Agent", "simulated participant")
        request.add_header("Accept", "text/html")
        where = f"{request.get_method()} {request.full_url.split('?')[0]}"
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                return self._page(response)
        except HTTPError as error:
            with error:
                raise SimulationError(f"{where} answered {error.code}") from error
        except (OSError, HTTPException) as error:
            # Refused, reset, timed out or cut off: urllib wraps some of these and not others.
            reason = getattr(error, "reason", "") or error
            raise SimulationError(f"{where} failed: {reason}") from error

    @staticmethod
    def _page(response: Any) -> Page:
        return read_page(response.geturl(), response.read().decode("utf-8"))
