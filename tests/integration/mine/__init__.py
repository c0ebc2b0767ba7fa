"""A program whose handlers end their process, take too long, or take all memory."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from blinker import Signal
from flask import Flask

from signal_tasks import Bridge, SignalTasks, current_event
from signal_tasks.cli.group import group

bridge = Bridge()
SIGNALS = {
    name: Signal() for name in ("dig", "blast", "leave", "collapse", "tarry", "rest")
}


def note(folder: Path, what: str) -> None:
    """Add a line to the file of the running event."""
    with (folder / current_event.id).open("a") as file:
        file.write(f"{what}\n")


@bridge.async_receiver(SIGNALS["dig"])
def dig(sender: object, folder: Path) -> None:
    """Do the work at once."""
    note(folder, "dig")


@bridge.async_receiver(SIGNALS["blast"])
def blast(sender: object, folder: Path) -> None:  # pragma: no cover  # killed
    """Kill the process that this runs in."""
    note(folder, "blast")
    os.kill(os.getpid(), signal.SIGKILL)


@bridge.async_receiver(SIGNALS["leave"])
def leave(sender: object, folder: Path) -> None:
    """End the process that this runs in, in good order."""
    note(folder, "leave")
    sys.exit()


@bridge.async_receiver(SIGNALS["collapse"], max_retries=0)
def collapse(sender: object, folder: Path) -> None:  # pragma: no cover  # killed
    """Find no memory."""
    note(folder, "collapse")
    raise MemoryError


@bridge.async_receiver(SIGNALS["tarry"], time_limit=1)
def tarry(sender: object, folder: Path) -> None:  # pragma: no cover  # killed
    """Take longer than is allowed."""
    note(folder, "tarry")
    time.sleep(60)


@bridge.async_receiver(SIGNALS["rest"])
def rest(sender: object, folder: Path, seconds: float) -> None:
    """Take a while, and tell of its begin and its end."""
    note(folder, f"begin {os.getppid()}")
    time.sleep(seconds)
    note(folder, f"end {os.getppid()}")


RECEIVERS = (dig, blast, leave, collapse, tarry, rest)


def create_app(**config: object) -> Flask:
    """Make the app from *config*, else from variables that begin with MINE_."""
    app = Flask(__name__)
    app.config.from_prefixed_env("MINE")
    app.config.update(config)
    app.cli.add_command(group)
    SignalTasks(app, bridge=bridge)
    return app
