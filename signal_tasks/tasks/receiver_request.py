"""How the main process of a worker ends a run that its pool could not.

In: what Celery tells of a task message: that the process which ran it has died, or was
killed for its time was over. Out: a dead letter, before the message is acknowledged.
"""

from __future__ import annotations

from typing import Any

from billiard.einfo import ExceptionInfo
from celery.exceptions import Terminated
from celery.worker.request import Request

from ..exceptions import OutOfMemoryError
from .receiver_task import bury_call


class ReceiverRequest(Request):
    """A message for a receiver, in the main process of a worker."""

    _unburied: BaseException | None = None

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> Any:
        """Keep what no code of the task could keep any more.

        Args:
            exc_info: What ended it.
            send_failed_event: Passed on.
            return_ok: Whether the task itself has told so.
        """
        error = exc_info.exception
        # What came from another process has its traceback around it.
        error = getattr(error, "exc", error)
        if return_ok:
            if isinstance(error, MemoryError):
                exc_info = _of_the_handler(error, self.name)
        # Who revokes a running task wants to hear no more of it.
        elif not isinstance(error, Terminated):
            self._unburied = error
            if self.acknowledged:
                self._bury()
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def acknowledge(self) -> None:
        """Acknowledge the message, unless it is to be kept and cannot be."""
        if not self.acknowledged and self._bury():
            super().acknowledge()

    def reject(self, requeue: bool = False) -> None:
        """Give the message back, or drop it, unless it is to be kept and cannot be."""
        if requeue:
            self._unburied = None
        if requeue or self.acknowledged or self._bury():
            super().reject(requeue)

    def _bury(self) -> bool:
        """Make a dead letter of it where it is to be one.

        Returns:
            Whether that is done. If not, and if the broker still has the message, it is
            given back.
        """
        error, self._unburied = self._unburied, None
        if error is None:
            return True
        task: Any = self.task
        attempts = (self.request_dict.get("retries") or 0) + 1
        is_kept = bury_call(task, self.args, self.kwargs, error, attempts=attempts)
        if not is_kept:
            self.reject(requeue=True)
        return is_kept


def _of_the_handler(error: MemoryError, name: str) -> ExceptionInfo:
    """Return the error by another name, for Celery ends the worker for this one.

    The process that had too little is another one, and has told of it.
    """
    try:
        raise OutOfMemoryError(receiver=name) from error  # noqa: TRY301  # see below
    except OutOfMemoryError:  # which is what an ExceptionInfo is made of
        return ExceptionInfo()
