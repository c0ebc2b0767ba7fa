"""The stacks that integration tests run on: each broker, each database, a worker each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Final

import pytest

from signal_tasks.dev.broker import running_broker
from tests.integration import servers
from tests.integration.servers import EmbeddedBroker, UnreachableError, missing
from tests.integration.stack import Layout, Stack, open_shop
from tests.integration.workers import Worker, Workers, ending_workers

LAYOUTS: Final = (
    "embedded-sqlite",
    "embedded-postgresql",
    "redis-sqlite",
    "rabbitmq-sqlite",
)
"""Each broker and each database; a server that is missing takes one of these away."""

Shops = dict[str, Stack | UnreachableError]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Iterator[None]:
    """Show the logs of a failed test's workers."""
    report: pytest.TestReport = yield
    if report.failed:  # pragma: no cover  # nothing fails where coverage counts
        for worker in filter(None, map(_worker_of, _fixtures_of(item))):
            report.sections.append((f"log of {worker.node}", worker.log[-20_000:]))
    return report


def _fixtures_of(item: pytest.Item) -> Iterable[object]:  # pragma: no cover  # as above
    return item.funcargs.values() if isinstance(item, pytest.Function) else ()


def _worker_of(fixture: object) -> Worker | None:  # pragma: no cover  # as above
    worker = getattr(fixture, "worker", fixture)
    return worker if isinstance(worker, Worker) else None


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """Return the broker that needs no installed server."""
    with running_broker() as broker:
        yield EmbeddedBroker(url=broker.url)


@pytest.fixture(scope="session", params=LAYOUTS)
def stack(request: pytest.FixtureRequest, shops: Shops) -> Stack:
    """Return the shop at work on each broker and each database in turn."""
    shop = shops[request.param]
    if isinstance(shop, UnreachableError):  # pragma: no cover  # where one is missing
        missing(shop)
    shop.await_ready()
    return shop


@pytest.fixture(scope="session")
def places(embedded_broker: EmbeddedBroker) -> Iterator[ExitStack]:
    """Return what cleans up behind the workers, once they have ended."""
    with ExitStack() as places:
        yield places


@pytest.fixture(scope="session")
def workers(places: ExitStack) -> Iterator[Workers]:
    """Return what starts workers; they end together, with the test run."""
    with ending_workers() as workers:
        yield workers


@pytest.fixture(scope="session")
def shops(
    request: pytest.FixtureRequest,
    embedded_broker: EmbeddedBroker,
    places: ExitStack,
    workers: Workers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shops]:
    """Open all the shops that the tests ask for, at once, for each takes a while."""
    shops: Shops = {}
    with ExitStack() as opened:
        for name in _asked_for(request.session):
            folder = tmp_path_factory.mktemp("shop")
            try:
                layout = Layout(
                    name=name,
                    broker_url=places.enter_context(_broker(name, embedded_broker)),
                    database_url=places.enter_context(_database(name, folder)),
                    folder=folder,
                )
            except UnreachableError as error:  # pragma: no cover  # as above
                shops[name] = error
            else:
                shops[name] = opened.enter_context(open_shop(layout, workers))
        yield shops


def _asked_for(session: pytest.Session) -> list[str]:
    asked = {
        item.callspec.params.get("stack")
        for item in session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    }
    return [name for name in LAYOUTS if name in asked]


def _broker(
    layout: str, embedded_broker: EmbeddedBroker
) -> AbstractContextManager[str]:
    if layout.startswith("redis"):
        return servers.redis_database(servers.REDIS)
    if layout.startswith("rabbitmq"):
        return servers.rabbitmq_queues(servers.RABBITMQ)
    return nullcontext(embedded_broker.next_database())


def _database(layout: str, folder: Path) -> AbstractContextManager[str]:
    if layout.endswith("postgresql"):
        return servers.postgresql_database(servers.POSTGRESQL)
    return nullcontext(f"sqlite:///{folder / 'shop.sqlite'}")
