"""Customers who place numbered orders with the web process, whether it lives or not."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final

_CUSTOMERS: Final = 4
_PATIENCE_SECONDS: Final = 30.0


class Traffic:
    """Places orders from several threads, each number once.

    An order whose answer never came may have been placed or not; the database knows.

    Args:
        port: Where the web process listens.
        orders: How many there are.
        seconds: How long they take, if nothing holds them up.
    """

    def __init__(self, port: int, *, orders: int, seconds: float) -> None:
        self._port = port
        self._orders = orders
        self._pause_seconds = seconds * _CUSTOMERS / orders
        self._numbers = itertools.count(1)
        self._customers: list[Future[None]] = []
        self.sends: list[float] = []
        """How many seconds of each answered order went to its event."""
        self.requests: list[float] = []
        """How many seconds each answered order took in all."""

    @property
    def is_running(self) -> bool:
        """Whether there is still somebody."""
        return not all(customer.done() for customer in self._customers)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let all of them come, and wait until they are through."""
        with ThreadPoolExecutor(_CUSTOMERS) as executor:
            self._customers = [executor.submit(self._run) for _ in range(_CUSTOMERS)]
            yield
        for customer in self._customers:
            customer.result()

    def _run(self) -> None:
        while (number := next(self._numbers)) <= self._orders:
            started = time.monotonic()
            self._place(number)
            left = self._pause_seconds - (time.monotonic() - started)
            time.sleep(max(left, 0))

    def _place(self, number: int) -> None:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=_PATIENCE_SECONDS
        )
        _keep_trying(connection.connect)
        started = time.perf_counter()
        with suppress(OSError, http.client.HTTPException):
            connection.request("POST", f"/orders/{number}")
            answer = connection.getresponse()
            body = answer.read()
            self.requests.append(time.perf_counter() - started)
            if answer.status == http.client.OK:
                self.sends.append(json.loads(body)["seconds"])
        connection.close()


def _keep_trying(connect: Callable[[], None]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return connect()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise  # pragma: no cover  # in a run that fails
        time.sleep(0.05)
