"""The servers that integration tests use, and what they leave there: nothing."""

from __future__ import annotations

import atexit
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NoReturn
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import redis
import sqlalchemy
from kombu import Connection
from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from signal_tasks.dev.servers import refusal_of
from tests.integration.shop.settings import REPORTS_QUEUE, RUN

PREFIX: Final = f"signal-tasks-{RUN}"

PUBLISH_SECONDS: Final = 30
"""How long a publish may take, where that is not what is tested: machines are busy."""

_CONTROL_EXCHANGES: Final = (
    f"{PREFIX}.pidbox",
    f"reply.{PREFIX}.pidbox",
    f"{PREFIX}.events",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that a machine may have."""

    name: str
    variable: str
    """The environment variable that holds its URL."""

    default: str

    @property
    def url(self) -> str:
        """Where it is."""
        return os.environ.get(self.variable, self.default)


REDIS: Final = Server(
    name="Redis",
    variable="SIGNAL_TASKS_TEST_REDIS_URL",
    default="redis://127.0.0.1:6379/11",
)
RABBITMQ: Final = Server(
    name="RabbitMQ",
    variable="SIGNAL_TASKS_TEST_RABBITMQ_URL",
    default="amqp://guest:guest@127.0.0.1:5672//",
)
POSTGRESQL: Final = Server(
    name="PostgreSQL",
    variable="SIGNAL_TASKS_TEST_POSTGRESQL_URL",
    default="postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
)


@dataclass(slots=True, kw_only=True)
class EmbeddedBroker:
    """The broker that the tests started themselves; each app gets a database of it."""

    url: str
    used: int = 0

    def next_database(self) -> str:
        """Return the URL of a database in it that nobody else has."""
        url = urlsplit(self.url)._replace(path=f"/{self.used}").geturl()
        self.used += 1
        return url


class UnreachableError(Exception):
    """A server is not there."""

    def __init__(self, server: Server, why: object) -> None:
        super().__init__(
            f"{server.name} is not reachable ({why}); name another one with the "
            f"variable {server.variable}"
        )


def missing(reason: object) -> NoReturn:
    """Skip the test, for this machine lacks something; fail it in CI, which must not."""
    if "CI" in os.environ:
        pytest.fail(str(reason), pytrace=False)
    pytest.skip(str(reason))


def check_broker(server: Server) -> str:
    """Return the URL of a broker that answers.

    Raises:
        UnreachableError: It does not.
    """
    refusal = refusal_of(server.url)
    if refusal is not None:
        raise UnreachableError(server, refusal)
    return server.url


@contextmanager
def redis_database(server: Server) -> Iterator[str]:
    """Give the URL of a Redis, where the keys with our prefix are deleted afterwards.

    Raises:
        UnreachableError: It does not answer.
    """
    url = check_broker(server)
    yield url  # pragma: no cover  # not every machine has one, nor what follows
    with redis.Redis.from_url(url) as client:  # pragma: no cover
        for key in client.scan_iter(match=f"{PREFIX}*", count=1000):
            client.delete(key)


@contextmanager
def rabbitmq_queues(server: Server) -> Iterator[str]:
    """Give the URL of a RabbitMQ, where our queues are deleted afterwards.

    Raises:
        UnreachableError: It does not answer.
    """
    url = check_broker(server)
    yield url  # pragma: no cover  # as above
    with Connection(url) as connection:  # pragma: no cover
        for queue in (PREFIX, REPORTS_QUEUE):
            connection.default_channel.queue_delete(queue)
        for exchange in (PREFIX, REPORTS_QUEUE, *_CONTROL_EXCHANGES):
            connection.default_channel.exchange_delete(exchange)


def delete_from_rabbitmq(url: str, name: str) -> None:  # pragma: no cover  # as above
    """Delete the queue *name*, and what workers of that queue alone have declared."""
    with Connection(url) as connection:
        connection.default_channel.queue_delete(name)
        for exchange in (name, f"{name}.pidbox", f"reply.{name}.pidbox"):
            connection.default_channel.exchange_delete(exchange)
        connection.default_channel.exchange_delete(f"{name}.events")


@contextmanager
def postgresql_database(server: Server) -> Iterator[str]:
    """Give the URL of a database of our own, with nothing in it.

    To make one takes a while. So it is emptied afterwards, and is the next one by
    another name, lest somebody still looks for this one. In the end it is dropped.

    Raises:
        UnreachableError: The server does not answer, or its driver is missing.
    """
    name = f"{PREFIX}-{uuid4().hex[:8]}"
    spare = _SPARE_DATABASES[server.url]
    try:
        if spare:
            statement = f'ALTER DATABASE "{spare.pop()}" RENAME TO "{name}"'
        else:
            statement = f'CREATE DATABASE "{name}"'
        _execute(server.url, statement)
    except (SQLAlchemyError, ImportError) as error:
        raise UnreachableError(server, type(error).__name__) from error
    url = make_url(server.url).set(database=name)  # pragma: no cover  # as above
    try:  # pragma: no cover
        yield url.render_as_string(hide_password=False)
    finally:  # pragma: no cover
        _execute(url, _END_OTHERS, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        if not spare:
            atexit.register(_drop_spare, server.url)
        spare.append(name)


_SPARE_DATABASES: Final[defaultdict[str, list[str]]] = defaultdict(list)

_END_OTHERS: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def _drop_spare(url: str) -> None:  # pragma: no cover  # when coverage has ended
    spare = _SPARE_DATABASES.pop(url, [])
    _execute(url, *(f'DROP DATABASE "{name}" WITH (FORCE)' for name in spare))


def _execute(url: str | URL, *statements: str) -> None:
    engine = sqlalchemy.create_engine(
        url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool
    )
    with engine.connect() as connection:
        for statement in statements:  # pragma: no cover  # as above
            connection.exec_driver_sql(statement)
