"""How a worker's main process ends runs that its pool could not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from blinker import Signal
from celery import Celery
from celery.exceptions import Terminated, TimeLimitExceeded, WorkerLostError

from signal_tasks import Bridge, StoreError
from signal_tasks.dead_letters import DeadLetter
from signal_tasks.tasks.receiver_request import ReceiverRequest
from tests.in_memory import KEY, Broker


class Office:
    """Keeps dead letters in a list, and fails when it is told to."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.error: Exception | None = None

    def keep(self, letter: DeadLetter) -> None:
        """Keep *letter*, or raise the error."""
        if self.error is not None:
            raise self.error
        self.letters.append(letter)


def store_of(office: Office) -> Any:
    """Return a store with *office*."""
    return SimpleNamespace(dead_letters=office)


class Message:
    """A message that is running in a pool, and what becomes of it."""

    def __init__(self, broker: Broker, office: Office, **options: Any) -> None:
        signal = Signal()
        bridge = Bridge(
            broker.celery_app,
            secret_key=KEY,
            on_error="raise",
            store=store_of(office),
        )
        bridge.async_receiver(signal, name="bill", **options)(print)
        signal.send("web")
        (message,) = broker.take()
        self.text: str = message.payload[0][0]
        self.ends: list[str] = []
        self.request = ReceiverRequest(
            message,
            app=broker.celery_app,
            on_ack=lambda *_: self.ends.append("acknowledged"),
            on_reject=lambda _logger, _errors, requeue: self.ends.append(
                "requeued" if requeue else "rejected"
            ),
        )

    def fail(self, error: BaseException, *, return_ok: bool = False) -> None:
        """Tell that *error* has ended it."""
        try:
            raise error
        except type(error):
            self.request.on_failure(ExceptionInfo(), return_ok=return_ok)


@pytest.fixture
def office() -> Office:
    """Return where dead letters are kept."""
    return Office()


@pytest.fixture
def message(broker: Broker, office: Office) -> Message:
    """Return a message that is acknowledged late."""
    return Message(broker, office)


def test_receivers_messages_are_such_requests(
    bridge: Bridge, celery_app: Celery
) -> None:
    """Celery makes one of our requests for each message of a receiver."""
    bridge.async_receiver(Signal(), name="bill")(print)

    module, _, name = celery_app.tasks["bill"].Request.partition(":")

    assert (module, name) == (ReceiverRequest.__module__, ReceiverRequest.__name__)


def test_time_limit_ends_in_a_dead_letter(message: Message, office: Office) -> None:
    """What is killed for its time is over is kept, and then acknowledged."""
    message.fail(TimeLimitExceeded(300))

    (letter,) = office.letters
    assert (letter.receiver, letter.reason) == ("bill", "TimeLimitExceeded")
    assert (letter.text, letter.attempts) == (message.text, 1)
    assert message.ends == ["acknowledged"]


def test_killed_child_gives_its_message_back(message: Message, office: Office) -> None:
    """A message whose process died goes back to the broker, and is no dead letter yet."""
    message.fail(WorkerLostError("signal 9"))

    assert office.letters == []
    assert message.ends == ["requeued"]


@pytest.mark.parametrize(
    "options", [{"reject_on_worker_lost": False}, {"acks_late": False}], ids=str
)
def test_killed_child_ends_in_a_dead_letter_where_its_message_is_gone(
    broker: Broker, office: Office, options: dict[str, Any]
) -> None:
    """A user who does not want it handed out again does not lose it either."""
    message = Message(broker, office, **options)
    if "acks_late" in options:
        message.request.on_accepted(1, 0.0)

    message.fail(WorkerLostError("signal 9"))

    assert [letter.reason for letter in office.letters] == ["WorkerLostError"]
    assert message.ends == ["acknowledged"]


def test_rejected_message_ends_in_a_dead_letter(broker: Broker, office: Office) -> None:
    """So does one that Celery rejects for good, as the user has set it."""
    message = Message(
        broker, office, acks_on_failure_or_timeout=False, reject_on_worker_lost=False
    )

    message.fail(WorkerLostError("signal 9"))

    assert [letter.reason for letter in office.letters] == ["WorkerLostError"]
    assert message.ends == ["rejected"]


def test_timeout_that_the_user_wants_back_is_given_back(
    broker: Broker, office: Office
) -> None:
    """Where failures are not acknowledged, a message that took too long runs again."""
    message = Message(broker, office, acks_on_failure_or_timeout=False)

    message.fail(TimeLimitExceeded(300))

    assert office.letters == []
    assert message.ends == ["requeued"]


def test_revoked_run_leaves_no_dead_letter(message: Message, office: Office) -> None:
    """Who terminates a running task gets what was asked for."""
    message.fail(Terminated(15))

    assert office.letters == []
    assert message.ends == ["acknowledged"]


def test_failure_that_the_task_has_told_of_is_not_kept_twice(
    message: Message, office: Office
) -> None:
    """What ended in the handler was kept where it ran."""
    message.fail(OSError("why"), return_ok=True)

    assert office.letters == []
    assert message.ends == ["acknowledged"]


def test_handler_without_memory_does_not_end_the_worker(message: Message) -> None:
    """Celery would raise a MemoryError of a handler's process in the main one."""
    message.fail(MemoryError(), return_ok=True)

    assert message.ends == ["acknowledged"]


@pytest.mark.parametrize(
    "error", [TimeLimitExceeded(300), OSError("a result that cannot be pickled")]
)
def test_message_is_given_back_where_it_cannot_be_kept(
    message: Message, office: Office, error: Exception
) -> None:
    """A store that fails loses nothing: the broker hands it out again."""
    office.error = StoreError("the disk is full")

    message.fail(error)

    assert message.ends == ["requeued"]


def test_rejected_message_is_given_back_where_it_cannot_be_kept(
    broker: Broker, office: Office
) -> None:
    """One that Celery would drop for good is not dropped unkept."""
    office.error = StoreError("the disk is full")
    message = Message(
        broker, office, acks_on_failure_or_timeout=False, reject_on_worker_lost=False
    )

    message.fail(WorkerLostError("signal 9"))

    assert message.ends == ["requeued"]


def test_message_is_acknowledged_once(message: Message) -> None:
    """A second acknowledgement does nothing, as Celery has it."""
    message.request.acknowledge()
    message.request.acknowledge()

    assert message.ends == ["acknowledged"]


def test_message_that_succeeds_is_acknowledged(
    message: Message, office: Office
) -> None:
    """A run that ends well is nothing to keep."""
    message.request.on_success((False, None, 0.1))

    assert office.letters == []
    assert message.ends == ["acknowledged"]
