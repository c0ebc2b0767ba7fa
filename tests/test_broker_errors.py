"""What errors of brokers mean."""

from __future__ import annotations

import pytest
import redis.exceptions
from amqp.exceptions import AccessRefused, ConnectionForced
from kombu.exceptions import OperationalError

from signal_tasks.publisher.broker_errors import advice_for, cause_of, is_of_the_broker


def test_cause_is_behind_kombus_error() -> None:
    """What kombu has wrapped is unwrapped, and what it has not is left alone."""
    cause = redis.exceptions.TimeoutError()
    wrapped = OperationalError()
    wrapped.__cause__ = cause

    assert cause_of(wrapped) is cause
    assert cause_of(cause) is cause
    assert isinstance(cause_of(OperationalError()), OperationalError)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (redis.exceptions.OutOfMemoryError("command not allowed"), "no memory"),
        (redis.exceptions.ReadOnlyError("no writes"), "a replica"),
        (redis.exceptions.BusyLoadingError("loading"), "busy"),
        (redis.exceptions.AuthenticationError("wrong password"), "login"),
        (redis.exceptions.ResponseError("MISCONF cannot save"), "its disk"),
        (redis.exceptions.ResponseError("OOM command not allowed"), "no memory"),
        (redis.exceptions.ResponseError("BUSY running a script"), "a script"),
    ],
    ids=lambda value: value.split()[-1] if isinstance(value, str) else str(value)[:4],
)
def test_refusal_of_all_messages_has_its_advice(error: Exception, advice: str) -> None:
    """What a broker says to any message is its own failure, and can be mended."""
    assert is_of_the_broker(error)
    assert advice in advice_for(error)


def test_refusal_of_one_key_is_not_the_brokers() -> None:
    """A key of another type is one queue's trouble."""
    error = redis.exceptions.ResponseError("WRONGTYPE Operation against a key")

    assert not is_of_the_broker(error)


def test_refused_login_of_rabbitmq_has_its_advice() -> None:
    """RabbitMQ refuses queues with the same error, so that alone is not the broker's."""
    error = AccessRefused("no access")

    assert not is_of_the_broker(error)
    assert "login" in advice_for(error)


def test_other_errors_have_a_general_advice() -> None:
    """Where nothing more is known, the first thing to look at is the address."""
    assert "broker_url" in advice_for(ConnectionForced("shutdown"))
