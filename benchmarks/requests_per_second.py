"""How many requests a second a gunicorn app answers whose views send signals.

The time counts until all their messages are in the queue, for a buffer that is filled
faster than it is emptied would look better than it is.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError

import redis

from signal_tasks.dev.processes import Children, Command
from signal_tasks.dev.servers import free_port

from .findings import Finding, at_least
from .load import CONNECTIONS
from .place import Place
from .site import COUNTS, WAYS, queue_of

_ROOT = Path(__file__).parents[1]
_PATIENCE_SECONDS = 30.0
_THREADS = 4
_SETTLED_SECONDS = 0.3


def measure(place: Place, *, seconds: float, repeats: int) -> list[Finding]:
    """Put each view under load for some *seconds*, *repeats* times in turn."""
    views = [
        ("none", 0),
        *((way, count) for count in COUNTS for way in WAYS),
    ]
    rates: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    with Children() as children:
        site = _start(children, place)
        for _ in range(repeats):
            for way, handlers in views:
                rates[way, handlers].append(
                    _sustained(place, site, way, handlers, seconds)
                )
    return _findings(
        {view: statistics.median(measured) for view, measured in rates.items()}
    )


def _findings(rates: dict[tuple[str, int], float]) -> list[Finding]:
    return [
        *(
            Finding(what=f"{way}, {handlers} handlers", value=rate, unit=" requests/s")
            for (way, handlers), rate in rates.items()
        ),
        *(
            at_least(
                f"buffered against direct, {handlers} handlers",
                rates["buffered", handlers] / rates["direct", handlers],
                1.0,
            )
            for handlers in COUNTS
        ),
    ]


def _start(children: Children, place: Place) -> str:
    """Start the app, and return its address once it answers."""
    port = free_port()
    site = children.start(
        Command(
            name="gunicorn",
            arguments=[
                *(sys.executable, "-m", "gunicorn", "benchmarks.site:create_app()"),
                *("--worker-class", "gthread", "--threads", str(_THREADS)),
                *("--bind", f"127.0.0.1:{port}", "--log-level", "warning"),
            ],
            environment=place.environment(),
            cwd=_ROOT,
        )
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _answers(f"{address}/none/0"):
        if site.exit_code is not None or time.monotonic() > deadline:
            raise RuntimeError("gunicorn did not start:\n" + "\n".join(site.last_lines))
        time.sleep(0.05)
    return address


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310  (http)
            return bool(response.read())
    except (URLError, OSError):
        return False


def _rate(url: str, seconds: float) -> float:
    """Return how many requests a second *url* answers."""
    output = subprocess.run(  # noqa: S603  (found on PATH, or ourselves)
        _load_command(url, seconds),
        cwd=_ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    refused = re.search(r"Non-2xx or 3xx responses: \d+", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if refused or rate is None:
        raise RuntimeError(f"{url} did not answer well:\n{output}")
    return float(rate[1])


def _load_command(url: str, seconds: float) -> Sequence[str]:
    wrk = shutil.which("wrk")
    if wrk is None:
        return [sys.executable, "-m", "benchmarks.load", url, str(seconds)]
    return [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", url]


def _sustained(
    place: Place, site: str, way: str, handlers: int, seconds: float
) -> float:
    """Return how many requests a second are answered and have all messages away."""
    rate = _rate(f"{site}/{way}/{handlers}", seconds)
    if not handlers:
        return rate
    with redis.Redis.from_url(place.redis_url) as client:
        started = time.perf_counter()
        length, grew_at = _settled(client, queue_of(place, way), started)
        client.delete(queue_of(place, way))
    # The load generator does not count the requests that were open at its end.
    if length % handlers or length < int(rate * seconds) * handlers:
        raise RuntimeError(
            f"{way} left {length} messages of {handlers} handlers after at least "
            f"{rate * seconds:.0f} requests"
        )
    return rate * seconds / (seconds + grew_at - started)


def _settled(client: redis.Redis, queue: str, now: float) -> tuple[int, float]:
    """Return how many messages there are when no more come, and when the last came."""
    length, grew_at = int(client.llen(queue)), now
    while time.perf_counter() < grew_at + _SETTLED_SECONDS:
        time.sleep(0.01)
        if (longer := int(client.llen(queue))) > length:
            length, grew_at = longer, time.perf_counter()
    return length, grew_at
