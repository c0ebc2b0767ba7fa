"""Whether a broker answers, and what it is."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from celery import Celery
from kombu import Connection

from signal_tasks.doctor.broker import check_rabbitmq, look_at_broker, said_by
from signal_tasks.doctor.findings import Finding, Status
from tests.in_memory import new_celery_app

OK, NOTE, WARNING, WRONG = Status.OK, Status.NOTE, Status.WARNING, Status.WRONG
PASSWORD = "hunter2"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Return a port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Return a port where connections are taken, and nothing is said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def found(celery_app: Celery, seconds: float = 5.0) -> list[Finding]:
    """Return what is found."""
    return list(look_at_broker(celery_app, seconds=seconds))


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_broker_that_is_not_there_is_wrong(scheme: str, closed_port: int) -> None:
    """The address is named without its password."""
    url = f"{scheme}://bob:{PASSWORD}@127.0.0.1:{closed_port}/0"

    [finding] = found(new_celery_app(broker_url=url))

    assert (finding.check, finding.status) == ("broker-reachable", WRONG)
    assert f"127.0.0.1:{closed_port}" in finding.found
    assert "refused" in finding.found
    assert PASSWORD not in finding.found


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_broker_that_says_nothing_is_left(scheme: str, silent_port: int) -> None:
    """Each wait has an end."""
    url = f"{scheme}://127.0.0.1:{silent_port}/0"

    [finding] = found(new_celery_app(broker_url=url), seconds=0.2)

    assert (finding.check, finding.status) == ("broker-reachable", WRONG)


@pytest.mark.parametrize(
    "url",
    [f"redis://:{PASSWORD}@host:port", "pigeon://loft"],
    ids=["port", "kind"],
)
def test_broker_of_an_unreadable_url_is_wrong(url: str) -> None:
    """The URL is not shown, for nobody knows where in it the password is."""
    [finding] = found(new_celery_app(broker_url=url))

    assert (finding.check, finding.status) == ("broker-reachable", WRONG)
    assert "URL cannot be read" in finding.found
    assert PASSWORD not in finding.found


def test_broker_that_wants_a_module_is_wrong() -> None:
    """Which one is told."""
    [finding] = found(new_celery_app(broker_url="sqs://"))

    assert (finding.check, finding.status) == ("broker-reachable", WRONG)
    assert "needs the module" in finding.found


def test_broker_that_wants_an_option_is_wrong() -> None:
    """Sentinel wants to know which of its masters is meant."""
    [finding] = found(new_celery_app(broker_url="sentinel://127.0.0.1:1"))

    assert (finding.check, finding.status) == ("broker-reachable", WRONG)
    assert "master_name" in finding.found


def test_broker_that_nobody_configured_is_wrong() -> None:
    """Celery would look for a RabbitMQ on this machine."""
    [finding] = found(new_celery_app(broker_url=None))

    assert (finding.check, finding.status) == ("broker-reachable", WRONG)
    assert "no broker is configured" in finding.found


def test_broker_in_memory_is_wrong(celery_app: Celery) -> None:
    """It is reached and takes messages, and no worker gets them."""
    reachable, kind, takes = found(celery_app)

    assert (reachable.check, reachable.status) == ("broker-reachable", OK)
    assert (kind.check, kind.status) == ("broker-version", WRONG)
    assert (takes.check, takes.status) == ("broker-takes-messages", OK)


def test_broker_of_another_kind_is_a_warning(tmp_path: object) -> None:
    """Nobody has tried it."""
    folders = dict.fromkeys(
        ("data_folder_in", "data_folder_out", "control_folder"), str(tmp_path)
    )
    celery_app = new_celery_app(
        broker_url="filesystem://", broker_transport_options=folders
    )

    _, kind, takes = found(celery_app)

    assert kind.status is WARNING
    assert "filesystem" in kind.found
    assert takes.status is OK


def test_broker_that_takes_nothing_is_wrong() -> None:
    """It may answer, and have no room for a message."""
    folders = dict.fromkeys(
        ("data_folder_in", "data_folder_out", "control_folder"), "/dev/null/nowhere"
    )
    celery_app = new_celery_app(
        broker_url="filesystem://", broker_transport_options=folders
    )

    *_, takes = found(celery_app)

    assert (takes.check, takes.status) == ("broker-takes-messages", WRONG)
    assert "takes no message" in takes.found


@pytest.mark.parametrize(
    ("product", "version", "status"),
    [
        ("RabbitMQ", "3.10.8", OK),
        ("RabbitMQ", "4.0.0-rc.1", OK),
        ("RabbitMQ", "3.7.28", WARNING),
        ("RabbitMQ", "next", NOTE),
        ("Qpid", "9.2", NOTE),
    ],
    ids=str,
)
def test_rabbitmq_tells_its_version(product: str, version: str, status: Status) -> None:
    """It does so when somebody connects."""
    [finding] = check_rabbitmq({"product": product, "version": version})

    assert finding.status is status
    assert f"{product} {version}" in finding.found


def test_server_that_tells_nothing_is_a_note() -> None:
    """There is nothing to say of it."""
    [finding] = check_rabbitmq({})

    assert finding.found == "it is an AMQP broker, not RabbitMQ as we know it."


def test_error_is_quoted_without_the_password() -> None:
    """One line of it is enough, and its class where it has no words."""
    with Connection(f"redis://:{PASSWORD}@broker") as connection:
        assert said_by(OSError(f"login {PASSWORD} failed.\nmore"), connection) == (
            "login *** failed"
        )
        assert said_by(TimeoutError(), connection) == "TimeoutError"
