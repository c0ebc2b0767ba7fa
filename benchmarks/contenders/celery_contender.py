"""What contenders that use Celery have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from celery import Celery

from .contender import Contender, python


class CeleryContender(Contender):
    """A contender whose handlers run in a stock Celery worker."""

    @property
    @abstractmethod
    def celery_app(self) -> Celery:
        """What it sends with."""

    @property
    def served(self) -> Any:
        """The Celery app."""
        return self.celery_app

    @property
    def worker_command(self) -> Sequence[str]:
        """``celery worker``, with two processes."""
        return python(
            *("celery", "-A", "benchmarks.worker", "worker", "-c", "2"),
            *("--without-gossip", "--without-mingle", "--loglevel", "WARNING"),
            *("-Q", self.queue, "-n", f"{self.name}@benchmark"),
        )

    @property
    def broker_url(self) -> str:
        """The broker; Redis unless said otherwise."""
        return self.place.redis_url

    def close(self) -> None:
        """Leave nothing behind, in RabbitMQ neither."""
        super().close()
        if self.broker_url == self.place.amqp_url:
            with self.celery_app.connection_for_write() as connection:
                channel: Any = connection.default_channel
                channel.queue_delete(self.queue)

    @property
    def celery_settings(self) -> dict[str, Any]:
        """Celery's defaults, and where the messages go."""
        return {"broker_url": self.broker_url, "task_default_queue": self.queue}
