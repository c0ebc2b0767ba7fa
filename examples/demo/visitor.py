"""A visitor with the standard library for a browser, who looks at the clock."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import (
    HTTPCookieProcessor,
    HTTPErrorProcessor,
    Request,
    build_opener,
)

_TOKEN: Final = re.compile(r'name="csrf" value="([^"]+)"')
_PATIENCE_SECONDS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request, as the visitor saw it, in seconds since the epoch."""

    asked_at: float
    answered_at: float

    @property
    def milliseconds(self) -> float:
        """How long the visitor waited."""
        return 1000 * (self.answered_at - self.asked_at)


class Visitor:
    """Somebody who keeps their cookies, and takes redirects and errors as answers.

    Args:
        url: Where the demo is served.
    """

    def __init__(self, url: str) -> None:
        self.visits: list[Visit] = []
        self._url = url.rstrip("/")
        self._opener = build_opener(HTTPCookieProcessor(), _AnyAnswer())

    def get(self, path: str) -> str:
        """Ask for a page."""
        return self._visit(Request(self._url + path))  # noqa: S310  # our own server

    def post(self, path: str, *, form_page: str, **form: str) -> str:
        """Open the page of a form, fill it in and send it."""
        token = _TOKEN.search(self.get(form_page))
        fields = {"csrf": token[1] if token else "", **form}
        body = urlencode(fields).encode()
        return self._visit(Request(self._url + path, body))  # noqa: S310  # the same

    def peek(self, path: str) -> Any:
        """Read JSON, which is no visit."""
        with self._opener.open(self._url + path, timeout=_PATIENCE_SECONDS) as answer:
            return json.load(answer)

    def _visit(self, request: Request) -> str:
        asked_at = time.time()
        with self._opener.open(request, timeout=_PATIENCE_SECONDS) as answer:
            page: str = answer.read().decode()
        self.visits.append(Visit(asked_at=asked_at, answered_at=time.time()))
        return page


class _AnyAnswer(HTTPErrorProcessor):
    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:  # noqa: ARG002  # the signature is urllib's
        return response
