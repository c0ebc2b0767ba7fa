"""Use the installed package, with no source tree in reach: signals, and their handlers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from queue import SimpleQueue
from threading import Event

from blinker import Signal
from celery.contrib.testing.worker import start_worker
from flask import Flask
from sqlalchemy import create_engine
from sqlalchemy.orm import scoped_session, sessionmaker

import signal_tasks
from signal_tasks import SignalTasks, async_receiver

DATABASE = "sqlite:///shop.sqlite3"

greeted = Signal()
ordered = Signal()
handled: SimpleQueue[tuple[str, str]] = SimpleQueue()


@async_receiver(greeted)
def note(sender: Flask, *, name: str, **_extra: object) -> None:
    """Tell the other thread what came out of the message."""
    handled.put((sender.name, name))


@async_receiver(ordered, delivery="outbox")
def bill(sender: Flask, *, number: int, **_extra: object) -> None:
    """Tell the other thread what came out of the outbox."""
    handled.put((sender.name, f"order {number}"))


def main() -> None:
    """Raise unless the package is whole and handlers run in a worker."""
    app = Flask("shop", instance_path=str(Path.cwd()))
    app.config.update(
        SECRET_KEY="a key",
        CELERY={"broker_url": "memory://"},
        SIGNAL_TASKS_STORE_URL=DATABASE,
    )
    session = scoped_session(sessionmaker(create_engine(DATABASE)))
    SignalTasks(app, session=session)
    with start_worker(app.extensions["celery"], perform_ping_check=False):
        greeted.send(app, name="Ada")
        assert handled.get(timeout=60) == ("shop", "Ada")
        with app.app_context():
            ordered.send(app, number=7)
            session.commit()
        app.extensions["signal_tasks"].relaying().run_once(Event())
        assert handled.get(timeout=60) == ("shop", "order 7")

    package = Path(signal_tasks.__file__).parent
    assert package.is_relative_to(sys.prefix), package
    assert (package / "py.typed").exists()
    flask = Path(sys.executable).with_name("flask")
    subprocess.run([flask, "signal-tasks", "--help"], check=True, capture_output=True)


if __name__ == "__main__":
    main()
