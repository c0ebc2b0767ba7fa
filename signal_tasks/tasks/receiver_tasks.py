"""Celery's door in: each receiver is a Celery task of its own.

In: a task message, whose one argument is an envelope's text. Out: that text, to the
consumer.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

from celery import Celery, Task
from celery.signals import celeryd_init, import_modules, task_unknown
from kombu.exceptions import KombuError

from ..burial import bury
from ..consumer import Consumer, refuse
from ..envelope import EVENT_HEADER
from ..exceptions import (
    RefusedError,
    RegistrationError,
    StillClaimedError,
    UnknownReceiverError,
)
from ..registry import Receiver, Registry
from .receiver_task import CeleryHost, ReceiverTask, text_of
from .worker_settings import prepare_worker, task_options

#: Options that Celery takes with each message and does not read from a task.
_MESSAGE_OPTIONS = frozenset(
    {"countdown", "eta", "headers", "link", "link_error", "shadow"}
)

#: Options that Celery reads from a task, for its runs or for its messages.
_TASK_OPTIONS = frozenset(
    {
        *("acks_late", "acks_on_failure_or_timeout", "reject_on_worker_lost"),
        *("autoretry_for", "dont_autoretry_for", "max_retries", "default_retry_delay"),
        *("retry_backoff", "retry_backoff_max", "retry_jitter", "retry_kwargs"),
        *("compression", "delivery_mode", "exchange", "mandatory", "priority"),
        *("queue", "routing_key", "expires", "rate_limit", "time_limit"),
        *("soft_time_limit", "ignore_result", "store_errors_even_if_ignored"),
        *("send_events", "throws", "track_started", "trail"),
    }
)

_DEFAULTS: Mapping[str, Any] = {
    "ignore_result": True,
    "autoretry_for": (Exception,),
    "max_retries": 3,
    "retry_backoff": True,
    "retry_jitter": True,
}


# Where no time limit ends a run: those of other workers wait so long at most.
_LONGEST_RUN_SECONDS = 3600

# What a pool needs to end a run whose time is over.
_END_SECONDS = 10


def split_options(
    options: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split Celery's *options* into those of a task and those of each message.

    Raises:
        RegistrationError: One of them is no option that a receiver can have.
    """
    for name in options:
        if name not in _TASK_OPTIONS | _MESSAGE_OPTIONS:
            raise RegistrationError(
                f"async_receiver() takes no option {name!r}{_hint(name)}"
            )
    message = {
        name: value for name, value in options.items() if name in _MESSAGE_OPTIONS
    }
    task = {name: value for name, value in options.items() if name in _TASK_OPTIONS}
    return task, message


