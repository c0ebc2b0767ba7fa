"""The doctor, with real workers, brokers and databases, that are well or ill."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from sqlalchemy import make_url

from signal_tasks.dev.broker import Broker, running_broker
from signal_tasks.store import Store
from signal_tasks.store.condition import condition_of
from tests.integration import servers
from tests.integration.clinic import BILL, TREAT, make_app
from tests.integration.proxy import proxy_to
from tests.integration.servers import EmbeddedBroker, UnreachableError, missing
from tests.integration.stack import as_environment, close_connections
from tests.integration.workers import Worker, Workers, await_answer, wait_for

pytestmark = pytest.mark.integration

# Workers that are there get longer than a loaded machine takes to answer.
LONG = "3"
SHORT = "1"
BOUND_SECONDS = 15.0

Findings = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clinic:
    """An app, its configuration, and the workers that it may have."""

    config: dict[str, Any]
    workers: Workers

    def start_worker(
        self, name: str, application: str = "signal_tasks.worker", **config: Any
    ) -> Worker:
        """Start a worker with *config* on top of the app's; it may not answer yet."""
        return self.workers.start(
            name,
            application=application,
            environment={
                "FLASK_APP": "tests.integration.clinic:create_app",
                "C_FORCE_ROOT": "1",  # Celery has no pickle from anybody as root
                **as_environment("CLINIC", {**self.config, **config}),
            },
        )

    def await_workers(self, *workers: Worker) -> None:
        """Wait until all of them answer."""
        app = make_app("clinic", **self.config)
        for worker in workers:
            await_answer(worker, app.extensions["celery"])

    def examine(
        self, exit_code: int, *arguments: str, timeout: str = SHORT, **config: object
    ) -> dict[str, list[Findings]]:
        """Run the doctor; return what it finds, by the names of its checks."""
        app = make_app("clinic", **{**self.config, **config})
        words = ["signal-tasks", "doctor", "--json", "--timeout", timeout, *arguments]
        result = app.test_cli_runner().invoke(args=words)
        close_connections(app)
        assert result.exit_code == exit_code, result.output
        found: dict[str, list[Findings]] = {}
        for finding in json.loads(result.stdout):
            found.setdefault(finding["check"], []).append(finding)
        return found


def bad(found: Mapping[str, list[Findings]]) -> dict[str, list[str]]:
    """Return the statuses of what is not well, by the names of the checks."""
    statuses = {check: [one["status"] for one in of] for check, of in found.items()}
    return {check: of for check, of in statuses.items() if set(of) - {"ok", "note"}}


NewClinic = Callable[[str], Clinic]


@pytest.fixture
def new_clinic(workers: Workers, tmp_path: Path) -> NewClinic:
    """Return what makes a clinic on the broker at a URL."""

    def make(broker_url: str) -> Clinic:
        name = f"{servers.PREFIX}-{uuid4().hex[:8]}"
        config: dict[str, Any] = {
            "SECRET_KEY": uuid4().hex,
            "SIGNAL_TASKS_STORE_URL": f"sqlite:///{tmp_path / 'store.sqlite3'}",
            "CELERY": {
                "broker_url": broker_url,
                "task_default_queue": name,
                "control_exchange": name,
                "event_exchange": f"{name}.events",
            },
        }
        return Clinic(config=config, workers=workers)

    return make


@pytest.fixture
def clinic(new_clinic: NewClinic, embedded_broker: EmbeddedBroker) -> Clinic:
    """Return a clinic on the broker that needs no installed server."""
    return new_clinic(embedded_broker.next_database())


@pytest.fixture(scope="module")
def patient() -> Iterator[Broker]:
    """Return a broker that may be made ill, and has to be made well again."""
    with running_broker() as broker:
        if broker.kind == "fakeredis":  # pragma: no cover  # nothing better is there
            missing("a broker that can be made ill is a real Redis or Valkey")
        yield broker


@pytest.fixture
def server(patient: Broker) -> Iterator[redis.Redis]:
    """Return a client of *patient*."""
    with closing(redis.Redis.from_url(patient.url)) as client:
        yield client


def test_healthy_stack_is_well(clinic: Clinic) -> None:
    """A worker of our defaults needs nothing, and is the relay of the outbox, too.

    A broker without a file and an outbox without a session are warnings.
    """
    clinic.config["SIGNAL_TASKS_DELIVERY"] = "outbox"
    worker = clinic.start_worker("healthy")
    clinic.await_workers(worker)
    store = Store(clinic.config["SIGNAL_TASKS_STORE_URL"])
    wait_for(lambda: condition_of(store).last_relay, "a relay")

    found = clinic.examine(0, timeout=LONG)

    assert bad(found) == {
        "broker-append-only": ["warning"],
        "session-database": ["warning"],
    }
    assert found["relay-alive"][0]["status"] == "ok"
    assert found["workers-answer"][0]["about"] == [worker.node]
    assert {"workers-queues", "workers-receivers", "time-limits"} <= found.keys()


def test_healthy_stack_on_rabbitmq_is_well(
    new_clinic: NewClinic, places: ExitStack
) -> None:
    """There is nothing to mend at all."""
    try:
        url = places.enter_context(servers.rabbitmq_queues(servers.RABBITMQ))
    except UnreachableError as error:  # pragma: no cover  # it is there in CI
        missing(error)
    clinic = new_clinic(url)
    name = clinic.config["CELERY"]["task_default_queue"]
    places.callback(servers.delete_from_rabbitmq, url, name)
    worker = clinic.start_worker("rabbit")
    clinic.await_workers(worker)

    found = clinic.examine(0, "--strict", timeout=LONG)

    assert bad(found) == {}
    assert found["broker-version"][0]["found"].startswith("it is RabbitMQ")


