"""What real workers keep, what the commands do with it, and what a sick store costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from blinker import Signal
from flask import Flask

from signal_tasks import Bridge, SignalTasks
from signal_tasks.cli.group import group
from tests.integration import servers, workshop
from tests.integration.servers import EmbeddedBroker, UnreachableError, missing
from tests.integration.stack import as_environment, close_connections, publications
from tests.integration.workers import Worker, Workers, await_answer, wait_for

pytestmark = pytest.mark.integration

REPAIR = "tests.integration.workshop.repair"
GREET = "tests.integration.workshop.greet"
POLISH = "workshop.polish"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """An app, as its web server has it, and the workers that it may have."""

    app: Flask
    signals: Mapping[str, Signal]
    """The signal of each receiver."""
    config: dict[str, Any]
    workers: Workers
    folder: Path

    def start_worker(self, **config: object) -> Worker:
        """Start a worker of four processes, with *config* on top of the app's."""
        worker = self.workers.start(
            "workshop",
            application="signal_tasks.worker",
            environment={
                "FLASK_APP": "tests.integration.workshop:create_app",
                **as_environment("WORKSHOP", {**self.config, **config}),
            },
            arguments=["--concurrency", "4"],
        )
        await_answer(worker, self.app.extensions["celery"])
        return worker

    def send(self, receiver: str, **kwargs: object) -> str:
        """Send an event to a receiver, and return its identifier."""
        with publications(self.app) as published, self.app.app_context():
            self.signals[receiver].send("web", folder=self.folder, **kwargs)
        return published[0].event_id

    def run(self, *arguments: str) -> str:
        """Run ``flask signal-tasks`` with *arguments*, and return its output."""
        result = self.app.test_cli_runner().invoke(args=["signal-tasks", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    def await_letters(self, number: int) -> list[dict[str, Any]]:
        """Return the dead letters, once there are as many as *number*."""

        def letters() -> list[dict[str, Any]] | None:
            found = json.loads(self.run("dead", "list", "--json"))
            return found if len(found) >= number else None

        return wait_for(letters, f"{number} dead letters")

    def await_trace(self, event_id: str) -> list[str]:
        """Return the receivers that have run for an event, once there is one."""
        trace = self.folder / event_id
        return wait_for(
            lambda: trace.exists() and trace.read_text().split(), f"event {event_id}"
        )


@pytest.fixture(params=["sqlite", "postgresql"])
def workshop_app(
    request: pytest.FixtureRequest,
    embedded_broker: EmbeddedBroker,
    workers: Workers,
    places: ExitStack,
    tmp_path: Path,
) -> Iterator[Workshop]:
    """Return the workshop with a store in each kind of database."""
    url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    if request.param == "postgresql":
        try:
            url = places.enter_context(servers.postgresql_database(servers.POSTGRESQL))
        except UnreachableError as error:  # pragma: no cover  # it is there in CI
            missing(error)
    config: dict[str, Any] = {
        "SECRET_KEY": uuid4().hex,
        "CAN_POLISH": False,
        "SIGNAL_TASKS_PUBLISH_TIMEOUT": servers.PUBLISH_SECONDS,
        "SIGNAL_TASKS_STORE_URL": url,
        "CELERY": {"broker_url": embedded_broker.next_database()},
    }
    bridge = Bridge()
    signals = {REPAIR: Signal(), GREET: Signal(), POLISH: Signal()}
    for name, signal in signals.items():
        bridge.async_receiver(signal, name=name)(workshop.greet)
    app = Flask("web")
    app.config.update(config, TESTING=True)
    SignalTasks(app, bridge=bridge)
    app.cli.add_command(group)
    here = Workshop(
        app=app, signals=signals, config=config, workers=workers, folder=tmp_path
    )
    here.run("store", "create")
    yield here
    close_connections(app)


def test_failed_events_are_kept_once_and_run_when_replayed(
    workshop_app: Workshop,
) -> None:
    """Forty events that die in four processes are forty letters, and then forty runs."""
    workshop_app.start_worker()
    sent = {workshop_app.send(REPAIR) for _ in range(40)}

    letters = workshop_app.await_letters(40)

    assert {letter["event_id"] for letter in letters} == sent
    assert len(letters) == 40
    assert {
        (letter["receiver"], letter["reason"], letter["attempts"]) for letter in letters
    } == {(REPAIR, "FileNotFoundError", 2)}
    (workshop_app.folder / workshop.TOOL).touch()
    output = workshop_app.run("dead", "replay", "--receiver", REPAIR)
    assert output == "40 published again.\n"
    assert [workshop_app.await_trace(one) for one in sent] == [[REPAIR]] * 40
    assert workshop_app.run("dead", "list") == "There are no such dead letters.\n"


def test_refused_envelopes_are_kept(workshop_app: Workshop) -> None:
    """What a worker refuses, each for its reason, is one letter each."""
    celery_app = workshop_app.app.extensions["celery"]
    workshop_app.start_worker()

    misfit = workshop_app.send(GREET, volume=11)
    celery_app.send_task(GREET, ["garbage"])
    celery_app.send_task(GREET, ['{"v":2,"id":"x"}'])

    letters = {one["reason"]: one for one in workshop_app.await_letters(3)}
    assert {reason: one["attempts"] for reason, one in letters.items()} == {
        "ArgumentsError": 0,
        "MalformedEnvelopeError": 0,
        "UnsupportedVersionError": 0,
    }
    assert letters["ArgumentsError"]["event_id"] == misfit
    assert letters["MalformedEnvelopeError"]["event_id"] is None


def test_unknown_receiver_runs_when_a_worker_knows_it(workshop_app: Workshop) -> None:
    """An event that comes before its code is kept, and runs once the code is there."""
    worker = workshop_app.start_worker()
    event_id = workshop_app.send(POLISH)
    (letter,) = workshop_app.await_letters(1)
    assert (letter["receiver"], letter["event_id"]) == (POLISH, event_id)
    assert letter["reason"] == "UnknownReceiverError"
    worker.child.stop()
    workshop_app.start_worker(CAN_POLISH=True)

    assert workshop_app.run("dead", "replay", "--all") == "1 published again.\n"

    assert workshop_app.await_trace(event_id) == [POLISH]


UNREACHABLE = "postgresql+psycopg://postgres:hunter2@127.0.0.1:1/shop"


@pytest.mark.parametrize("workshop_app", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("kill", "said"),
    [
        pytest.param(
            lambda shop: shop.send(REPAIR),
            f"could be kept for {REPAIR}",
            id="failure",
        ),
        pytest.param(
            lambda shop: shop.send(POLISH),
            f"could be kept for {POLISH}",
            id="unknown receiver",
        ),
    ],
)
def test_worker_survives_a_store_that_is_not_there(
    workshop_app: Workshop, kill: Callable[[Workshop], str], said: str
) -> None:
    """The log names the event that waits and the store; the next event runs."""
    worker = workshop_app.start_worker(SIGNAL_TASKS_STORE_URL=UNREACHABLE)

    lost = kill(workshop_app)
    worker.await_log(f"{said} of its event {lost}")

    next_event = workshop_app.send(GREET)
    assert workshop_app.await_trace(next_event) == [GREET]
    assert "the store at postgresql+psycopg://postgres:***@127.0.0.1:1" in worker.log
    assert "hunter2" not in worker.log
