"""Workers whose processes are killed, and messages that nobody could handle."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from kombu import Connection

from signal_tasks.dev.processes import Children
from tests.integration import mine, servers
from tests.integration.restartable import RestartableBroker, find_server
from tests.integration.servers import UnreachableError, missing
from tests.integration.stack import as_environment, close_connections, publications
from tests.integration.workers import Worker, Workers, await_answer, wait_for

pytestmark = pytest.mark.integration


@dataclass(frozen=True, slots=True, kw_only=True)
class Mine:
    """An app, as its web server has it, and the workers that it may have."""

    app: Flask
    config: dict[str, Any]
    workers: Workers
    folder: Path
    broker: RestartableBroker | None = None
    started: list[Worker] = field(default_factory=list)

    def start_worker(self, *arguments: str, **environment: str) -> Worker:
        """Start a worker and wait until it answers."""
        worker = self.begin_worker(*arguments, **environment)
        await_answer(worker, self.app.extensions["celery"])
        return worker

    def begin_worker(self, *arguments: str, **environment: str) -> Worker:
        """Start a worker."""
        worker = self.workers.start(
            f"mine-{uuid4().hex[:8]}",
            application="signal_tasks.worker",
            environment={
                "FLASK_APP": "tests.integration.mine:create_app",
                **as_environment("MINE", self.config),
                **environment,
            },
            arguments=arguments,
        )
        self.started.append(worker)
        return worker

    def send(self, name: str, **kwargs: object) -> str:
        """Send the signal of that name, and return the event's identifier."""
        with publications(self.app) as published, self.app.app_context():
            mine.SIGNALS[name].send("web", folder=self.folder, **kwargs)
        return published[0].event_id

    def notes(self, event_id: str) -> list[str]:
        """Return what the event's runs have noted so far."""
        path = self.folder / event_id
        return path.read_text().splitlines() if path.exists() else []

    def await_notes(self, event_id: str, number: int = 1) -> list[str]:
        """Return what its runs have noted, once there are as many as *number*."""

        def enough() -> list[str] | None:
            notes = self.notes(event_id)
            return notes if len(notes) >= number else None

        return wait_for(enough, f"{number} notes of an event")

    def letters(self) -> list[dict[str, Any]]:
        """Return the dead letters."""
        result = self.app.test_cli_runner().invoke(
            args=["signal-tasks", "dead", "list", "--json"]
        )
        assert result.exit_code == 0, result.output
        found: list[dict[str, Any]] = json.loads(result.output)
        return found

    def await_letter(self, event_id: str) -> dict[str, Any]:
        """Return the one dead letter of an event, once it is there."""

        def of_event() -> list[dict[str, Any]]:
            return [one for one in self.letters() if one["event_id"] == event_id]

        (letter,) = wait_for(of_event, "a dead letter")
        return letter


@contextmanager
def own_redis(folder: Path) -> Iterator[tuple[RestartableBroker, dict[str, Any]]]:
    """Give a server of our own, and Celery's settings for it."""
    with Children() as children:
        broker = RestartableBroker(find_server(), children, folder)
        broker.start()
        options = {"visibility_timeout": 6, "unacked_restore_interval": 1}
        settings = {"broker_url": broker.url, "broker_transport_options": options}
        yield broker, settings


@contextmanager
def own_queue() -> Iterator[dict[str, Any]]:
    """Give Celery's settings for a queue of our own, which is deleted afterwards."""
    try:
        url = servers.check_broker(servers.RABBITMQ)
    except UnreachableError as error:  # pragma: no cover  # it is there in CI
        missing(error)
    name = f"{servers.PREFIX}-mine-{uuid4().hex[:8]}"
    yield {
        "broker_url": url,
        "task_default_queue": name,
        "control_exchange": name,
        "event_exchange": f"{name}.events",
    }
    with Connection(url) as connection:
        channel = connection.default_channel
        channel.queue_delete(name)
        for exchange in (
            name,
            f"{name}.pidbox",
            f"reply.{name}.pidbox",
            f"{name}.events",
        ):
            channel.exchange_delete(exchange)


@pytest.fixture(params=["redis", "rabbitmq"])
def here(
    request: pytest.FixtureRequest, workers: Workers, tmp_path: Path
) -> Iterator[Mine]:
    """Return the mine with each broker, and no worker yet."""
    with opened(request.param, workers, tmp_path) as it:
        yield it


@pytest.fixture(params=["redis", "rabbitmq"], scope="module")
def shared(
    request: pytest.FixtureRequest,
    workers: Workers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mine]:
    """Return the mine with each broker, and a worker that several tests use."""
    with opened(request.param, workers, tmp_path_factory.mktemp("mine")) as it:
        it.start_worker()
        yield it


@contextmanager
def opened(kind: str, workers: Workers, tmp_path: Path) -> Iterator[Mine]:
    """Give the mine with a broker of that kind."""
    broker: RestartableBroker | None = None
    with ExitStack() as stack:
        if kind == "redis":
            folder = tmp_path / "redis"
            folder.mkdir()
            broker, settings = stack.enter_context(own_redis(folder))
        else:
            settings = stack.enter_context(own_queue())
        config: dict[str, Any] = {
            "SECRET_KEY": uuid4().hex,
            "SIGNAL_TASKS_STORE_URL": f"sqlite:///{tmp_path / 'store.sqlite3'}",
            "SIGNAL_TASKS_MAX_DELIVERIES": 2,
            "SIGNAL_TASKS_PUBLISH_TIMEOUT": servers.PUBLISH_SECONDS,
            "CELERY": {**settings, "worker_lost_wait": 0.5},
        }
        with mine.bridge.disconnected():
            mine.bridge.connect(*mine.RECEIVERS)
            app = mine.create_app(**config, TESTING=True)
            it = Mine(
                app=app,
                config=config,
                workers=workers,
                folder=tmp_path,
                broker=broker,
            )
            yield it
        for worker in it.started:
            with suppress(ProcessLookupError):  # a test may have ended it
                kill(worker.child.pid)
            worker.child.stop()
        close_connections(app)


