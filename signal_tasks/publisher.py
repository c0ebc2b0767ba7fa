"""Celery's door out: envelopes become task messages on the broker.

In: envelopes, in order. Out: one Celery message each, acknowledged by the broker.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager

from amqp.exceptions import AMQPError
from celery import Celery
from kombu import Producer
from kombu.exceptions import LimitExceeded, OperationalError
from kombu.pools import ProducerPool

from .envelope import EVENT_HEADER, Envelope
from .exceptions import PublishError, SignalTasksError
from .registry import Registry

# One reconnect, at once: a pooled connection may have died since its last use.
_RETRY_POLICY = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}

GiveUp = Callable[[Exception, float], None]
"""Called by kombu with an error before it tries again; may raise it instead."""


_BROKER_ERRORS = (OperationalError, LimitExceeded, AMQPError)


class CeleryPublisher:
    """Publishes through a Celery app, over connections of its own.

    The app's own pool would make a request wait for a sick broker as long as its
    settings allow, which by default is for ever.

    Args:
        celery_app: Knows the broker and has a task for each receiver.
        registry: Knows the receivers' message options.
        timeout_seconds: How long the broker may take to connect or to answer.
    """

    def __init__(
        self, celery_app: Celery, registry: Registry, *, timeout_seconds: float
    ) -> None:
        self._celery_app = celery_app
        self._registry = registry
        self._timeout_seconds = timeout_seconds
        self._pools: dict[int, ProducerPool] = {}
        # Before the garbage collector comes to the sockets, for it warns of open ones.
        weakref.finalize(self, _close_own, self._pools).atexit = False

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Hand *envelopes* to the broker, in order, over one connection.

        Raises:
            PublishError: The broker could not be reached, did not answer in time, or
                refused the login or the queue; the envelopes before are on their way
                then, and the first one that is not may be. Or Celery makes no message
                of some, and the others are on their way.
        """
        if not envelopes:
            return
        left = list(envelopes)
        unmade: list[str] = []
        cause: Exception | None = None
        give_up = _giver_up(time.monotonic() + self._timeout_seconds)
        try:
            with self._producer() as producer:
                while left:
                    try:
                        self._send(left[0], producer, give_up)
                    except (*_BROKER_ERRORS, SignalTasksError):
                        raise
                    except Exception as error:  # noqa: BLE001  # an option may be wrong
                        unmade.append(left[0].receiver)
                        cause = error
                    left.pop(0)
        except _BROKER_ERRORS as error:
            raise PublishError(
                f"the broker at {self._address()} did not take {len(left)} of "
                f"{len(envelopes)} messages ({type(error).__name__}). Is it running, and "
                "is broker_url right? For development, `flask signal-tasks dev` brings "
                "its own.",
                receivers=(*unmade, *(envelope.receiver for envelope in left)),
                unsent=tuple(envelope.receiver for envelope in left),
            ) from error
        if unmade:
            raise PublishError(
                f"Celery made no message of it ({type(cause).__name__}). Mend the "
                "receiver's options, or Celery's settings, where the traceback points.",
                receivers=tuple(unmade),
            ) from cause

    def _send(self, envelope: Envelope, producer: Producer, give_up: GiveUp) -> None:
        options = dict(self._registry.get(envelope.receiver).message_options)
        options["headers"] = {**options.get("headers", {}), EVENT_HEADER: envelope.id}
        options["argsrepr"] = f"(<event {envelope.id} of {envelope.signal}>,)"
        options["confirm_timeout"] = self._timeout_seconds
        self._celery_app.tasks[envelope.receiver].apply_async(
            args=(envelope.text,),
            producer=producer,
            retry=True,
            retry_policy={**_RETRY_POLICY, "errback": give_up},
            **options,
        )

    @contextmanager
    def _producer(self) -> Generator[Producer]:
        with self._producers().acquire(
            block=True, timeout=self._timeout_seconds
        ) as producer:
            yield producer

    def _producers(self) -> ProducerPool:
        # A forked child must not talk over its parent's sockets, and must not drop
        # them either: closing its copy of a socket ends the parent's conversation.
        pool = self._pools.get(os.getpid())
        if pool is None:
            pool = self._pools.setdefault(os.getpid(), self._new_pool())
        return pool

    def _new_pool(self) -> ProducerPool:
        connection = self._celery_app.connection_for_write(
            connect_timeout=self._timeout_seconds,
            transport_options=self._transport_options(),
        )
        limit = self._celery_app.conf.broker_pool_limit or None
        return ProducerPool(
            connection.Pool(limit),
            limit=limit,
            Producer=self._celery_app.amqp.Producer,
        )

    def _transport_options(self) -> Mapping[str, object]:
        """Return options that bound every wait, less what the user has set."""
        transport = self._celery_app.connection_for_write().transport.driver_type
        bounds = {
            "redis": {
                "socket_timeout": self._timeout_seconds,
                "socket_connect_timeout": self._timeout_seconds,
            },
            "amqp": {
                "read_timeout": self._timeout_seconds,
                "write_timeout": self._timeout_seconds,
                "confirm_publish": True,
            },
        }.get(transport, {})
        chosen = self._celery_app.conf.broker_transport_options
        return {name: value for name, value in bounds.items() if name not in chosen}

    def _address(self) -> str:
        return str(self._celery_app.connection_for_write().as_uri())


def _close_own(pools: dict[int, ProducerPool]) -> None:
    pool = pools.pop(os.getpid(), None)
    if pool is not None:
        pool.connections.force_close_all()


def _giver_up(deadline: float) -> GiveUp:
    """Return what lets a dead connection be replaced, and a silent broker be left.

    kombu's one more attempt is two to connect, of which each takes its full time.
    """

    def give_up(error: Exception, _interval: float) -> None:
        if time.monotonic() >= deadline:
            raise error

    return give_up
