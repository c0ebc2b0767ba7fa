"""Several apps in one process, and the ways in which workers find theirs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.integration import warehouse as warehouse_app
from tests.integration.servers import PREFIX, PUBLISH_SECONDS, EmbeddedBroker
from tests.integration.shop import signals
from tests.integration.shop.settings import REPORTS_QUEUE
from tests.integration.stack import (
    Layout,
    Stack,
    as_environment,
    close_connections,
    open_shop,
    publications,
)
from tests.integration.warehouse import CONTEXT_SIGNALS, goods_moved
from tests.integration.workers import Worker, Workers, await_answer, wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.parametrize("stack", ["embedded-sqlite"], indirect=True),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A second shop, whose reports a second worker writes."""

    stack: Stack
    reports_worker: Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Warehouse:
    """An app with a Celery app that its owner made, and the worker of that."""

    app: Flask
    worker: Worker
    path: Path

    def records(self) -> Sequence[dict[str, Any]]:
        """Return what its handlers have written so far."""
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def await_record(self, **facts: object) -> dict[str, Any]:
        """Return the first record that has *facts*."""

        def first() -> dict[str, Any] | None:
            return next(
                (one for one in self.records() if facts.items() <= one.items()), None
            )

        return wait_for(first, f"a record with {facts}")

    def settle(self) -> None:
        """Wait until all that was sent before has run."""
        with publications(self.app) as published:
            goods_moved.send(self.app)
        self.await_record(handler="book", event_id=published[0].event_id)


@pytest.fixture(scope="module")
def branch(
    embedded_broker: EmbeddedBroker,
    workers: Workers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Branch]:
    """Return a second shop, served by the worker.py at the top of the repository."""
    folder = tmp_path_factory.mktemp("branch")
    layout = Layout(
        name="branch",
        broker_url=embedded_broker.next_database(),
        database_url=f"sqlite:///{folder / 'shop.sqlite'}",
        folder=folder,
    )
    reports_worker = workers.start(
        "reports",
        application="worker",
        environment=layout.environment(),
        arguments=["--queues", REPORTS_QUEUE],
    )
    with open_shop(layout, workers, application="worker", queues=[PREFIX]) as stack:
        stack.await_ready()
        await_answer(reports_worker, stack.celery_app)
        yield Branch(stack=stack, reports_worker=reports_worker)


@pytest.fixture(scope="module")
def warehouse(
    embedded_broker: EmbeddedBroker,
    workers: Workers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Warehouse]:
    """Return the warehouse, whose worker runs from its own make_celery.py."""
    path = tmp_path_factory.mktemp("warehouse") / "records"
    path.touch()
    config = {
        "SECRET_KEY": "the key of the warehouse",
        "SIGNAL_TASKS_PUBLISH_TIMEOUT": PUBLISH_SECONDS,
        "RECORDS": str(path),
        "CELERY": {
            "broker_url": embedded_broker.next_database(),
            "broker_connection_retry_on_startup": True,
            "task_ignore_result": True,
        },
    }
    app = warehouse_app.create_app(TESTING=True, **config)
    worker = workers.start(
        "warehouse",
        application="tests.integration.warehouse.make_celery",
        environment=as_environment("WAREHOUSE", config),
    )
    await_answer(worker, app.extensions["celery"])
    yield Warehouse(app=app, worker=worker, path=path)
    close_connections(app)


def test_worker_at_the_top_level_serves_the_app_that_flask_app_names(
    branch: Branch, stack: Stack
) -> None:
    """``celery -A worker worker`` runs the handlers of the app in FLASK_APP."""
    event_id = branch.stack.send(signals.bell)

    (run,) = branch.stack.await_runs(event_id)

    assert run.parent_pid == branch.stack.worker.child.pid


def test_worker_of_a_user_s_make_celery_runs_handlers(
    warehouse: Warehouse, stack: Stack
) -> None:
    """A Celery app that was there before SignalTasks gets the receivers' tasks."""
    with publications(warehouse.app) as published, warehouse.app.app_context():
        goods_moved.send("somebody")

    booked = [one for one in published if one.signal == "anonymous"]
    record = warehouse.await_record(handler="book", event_id=booked[0].event_id)
    assert record["parent_pid"] == warehouse.worker.child.pid
    assert record["pid"] != os.getpid()


def test_each_app_s_events_reach_its_own_worker(branch: Branch, stack: Stack) -> None:
    """Of two apps in one process, each has its handlers run by its own worker alone."""
    here = stack.send(signals.bell)
    there = branch.stack.send(signals.bell)

    stack.settle()
    branch.stack.settle()

    assert [run.parent_pid for run in stack.runs(here)] == [stack.worker.child.pid]
    assert [run.parent_pid for run in branch.stack.runs(there)] == [
        branch.stack.worker.child.pid
    ]
    assert stack.runs(there) == branch.stack.runs(here) == []


def test_app_as_sender_is_whose_event_it_is(branch: Branch, stack: Stack) -> None:
    """The event that an app sends is its own, also inside the context of another app."""
    with publications(branch.stack.app) as published:
        stack.send_only(signals.bell, branch.stack.app)

    (run,) = branch.stack.await_runs(published[0].event_id)

    assert run.parent_pid == branch.stack.worker.child.pid


def test_queue_decides_which_worker_runs_a_handler(
    branch: Branch, stack: Stack
) -> None:
    """Two receivers of one signal run in two workers, which take from two queues."""
    event_id = branch.stack.send(signals.report_wanted, parts=())

    written = branch.stack.await_run(event_id, "write_report")
    summed_up = branch.stack.await_run(event_id, "sum_up")

    assert written.parent_pid == branch.reports_worker.child.pid
    assert written.facts["node"] == branch.reports_worker.node
    assert summed_up.parent_pid == branch.stack.worker.child.pid


def test_app_contexts_of_the_bridge_s_own_work_are_no_events(
    warehouse: Warehouse, stack: Stack
) -> None:
    """Receivers of app context signals run once for each context of the sender's."""
    warehouse.settle()
    before = len(warehouse.records())

    with publications(warehouse.app) as published, warehouse.app.app_context():
        pass
    warehouse.settle()

    records = warehouse.records()[before:-1]
    assert [one["event_id"] for one in records] == [one.event_id for one in published]
    assert [one["signal"] for one in records] == [
        signal.name for signal in CONTEXT_SIGNALS.values()
    ]


def test_app_context_of_a_task_that_is_no_receiver_is_an_event_once(
    warehouse: Warehouse, stack: Stack
) -> None:
    """A user's own task causes one run of each context receiver, and they cause none."""
    warehouse.settle()
    before = len(warehouse.records())

    warehouse.app.extensions["celery"].send_task("warehouse.sweep")
    wait_for(lambda: len(warehouse.records()) >= before + 4, "the runs of a context")
    warehouse.settle()

    records = warehouse.records()[before:-1]
    assert [one.get("signal") for one in records] == [
        None,
        *(signal.name for signal in CONTEXT_SIGNALS.values()),
    ]
