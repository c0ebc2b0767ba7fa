"""Whether the broker answers, is new enough, and keeps what it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final
from uuid import uuid4

from amqp.exceptions import AMQPError
from celery import Celery
from kombu import Connection
from kombu.exceptions import KombuError

from ..publisher.broker_errors import advice_for, cause_of
from ..terminal import printable
from .findings import Finding, Status
from .redis_server import Errors, check_redis

_OLDEST_RABBITMQ: Final = (3, 8)

_IN_ONE_PROCESS: Final = frozenset({"memory"})
_LOSING: Final = frozenset({"filesystem", "sql", "virtual"})

_reachable = partial(Finding, check="broker-reachable")
_takes = partial(Finding, check="broker-takes-messages")
_version = partial(Finding, check="broker-version")


def look_at_broker(celery_app: Celery, *, seconds: float) -> Iterator[Finding]:
    """Connect to the broker of *celery_app*, and ask it how it is.

    Args:
        celery_app: Knows where it is.
        seconds: How long each step may take.
    """
    if not celery_app.conf.broker_write_url:
        yield _reachable(
            status=Status.WRONG,
            found="no broker is configured.",
            mend="Set broker_url in app.config['CELERY'], or the environment variable "
            "CELERY_BROKER_URL.",
        )
        return
    try:
        connection = bounded_connection(celery_app, seconds)
        _ = connection.transport
    except ImportError as error:
        yield _reachable(
            status=Status.WRONG,
            found=f"the broker's URL needs the module {error.name}, which is not "
            "installed.",
            mend="Install it, or choose a redis:// or amqp:// broker.",
        )
        return
    except (ValueError, KeyError) as error:
        # The error's own words may hold a part of the password.
        yield _reachable(
            status=Status.WRONG,
            found=f"the broker's URL cannot be read ({type(error).__name__}).",
            mend="Write it as redis://:password@host:port/db or "
            "amqp://user:password@host:port/vhost, with the special characters of a "
            "password percent-encoded.",
        )
        return
    with connection:
        refusal = _refusal(connection)
        if refusal is not None:
            yield _reachable(
                status=Status.WRONG,
                found=f"the broker at {connection.as_uri()} cannot be used: "
                f"{said_by(refusal, connection)}.",
                mend=advice_for(cause_of(refusal)),
            )
            return
        # Of several addresses, this is the one that has answered.
        yield _reachable(
            status=Status.OK, found=f"the broker at {connection.as_uri()} answers."
        )
        yield from _check_kind(connection)
        yield from _check_taking(connection, seconds)


def bounded_connection(celery_app: Celery, seconds: float) -> Connection:
    """Return a connection that waits *seconds* for each answer, and no longer."""
    driver = celery_app.connection_for_write().transport.driver_type
    bounds: Mapping[str, object] = {
        "redis": {"socket_timeout": seconds, "socket_connect_timeout": seconds},
        "amqp": {
            "read_timeout": seconds,
            "write_timeout": seconds,
            "confirm_publish": True,
        },
    }.get(driver, {})
    connection: Connection = celery_app.connection_for_write(
        connect_timeout=seconds, transport_options=bounds
    )
    return connection


def said_by(error: Exception, connection: Connection) -> str:
    """Return the first line of *error*, without the broker's password."""
    said = str(error).partition("\n")[0].rstrip(". ") or type(error).__name__
    password = connection.password
    if isinstance(password, str) and password:
        said = said.replace(password, "***")
    return printable(said)


def errors_of(connection: Connection) -> Errors:
    """Return what the libraries below raise when the broker does not do it."""
    theirs = (*connection.connection_errors, *connection.channel_errors)
    known = tuple(error for error in theirs if issubclass(error, Exception))
    return (KombuError, AMQPError, OSError, *known)


def _refusal(connection: Connection) -> Exception | None:
    """Return why nobody can connect; None where that is possible."""
    others = max(len(connection.alt) - 1, 0)
    try:
        connection.ensure_connection(max_retries=others, interval_start=0)
        _ = connection.default_channel
    except errors_of(connection) as error:
        return error
    except ValueError as error:
        return error  # such as one about an option of the transport that is missing
    return None


def _check_kind(connection: Connection) -> Iterator[Finding]:
    driver = connection.transport.driver_type
    if driver == "redis":
        channel: Any = connection.default_channel
        yield from check_redis(channel.client, errors_of(connection), now=time.time)
    elif driver == "amqp":
        server: Any = connection.connection
        yield from check_rabbitmq(getattr(server, "server_properties", {}))
    elif driver in _IN_ONE_PROCESS:
        yield _version(
            status=Status.WRONG,
            found="the broker lives in the memory of one process, so no worker sees what "
            "the web server sends.",
            mend="Set broker_url to a redis:// or amqp:// broker.",
        )
    else:
        yield _version(
            status=Status.WARNING,
            found=f"brokers of the kind {driver} are not tested with signal_tasks.",
            mend="Use Redis, Valkey or RabbitMQ where events must not be lost.",
        )


def check_rabbitmq(properties: Mapping[str, object]) -> Iterator[Finding]:
    """Look at what a server of AMQP says of itself when somebody connects."""
    product = str(properties.get("product", "an AMQP broker"))
    version = str(properties.get("version", ""))
    numbers = _numbers(version)
    if product != "RabbitMQ" or numbers is None:
        yield _version(
            status=Status.NOTE,
            found=f"it is {product} {version}".rstrip()
            + ", not RabbitMQ as we know it.",
        )
    elif numbers < _OLDEST_RABBITMQ:
        yield _version(
            status=Status.WARNING,
            found=f"it is RabbitMQ {version}, which is older than 3.8 and not tested.",
            mend="Move to a version that its makers still mend.",
        )
    else:
        yield _version(status=Status.OK, found=f"it is RabbitMQ {version}.")


def _check_taking(connection: Connection, seconds: float) -> Iterator[Finding]:
    """Publish a message to a queue that nobody has.

    RabbitMQ takes it and drops it, unless an alarm is on; Redis makes a list of it,
    which is deleted at once.
    """
    channel: Any = connection.default_channel
    queue = f"signal-tasks-doctor.{uuid4().hex}"
    try:
        connection.Producer(auto_declare=False).publish(
            {}, routing_key=queue, retry=False, confirm_timeout=seconds
        )
        if connection.transport.driver_type != "amqp":
            channel.queue_purge(queue)
    except errors_of(connection) as error:
        yield _takes(
            status=Status.WRONG,
            found=f"the broker takes no message: {said_by(error, connection)}.",
            mend=advice_for(cause_of(error)),
        )
    else:
        yield _takes(status=Status.OK, found="it takes messages.")


def _numbers(version: str) -> tuple[int, int] | None:
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0]
    if major.isdigit() and minor.isdigit():
        return int(major), int(minor)
    return None
