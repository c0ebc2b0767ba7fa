"""The messages of one publish, and what becomes of each.

In: envelopes, and lines to the broker. Out: Celery's messages, acknowledged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amqp.exceptions import MessageNacked
from celery import Celery
from celery.utils import uuid

from .broker_errors import cause_of
from .envelope import EVENT_HEADER, Envelope
from .exceptions import SignalTasksError
from .line import Clock, Line
from .lines import Lines
from .registry import Registry


class Message:
    """An envelope on its way."""

    __slots__ = ("envelope", "is_published", "task_id")

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.task_id = uuid()
        self.is_published = False


class Batch:
    """Publishes envelopes, and keeps apart what fails for one and what fails for all.

    Args:
        celery_app: Has a task for each receiver.
        registry: Knows the receivers' message options.
        envelopes: Leave in this order.
    """

    def __init__(
        self, celery_app: Celery, registry: Registry, envelopes: Sequence[Envelope]
    ) -> None:
        self._celery_app = celery_app
        self._registry = registry
        self._messages = [Message(envelope) for envelope in envelopes]
        self._suspects: Sequence[Message] = ()
        self._one_by_one = False
        self._errors: tuple[type[Exception], ...] = ()
        self._is_eager = celery_app.conf.task_always_eager
        self.size = len(envelopes)
        self.unmade: dict[str, Exception] = {}
        """Receivers that Celery makes no message for, and why."""
        self.refused: dict[str, Exception] = {}
        """Receivers whose queue or message the broker refuses, and why."""

    @property
    def left(self) -> tuple[str, ...]:
        """The receivers whose messages have not left."""
        return tuple(message.envelope.receiver for message in self._messages)

    def run_eagerly(self) -> None:
        """Let Celery run the tasks here and now, which needs no broker."""
        for message in tuple(self._messages):
            self._make(message, {})
        self._messages = []

    def publish(self, lines: Lines, deadline: float, clock: Clock) -> None:
        """Publish all of them, as far as the broker lets us.

        What is still :attr:`left` when this raises may be on its way all the same.

        Raises:
            Exception: One of ``lines.errors``: the broker fails altogether.
        """
        self._errors = lines.errors
        is_second = False
        while self._messages:
            line = lines.take(deadline)
            if is_second:
                line.forget_declarations()
            try:
                self._publish_over(line, deadline, clock)
            except lines.errors as error:
                is_about_one = lines.is_about_one(error)
                if is_about_one:
                    lines.discard(line)
                else:
                    lines.discard_older(line)
                if is_second or clock() >= deadline:
                    if not is_about_one:
                        raise
                    self._refuse(cause_of(error))
                is_second = True
            except BaseException:
                lines.discard(line)
                raise
            else:
                lines.give_back(line)

    def _publish_over(self, line: Line, deadline: float, clock: Clock) -> None:
        for message in self._messages:
            message.is_published = False
        batch = self._messages[:1] if self._one_by_one else tuple(self._messages)
        try:
            for index, message in enumerate(batch):
                # What RabbitMQ says now may be about any before.
                first = 0 if line.has_confirms else index
                self._suspects = batch[first : index + 1]
                options = line.options(message.task_id, deadline - clock())
                self._make(message, options)
            self._suspects = batch
            line.settle(deadline, clock)
            self._suspects = [one for one in batch if one.task_id in line.refused]
            if self._suspects:
                raise MessageNacked
        finally:
            self._messages = [one for one in self._messages if not _is_there(one, line)]

    def _refuse(self, error: Exception) -> None:
        """Leave out the message that *error* is about, once that is clear."""
        suspects = [one for one in self._suspects if one in self._messages]
        if len(suspects) > 1 and not isinstance(error, MessageNacked):
            self._one_by_one = True
            return
        for message in suspects:
            self.refused[message.envelope.receiver] = error
            self._messages.remove(message)

    def _make(self, message: Message, options: dict[str, Any]) -> None:
        """Let Celery make and publish the message, or note why it cannot."""
        envelope = message.envelope
        task = self._celery_app.tasks[envelope.receiver]
        # The user may want messages that no queue gets to be lost.
        chosen = getattr(task, "mandatory", None)
        if chosen is not None:
            options["mandatory"] = chosen
        try:
            task.apply_async(
                args=(envelope.text,),
                retry=False,
                **self._options_of(envelope),
                **options,
            )
            message.is_published = True
        # A publish error is an OSError, too, and may be that of another signal's receivers.
        except SignalTasksError as error:
            if self._is_eager:
                raise
            self._leave_out(message, error)
        except self._errors:
            raise
        except Exception as error:  # noqa: BLE001  # an option may be wrong
            self._leave_out(message, error)

    def _leave_out(self, message: Message, error: Exception) -> None:
        self.unmade[message.envelope.receiver] = error
        self._messages.remove(message)

    def _options_of(self, envelope: Envelope) -> dict[str, Any]:
        options = dict(self._registry.get(envelope.receiver).message_options)
        options["headers"] = {**options.get("headers", {}), EVENT_HEADER: envelope.id}
        options["argsrepr"] = f"(<event {envelope.id} of {envelope.signal}>,)"
        return options


def _is_there(message: Message, line: Line) -> bool:
    return message.is_published and line.has(message.task_id)
