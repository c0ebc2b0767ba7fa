"""Handlers that do nothing, to see what a worker takes for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .delay import Delay
from .ours import Direct


class BareTask(Delay):
    """A Celery task, in a worker with Celery's defaults."""

    name = "bare_task"

    def handler(self, index: int) -> Callable[..., None]:
        """Return what does nothing."""
        return _do_nothing()


class BareTaskLate(BareTask):
    """A Celery task in a worker that acknowledges late, as a receiver's does."""

    name = "bare_task_late"
    late: ClassVar[dict[str, Any]] = {
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "task_ignore_result": True,
    }

    @property
    def celery_settings(self) -> dict[str, Any]:
        """With the worker's settings that a lost message asks for."""
        return {**super().celery_settings, **self.late}


class IdleReceiver(Direct):
    """A receiver of ours."""

    name = "idle_receiver"

    def handler(self, index: int) -> Callable[..., None]:
        """Return what does nothing."""
        return _do_nothing()


def _do_nothing() -> Callable[..., None]:
    def handle(sender: object, **arguments: object) -> None:
        """Do nothing."""

    return handle
