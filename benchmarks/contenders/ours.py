"""signal_tasks: a signal for each count of handlers, in each of its deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from blinker import Signal
from celery import Celery
from flask import Flask

from signal_tasks import Bridge, SignalTasks

from ..events import SENDER, Event
from ..place import Place
from .celery_contender import CeleryContender
from .contender import MissingError


class Direct(CeleryContender):
    """One message for each handler, acknowledged when ``send()`` returns.

    Messages are signed. The app context is there, as it is in a view.
    """

    name = "direct"
    delivery: ClassVar[str | None] = None
    receiver_options: ClassVar[dict[str, Any]] = {}

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.app = self.create_app()
        self._bridge = Bridge()
        SignalTasks(self.app, bridge=self._bridge)
        self.host: Any = self.app.extensions["signal_tasks"]
        self._signals = {
            count: self._signal_with(count) for count in place.handler_counts
        }
        self._context = self.app.app_context()

    def create_app(self) -> Flask:
        """Return the Flask app that sends the signals."""
        app = Flask(self.name)
        app.config.from_mapping(self.settings)
        return app

    @property
    def settings(self) -> dict[str, Any]:
        """The app's configuration."""
        return {
            "SECRET_KEY": "only for the benchmark",
            "SIGNAL_TASKS_STORE_URL": f"sqlite:///{self.place.directory}/{self.name}.db",
            "CELERY": self.celery_settings,
        }

    def _signal_with(self, count: int) -> Signal:
        signal = Signal(f"{self.name}-{count}")
        for index in range(count):
            self._bridge.async_receiver(
                signal,
                name=f"{self.name}.{count}.{index}",
                delivery=self.delivery,
                **self.receiver_options,
            )(self.handler(index))
        return signal

    @cached_property
    def celery_app(self) -> Celery:
        """The Celery app that the extension has made."""
        celery_app: Celery = self.app.extensions["celery"]
        return celery_app

    def prepare(self, events: Sequence[Event]) -> None:
        """Enter the app context."""
        self._context = self.app.app_context()
        self._context.push()

    def send(self, events: Sequence[Event]) -> None:
        """Send the signal."""
        for event in events:
            self._signals[event.handlers].send(SENDER, **event.payload)

    def settle(self) -> None:
        """Leave the app context."""
        self._context.pop()


class DirectPublic(Direct):
    """The same by Celery's and kombu's public ways alone, as where Redis is not short.

    A priority leaves the short way into Redis, and this one comes to the same list.
    """

    name = "direct_public"
    receiver_options: ClassVar = {"priority": 1}


class Request(Direct):
    """Ten events of a request, which leave together at its end."""

    name = "request"
    delivery = "request"
    batch = 10
    every = 3

    def prepare(self, events: Sequence[Event]) -> None:
        """Let a request begin."""
        self._request = self.app.test_request_context()
        self._request.push()

    def send(self, events: Sequence[Event]) -> None:
        """Send the signals and end the request."""
        super().send(events)
        self._request.pop()

    def settle(self) -> None:
        """Do nothing: the request is over."""


class Buffered(Direct):
    """What the thread takes is not counted here: it takes it from other requests."""

    name = "buffered"
    delivery = "buffered"

    def settle(self) -> None:
        """Wait for the thread, so that it takes no time from whoever is next."""
        self.host.delivery("buffered").flush()
        super().settle()


class DirectRabbit(Direct):
    """RabbitMQ, with one wait for all confirmations of an event."""

    name = "direct_rabbit"
    baseline = "delay_rabbit"

    def __init__(self, place: Place) -> None:
        if place.amqp_url is None:
            raise MissingError("no RabbitMQ")
        super().__init__(place)

    @property
    def broker_url(self) -> str:
        """RabbitMQ."""
        return str(self.place.amqp_url)
