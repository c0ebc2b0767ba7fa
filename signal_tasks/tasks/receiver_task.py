"""The Celery task class of a receiver: how its runs begin, end and are tried again.

In: a task message, whose one argument is an envelope's text. Out: a run of the task; or
the message once more, or a dead letter of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from celery import Celery, Task
from celery.exceptions import Ignore, Reject, Retry
from celery.result import AsyncResult
from kombu.exceptions import OperationalError

from ..burial import bury
from ..consumer import refuse
from ..envelope import EVENT_HEADER
from ..event import quiet
from ..exceptions import (
    RefusedError,
    StillClaimedError,
    StoreError,
    TooManyDeliveriesError,
)
from ..host import Host
from ..registry import Receiver
from .vital_signs import VitalSigns, parameters_of

if TYPE_CHECKING:
    BaseTask = Task[Any, Any]  # generic in the stubs alone
else:
    BaseTask = Task

_logger = logging.getLogger(__name__)

MAX_DELIVERIES: Final = 5

SICK_STORE_SECONDS: Final = 60.0
"""After how long it is tried again to keep what no store has taken."""


class CeleryHost(Host, Protocol):
    """A host whose handlers run as tasks of a Celery app."""

    @property
    def celery_app(self) -> Celery:
        """The Celery app that serves it now."""
        ...

    @property
    def max_deliveries(self) -> int:
        """How often a message may be handed out again before it is a dead letter."""
        ...


class ReceiverTask(BaseTask):
    """Mixed into the Celery app's own task class for each receiver's task."""

    serves: tuple[CeleryHost, Receiver]

    # By its name, for a process that only sends does not import Celery's worker.
    Request = "signal_tasks.tasks.receiver_request:ReceiverRequest"

    @property
    def vital_signs(self) -> VitalSigns:
        """What the worker tells of it to ``inspect().registered("vital_signs")``."""
        host, receiver = self.serves
        return VitalSigns(
            app=str(self.app.main),
            parameters=parameters_of(receiver.handler),
            fingerprints=host.seal.fingerprints,
            acks_late=bool(self.acks_late),
            reject_on_worker_lost=bool(self.reject_on_worker_lost),
            time_limit=self.time_limit,
            told_at=time.time(),
        )

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run the task, and keep what has failed for the last time.

        What its class does around that sends no events; the one that Flask's
        documentation gives to Celery pushes an app context.
        """
        with quiet():
            try:
                self._check_deliveries()
                return super().__call__(*args, **kwargs)  # pyright: ignore[reportUnknownVariableType]
            except (Ignore, Reject, Retry):
                raise
            except StillClaimedError as error:
                self._try_later(error, error.seconds)
                raise
            # Not in on_failure(), which Celery leaves out when the result backend
            # fails, and which gets a stand-in for an error that cannot be pickled.
            except Exception as error:
                self._bury(args, kwargs, error)
                raise

    def retry(self, *args: Any, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # theirs names 28
        """Publish it again; where the broker cannot be reached, give the message back.

        What the broker does not want, such as one without memory, it would not take
        back either. That was the last time then.
        """
        try:
            return super().retry(*args, **options)  # pyright: ignore[reportUnknownVariableType]
        except Reject as reject:
            refusal = getattr(reject, "reason", None)
            if self.acks_late and isinstance(refusal, OperationalError):
                raise self._given_back(refusal) from reject
            error = options.get("exc") or reject
            self._bury(self.request.args or (), self.request.kwargs or {}, error)
            raise

    def apply_async(self, *args: Any, **options: Any) -> AsyncResult[Any]:
        """Publish it, also again for a retry, showing nobody what it carries."""
        options.setdefault("argsrepr", "(<envelope>,)")
        options.setdefault("kwargsrepr", "{}")
        options["serializer"] = "json"
        return super().apply_async(*args, **options)  # pyright: ignore[reportUnknownVariableType]

    def _check_deliveries(self) -> None:
        """Refuse a message that has been handed out too often.

        None of its runs has come to an end, so it may be what ends them.

        Raises:
            TooManyDeliveriesError: It is not to run again.
        """
        if not (self.request.delivery_info or {}).get("redelivered"):
            return
        host, receiver = self.serves
        count = _count_redelivery(host, receiver.name, self._event_id)
        if count <= host.max_deliveries:
            return
        error = TooManyDeliveriesError(count, receiver=receiver.name)
        refuse(host.application, receiver.name, error)
        raise error

    @property
    def _event_id(self) -> str:
        headers: Mapping[str, object] = self.request.headers or {}
        return str(headers.get(EVENT_HEADER) or self.request.id)

    def _try_later(self, error: Exception, seconds: float) -> None:
        """Publish the message again as it is, for a run that does not count.

        Raises:
            Ignore: It is published, and this run is to leave no trace.
            Reject: It is not, so the broker is to hand it out again.
        """
        if self._is_nobodys:
            return
        request = self.request
        again = self.signature_from_request(
            request, countdown=seconds, retries=request.retries
        )
        try:
            again.apply_async()
        except Exception as refusal:  # noqa: BLE001  # of whichever broker
            raise self._given_back(refusal) from error
        _logger.info(
            "event %s for %s is tried again in %d seconds: %s",
            self._event_id,
            self.name,
            seconds,
            error,
            extra=self._facts,
        )
        raise Ignore from error

    def _given_back(self, refusal: Exception) -> Reject:
        """Log that the broker did not take a message, and return what gives it back."""
        _logger.warning(
            "the broker did not take the next attempt of event %s for %s (%s), so this "
            "one's message goes back to the queue.",
            self._event_id,
            self.name,
            type(refusal).__name__,
            extra=self._facts,
        )
        return Reject(refusal, requeue=True)

    def _bury(
        self, args: Sequence[object], kwargs: Mapping[str, object], error: Exception
    ) -> None:
        """Keep the message as a dead letter, if it is one and nobody's call.

        Raises:
            Ignore: The store did not take it, so that is tried again, with a run.
            Reject: Nor did the broker, which is to hand it out again.
        """
        if self._is_nobodys:
            return
        is_refused = isinstance(error, RefusedError) and error.is_verdict
        failed = self.request.retries + (0 if is_refused else 1)
        is_kept = bury_call(self, args, kwargs, error, attempts=failed)
        if not is_kept and self.acks_late:
            self._try_later(error, SICK_STORE_SECONDS)

    @property
    def _is_nobodys(self) -> bool:
        """Whether no message is behind the run, so that its caller hears of errors."""
        return bool(self.request.is_eager or self.request.called_directly)

    @property
    def _facts(self) -> dict[str, object]:
        return {
            "signal_tasks.receiver": self.name,
            "signal_tasks.event_id": self._event_id,
        }


def bury_call(
    task: ReceiverTask,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    error: BaseException,
    *,
    attempts: int,
) -> bool:
    """Keep what *task* was called with as a dead letter; tell whether that was done."""
    host, receiver = task.serves
    return bury(
        host,
        receiver=receiver.name,
        text=text_of(args, kwargs),
        error=error,
        attempts=attempts,
    )


def text_of(args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """Return the envelope that a task was called with; else, all it was called with."""
    match args:
        case [str(text)] if not kwargs:
            return text
        case _:
            return repr((args, kwargs))


def _count_redelivery(host: Host, receiver: str, event_id: str) -> int:
    """Count a redelivery; where that cannot be done, it is as none."""
    inbox = host.inbox
    if inbox is None:
        return 0
    try:
        return inbox.count_redelivery(event_id, receiver)
    except StoreError:
        _logger.exception(
            "event %s for %s was handed out again, and the store did not count that. "
            "The traceback says what to do about the store.",
            event_id,
            receiver,
            extra={
                "signal_tasks.receiver": receiver,
                "signal_tasks.event_id": event_id,
            },
        )
        return 0
