"""A program whose handlers fail until something is mended."""

from __future__ import annotations

from pathlib import Path

from blinker import Signal
from flask import Flask

from signal_tasks import Bridge, SignalTasks, current_event
from signal_tasks.cli.group import group

bridge = Bridge()
repair_wanted = Signal()
polish_wanted = Signal()
greeting_wanted = Signal()

TOOL = "tool"
"""Name of the file without which nothing can be repaired."""


@bridge.async_receiver(
    repair_wanted, max_retries=1, retry_backoff=False, default_retry_delay=0
)
def repair(sender: object, folder: Path) -> None:
    """Leave a file that tells of the event, if the tool is there."""
    (folder / TOOL).read_text()
    leave_trace(folder)


@bridge.async_receiver(greeting_wanted)
def greet(sender: object, folder: Path) -> None:
    """Leave a file that tells of the event."""
    leave_trace(folder)


def polish(sender: object, folder: Path) -> None:
    """Leave a file that tells of the event."""
    leave_trace(folder)


def leave_trace(folder: Path) -> None:
    """Add a line to the file of the running event."""
    with (folder / current_event.id).open("a") as file:
        file.write(f"{current_event.receiver}\n")


def create_app() -> Flask:
    """Make the app, configured by variables that begin with WORKSHOP_."""
    app = Flask(__name__)
    app.config.from_prefixed_env("WORKSHOP")
    app.config["TESTING"] = True
    if app.config["CAN_POLISH"]:
        bridge.async_receiver(polish_wanted, name="workshop.polish")(polish)
    app.cli.add_command(group)
    SignalTasks(app, bridge=bridge)
    return app
