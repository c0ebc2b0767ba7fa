"""All the processes of one run: a web process, workers, relays and a broker."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import sqlalchemy
from sqlalchemy import Engine

from signal_tasks.dev.processes import Child, Children, Command
from signal_tasks.store import Store
from tests.faults.brokers import (
    Broker,
    MissingServerError,
    lasting_port,
    running_broker,
)
from tests.faults.cells import Cell
from tests.faults.program import TIME_LIMIT_SECONDS, Base
from tests.integration import servers
from tests.integration.workers import ROOT

WORKERS: Final = 2
RELAYS: Final = 2

VISIBILITY_SECONDS: Final = TIME_LIMIT_SECONDS + 2
"""When Redis hands a message out again that a worker does not acknowledge."""

CLAIM_SECONDS: Final = TIME_LIMIT_SECONDS + 10
"""For how long a worker is believed to be handling an event that it has claimed."""

RESUBMIT_SECONDS: Final = 4
"""When an outbox row is published again whose handler has not finished."""

PUBLISH_SECONDS: Final = 0.5
"""How long the broker may take."""

_READY_SECONDS: Final = 60.0


class Unit:
    """A process that is started again whenever it was killed.

    Args:
        children: Among whom it runs.
        command: What it is.
        sign: What it writes when it is at work.
    """

    def __init__(self, children: Children, command: Command, *, sign: str) -> None:
        self._children = children
        self._command = command
        self._sign = sign
        self.child: Child

    @property
    def name(self) -> str:
        """What it is called."""
        return self._command.name

    def start(self) -> None:
        """Start it; it may not be at work yet."""
        self.child = self._children.start(self._command)

    def is_ready(self, lines: Iterable[str]) -> bool:
        """Tell whether it has written in *lines* that it is at work."""
        return any(self._sign in line for line in lines)

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            os.kill(self.child.pid, signal.SIGKILL)
        while self.child.exit_code is None:
            time.sleep(0.01)

    def stop(self) -> None:
        """Ask it to end, and make it, if it does not within its grace."""
        self.child.stop()

    def freeze(self) -> None:
        """Stop it and its children where they are."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def pool(self) -> list[psutil.Process]:
        """Return its children."""
        try:
            children: list[psutil.Process] = psutil.Process(self.child.pid).children()
        except psutil.NoSuchProcess:  # pragma: no cover  # it has ended by itself
            return []
        return children

    def _signal(self, signum: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, signum)


@dataclass(slots=True, kw_only=True)
class Plant:
    """What a run is made of."""

    cell: Cell
    broker: Broker
    web: Unit
    workers: Sequence[Unit]
    relays: Sequence[Unit]
    engine: Engine
    """A way to the database that is nobody else's."""

    folder: Path
    """Where the files of the run are."""

    port: int
    """Where the web process listens."""

    lines: Mapping[str, list[str]]
    """What each process has written so far."""

    @property
    def has_spool(self) -> bool:
        """Whether events may wait in a file of their own, beside the program's."""
        return any(self.folder.glob("*_spool.sqlite3"))

    def start(self, *units: Unit) -> None:
        """Start *units*, and wait until all of them are at work."""
        before = {unit.name: len(self.lines[unit.name]) for unit in units}
        for unit in units:
            unit.start()
        for unit in units:
            self._await(unit, before[unit.name])

    def _await(self, unit: Unit, since: int) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not unit.is_ready(lines := self.lines[unit.name][since:]):
            said = "\n".join([f"{unit.name} is not at work:", *lines])
            assert unit.child.exit_code is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)


@contextmanager
def running_plant(cell: Cell, folder: Path) -> Iterator[Plant]:
    """Give all of it, at work, on fresh tables.

    Args:
        cell: Which broker and database, and how events are delivered.
        folder: For files of databases and brokers, and for the logs of the processes.

    Raises:
        MissingServerError: This machine lacks one.
    """
    lines: defaultdict[str, list[str]] = defaultdict(list)

    def keep(name: str, line: str) -> None:
        lines[name].append(f"{time.strftime('%H:%M:%S')} {line}")

    with ExitStack() as stack:
        database_url = stack.enter_context(_database(cell, folder))
        brokers = stack.enter_context(Children(on_line=keep))
        broker = stack.enter_context(running_broker(cell, brokers, folder))
        # They end before it does, for one that lives declares its queue again.
        children = stack.enter_context(Children(on_line=keep))
        engine = sqlalchemy.create_engine(database_url, poolclass=sqlalchemy.NullPool)
        _create_tables(engine, database_url)
        plant = _plant(
            cell, broker, engine, folder=folder, children=children, lines=lines
        )
        units = (plant.web, *plant.workers, *plant.relays)
        try:
            plant.start(*units)
            yield plant
            for unit in units:
                unit.child.ask_to_end()
        finally:
            for name, said in lines.items():
                (folder / f"{name}.log").write_text("\n".join(said))


