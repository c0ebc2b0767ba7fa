"""A program without Flask: a Celery app, a bridge, and a handler that writes files."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from blinker import Signal
from celery import Celery

from signal_tasks import Bridge, current_event

SEARCH_SECONDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Courier:
    """The program, as often as a process wants it."""

    celery_app: Celery
    bridge: Bridge
    parcel_sent: Signal
    parcel_mislaid: Signal


def create_courier(broker_url: str) -> Courier:
    """Make the program for the broker at *broker_url*."""
    celery_app = Celery("courier", set_as_current=False)
    celery_app.conf.update(
        broker_url=broker_url, broker_connection_retry_on_startup=True
    )
    # Longer than by default, for a machine that runs tests is busy.
    bridge = Bridge(
        celery_app,
        secret_key="the courier's key",
        on_error="raise",
        publish_timeout_seconds=30,
    )
    parcel_sent = Signal()
    bridge.async_receiver(parcel_sent)(deliver)
    parcel_mislaid = Signal()
    bridge.async_receiver(parcel_mislaid, time_limit=SEARCH_SECONDS)(search)
    return Courier(
        celery_app=celery_app,
        bridge=bridge,
        parcel_sent=parcel_sent,
        parcel_mislaid=parcel_mislaid,
    )


def deliver(sender: object, target: Path) -> None:
    """Leave a file that tells of the run."""
    target.write_text(f"{current_event.id} in {os.getppid()}")


def search(sender: object, target: Path) -> None:
    """Leave a file that tells of the run, and do not come to an end."""
    target.touch()  # pragma: no cover  # what is killed tells nobody what it ran
    while True:  # pragma: no cover
        time.sleep(1)
