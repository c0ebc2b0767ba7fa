"""What a worker's Celery app is told, and what the user has said before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from blinker import Signal
from celery import Celery
from celery.signals import celeryd_init

from signal_tasks import Bridge
from signal_tasks.tasks.worker_settings import (
    SOFT_TIME_LIMIT_SECONDS,
    TIME_LIMIT_SECONDS,
    VISIBILITY_TIMEOUT_SECONDS,
    is_set,
    prepare_worker,
    task_options,
)
from tests.in_memory import KEY, new_celery_app

REDIS = "redis://127.0.0.1:1/0"


def start_worker(celery_app: Celery, **options: object) -> None:
    """Do what Celery does first when a worker of *celery_app* starts."""
    celeryd_init.send(
        sender="worker@localhost",
        instance=SimpleNamespace(app=celery_app),
        conf=celery_app.conf,
        options=options,
    )


def serving(celery_app: Celery, **options: Any) -> Any:
    """Give *celery_app* one receiver with *options*, and return its task."""
    Bridge(celery_app, secret_key=KEY).async_receiver(Signal(), name="bill", **options)(
        print
    )
    return celery_app.tasks["bill"]


def transport_options(celery_app: Celery) -> dict[str, object]:
    """Return the options of the way to the broker."""
    found: dict[str, object] = celery_app.conf.broker_transport_options
    return found


def sweep() -> None:
    """Be a task that has nothing to do with signals."""


@pytest.fixture
def redis_app() -> Celery:
    """Return a Celery app whose broker is a Redis."""
    return new_celery_app(broker_url=REDIS)


# -- whose setting it is


def from_dict(celery_app: Celery) -> None:
    """Configure it with a dict."""
    celery_app.config_from_object({"worker_prefetch_multiplier": 2})


def from_class(celery_app: Celery) -> None:
    """Configure it with an object."""
    celery_app.config_from_object(SimpleNamespace(worker_prefetch_multiplier=2))


def from_old_names(celery_app: Celery) -> None:
    """Configure it with the names of Celery 3."""
    celery_app.config_from_object(SimpleNamespace(CELERYD_PREFETCH_MULTIPLIER=2))


def from_namespace(celery_app: Celery) -> None:
    """Configure it with names that begin with CELERY_."""
    celery_app.config_from_object(
        SimpleNamespace(CELERY_WORKER_PREFETCH_MULTIPLIER=2), namespace="CELERY"
    )


def by_update(celery_app: Celery) -> None:
    """Configure it after it was made."""
    celery_app.conf.update(worker_prefetch_multiplier=2)


def by_attribute(celery_app: Celery) -> None:
    """Set one setting."""
    celery_app.conf.worker_prefetch_multiplier = 2


def to_the_default(celery_app: Celery) -> None:
    """Set what Celery has anyway."""
    celery_app.conf.worker_prefetch_multiplier = 4


WAYS = (from_dict, from_class, from_old_names, from_namespace, by_update, by_attribute)


@pytest.mark.parametrize("configure", [*WAYS, to_the_default])
def test_setting_of_the_user_is_found(configure: Callable[[Celery], None]) -> None:
    """However the user has set something, it is set."""
    celery_app = Celery("tests", set_as_current=False)

    configure(celery_app)

    assert is_set(celery_app, "worker_prefetch_multiplier")
    assert not is_set(celery_app, "worker_soft_shutdown_timeout")


@pytest.mark.parametrize("configure", WAYS)
def test_setting_of_the_user_stays(configure: Callable[[Celery], None]) -> None:
    """However the user has set something, a worker has it so."""
    celery_app = Celery("tests", set_as_current=False, broker="memory://")
    configure(celery_app)
    serving(celery_app)

    start_worker(celery_app)

    assert celery_app.conf.worker_prefetch_multiplier == 2
    assert celery_app.conf.worker_soft_shutdown_timeout == 10


# -- the worker's settings


def test_worker_has_settings_that_lose_nothing(celery_app: Celery) -> None:
    """A worker takes no more than it runs, has time to end, and waits for its broker."""
    serving(celery_app)

    start_worker(celery_app)

    conf = celery_app.conf
    assert conf.worker_prefetch_multiplier == 1
    assert conf.worker_soft_shutdown_timeout == 10
    assert conf.broker_connection_retry_on_startup is True


def test_process_without_a_worker_is_left_alone(celery_app: Celery) -> None:
    """What concerns a worker is not set where none starts."""
    serving(celery_app)

    assert not is_set(celery_app, "worker_prefetch_multiplier")


def test_worker_of_another_app_is_left_alone(celery_app: Celery) -> None:
    """An app without receivers keeps Celery's settings."""
    serving(celery_app)
    other = new_celery_app()

    start_worker(other)

    assert not is_set(other, "worker_prefetch_multiplier")


def test_redis_brings_back_soon_what_a_killed_worker_had(redis_app: Celery) -> None:
    """Workers look every ten seconds for messages that nobody has acknowledged."""
    serving(redis_app)

    start_worker(redis_app)

    assert transport_options(redis_app) == {
        "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 10,
    }


def test_other_brokers_get_no_options_of_redis(celery_app: Celery) -> None:
    """A transport that does not know them is not given them."""
    serving(celery_app)

    start_worker(celery_app)

    assert transport_options(celery_app) == {}


