"""celery-signal-receivers: Django's signals to Celery tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import django
from celery import Celery
from django.conf import settings
from unified_signals import UnifiedSignal

from ..events import SENDER, Event
from ..place import Place
from .celery_contender import CeleryContender

celery_app = Celery("django", set_as_current=False)

settings.configure(EVENT_SIGNALS_CELERY_APP=f"{__name__}.celery_app")
django.setup()

from celery_signals import receiver_task  # noqa: E402  # it reads the settings


@dataclass
class Message:
    """What its signals are sent with: a dataclass, and not keyword arguments."""

    key: str
    customer_id: int
    email: str
    is_new: bool
    total: float
    note: str


class DjangoReceivers(CeleryContender):
    """A signal for each count of handlers, with its receivers."""

    name = "django"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        celery_app.conf.update(self.celery_settings)
        self._signals = {
            count: self._signal_with(count) for count in place.handler_counts
        }

    def _signal_with(self, count: int) -> UnifiedSignal:
        signal = UnifiedSignal(Message)
        for index in range(count):
            options = {"name": f"{self.name}.{count}.{index}"}
            receiver_task(signal, options)(self._handler(index))
        return signal

    def _handler(self, index: int) -> Callable[..., None]:
        def handle(message: Message, **_: object) -> None:
            # The sender does not travel.
            self.ledger.note(index, SENDER, message.__dict__)

        return handle

    @property
    def celery_app(self) -> Celery:
        """The app that Django's settings name."""
        return celery_app

    def send(self, events: Sequence[Event]) -> None:
        """Send the signal."""
        for event in events:
            signal = self._signals[event.handlers]
            signal.send(SENDER, message=Message(**event.payload))

    @property
    def served(self) -> Any:
        """The Celery app."""
        return celery_app