class ReceiverTasks:
    """Keeps a task for each receiver of one bridge on each Celery app it serves.

    Args:
        registry: The receivers.
        consumer: Runs what the tasks get.
    """

    def __init__(self, registry: Registry, consumer: Consumer) -> None:
        self._registry = registry
        self._consumer = consumer
        self._hosts: WeakSet[CeleryHost] = WeakSet()

    def serve(self, host: CeleryHost) -> None:
        """Give the Celery app of *host* its tasks, now and whenever a worker starts.

        A worker starts later than this, and *host* may have another Celery app by then.
        """
        self._hosts.add(host)
        # Celery takes one method of two objects for the same receiver without this.
        uid = f"signal_tasks.{id(self)}"
        import_modules.connect(self._on_import, dispatch_uid=uid)
        celeryd_init.connect(self._on_start, dispatch_uid=uid)
        task_unknown.connect(self._on_unknown, dispatch_uid=uid)
        self._add_all(host)

    def check_name(self, name: str) -> None:
        """Make sure that a receiver may be called *name*.

        Raises:
            RegistrationError: A Celery app served so far has a task of the user's so
                named, to which others may still be sending messages.
        """
        for host in tuple(self._hosts):
            _check_name(host.celery_app, name)

    def add(self, receiver: Receiver) -> None:
        """Give every Celery app served so far the task of *receiver*."""
        for host in tuple(self._hosts):
            self._add(host, receiver)

    def _add_all(self, host: CeleryHost) -> None:
        for receiver in self._registry:
            self._add(host, receiver)

    def _add(self, host: CeleryHost, receiver: Receiver) -> None:
        celery_app = host.celery_app
        _check_name(celery_app, receiver.name)
        serves = (host, receiver)
        if getattr(celery_app.tasks.get(receiver.name), "serves", None) == serves:
            return
        # Celery would keep the old task of this name.
        celery_app.tasks.pop(receiver.name, None)
        ours = {**_DEFAULTS, **task_options(celery_app)}
        options = {**ours, **receiver.task_options}
        # Refusals are logged by the consumer, and no retry would mend them. What is
        # tried again without being counted is no retry for Celery either.
        no_failures = (RefusedError, StillClaimedError)
        for expected in ("dont_autoretry_for", "throws"):
            options[expected] = (*options.get(expected, ()), *no_failures)
        bases = (ReceiverTask, celery_app.Task)
        base: type[ReceiverTask] = type("ReceiverTask", bases, {"serves": serves})
        make_task: Callable[[Callable[..., object]], object] = celery_app.task(
            name=receiver.name,
            base=base,
            bind=True,
            lazy=False,
            shared=False,
            **options,
        )
        make_task(self._body(host, receiver))

    def _body(self, host: CeleryHost, receiver: Receiver) -> Callable[..., object]:
        def run(task: Task[Any, Any], *args: object, **kwargs: object) -> object:
            request = task.request
            return self._consumer.consume(
                host,
                args[0] if len(args) == 1 and not kwargs else None,
                receiver=receiver.name,
                attempt=request.retries + 1,
                headers=request.headers or {},
                lease_seconds=_longest_run(task),
            )

        # Celery writes code with this name in it, and "<lambda>" would end that.
        name = getattr(receiver.handler, "__name__", "")
        run.__name__ = name if name.isidentifier() else "run"
        run.__doc__ = receiver.handler.__doc__
        run.__module__ = receiver.handler.__module__
        return run

    def _on_import(self, sender: Celery, **_: object) -> None:
        for host in tuple(self._hosts):
            if host.celery_app is sender:
                self._add_all(host)

    def _on_start(
        self, instance: Any, options: Mapping[str, object], **_: object
    ) -> None:
        """Prepare a worker that begins to start, all modules being imported."""
        for host in tuple(self._hosts):
            if host.celery_app is instance.app:
                prepare_worker(
                    host.celery_app,
                    [host.celery_app.tasks[one.name] for one in self._registry],
                    countdowns=[
                        one.message_options.get("countdown") for one in self._registry
                    ],
                    options=options,
                )

    def _on_unknown(
        self, sender: Any, message: Any, name: str, **_: object
    ) -> bool | None:
        """Say what an unknown task of ours means; Celery only says that it is unknown.

        Returns:
            Whether it is kept; None where that is no business of ours.
        """
        answer: bool | None = None
        for host in tuple(self._hosts):
            if host.celery_app is sender.app and EVENT_HEADER in message.headers:
                try:
                    self._registry.get(name)
                except UnknownReceiverError as error:
                    refuse(host.application, name, error)
                    answer = bury(
                        host,
                        receiver=name,
                        text=_text_in(message),
                        error=error,
                        attempts=message.headers.get("retries") or 0,
                    )
        return answer


def _longest_run(task: Any) -> float:
    """Return after how many seconds a run of *task* has ended, whatever it does."""
    limit = task.time_limit or task.app.conf.task_time_limit or _LONGEST_RUN_SECONDS
    return float(limit) + _END_SECONDS


def _text_in(message: Any) -> str:
    """Return the envelope in a task message; where there is none, all that is there."""
    try:
        args, kwargs, *_ = message.payload
    except (KombuError, ValueError, TypeError):
        return repr(message.body)
    return text_of(args, kwargs)


def queue_of(celery_app: Celery, receiver: Receiver) -> str:
    """Return the name of the queue that messages for *receiver* go to."""
    task: Any = celery_app.tasks[receiver.name]
    asked = {"queue": task.queue} if getattr(task, "queue", None) else {}
    route: Mapping[str, Any] = celery_app.amqp.router.route(asked, receiver.name)
    return str(getattr(route["queue"], "name", route["queue"]))


def _check_name(celery_app: Celery, name: str) -> None:
    task = celery_app.tasks.get(name)
    if task is not None and not isinstance(task, ReceiverTask):
        raise RegistrationError(
            f"the Celery app {celery_app.main} has a task {name} that is no receiver, "
            "which the receiver of this name would replace. Give the receiver another: "
            "async_receiver(..., name='...')."
        )


def _hint(name: str) -> str:
    close = difflib.get_close_matches(name, _TASK_OPTIONS | _MESSAGE_OPTIONS, n=1)
    if close:
        return f". Did you mean {close[0]!r}?"
    return (
        "; besides its own it takes Celery's options for tasks and messages, such as "
        "queue, priority, countdown, expires, max_retries, rate_limit and time_limit."
    )