def namespaced(options: Mapping[str, object], namespace: str, name: str) -> Celery:
    """Return a Celery app whose settings all begin with *namespace*."""
    celery_app = Celery("tests", set_as_current=False, broker=REDIS)
    celery_app.config_from_object(
        SimpleNamespace(**{name: options}), namespace=namespace
    )
    return celery_app


@pytest.mark.parametrize(
    "make",
    [
        lambda chosen: new_celery_app(
            broker_url=REDIS, broker_transport_options=chosen
        ),
        lambda chosen: namespaced(chosen, "CELERY", "CELERY_BROKER_TRANSPORT_OPTIONS"),
        lambda chosen: namespaced(chosen, "shop", "shop_broker_transport_options"),
    ],
    ids=["dict", "namespace", "small namespace"],
)
def test_options_of_the_user_are_added_to(
    make: Callable[[Mapping[str, object]], Celery],
) -> None:
    """Of the broker's options, those that the user has set stay, and that dict as it is."""
    chosen = {"visibility_timeout": 60, "global_keyprefix": "shop:"}
    celery_app = make(chosen)
    serving(celery_app)

    start_worker(celery_app)

    found = transport_options(celery_app)
    assert (found["visibility_timeout"], found["global_keyprefix"]) == (60, "shop:")
    assert found["unacked_mutex_expire"] == 10
    assert chosen == {"visibility_timeout": 60, "global_keyprefix": "shop:"}


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"time_limit": 600}, 1800),
        ({"soft_time_limit": 570}, 1800),
        ({"countdown": 3600}, 3600 + 900),
        ({"countdown": 3600, "time_limit": 10}, 3630),
        ({"time_limit": 10}, 900),
    ],
    ids=str,
)
def test_no_message_outlasts_the_visibility_timeout(
    redis_app: Celery, options: dict[str, Any], seconds: int
) -> None:
    """A receiver that waits or runs for long makes the timeout longer."""
    serving(redis_app, **options)

    start_worker(redis_app)

    assert transport_options(redis_app)["visibility_timeout"] == seconds


def test_tasks_of_others_keep_their_visibility_timeout(redis_app: Celery) -> None:
    """What the user sends for later, or runs for long, is not to run twice for our sake."""
    serving(redis_app)
    redis_app.task(sweep, name="sweep", shared=False)

    start_worker(redis_app)

    assert "visibility_timeout" not in transport_options(redis_app)
    assert transport_options(redis_app)["unacked_mutex_expire"] == 10


# -- the tasks' options


def test_message_is_kept_until_its_handler_has_run(celery_app: Celery) -> None:
    """A receiver's message is acknowledged late, and comes back if its process dies."""
    task = serving(celery_app)
    other: Any = celery_app.task(sweep, name="sweep", shared=False, lazy=False)

    assert (task.acks_late, task.reject_on_worker_lost) == (True, True)
    assert (other.acks_late, other.reject_on_worker_lost) == (False, None)


def test_user_chooses_when_messages_are_acknowledged() -> None:
    """An app's settings and a receiver's options are the user's to set."""
    celery_app = new_celery_app(task_acks_late=False)

    task = serving(celery_app, reject_on_worker_lost=False)

    assert (task.acks_late, task.reject_on_worker_lost) == (False, False)
    assert task_options(celery_app) == {"reject_on_worker_lost": True}


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({}, (SOFT_TIME_LIMIT_SECONDS, TIME_LIMIT_SECONDS)),
        ({"time_limit": 600}, (None, 600)),
        ({"soft_time_limit": 600}, (600, 630)),
        ({"soft_time_limit": 5, "time_limit": 6}, (5, 6)),
    ],
    ids=str,
)
def test_handler_has_limits(
    celery_app: Celery, options: dict[str, Any], limits: tuple[int | None, int]
) -> None:
    """A handler without a time limit of its own gets one where it runs."""
    task = serving(celery_app, **options)

    start_worker(celery_app)

    assert (task.soft_time_limit, task.time_limit) == limits


def test_limits_are_not_sent_along(celery_app: Celery) -> None:
    """A sender leaves it to the worker how long a handler may run."""
    task = serving(celery_app)

    assert (task.soft_time_limit, task.time_limit) == (None, None)


@pytest.mark.parametrize("limit", ["time_limit", "soft_time_limit"])
def test_limits_of_the_app_are_enough(limit: str) -> None:
    """Where the app has a time limit for all tasks, receivers get none of their own."""
    celery_app = new_celery_app(**{f"task_{limit}": 3600})
    task = serving(celery_app)

    start_worker(celery_app)

    assert (task.soft_time_limit, task.time_limit) == (None, None)


def test_limits_of_the_app_make_the_timeout_longer() -> None:
    """An app's time limit counts for the visibility timeout, too."""
    celery_app = new_celery_app(broker_url=REDIS, task_time_limit=3600)
    serving(celery_app)

    start_worker(celery_app)

    assert transport_options(celery_app)["visibility_timeout"] == 3 * 3600


@pytest.mark.parametrize("limit", ["time_limit", "soft_time_limit"])
def test_limits_of_the_worker_are_enough(celery_app: Celery, limit: str) -> None:
    """Where the worker was started with a time limit, receivers get none of their own."""
    task = serving(celery_app)

    prepare_worker(celery_app, [task], options={limit: 3600})

    assert (task.soft_time_limit, task.time_limit) == (None, None)
