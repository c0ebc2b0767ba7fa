"""``delay()`` written by hand: a task for each handler, called one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

from celery import Celery

from ..events import SENDER, Event
from ..place import Place
from .celery_contender import CeleryContender
from .contender import MissingError


class Delay(CeleryContender):
    """Celery with its defaults and no result backend."""

    name = "delay"
    task_options: ClassVar[dict[str, Any]] = {}

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._tasks = [self._task(index) for index in range(self.most_handlers)]

    def _task(self, index: int) -> Any:
        make_task: Callable[..., object] = self.celery_app.task(
            name=f"{self.name}.{index}", **self.task_options
        )
        return make_task(self.handler(index))

    @cached_property
    def celery_app(self) -> Celery:
        """A Celery app as one finds it in most projects."""
        app = Celery(self.name, set_as_current=False)
        app.conf.update(self.celery_settings)
        return app

    def send(self, events: Sequence[Event]) -> None:
        """Call each handler's task."""
        for event in events:
            for task in self._tasks[: event.handlers]:
                task.delay(SENDER, **event.payload)


class DelayBackend(Delay):
    """The same with a result backend in Redis, as many have it by habit."""

    name = "delay_backend"

    @property
    def celery_settings(self) -> dict[str, Any]:
        """With the result backend."""
        return {**super().celery_settings, "result_backend": self.place.redis_url}


class DelayIgnore(DelayBackend):
    """The same with a result backend that the tasks do not use."""

    name = "delay_ignore"
    task_options: ClassVar = {"ignore_result": True}


class DelayRabbit(Delay):
    """RabbitMQ, which has confirmed each message."""

    name = "delay_rabbit"
    baseline = "delay_rabbit"

    def __init__(self, place: Place) -> None:
        if place.amqp_url is None:
            raise MissingError("no RabbitMQ")
        super().__init__(place)

    @property
    def broker_url(self) -> str:
        """RabbitMQ."""
        return str(self.place.amqp_url)

    @property
    def celery_settings(self) -> dict[str, Any]:
        """With confirmations, which kombu leaves out unless asked."""
        return {
            **super().celery_settings,
            "broker_transport_options": {"confirm_publish": True},
        }
