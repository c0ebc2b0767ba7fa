"""A relay inside a worker, so that an outbox needs no process of its own.

In: Celery's word that a worker is ready, or ends. Out: a thread in the worker's main
process that publishes the rows of the outbox.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Protocol

from celery import Celery
from celery.signals import worker_ready, worker_shutdown, worker_shutting_down

from ..registry import Registry
from ..typing import Delivery
from .relaying import Relaying

# A batch may be under way, which a sick broker makes long.
_PATIENCE_SECONDS = 5.0


class RelayHost(Protocol):
    """An application whose workers publish what is in its outbox."""

    @property
    def celery_app(self) -> Celery:
        """The Celery app that serves it now."""
        ...

    @property
    def registry(self) -> Registry:
        """Its receivers."""
        ...

    @property
    def default_delivery(self) -> Delivery:
        """The delivery of receivers that name none."""
        ...

    @property
    def has_relay_in_worker(self) -> bool:
        """Whether that is wanted."""
        ...

    def relaying(self) -> Relaying:
        """Return what publishes the rows."""
        ...


class WorkerRelay:
    """Runs a relay while a worker of *host* is up, where events go by the outbox.

    Args:
        host: The application; it keeps this alive, and not the other way round.
    """

    def __init__(self, host: RelayHost) -> None:
        self._host = weakref.ref(host)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        # Celery takes one method of two objects for the same receiver without this.
        uid = f"signal_tasks.relay.{id(self)}"
        worker_ready.connect(self._on_ready, dispatch_uid=uid)
        worker_shutting_down.connect(self._on_shutting_down, dispatch_uid=uid)
        worker_shutdown.connect(self._on_shutdown, dispatch_uid=uid)

    def _on_ready(self, sender: Any, **_: object) -> None:
        host = self._host()
        if host is None or sender.app is not host.celery_app or not _is_wanted(host):
            return
        self._stop.clear()
        self._thread = threading.Thread(
            target=ForkPause().run, args=(host.relaying(), self._stop), daemon=True
        )
        self._thread.start()

    def _on_shutting_down(self, **_: object) -> None:
        # Celery sends this out of a handler of a signal of the system, so no waiting.
        self._stop.set()

    def _on_shutdown(self, **_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_SECONDS)


class ForkPause:
    """Lets this process fork only while a thread of it rests, or after a second.

    A child that is forked while a thread is inside a database's library, or holds any
    other lock, has that lock for ever, and nobody in it to release it.
    """

    def __init__(self) -> None:
        self._at_work = threading.Lock()
        self._is_held = False
        os.register_at_fork(before=self._begin, after_in_parent=self._end)

    def run(self, relaying: Relaying, stop: threading.Event) -> None:
        """Run a relay that rests whenever it waits for rows."""
        with self._at_work:
            relaying.run(stop, rest=self._resting)

    @contextmanager
    def _resting(self) -> Generator[None]:
        self._at_work.release()
        try:
            yield
        finally:
            self._at_work.acquire()

    def _begin(self) -> None:
        self._is_held = self._at_work.acquire(timeout=1)

    def _end(self) -> None:
        if self._is_held:
            self._at_work.release()


def _is_wanted(host: RelayHost) -> bool:
    return host.has_relay_in_worker and any(
        (receiver.delivery or host.default_delivery) == "outbox"
        for receiver in host.registry
    )
