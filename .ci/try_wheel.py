"""Use the installed package, with no source tree in reach: a signal, and its handler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from queue import SimpleQueue

from blinker import Signal
from celery.contrib.testing.worker import start_worker
from flask import Flask

import signal_tasks
from signal_tasks import SignalTasks, async_receiver

greeted = Signal()
handled: SimpleQueue[tuple[str, str]] = SimpleQueue()


@async_receiver(greeted)
def note(sender: Flask, *, name: str, **_extra: object) -> None:
    """Tell the other thread what came out of the message."""
    handled.put((sender.name, name))


def main() -> None:
    """Raise unless the package is whole and a handler runs in a worker."""
    app = Flask("shop")
    app.config.update(SECRET_KEY="a key", CELERY={"broker_url": "memory://"})
    SignalTasks(app)
    with start_worker(app.extensions["celery"], perform_ping_check=False):
        greeted.send(app, name="Ada")
        assert handled.get(timeout=10) == ("shop", "Ada")

    package = Path(signal_tasks.__file__).parent
    assert package.is_relative_to(sys.prefix), package
    assert (package / "py.typed").exists()
    flask = Path(sys.executable).with_name("flask")
    subprocess.run([flask, "signal-tasks", "--help"], check=True, capture_output=True)


if __name__ == "__main__":
    main()