def _plant(
    cell: Cell,
    broker: Broker,
    engine: Engine,
    *,
    folder: Path,
    children: Children,
    lines: Mapping[str, list[str]],
) -> Plant:
    port = lasting_port()
    environment = _environment(cell, broker, engine)

    def unit(name: str, *arguments: str, sign: str) -> Unit:
        command = Command(
            name=name,
            arguments=[sys.executable, "-m", *arguments],
            environment={**environment, "FAULTS_SERVES": json.dumps(name == "web")},
            cwd=ROOT,
            grace_seconds=15,
            cold_signal=signal.SIGQUIT,
        )
        return Unit(children, command, sign=sign)

    return Plant(
        cell=cell,
        broker=broker,
        web=unit("web", "flask", "run", "--port", str(port), sign="Running on"),
        workers=[
            unit(name, *_worker(name), sign=" ready.")
            for name in _names("worker", WORKERS)
        ],
        relays=[
            unit(name, "flask", "signal-tasks", "relay", sign="Publishing")
            for name in _names("relay", RELAYS if cell.has_relays else 0)
        ],
        engine=engine,
        folder=folder,
        port=port,
        lines=lines,
    )


def _names(kind: str, number: int) -> list[str]:
    return [f"{kind}-{place}" for place in range(number)]


def _worker(name: str) -> Sequence[str]:
    return (
        *("celery", "-A", "signal_tasks.worker", "worker", "--loglevel", "INFO"),
        *("--concurrency", "2", "--hostname", f"{name}@localhost"),
        *("--without-gossip", "--without-mingle"),
    )


def _environment(cell: Cell, broker: Broker, engine: Engine) -> dict[str, str]:
    settings: dict[str, object] = {
        "SECRET_KEY": "the key of the program under test",
        "SQLALCHEMY_DATABASE_URI": engine.url.render_as_string(hide_password=False),
        "SQLALCHEMY_ENGINE_OPTIONS": _engine_options(cell),
        "DELIVERY": cell.delivery,
        "ONCE": cell.once,
        "SIGNAL_TASKS_PUBLISH_TIMEOUT": PUBLISH_SECONDS,
        "SIGNAL_TASKS_RESUBMIT_AFTER": RESUBMIT_SECONDS,
        "SIGNAL_TASKS_RELAY_IN_WORKER": not cell.has_relays,
        "SIGNAL_TASKS_ON_EXCEPTION": "drop",
        "CELERY": {
            "broker_url": broker.url,
            "broker_transport_options": _transport_options(cell),
            "task_default_queue": broker.queue,
            "control_exchange": broker.queue,
            "event_exchange": f"{broker.queue}.events",
        },
    }
    # Counting coverage would make them slow, and those that are killed keep none.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("COVERAGE_")
    }
    return {
        **inherited,
        "PYTHONUNBUFFERED": "1",
        "FLASK_APP": "tests.faults.program:create_app",
        **{f"FAULTS_{name}": json.dumps(value) for name, value in settings.items()},
    }


def _engine_options(cell: Cell) -> dict[str, object]:
    # SQLite has one writer at a time, and a web process waits for the workers.
    return {"connect_args": {"timeout": 20}} if cell.store == "sqlite" else {}


def _transport_options(cell: Cell) -> dict[str, object]:
    if cell.broker == "rabbitmq":
        return {}
    return {
        "visibility_timeout": VISIBILITY_SECONDS,
        "unacked_mutex_expire": VISIBILITY_SECONDS,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }


@contextmanager
def _database(cell: Cell, folder: Path) -> Iterator[str]:
    if cell.store == "sqlite":
        yield f"sqlite:///{folder / 'program.sqlite3'}"
        return
    try:
        database = servers.postgresql_database(servers.POSTGRESQL)
        with database as url:
            yield url
    except servers.UnreachableError as error:
        raise MissingServerError(str(error)) from error


def _create_tables(engine: Engine, url: str) -> None:
    if engine.url.get_backend_name() == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    Base.metadata.create_all(engine)
    Store(url).create()
