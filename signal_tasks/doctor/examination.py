"""The whole examination of one app, subject by subject."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

from celery.exceptions import QueueNotFound

from ..flask.host import FlaskHost
from ..registry import Receiver
from ..tasks.receiver_task import ReceiverTask
from ..tasks.receiver_tasks import queue_of
from ..tasks.worker_settings import TIME_LIMIT_SECONDS, worker_settings
from .broker import look_at_broker
from .findings import Check, Finding, Status, run_check
from .settings import (
    check_eager,
    check_key,
    check_persistence,
    check_pickle,
)
from .store import look_at_store
from .waits import longest_wait_of
from .workers import Expected, WorkerFacts, look_at_workers

_NEEDED: Final = frozenset({"broker-reachable", "broker-takes-messages"})

_declared = partial(Finding, check="receivers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """All that was found about one subject."""

    subject: str
    findings: Sequence[Finding]

    def wrong(self) -> frozenset[str]:
        """Return the checks that found something wrong."""
        return frozenset(
            one.check for one in self.findings if one.status is Status.WRONG
        )


def examine(host: FlaskHost, *, seconds: float) -> Iterator[Section]:
    """Look at all that the events of *host* need, and yield each subject when known.

    Args:
        host: The app.
        seconds: How long broker, workers and store may take for one answer.
    """
    yield _section("settings", _settings_checks(host), 10 + seconds)
    look = partial(look_at_broker, host.celery_app, seconds=seconds)
    broker = _section("broker", [Check("broker-reachable", look)], 1 + 4 * seconds)
    yield broker
    is_usable = broker.wrong().isdisjoint(_NEEDED)
    asked = partial(_workers, host, seconds) if is_usable else _not_asked
    yield _section("workers", [Check("workers-answer", asked)], 1 + 6 * seconds)
    opened = partial(
        look_at_store,
        lambda: host.store,
        host.database,
        kept=[one.name for one in host.bridge.registry if _is_kept(host, one)],
        once=[one.name for one in host.bridge.registry if one.once],
    )
    # It imports SQLAlchemy, and asks several times.
    yield _section("store", [Check("store-reachable", opened)], 2 + 2 * seconds)


def _section(subject: str, checks: Sequence[Check], patience_seconds: float) -> Section:
    findings = [
        finding
        for check in checks
        for finding in run_check(check, patience_seconds=patience_seconds)
    ]
    return Section(subject=subject, findings=findings)


def _settings_checks(host: FlaskHost) -> list[Check]:
    conf = host.celery_app.conf
    return [
        Check("secret-key", lambda: check_key(host.seal.fingerprints)),
        Check("pickle", lambda: check_pickle(conf)),
        Check("eager", lambda: check_eager(conf)),
        Check("receivers", lambda: _receivers(host)),
        Check("persistent-messages", lambda: _persistence(host)),
    ]


def _receivers(host: FlaskHost) -> Iterator[Finding]:
    receivers = tuple(host.bridge.registry)
    if not receivers:
        yield _declared(
            status=Status.NOTE,
            found="no receiver is declared.",
            mend="Decorate one: @async_receiver(signal). Does the app import the modules "
            "that do?",
        )
    for receiver in receivers:
        try:
            queue_of(host.celery_app, receiver)
        except QueueNotFound as error:
            yield _declared(
                status=Status.WRONG,
                found=f"{receiver.name} has no queue: {error.args[0]}.",
                mend="Add it to task_queues in app.config['CELERY'], or let "
                "task_create_missing_queues be true.",
                about=(receiver.name,),
            )


def _persistence(host: FlaskHost) -> Iterator[Finding]:
    default = host.celery_app.conf.task_default_delivery_mode
    modes = {
        name: getattr(task, "delivery_mode", None) or default
        for name, task in _tasks(host).items()
    }
    yield from check_persistence(modes)


def _workers(host: FlaskHost, seconds: float) -> Iterator[Finding]:
    expected = expected_by(host)
    yield from look_at_workers(
        host.celery_app,
        expected,
        planned=planned_worker(host, expected),
        seconds=seconds,
    )


def _not_asked() -> Iterator[Finding]:
    yield Finding(
        check="workers-answer",
        status=Status.SKIPPED,
        found="workers were not asked, for the broker cannot be used.",
    )


def expected_by(host: FlaskHost) -> list[Expected]:
    """Return what the app expects of workers: that they know its receivers."""
    expected: list[Expected] = []
    for receiver in host.bridge.registry:
        try:
            queue = queue_of(host.celery_app, receiver)
        except QueueNotFound:
            continue  # which the settings' check tells
        task = _task_of(host, receiver)
        expected.append(
            Expected(
                name=receiver.name,
                queue=queue,
                signs=task.vital_signs,
                wait_seconds=longest_wait_of(receiver, task),
                is_kept=_is_kept(host, receiver),
            )
        )
    return expected


def planned_worker(host: FlaskHost, expected: Sequence[Expected]) -> WorkerFacts:
    """Return what a worker would tell that started now with this configuration."""
    conf = host.celery_app.conf
    has_limit = bool(conf.task_time_limit or conf.task_soft_time_limit)
    usual = conf.task_time_limit if has_limit else TIME_LIMIT_SECONDS
    limited = [
        SimpleNamespace(name=one.name, time_limit=one.signs.time_limit or usual)
        for one in expected
    ]
    settings = worker_settings(
        host.celery_app, limited, countdowns=[one.wait_seconds for one in expected]
    )
    options = {"broker_transport_options": conf.broker_transport_options}
    return WorkerFacts(
        name="a worker that starts now",
        queues=frozenset(one.queue for one in expected),
        tasks={one.name: one.signs for one in expected},
        conf={**options, **settings, "task_time_limit": usual},
    )


def _is_kept(host: FlaskHost, receiver: Receiver) -> bool:
    """Tell whether events stay in the outbox until they are handled."""
    return (receiver.delivery or host.default_delivery) == "outbox"


def _tasks(host: FlaskHost) -> dict[str, ReceiverTask]:
    return {one.name: _task_of(host, one) for one in host.bridge.registry}


def _task_of(host: FlaskHost, receiver: Receiver) -> ReceiverTask:
    tasks: Any = host.celery_app.tasks
    task: ReceiverTask = tasks[receiver.name]
    return task
