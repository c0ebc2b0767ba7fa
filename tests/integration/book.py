"""A book in which handlers write down what they observe, in the request and in a worker."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

from flask import has_request_context, request

from signal_tasks import current_event

Where = Literal["inline", "worker"]


class Entry(NamedTuple):
    """What one run of a handler has observed."""

    name: str
    """The handler's, or that of what it looks at."""

    where: Where
    pid: int
    visit: str | None
    """The identifier of the request, outside of one None."""

    observed: list[Any]


def here() -> Where:
    """Tell whether a worker runs the handler that asks."""
    return "worker" if current_event else "inline"


def observe(name: str, *observed: object) -> None:
    """Write down what the handler called *name* has observed."""
    visit = request.headers.get("X-Request-Id") if has_request_context() else None
    line = json.dumps(Entry(name, here(), os.getpid(), visit, list(observed)))
    with Path(os.environ["TEST_BOOK"]).open("a") as book:
        book.write(line + "\n")


def read(book: Path) -> list[Entry]:
    """Return what has been written so far."""
    return [Entry(*json.loads(line)) for line in book.read_text().splitlines()]
