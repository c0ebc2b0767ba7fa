"""A line to the broker: a connection of Celery's, and what it knows of its messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from celery import Celery
from kombu import Connection, Producer
from kombu.exceptions import OperationalError

from .amqp_writer import Writer
from .redis_client import publish_over

Clock = Callable[[], float]

#: One attempt for each of the broker's addresses, without a pause.
_ONE_ATTEMPT: Final = {
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}


class BlockedError(TimeoutError):
    """The broker says that it takes no messages for now."""


class Line:
    """A connection with one channel, for one send at a time.

    To make one is to connect.

    Args:
        celery_app: Knows the broker.
        timeout_seconds: How long a single wait may take.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, celery_app: Celery, timeout_seconds: float, clock: Clock
    ) -> None:
        self.made_at = clock()
        self.taken_at = self.made_at
        """When it was made, and when a send has last begun to use it."""
        self._is_blocked = False
        self.refused: set[str] = set()
        """Identifiers of the messages that the broker has sent back."""
        self._timeout_seconds = timeout_seconds
        self._declared: set[str] = set()
        self._unconfirmed: dict[int, str] = {}
        self._tag = 0
        self._task_id = ""
        self._writer: Writer | None = None
        self.connection = self._new_connection(celery_app, timeout_seconds)
        try:
            self.channel = self._open_channel()
            self.has_confirms = hasattr(self.channel, "confirm_select")
            """Whether the broker says later what it has taken; see :meth:`settle`."""
            if self.has_confirms:
                self._ask_for_confirms()
            self.redis = self._find_redis()
            """The connection of redis-py, where the broker is Redis; else None."""
        except BaseException:
            self.close()
            raise
        self.producer: Producer = celery_app.amqp.Producer(self.channel)
        self._can_batch = getattr(self.producer, "supports_batch_publish", False)

    def check(self) -> None:
        """Make sure that redis-py does not have to connect again, which it would do.

        Raises:
            ConnectionError: The connection is lost.
        """
        if self.redis is not None and self.redis.can_read(0):
            raise ConnectionError("the broker has ended the connection")

    def batching(self, size: int) -> AbstractContextManager[object]:
        """Return a context in which kombu sends *size* messages with one round trip.

        Where it cannot do that, it sends each at once.
        """
        producer: Any = self.producer
        if size > 1 and self._can_batch:
            batch: AbstractContextManager[object] = producer.batch(size)
            return batch
        return nullcontext()

    def declare(self, queues: Iterable[Any]) -> None:
        """Make sure that *queues* are there, once on each line."""
        for queue in queues:
            if queue.name not in self._declared:
                self.check()
                self.producer.maybe_declare(queue)
                self._declared.add(queue.name)

    def forget_declarations(self) -> None:
        """Let queues be declared again, which the broker may have lost."""
        self._declared.clear()
        declared: set[object] | None = self.connection.declared_entities
        if declared:
            declared.clear()

    def options(self, task_id: str, seconds: float) -> dict[str, Any]:
        """Return Celery's options to publish the message of a task over this line.

        Args:
            task_id: Identifies the message; it is the next to be published.
            seconds: How long that may take.

        Raises:
            TimeoutError: That is no time at all.
        """
        if seconds <= 0:
            raise TimeoutError("the time for it was over before its turn came")
        if self._writer is None:
            return {}
        self._writer.make_room(seconds)
        self._task_id = task_id
        # What no queue would get is acknowledged otherwise.
        return {"mandatory": True}

    def patience(self, seconds: float) -> float | None:
        """Return how long to wait for a reply; None stands for as long as ever.

        Raises:
            TimeoutError: There is no time at all.
        """
        if seconds <= 0:
            raise TimeoutError("the time for it was over before its turn came")
        return seconds if seconds < 0.9 * self._timeout_seconds else None

    def settle(self, deadline: float, clock: Clock) -> None:
        """Wait until the broker has said what became of all that was published.

        Raises:
            TimeoutError: It has not, until *deadline*.
        """
        while self._writer is not None and self._unconfirmed:
            left = deadline - clock()
            if left <= 0 and self._is_blocked:
                raise BlockedError
            if left <= 0:
                raise TimeoutError("the broker has not confirmed the message")
            self._writer.flush(left)
            self._writer.read(left)

    def has(self, task_id: str) -> bool:
        """Tell whether the broker has what was published as *task_id*."""
        if not self.has_confirms:
            return True
        return not (task_id in self.refused or task_id in self._unconfirmed.values())

    def close(self) -> None:
        """Hang up, without another word to a broker that may not listen."""
        if self.connection.transport.driver_type == "amqp":
            self.connection.collect()  # close() would wait for an answer
        else:
            self.connection.close()

    def _new_connection(self, celery_app: Celery, timeout_seconds: float) -> Connection:
        plain = celery_app.connection_for_write()
        patience = timeout_seconds / (len(plain.alt) or 1)
        chosen = celery_app.conf.broker_transport_options
        options: dict[str, object] = dict(_ONE_ATTEMPT)
        if plain.transport.driver_type == "redis":
            options |= _shortest(chosen, "socket_timeout", timeout_seconds)
            options |= _shortest(chosen, "socket_connect_timeout", patience)
            options |= {"socket_keepalive": chosen.get("socket_keepalive", True)}
            # Either would be a wait on top of the one for the answer.
            options |= {"health_check_interval": 0, "retry_on_timeout": False}
        elif plain.transport.driver_type == "amqp":
            options |= _shortest(chosen, "read_timeout", timeout_seconds)
            options |= _shortest(chosen, "write_timeout", timeout_seconds)
            options |= {"on_blocked": self._block, "on_unblocked": self._unblock}
            # It would wait for each message on its own.
            options |= {"confirm_publish": False}
        return celery_app.connection_for_write(
            connect_timeout=patience, transport_options=options
        )

    def _open_channel(self) -> Any:
        connection = self.connection
        for _ in connection.alt[1:]:
            try:
                return connection.default_channel
            except connection.connection_errors + (OperationalError,):  # noqa: RUF005
                connection.maybe_switch_next()
        return connection.default_channel

    def _ask_for_confirms(self) -> None:
        self._writer = Writer(self.channel.connection)
        self._writer.take_over()
        self.channel.confirm_select()
        self.channel.events["basic_ack"].add(self._confirm)
        self.channel.events["basic_nack"].add(self._refuse)
        self.channel.events["basic_return"].add(self._take_back)
        # Counted here, for Celery may publish an event of its own beside each message.
        basic_publish = self.channel.basic_publish

        def publish(*args: object, **options: object) -> object:
            result = basic_publish(*args, **options)
            self._tag += 1
            self._unconfirmed[self._tag] = self._task_id
            return result

        self.channel.basic_publish = publish

    def _find_redis(self) -> Any:
        if self.connection.transport.driver_type != "redis":
            return None
        connection = self.channel.client.client().connection
        publish_over(connection, self.channel, self._timeout_seconds)
        return connection

    def _confirm(self, tag: int, multiple: bool) -> None:
        if not multiple:
            self._unconfirmed.pop(tag, None)
            return
        for one in [one for one in self._unconfirmed if one <= tag]:
            del self._unconfirmed[one]

    def _refuse(self, tag: int, multiple: bool) -> None:
        first = 0 if multiple else tag
        refused = [one for one in self._unconfirmed if first <= one <= tag]
        self.refused.update(map(self._unconfirmed.pop, refused))

    def _take_back(self, _error: object, _to: str, _key: str, message: Any) -> None:
        self.refused.add(message.properties.get("correlation_id", ""))

    def _block(self, _reason: str) -> None:
        self._is_blocked = True

    def _unblock(self) -> None:
        self._is_blocked = False


def _shortest(chosen: Mapping[str, Any], name: str, seconds: float) -> dict[str, float]:
    """Return the option *name*, as the user has set it unless that is too long."""
    return {name: min(chosen.get(name) or seconds, seconds)}
