"""A program without Flask: a Bridge, its Celery app and one handler that writes files.

Workers find the Celery app here, as ``tests.integration.courier``.
"""

from __future__ import annotations

import os
from pathlib import Path

from blinker import Signal
from celery import Celery

from signal_tasks import Bridge, current_event

parcel_sent = Signal()

celery = Celery("courier", set_as_current=False)
celery.conf.update(
    broker_url=os.environ.get("COURIER_BROKER_URL"),
    broker_connection_retry_on_startup=True,
)

bridge = Bridge(celery, secret_key="the courier's key", on_error="raise")


@bridge.async_receiver(parcel_sent)
def deliver(sender: object, folder: Path) -> None:
    """Leave a file that tells of the run."""
    (folder / current_event.id).write_text(f"{os.getpid()} {sender}")