def kill(pid: int) -> None:
    """End a process at once."""
    os.kill(pid, signal.SIGKILL)


# -- processes that die


def test_handler_that_kills_its_process_is_a_dead_letter_in_the_end(
    shared: Mine,
) -> None:
    """What kills its process runs a few times more, and the worker goes on meanwhile."""
    event_id = shared.send("blast")

    letter = shared.await_letter(event_id)
    assert letter["reason"] == "TooManyDeliveriesError"
    assert shared.notes(event_id) == ["blast"] * 3
    assert shared.await_notes(shared.send("dig")) == ["dig"]


def test_handler_that_leaves_its_process_is_a_dead_letter(shared: Mine) -> None:
    """A handler that calls sys.exit() ends as one that fails."""
    event_id = shared.send("leave")

    letter = shared.await_letter(event_id)
    assert letter["reason"] in {"SystemExit", "TooManyDeliveriesError"}
    assert shared.await_notes(shared.send("dig")) == ["dig"]


def test_handler_that_takes_too_long_is_a_dead_letter(shared: Mine) -> None:
    """What is killed for its time is over is kept, and does not run again."""
    event_id = shared.send("tarry")

    letter = shared.await_letter(event_id)
    assert letter["reason"] == "TimeLimitExceeded"
    assert shared.await_notes(shared.send("dig")) == ["dig"]
    assert shared.notes(event_id) == ["tarry"]


def test_handler_without_memory_is_a_dead_letter(shared: Mine) -> None:
    """A handler's MemoryError does not end the worker."""
    event_id = shared.send("collapse")

    letter = shared.await_letter(event_id)
    assert letter["reason"] == "MemoryError"
    assert shared.await_notes(shared.send("dig")) == ["dig"]
    assert shared.started[0].child.exit_code is None


def test_event_of_a_killed_worker_runs_in_another(here: Mine) -> None:
    """What a killed worker was doing, and what waited in it, comes back."""
    first = here.start_worker()
    running = here.send("rest", seconds=3)
    waiting = here.send("dig")
    here.await_notes(running)

    kill(first.child.pid)
    second = here.start_worker()

    assert here.await_notes(waiting) == ["dig"]
    notes = here.await_notes(running, 3)
    assert notes[-2:] == [f"begin {second.child.pid}", f"end {second.child.pid}"]
    assert here.letters() == []


@pytest.mark.parametrize(
    "how", ["warm", "soft", "cold"], ids=lambda how: f"{how} shutdown"
)
def test_shutdown_loses_nothing(here: Mine, how: str) -> None:
    """What a worker does when it is told to end is finished there, or runs elsewhere."""
    # Not as long as a message that nobody acknowledges is waited for.
    seconds, patience = {"warm": (1, 2), "soft": (1, 2), "cold": (5, 0.5)}[how]
    here.config["CELERY"]["worker_soft_shutdown_timeout"] = patience
    first = here.start_worker()
    events = [here.send("rest", seconds=seconds)]
    events += [here.send("dig") for _ in range(5)]
    here.await_notes(events[0])

    if how == "warm":
        first.child.ask_to_end()
    else:
        os.kill(first.child.pid, signal.SIGQUIT)
    wait_for(lambda: first.child.exit_code is not None, "the worker's end")
    second = here.start_worker()

    for event_id in events[1:]:
        assert here.await_notes(event_id) == ["dig"]
    begun = here.await_notes(events[0], 2)
    by = second if how == "cold" else first
    assert begun[1].split() == ["begin" if how == "cold" else "end", str(by.child.pid)]
    assert here.letters() == []


@pytest.mark.parametrize("here", ["redis"], indirect=True)
def test_worker_goes_on_after_it_could_not_acknowledge(here: Mine) -> None:
    """A task that ends while its broker is away does not take a place for ever.

    Neither a heartbeat nor remote control notices here that the connection is lost.
    """
    here.config["CELERY"]["worker_enable_remote_control"] = False
    worker = here.begin_worker("--without-heartbeat")
    worker.await_log(" ready")
    running = here.send("rest", seconds=1)
    here.await_notes(running)

    assert here.broker is not None
    here.broker.kill()
    worker.await_log("Couldn't ack")
    here.broker.start()

    assert here.await_notes(here.send("dig")) == ["dig"]


@pytest.mark.parametrize("here", ["redis"], indirect=True)
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_worker_survives_a_broker_that_ends_during_a_task(here: Mine, how: str) -> None:
    """A task that is running when its broker goes ends, and others run afterwards."""
    worker = here.start_worker()
    running = here.send("rest", seconds=3)
    here.await_notes(running)

    assert here.broker is not None
    if how == "kill":
        here.broker.kill()
        here.broker.start()
    else:
        here.broker.restart()

    assert here.await_notes(here.send("dig")) == ["dig"]
    assert f"end {worker.child.pid}" in here.await_notes(running, 2)
    assert worker.child.exit_code is None
