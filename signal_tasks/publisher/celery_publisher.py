"""Celery's door out: envelopes become task messages on the broker.

In: envelopes, in order. Out: one Celery message each, acknowledged by the broker.
"""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from celery import Celery

from ..envelope import Envelope
from ..exceptions import PublishError
from ..registry import Registry
from .batch import Batch
from .breaker import Breaker
from .broker_errors import QUEUE_ADVICE, advice_for, cause_of
from .formats import Formats
from .line import Clock
from .lines import CrowdedError, Lines

_logger = logging.getLogger(__name__)


class CeleryPublisher:
    """Publishes through a Celery app, over connections of its own.

    The app's own pool would make a request wait for a sick broker as long as its
    settings allow, which by default is for ever.

    Args:
        celery_app: Knows the broker and has a task for each receiver.
        registry: Knows the receivers' message options.
        timeout_seconds: How long a publish may take in all.
        clock: Returns the time in seconds; it never goes back.
    """

    def __init__(
        self,
        celery_app: Celery,
        registry: Registry,
        *,
        timeout_seconds: float,
        clock: Clock = time.monotonic,
    ) -> None:
        self._celery_app = celery_app
        self._registry = registry
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        # A forked child must not talk over its parent's sockets, and must not drop
        # them either: closing its copy of a socket ends the parent's conversation.
        self._ways: dict[int, _Way] = {}
        self._lines: dict[int, Lines] = {}
        # Before the garbage collector comes to the sockets, for it warns of open ones.
        weakref.finalize(self, _close_own, self._lines).atexit = False

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Hand *envelopes* to the broker, in order, over one connection.

        It ends in time, whatever the broker does. Once the broker has failed, those
        that follow fail at once, but for one now and then that finds out whether it
        still does.

        Raises:
            PublishError: The broker could not be reached, did not answer in time, or
                refused the login or a queue. Or Celery makes no message of some. What
                is not among its receivers is on its way, and the first that is may be.
        """
        if not envelopes:
            return
        batch = Batch(self._celery_app, self._registry, envelopes)
        if self._celery_app.conf.task_always_eager:
            batch.run_eagerly()
        else:
            self._publish(batch)
        if batch.unmade or batch.refused:
            _raise_what_failed(batch)

    def warm_up(self) -> None:
        """Connect, and learn how messages are written, before the first event needs it.

        A broker that does not answer in time makes no error of it; it is logged. Events
        that are sent meanwhile come first.
        """
        way = self._way()
        try:
            line = way.lines.take_spare(self._clock() + self._timeout_seconds)
            try:
                way.formats.prepare(line)
            except BaseException:
                way.lines.discard(line)
                raise
        except CrowdedError:
            return  # they have warmed it up
        except way.lines.errors as error:
            cause = cause_of(error)
            _logger.warning(
                "the broker at %s is not there yet (%s). %s",
                self._address(),
                type(cause).__name__,
                advice_for(cause),
            )
        else:
            way.lines.give_back(line)

    def _publish(self, batch: Batch) -> None:
        way = self._way()
        admitted = way.breaker.admit()
        if admitted is None:
            raise _not_asked(batch, way.last_failure)
        deadline = self._clock() + self._timeout_seconds
        try:
            batch.publish(way.lines, way.formats, deadline, self._clock)
        except way.lines.errors as error:
            cause = cause_of(error)
            way.last_failure = f"({type(cause).__name__}). {advice_for(cause)}"
            if not isinstance(cause, CrowdedError):
                way.breaker.fail(admitted)
            raise _not_taken(batch, self._address(), way.last_failure) from error
        if way.breaker.is_open:
            way.breaker.succeed()

    def _way(self) -> _Way:
        way = self._ways.get(os.getpid())
        if way is None:
            lines = Lines(self._celery_app, self._timeout_seconds, self._clock)
            formats = Formats(self._celery_app, self._registry)
            way = _Way(lines, formats, Breaker(self._clock))
            way = self._ways.setdefault(os.getpid(), way)
            self._lines[os.getpid()] = way.lines
        return way

    def _address(self) -> str:
        return str(self._celery_app.connection_for_write().as_uri())


@dataclass(slots=True)
class _Way:
    """The way to the broker that one process has."""

    lines: Lines
    formats: Formats
    breaker: Breaker

    last_failure: str = ""
    """What kept the broker from its work, and what to do about it."""


def _close_own(lines: dict[int, Lines]) -> None:
    own = lines.pop(os.getpid(), None)
    if own is not None:
        own.close()


def _not_taken(batch: Batch, address: str, failure: str) -> PublishError:
    return PublishError(
        f"the broker at {address} did not take {len(batch.left)} of {batch.size} messages "
        f"{failure}",
        receivers=(*batch.unmade, *batch.refused, *batch.left),
        unsent=(*batch.refused, *batch.left),
        events=batch.events,
    )


def _not_asked(batch: Batch, failure: str) -> PublishError:
    return PublishError(
        f"the broker was not asked to take {batch.size} messages, for it has just failed "
        f"{failure} It is asked again in a moment.",
        receivers=batch.left,
        unsent=batch.left,
    )


def _raise_what_failed(batch: Batch) -> None:
    """Raise what is wrong with some of the messages."""
    receivers = (*batch.unmade, *batch.refused)
    if batch.refused:
        error = next(iter(batch.refused.values()))
        raise PublishError(
            f"the broker refused it ({type(error).__name__}). {QUEUE_ADVICE}",
            receivers=receivers,
            unsent=tuple(batch.refused),
            events=batch.events,
            is_outage=False,
        ) from error
    error = next(iter(batch.unmade.values()))
    raise PublishError(
        f"Celery made no message of it ({type(error).__name__}). Mend the receiver's "
        "options, or Celery's settings, where the traceback points.",
        receivers=receivers,
        events=batch.events,
        is_outage=False,
    ) from error
