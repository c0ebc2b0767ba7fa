"""The consumer of a worker, which is ended by no message and drops none unseen.

In: whatever somebody has put into a queue. Out: tasks, by Celery's own consumer; and a
dead letter of each message that it would have dropped, or that would have ended it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from queue import Empty
from typing import Any

from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.signals import task_rejected, task_unknown
from celery.worker.consumer import Consumer
from celery.worker.state import task_ready

from ..burial import bury
from ..envelope import EVENT_HEADER
from ..exceptions import UnreadableMessageError
from .channel_client import keep_client
from .entries import Entries
from .receiver_task import CeleryHost, ReceiverTask
from .time_limits import TimeLimits
from .unreadable import UNREADABLE, name_in, text_in
from .worker_settings import prefetch_multiplier as chosen_multiplier

_logger = logging.getLogger(__name__)

# Longer than kombu asks Redis to wait for a message, which is a second.
_SOCKET_TIMEOUT_SECONDS = 5

# What cannot be read from the connection is gone then, unless the connection is broken.
_FAILURES_IN_A_ROW = 10

# The methods of a message by which Celery tells the broker what became of it.
_SETTLING = ("ack_log_error", "reject_log_error")

# After how long a store that took no dead letter is asked again.
_SICK_STORE_SECONDS = 30


class WorkerConsumer(Consumer):
    """Celery's consumer, and what it lacks.

    Celery takes its name from the setting ``worker_consumer``.
    """

    def __init__(
        self, on_task_request: Callable[[Any], object], *args: Any, **kwargs: Any
    ) -> None:
        def on_safe_request(request: Any) -> None:
            request.execute_using_pool = self._parking(request)
            on_task_request(request)

        super().__init__(on_safe_request, *args, **_with_prefetch(**kwargs))
        if self._facts.hub is not None:
            TimeLimits(self._facts.hub.timer).take_over()

    def connection_for_read(self, heartbeat: float | None = None) -> Any:
        """Connect to the broker; a Redis that says nothing is left after a while."""
        app: Any = self.app
        options: dict[str, object] = {}
        chosen = app.conf.broker_transport_options
        is_redis = app.connection_for_read().transport.driver_type == "redis"
        if is_redis and "polling_interval" not in chosen:
            options = {"socket_timeout": _SOCKET_TIMEOUT_SECONDS, **chosen}
        connection: Any = self.ensure_connected(
            app.connection_for_read(heartbeat=heartbeat, transport_options=options)
        )
        if is_redis:
            # Celery 5.7.0 closes a lost connection where a task is still running, and
            # ends the worker when kombu fails to give the task's message back by it.
            connection.close = self._surviving(connection.close)
            transport = connection.transport
            transport.on_readable = self._surviving(
                transport.on_readable, at_most=_FAILURES_IN_A_ROW
            )
        return connection

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """Return what Celery does with each message, made safe."""
        channel = self._facts.task_consumer.channel
        if self._facts.connection.transport.driver_type == "redis":
            Entries(channel, self._keep_entry).sift()
            keep_client(channel)
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> None:
            self._secure(message)
            try:
                handle(message)
            # kombu takes it for an error of the connection.
            except KeyError as error:
                self._park(message, error)
            except (OSError, *self._facts.connection_errors):
                raise
            except Exception as error:  # noqa: BLE001  # it would end the worker
                self._park(message, error)

        return on_task_received

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Keep a message whose body cannot be read."""
        self._park(message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002
        """Keep a message that names no task."""
        error = UnreadableMessageError("it names no task.")
        self._park(message, error)
        task_rejected.send(sender=self, message=message, exc=None)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002
        """Keep a message that is no call of a task."""
        self._park(message, exc)
        task_rejected.send(sender=self, message=message, exc=exc)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Leave others' unknown tasks to Celery; of ours, tell without the body.

        A receiver of its signal keeps the message, before it is acknowledged.
        """
        if not isinstance(message.headers.get("task", ""), str):
            self._park(message, UnreadableMessageError("it names no task."))
            return
        if EVENT_HEADER not in message.headers or self._host is None:
            super().on_unknown_task(body, message, exc)
            return

        def tell() -> bool:
            answers = task_unknown.send(
                sender=self,
                message=message,
                exc=exc,
                name=message.headers["task"],
                id=message.headers.get("id"),
            )
            return all(answer is not False for _, answer in answers)

        self._finish(message, tell)

    def _park(self, message: Any, error: Exception) -> None:
        """Keep *message* as a dead letter, and acknowledge it after that."""
        self._finish(
            message,
            lambda: self._bury(name_in(message), text_in(message), error),
        )

    def _parking(self, request: Any) -> Callable[..., Any]:
        """Return what gives *request* to the pool, or keeps its message."""
        execute = request.execute_using_pool

        def execute_or_park(*args: Any, **kwargs: Any) -> Any:
            _forget(request, "execute_using_pool")
            try:
                # Celery finds it out where the task runs, and drops the message there.
                if not isinstance(request.args, list | tuple) or not isinstance(
                    request.kwargs, dict
                ):
                    raise UnreadableMessageError("its arguments are none.")  # noqa: TRY301
                return execute(*args, **kwargs)
            except (TaskRevokedError, OSError):
                raise
            except Exception as error:
                task_ready(request)
                self._park(request.message, error)
                # To Celery: its place in the pool is free.
                raise TaskRevokedError from error

        return execute_or_park

    def _finish(
        self, message: Any, keep: Callable[[], bool], *, is_held: bool = False
    ) -> None:
        """Acknowledge *message* once it is kept; until then the broker has it still."""
        if keep():
            message.ack_log_error(_logger, self._facts.connection_errors)
            if is_held:
                self._facts.qos.decrement_eventually()
            return
        if not is_held:
            # It is not to take the place of one that could run.
            self._facts.qos.increment_eventually()
        self._facts.timer.call_after(
            _SICK_STORE_SECONDS, self._finish, (message, keep), {"is_held": True}
        )

    def _keep_entry(self, entry: str, error: Exception) -> bool:
        """Keep what is in Redis and no message."""
        return self._bury(UNREADABLE, entry, error)

    def _bury(self, receiver: str, text: str, error: Exception) -> bool:
        """Keep *text*; false where there is a store that does not take it."""
        unreadable = (
            error
            if isinstance(error, UnreadableMessageError)
            else UnreadableMessageError(f"{type(error).__name__}: {error}")
        )
        host = self._host
        _logger.error(
            "a message for %s is none that anybody here can handle (%s).",
            receiver,
            type(error).__name__,
            extra={"signal_tasks.receiver": receiver},
        )
        return host is None or bury(
            host, receiver=receiver, text=text, error=unreadable, attempts=0
        )

    def _secure(self, message: Any) -> None:
        """Let nothing but a lost connection come out of an acknowledgement.

        In Celery 5.7.0 one that comes when its connection is closed raises something
        else, and that ends the worker.
        """
        for name in _SETTLING:
            settle = self._surviving(getattr(message, name))
            setattr(message, name, self._noticing(message, settle))

    def _noticing(self, message: Any, settle: Callable[..., Any]) -> Callable[..., Any]:
        """Return *settle*, after whose failure the connection is made anew.

        Celery logs the failure and goes on. To kombu's Redis transport the message still
        takes its place then, and with all places taken it looks for no other message,
        nor at the connection, whatever becomes of the broker.
        """

        def settle_or_reconnect(*args: Any, **kwargs: Any) -> None:
            settle(*args, **kwargs)
            if message.acknowledged:
                _forget(message, *_SETTLING)
                return
            consumer = self._facts.task_consumer
            if consumer is not None and message.channel is consumer.channel:
                self._facts.timer.call_after(0, _lose_connection)

        return settle_or_reconnect

    def _surviving(
        self, function: Callable[..., Any], *, at_most: float = inf
    ) -> Callable[..., Any]:
        """Return *function* so that of errors it raises those of a connection alone.

        Args:
            function: To be called often.
            at_most: After how many failures in a row the connection is taken for lost.
        """
        failures = 0

        def survive(*args: Any, **kwargs: Any) -> Any:
            nonlocal failures
            try:
                result = function(*args, **kwargs)
            except (Empty, *self._facts.connection_errors):
                raise
            except Exception as error:
                _logger.exception(
                    "the worker survived an error at its broker's connection. What was "
                    "not acknowledged is handed out again."
                )
                failures += 1
                if failures >= at_most:
                    raise ConnectionError(str(error)) from error
                return None
            failures = 0
            return result

        return survive

    @property
    def _facts(self) -> Any:
        """This, with all that Celery gives it."""
        return self

    @property
    def _host(self) -> CeleryHost | None:
        """The application whose receivers the worker has."""
        tasks: Any = self.app.tasks
        for task in tasks.values():
            if isinstance(task, ReceiverTask):
                return task.serves[0]
        return None


def _with_prefetch(
    *,
    app: Celery,
    initial_prefetch_count: int = 2,
    prefetch_multiplier: int = 1,
    **others: Any,
) -> dict[str, Any]:
    """Return the arguments of a consumer, which takes as many messages as it is to."""
    processes = initial_prefetch_count // max(prefetch_multiplier, 1)
    multiplier = chosen_multiplier(app, prefetch_multiplier)
    return {
        **others,
        "app": app,
        "initial_prefetch_count": processes * multiplier,
        "prefetch_multiplier": multiplier,
    }


def _forget(holder: Any, *names: str) -> None:
    """Take from *holder* what we put there, which holds it in turn.

    Python would find such a circle late, and look through everything else for it.
    """
    for name in names:
        holder.__dict__.pop(name, None)


def _lose_connection() -> None:
    """Make Celery's consumer connect again, which this ends the loop of."""
    raise ConnectionResetError("a message could not be acknowledged")
