"""How long messages stay in a worker, and how long the broker waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from math import inf
from typing import Any

import pytest
from blinker import Signal
from celery import Celery

from signal_tasks import Bridge
from signal_tasks.doctor.findings import Status
from signal_tasks.doctor.waits import (
    Patience,
    check_countdowns,
    check_limits,
    longest_wait_of,
    patience_of,
)

OK, WARNING, WRONG = Status.OK, Status.WARNING, Status.WRONG

REDIS = Patience(setting="visibility_timeout", seconds=900.0)
RABBITMQ = Patience(
    setting="RabbitMQ's consumer_timeout", seconds=1800.0, status=WARNING
)


@pytest.mark.parametrize(
    ("driver", "conf", "patience"),
    [
        ("redis", {"broker_transport_options": {"visibility_timeout": 900}}, REDIS),
        ("amqp", {}, RABBITMQ),
        ("memory", {}, None),
    ],
    ids=["redis", "rabbitmq", "other"],
)
def test_brokers_have_their_patience(
    driver: str, conf: Mapping[str, Any], patience: Patience | None
) -> None:
    """Redis waits as long as its worker is told, RabbitMQ as long as it likes."""
    assert patience_of(driver, conf) == patience


def test_redis_that_nobody_told_waits_an_hour() -> None:
    """Kombu's own timeout holds where nothing is set."""
    patience = patience_of("redis", {})

    assert patience
    assert patience.seconds == 3600


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 4),
        ({"countdown": 60}, 60),
        ({"countdown": timedelta(minutes=2)}, 120),
        ({"max_retries": 12}, 600),
        ({"max_retries": 12, "retry_backoff_max": 5000}, 2048),
        ({"max_retries": None}, 600),
        ({"max_retries": 3, "retry_backoff": 10}, 40),
        ({"retry_backoff": False}, 180),
        ({"retry_backoff": False, "default_retry_delay": 30}, 30),
        ({"max_retries": 0, "countdown": 1}, 1),
    ],
    ids=repr,
)
def test_longest_wait_is_a_countdown_or_a_pause(
    bridge: Bridge,
    celery_app: Celery,
    signal: Signal,
    options: Mapping[str, Any],
    seconds: float,
) -> None:
    """Messages wait in a worker at first, and between two attempts."""

    @bridge.async_receiver(signal, name="bill", **options)
    def bill(sender: object) -> None: ...

    receiver = bridge.registry.get("bill")

    assert longest_wait_of(receiver, celery_app.tasks["bill"]) == seconds


def test_wait_beyond_patience_is_wrong() -> None:
    """A message that waits longer than the broker does is handed out twice."""
    [finding] = check_countdowns({"bill": 900.0, "thank": 60.0, "greet": 5000.0}, REDIS)

    assert finding.status is WRONG
    assert finding.about == ("bill", "greet")
    assert "5000 seconds" in finding.found


def test_patience_that_is_assumed_makes_a_warning() -> None:
    """RabbitMQ may have been told to wait longer, and nobody can ask it."""
    [finding] = check_countdowns({"bill": 1800.0}, RABBITMQ)

    assert finding.status is WARNING


def test_short_waits_are_well() -> None:
    """What is in time is said once."""
    [finding] = check_countdowns({"bill": 899.0}, REDIS)

    assert finding.status is OK


def test_limits_below_patience_are_well() -> None:
    """What is in time is said once."""
    [finding] = check_limits({"bill": 300.0}, REDIS)

    assert finding.status is OK


def test_limits_beyond_patience_are_findings() -> None:
    """Who may run too long is named, and so is who may run for ever."""
    beyond, endless = check_limits({"bill": 900.0, "thank": inf, "greet": 30.0}, REDIS)

    assert (beyond.status, beyond.about) == (WRONG, ("bill",))
    assert (endless.status, endless.about) == (WARNING, ("thank",))


def test_nothing_that_waits_is_no_finding() -> None:
    """An app without receivers has nothing to compare."""
    assert not [*check_countdowns({}, REDIS), *check_limits({}, REDIS)]
