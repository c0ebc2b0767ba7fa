"""What our being there costs a signal, or a request, that no async receiver hears."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from time import perf_counter

from blinker import Signal
from flask import Flask

from signal_tasks import Bridge, SignalTasks

from .findings import Finding, at_most

_CALLS = 500
_LIMIT = 1.05
"""One, and some room for the clock."""


def measure(*, repeats: int) -> list[Finding]:
    """Time signals and requests with us and without us in turn."""
    bridge = Bridge()
    with_us = _app()
    with_us.config["CELERY"] = {"broker_url": "memory://"}
    SignalTasks(with_us, bridge=bridge)
    heard, unheard = Signal("heard"), Signal("unheard")
    bridge.async_receiver(heard, name="elsewhere")(_hear)
    plain = Signal("plain")
    for signal in (plain, unheard):
        signal.connect(_hear)
    signals = _medians(
        {
            "plain": lambda: plain.send("shop", number=1),
            "ours": lambda: unheard.send("shop", number=1),
        },
        repeats,
    )
    requests = _medians(
        {"plain": _request(_app()), "ours": _request(with_us)}, repeats // 10
    )
    return [
        Finding(what="signal of blinker's", value=signals["plain"] * 1e6, unit=" us"),
        at_most(
            "signal with no async receiver, in those",
            signals["ours"] / signals["plain"],
            _LIMIT,
        ),
        at_most(
            "request with no async receiver, in requests of plain Flask",
            requests["ours"] / requests["plain"],
            _LIMIT,
        ),
    ]


def _medians(
    contenders: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, float]:
    """Return what one call takes, in seconds."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(repeats):
        # Whoever is second finds warmer caches.
        order = sorted(contenders, reverse=number % 2 == 0)
        for name in order:
            call = contenders[name]
            started = perf_counter()
            for _ in range(_CALLS):
                call()
            taken[name].append((perf_counter() - started) / _CALLS)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _app() -> Flask:
    app = Flask("no_receiver")
    app.add_url_rule("/", view_func=lambda: "ok")
    return app


def _request(app: Flask) -> Callable[[], object]:
    client = app.test_client()
    return lambda: client.get("/")


def _hear(sender: object, **_: object) -> None:
    """Do nothing."""