def test_ill_workers_are_told(clinic: Clinic) -> None:
    """Older code, another key, pickle, another program: each is named."""
    celery = clinic.config["CELERY"]
    older = clinic.start_worker(
        "older",
        IS_OLD=True,
        SECRET_KEY="another",
        CELERY={
            **celery,
            "accept_content": ["json", "pickle"],
            "worker_prefetch_multiplier": 4,
            "task_acks_late": False,
            "broker_transport_options": {"visibility_timeout": 20},
        },
    )
    stranger = clinic.start_worker("stranger", "tests.integration.clinic.stranger")
    clinic.await_workers(older, stranger)

    found = clinic.examine(1, timeout=LONG)

    assert bad(found) == {
        "broker-append-only": ["warning"],
        "workers-shared-queue": ["wrong"],
        "workers-receivers": ["wrong"],
        "workers-parameters": ["wrong"],
        "workers-keys": ["wrong"],
        "workers-late-acks": ["warning"],
        "workers-prefetch": ["warning"],
        "workers-pickle": ["wrong"],
        "countdowns": ["wrong"],
    }
    assert found["workers-shared-queue"][0]["about"] == [stranger.node]
    assert found["workers-receivers"][0]["about"] == [BILL]
    assert found["workers-parameters"][0]["about"] == [TREAT]
    assert "(sender, patient, ward)" in found["workers-parameters"][0]["found"]


def test_queue_without_a_worker_is_told(clinic: Clinic) -> None:
    """No worker is one illness, and the waits of a worker to come are looked at."""
    hasty = {"broker_transport_options": {"visibility_timeout": 20}}

    found = clinic.examine(1, CELERY={**clinic.config["CELERY"], **hasty})

    assert found["workers-answer"][0]["status"] == "wrong"
    assert found["countdowns"][0]["about"] == [BILL]


@pytest.mark.parametrize(
    ("settings", "illness"),
    [
        ({"maxmemory": "1"}, {"broker-memory", "broker-takes-messages"}),
        (
            {"maxmemory": "1gb", "maxmemory-policy": "allkeys-lru"},
            {"broker-eviction", "workers-answer"},
        ),
        ({"min-replicas-to-write": "1"}, {"broker-takes-messages"}),
    ],
    ids=["full", "evicting", "lonely"],
)
def test_ill_broker_is_told(
    new_clinic: NewClinic,
    patient: Broker,
    server: redis.Redis,
    settings: Mapping[str, str],
    illness: set[str],
) -> None:
    """A broker that is full, forgets or refuses is told, and nothing is left in it."""
    before = {name: server.config_get(name)[name] for name in settings}
    for name, value in settings.items():
        server.config_set(name, value)

    found = new_clinic(patient.url).examine(1)
    for name, value in before.items():
        server.config_set(name, value)

    assert bad(found).keys() - {"broker-append-only"} >= illness
    assert not server.keys("signal-tasks-doctor*")


def test_append_only_file_is_seen(
    new_clinic: NewClinic, patient: Broker, server: redis.Redis
) -> None:
    """A broker that keeps what it takes has nothing to be warned of."""
    server.config_set("appendonly", "yes")

    found = new_clinic(patient.url).examine(1)
    server.config_set("appendonly", "no")

    assert found["broker-append-only"][0]["status"] == "ok"


def test_stopped_broker_is_left_in_time(new_clinic: NewClinic, patient: Broker) -> None:
    """A broker that takes connections and says nothing costs no more than is given."""
    assert patient.pid
    os.kill(patient.pid, signal.SIGSTOP)
    started = time.monotonic()
    try:
        found = new_clinic(patient.url).examine(1)
    finally:
        os.kill(patient.pid, signal.SIGCONT)

    assert bad(found) == {"broker-reachable": ["wrong"], "workers-answer": ["skipped"]}
    assert time.monotonic() - started < BOUND_SECONDS


def test_silent_store_is_left_in_time(clinic: Clinic, places: ExitStack) -> None:
    """A database that says nothing costs no more than is given."""
    try:
        url = places.enter_context(servers.postgresql_database(servers.POSTGRESQL))
    except UnreachableError as error:  # pragma: no cover  # it is there in CI
        missing(error)
    with proxy_to(url) as proxy:
        port = make_url(proxy.url).port
        way = make_url(url).set(port=port, host="127.0.0.1")
        shown = way.render_as_string(hide_password=False)
        with proxy.silence():
            started = time.monotonic()
            found = clinic.examine(1, SIGNAL_TASKS_STORE_URL=shown)

    assert found["store-reachable"][0]["status"] == "wrong"
    assert time.monotonic() - started < BOUND_SECONDS


def test_store_without_tables_is_told(clinic: Clinic, places: ExitStack) -> None:
    """On a server, somebody has to make them."""
    try:
        url = places.enter_context(servers.postgresql_database(servers.POSTGRESQL))
    except UnreachableError as error:  # pragma: no cover  # it is there in CI
        missing(error)

    found = clinic.examine(1, SIGNAL_TASKS_STORE_URL=url)

    assert found["store-tables"][0]["status"] == "wrong"
    assert "signal_tasks_outbox" in found["store-tables"][0]["about"]
