"""A program without Flask, whose broker comes late or is started again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from signal_tasks import PublishError
from signal_tasks.dev.processes import Children
from signal_tasks.publisher.breaker import FIRST_PAUSE_SECONDS
from tests.integration.courier import SEARCH_SECONDS, Courier, create_courier
from tests.integration.restartable import RestartableBroker, find_server
from tests.integration.workers import Worker, Workers, await_answer, wait_for

pytestmark = pytest.mark.integration


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RestartableBroker]:
    """Return a broker that does not run yet."""
    with Children() as children:
        yield RestartableBroker(find_server(), children, tmp_path)


@pytest.fixture
def courier(broker: RestartableBroker) -> Courier:
    """Return the program in this process."""
    return create_courier(broker.url)


@pytest.fixture
def worker(broker: RestartableBroker, workers: Workers) -> Iterator[Worker]:
    """Return the program's worker, which may not answer yet."""
    worker = workers.start(
        f"courier-{broker.port}",
        application="tests.integration.courier",
        environment={"COURIER_BROKER_URL": broker.url},
    )
    yield worker
    worker.child.stop()


def await_delivery(path: Path) -> str:
    """Return what the handler left at *path*."""
    return wait_for(lambda: path.exists() and path.read_text(), f"a file {path.name}")


def test_worker_waits_for_a_broker_that_comes_late(
    broker: RestartableBroker, courier: Courier, worker: Worker, tmp_path: Path
) -> None:
    """A worker without a broker says so and tries again, until there is one."""
    worker.await_log(r"Cannot connect to redis://:\*\*@.*\nTrying again in")

    broker.start()
    await_answer(worker, courier.celery_app)
    courier.parcel_sent.send("branch", target=tmp_path / "parcel")

    assert await_delivery(tmp_path / "parcel").endswith(f" in {worker.child.pid}")


def test_worker_goes_on_after_the_broker_was_started_again(
    broker: RestartableBroker, courier: Courier, worker: Worker, tmp_path: Path
) -> None:
    """A worker that has lost its broker finds it again, and runs what came meanwhile."""
    broker.start()
    await_answer(worker, courier.celery_app)

    broker.restart()
    courier.parcel_sent.send("branch", target=tmp_path / "parcel")

    assert await_delivery(tmp_path / "parcel").endswith(f" in {worker.child.pid}")


def test_limit_outlasts_a_broker_that_is_started_again(
    broker: RestartableBroker, courier: Courier, worker: Worker, tmp_path: Path
) -> None:
    """A handler that runs while the connection is lost ends when its time is over."""
    broker.start()
    await_answer(worker, courier.celery_app)
    courier.parcel_mislaid.send("branch", target=tmp_path / "search")
    wait_for((tmp_path / "search").exists, "a handler that runs")

    broker.restart()
    worker.await_log(r"onnection to broker lost[\s\S]*Connected to redis")

    worker.await_log(f"Hard time limit .{SEARCH_SECONDS}", since=len(worker.lines))


def test_send_goes_on_after_the_broker_was_started_again(
    broker: RestartableBroker, courier: Courier, tmp_path: Path
) -> None:
    """A send fails while there is no broker; those before and soon after have arrived."""
    broker.start()
    courier.parcel_sent.send("branch", target=tmp_path / "one")
    broker.stop()
    with pytest.raises(PublishError, match="Is it running"):
        courier.parcel_sent.send("branch", target=tmp_path / "two")
    broker.start()
    time.sleep(FIRST_PAUSE_SECONDS)
    courier.parcel_sent.send("branch", target=tmp_path / "three")

    with courier.celery_app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        waiting = queue.qsize()
        queue.close()

    assert waiting == 2
