"""What tests say where a server is missing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

import pytest

from signal_tasks.dev.servers import free_port
from tests.integration.servers import (
    POSTGRESQL,
    RABBITMQ,
    REDIS,
    EmbeddedBroker,
    Server,
    UnreachableError,
    check_broker,
    missing,
    postgresql_database,
    rabbitmq_queues,
    redis_database,
)

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("server", "use", "scheme"),
    [
        pytest.param(REDIS, redis_database, "redis", id="Redis"),
        pytest.param(RABBITMQ, rabbitmq_queues, "amqp", id="RabbitMQ"),
        pytest.param(
            POSTGRESQL, postgresql_database, "postgresql+psycopg", id="PostgreSQL"
        ),
    ],
)
def test_missing_server_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch,
    server: Server,
    use: Callable[[Server], AbstractContextManager[str]],
    scheme: str,
) -> None:
    """A server that does not answer is named, with the variable to name another one."""
    monkeypatch.setenv(server.variable, f"{scheme}://127.0.0.1:{free_port()}")

    with ExitStack() as resources, pytest.raises(UnreachableError) as caught:
        resources.enter_context(use(server))

    assert server.name in str(caught.value)
    assert server.variable in str(caught.value)


def test_server_that_answers_is_used(embedded_broker: EmbeddedBroker) -> None:
    """A broker that answers is given by its URL."""
    server = replace(REDIS, variable="NOT_SET", default=embedded_broker.url)

    assert check_broker(server) == embedded_broker.url


def test_test_without_its_server_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without the server a test is skipped, with the reason."""
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="no Redis"):
        missing("no Redis")


def test_test_without_its_server_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """In CI, where all servers have to be, a test without one fails."""
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="no Redis"):
        missing("no Redis")
