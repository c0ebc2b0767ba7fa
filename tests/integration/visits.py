"""Apps that web server and worker serve for tests, and visitors who open their pages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import (
    HTTPCookieProcessor,
    HTTPRedirectHandler,
    Request,
    build_opener,
)

from signal_tasks.dev.stack import Stack, StackSettings, running_stack
from tests.integration import book
from tests.integration.book import Entry, Where
from tests.integration.workers import wait_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request that somebody makes."""

    name: str
    """Sent along as its identifier."""

    path: str = "/"
    method: str = "GET"
    form: Mapping[str, str] | None = None
    json: object = None
    headers: Mapping[str, str] | None = None

    def request(self, url: str) -> Request:
        """Return it as a request to the server at *url*."""
        data, kind = None, {}
        if self.form is not None:
            data = urlencode(self.form).encode()
        elif self.json is not None:
            data, kind = (
                json.dumps(self.json).encode(),
                {"Content-Type": "application/json"},
            )
        headers = {"X-Request-Id": self.name, **kind, **(self.headers or {})}
        return Request(url + self.path, data, headers, method=self.method)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the visitor gets."""

    status: int
    headers: HTTPMessage
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An app at work: a web server, a worker, and the book that its handlers write."""

    stack: Stack
    folder: Path
    log: Sequence[str]

    @property
    def written(self) -> str:
        """What its processes have written so far."""
        return "\n".join(self.log)

    def entries(self, where: Where, name: str | None = None) -> Sequence[Entry]:
        """Return what handlers have observed so far, in the web server or for an event.

        A receiver that blinker calls in the worker itself, which pushes contexts of its
        own, is neither.
        """
        return [
            entry
            for entry in book.read(self.folder / "book")
            if entry.where == where
            and (where == "worker" or entry.pid == self.stack.web_pid)
            and name in (None, entry.name)
        ]

    def count(self, where: Where) -> Counter[str]:
        """Return how many entries there are of each name."""
        return Counter(entry.name for entry in self.entries(where))

    def settle(self) -> None:
        """Wait until the worker has observed all that was observed in requests."""
        wait_for(
            lambda: self.count("inline") <= self.count("worker"),
            f"the worker; the processes wrote:\n{self.written}",
        )


class Visitor:
    """Somebody with a browser that keeps cookies and follows no redirects.

    Args:
        site: What they visit.
    """

    def __init__(self, site: Site) -> None:
        self._url = site.stack.url
        self._browser = build_opener(HTTPCookieProcessor(CookieJar()), _Staying())

    def make(self, visit: Visit) -> Reply:
        """Make *visit*, which may end in an error page."""
        with closing(self._open(visit)) as reply:
            return Reply(status=reply.status, headers=reply.headers, body=reply.read())

    def _open(self, visit: Visit) -> HTTPResponse | HTTPError:
        try:
            return self._browser.open(visit.request(self._url), timeout=30)
        except HTTPError as error:
            return error


class _Staying(HTTPRedirectHandler):
    def redirect_request(self, *args: object) -> None:
        """Leave it to the visitor where to go."""


@contextmanager
def running_site(app: str, *, broker_url: str, folder: Path) -> Iterator[Site]:
    """Give the app that ``FLASK_APP`` would name *app*, with a book in *folder*."""
    (folder / "book").touch()
    log: list[str] = []
    settings = StackSettings(
        app=app,
        port=0,
        broker_url=broker_url,
        concurrency=1,  # which keeps the order of events
        environment={
            "TEST_BOOK": str(folder / "book"),
            "TEST_FOLDER": str(folder),
        },
    )
    with running_stack(
        settings, on_line=lambda name, line: log.append(f"{name}: {line}")
    ) as stack:
        yield Site(stack=stack, folder=folder, log=log)
