"""What Celery has to be told so that a worker loses nothing, where the user has not.

In: a Celery app and the tasks of its receivers. Out: settings of the worker on the app,
and options of the receivers on their tasks, so that the app's other tasks stay as they
were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from celery import Celery
from celery.app.defaults import NAMESPACES, flatten

TIME_LIMIT_SECONDS = 300
"""How long a handler may run, before its process is killed."""

SOFT_TIME_LIMIT_SECONDS = 270
"""How long a handler may run, before an error is raised in it."""

VISIBILITY_TIMEOUT_SECONDS = 900
"""After how long Redis hands out again what a worker took and did not acknowledge."""

CELERYS_VISIBILITY_TIMEOUT_SECONDS = 3600

_celerys: Any = flatten(NAMESPACES)
_CELERYS: Mapping[str, object] = {name: option.default for name, option in _celerys}

_WORKER: Mapping[str, object] = {
    "worker_consumer": "signal_tasks.tasks.worker_consumer:WorkerConsumer",
    # A message that waits in a worker behind a slow one is one that another could run.
    "worker_prefetch_multiplier": 1,
    "worker_soft_shutdown_timeout": 10,
    "broker_connection_retry_on_startup": True,
}

# For messages that a killed worker had: kombu 5.7 looks for them every `interval` times
# `throttle` seconds, earlier versions, which know neither, every hundred. A worker that
# is killed while it looks keeps all others from looking until the mutex expires.
_REDIS: Mapping[str, object] = {
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "unacked_mutex_expire": 10,
}

_TASK: Mapping[str, tuple[str, Any]] = {
    "acks_late": ("task_acks_late", True),
    "reject_on_worker_lost": ("task_reject_on_worker_lost", True),
}


def is_set(celery_app: Celery, name: str) -> bool:
    """Tell whether the user has set *name*, by whichever of Celery's ways."""
    conf = celery_app.conf
    conf.finalize()  # Before it is read, the question finds nothing.
    # The comparison finds those with Celery 3's names, the question those that the user
    # has set to Celery's default.
    return conf.value_set_for(name) or conf[name] != _CELERYS[name]


def task_options(celery_app: Celery) -> dict[str, Any]:
    """Return the options of each receiver's task that the user leaves to us.

    A message is kept until its handler has run, and handed out again where the process
    that ran it has died.
    """
    return {
        option: value
        for option, (setting, value) in _TASK.items()
        if not is_set(celery_app, setting)
    }


def worker_settings(
    celery_app: Celery,
    tasks: Iterable[Any],
    *,
    countdowns: Iterable[object] = (),
) -> dict[str, object]:
    """Return the settings that a worker of *celery_app* is to have, less the user's.

    Args:
        celery_app: As the user has configured it.
        tasks: Those of its receivers.
        countdowns: The pauses in seconds that receivers' messages begin with.
    """
    settings = {
        name: value for name, value in _WORKER.items() if not is_set(celery_app, name)
    }
    if celery_app.connection_for_read().transport.driver_type == "redis":
        chosen: Mapping[str, object] = celery_app.conf.broker_transport_options
        options = {**_REDIS, **_visibility(celery_app, list(tasks), countdowns)}
        settings["broker_transport_options"] = {**options, **chosen}
    return settings


def prefetch_multiplier(celery_app: Celery, given: int) -> int:
    """Return how many messages for each process a worker takes.

    Args:
        celery_app: Prepared, and so with the setting as it is to be.
        given: What the worker was started with. Celery's command reads the setting for
            it before the worker is prepared, and so it is Celery's own where neither
            the setting nor an option says otherwise.
    """
    if given != _CELERYS["worker_prefetch_multiplier"]:
        return given
    return int(celery_app.conf.worker_prefetch_multiplier)


def prepare_worker(
    celery_app: Celery,
    tasks: Iterable[Any],
    *,
    countdowns: Iterable[object] = (),
    options: Mapping[str, object],
) -> None:
    """Set all that before a worker of *celery_app* starts.

    Args:
        celery_app: As the user has configured it.
        tasks: Those of its receivers.
        countdowns: The pauses in seconds that receivers' messages begin with.
        options: With which the worker was started, such as ``time_limit``.
    """
    tasks = list(tasks)
    for task in tasks:
        _limit(task, celery_app, options)
    settings = worker_settings(celery_app, tasks, countdowns=countdowns)
    for name, value in settings.items():
        _set(celery_app, name, value)


def _limit(task: Any, celery_app: Celery, options: Mapping[str, object]) -> None:
    """Give *task* limits, unless it, the app or the worker has some."""
    limits = ("time_limit", "soft_time_limit")
    if any(options.get(name) for name in limits):
        return
    if any(celery_app.conf[f"task_{name}"] for name in limits):
        return
    if task.time_limit is None:
        soft = task.soft_time_limit or SOFT_TIME_LIMIT_SECONDS
        task.soft_time_limit = soft
        task.time_limit = soft + TIME_LIMIT_SECONDS - SOFT_TIME_LIMIT_SECONDS


def _visibility(
    celery_app: Celery, tasks: list[Any], countdowns: Iterable[object]
) -> dict[str, object]:
    """Return a timeout that no handler's message outlasts.

    It waits for its time, then behind another handler, and then for its own.
    """
    limits = [celery_app.conf.task_time_limit, *(task.time_limit for task in tasks)]
    longest = max((one for one in limits if isinstance(one, int | float)), default=0)
    pause = max((one for one in countdowns if isinstance(one, int | float)), default=0)
    least = (
        CELERYS_VISIBILITY_TIMEOUT_SECONDS
        if _has_others(celery_app, tasks)
        else VISIBILITY_TIMEOUT_SECONDS
    )
    seconds = max(least, pause + 3 * longest)
    if seconds == CELERYS_VISIBILITY_TIMEOUT_SECONDS:
        return {}
    return {"visibility_timeout": seconds}


def _has_others(celery_app: Celery, tasks: list[Any]) -> bool:
    """Tell whether *celery_app* has tasks that are neither receivers' nor Celery's.

    Theirs may be sent for later or run for long, and would run twice.
    """
    ours = {task.name for task in tasks}
    names: Iterable[str] = celery_app.tasks
    return any(name not in ours and not name.startswith("celery.") for name in names)


def _set(celery_app: Any, name: str, value: object) -> None:
    celery_app.conf[name] = value
    if celery_app.conf[name] != value:
        # The user's namespace stands before what has none.
        namespace: str = celery_app.namespace
        spelled = f"{namespace.rstrip('_')}_{name}"
        spelled = spelled.upper() if namespace.isupper() else spelled.lower()
        celery_app.conf[spelled] = value
