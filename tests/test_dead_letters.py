"""Which messages end as dead letters, and what is known of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from blinker import Signal
from celery import Celery, Task
from celery.backends.base import DisabledBackend
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.signals import task_unknown
from celery.worker.request import Request
from flask import Flask

from signal_tasks import (
    Bridge,
    DecodeError,
    StoreError,
    dead_letter_kept,
    envelope_refused,
)
from signal_tasks.dead_letters import DeadLetter
from signal_tasks.references import Tombstone, current_lookup
from signal_tasks.signals import DeadLetterKept
from tests.in_memory import KEY, Broker, new_app, new_celery_app

SECRET = "4111-1111-1111-1111"

# A retry is due at once, for the tests do not wait.
AT_ONCE: dict[str, Any] = {"retry_backoff": False, "default_retry_delay": 0}


@dataclass
class Office:
    """Keeps dead letters in a list, and fails when it is told to."""

    letters: list[DeadLetter] = field(default_factory=list)
    error: Exception | None = None
    is_new: bool = True

    def keep(self, letter: DeadLetter) -> bool:
        """Keep *letter*, or raise the error."""
        if self.error is not None:
            raise self.error
        if self.is_new:
            self.letters.append(letter)
        return self.is_new


@pytest.fixture
def office() -> Office:
    """Return where the dead letters of *bridge* are kept."""
    return Office()


@pytest.fixture
def bridge(celery_app: Celery, office: Office) -> Bridge:
    """Return a bridge for *celery_app* that keeps dead letters."""
    return Bridge(
        celery_app,
        secret_key=KEY,
        on_error="raise",
        store=SimpleNamespace(dead_letters=office),
    )


@pytest.fixture
def kept() -> Generator[list[tuple[object, DeadLetterKept]]]:
    """Return the dead letters that are reported."""
    reported: list[tuple[object, DeadLetterKept]] = []

    def note(sender: object, details: DeadLetterKept) -> None:
        reported.append((sender, details))

    with dead_letter_kept.connected_to(note):
        yield reported


def failing(error: Exception) -> Callable[..., None]:
    """Return a handler that raises *error*."""

    def handler(sender: object, **kwargs: object) -> None:
        raise error

    return handler


def run_all(broker: Broker) -> None:
    """Run messages until there are no more."""
    while broker.run():
        pass


def envelope(broker: Broker) -> tuple[str, str]:
    """Take the one message, and return its event's identifier and its envelope."""
    (message,) = broker.take()
    (text,) = message.payload[0]
    return message.headers["signal_tasks_event"], text


def send_text(celery_app: Celery, text: str, receiver: str = "bill") -> None:
    """Put *text* into the queue, as a task of *receiver*."""
    celery_app.send_task(receiver, [text])


# -- handlers that fail


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_handler_that_fails_for_the_last_time_leaves_a_dead_letter(
    bridge: Bridge, broker: Broker, office: Office, signal: Signal, retries: int
) -> None:
    """When the last retry fails the event is one dead letter, with all its facts."""
    before = datetime.now(UTC)
    bridge.async_receiver(signal, name="bill", max_retries=retries, **AT_ONCE)(
        failing(OSError("the mail server is down"))
    )
    signal.send("web", card=SECRET)
    (message,) = broker.take()
    event_id, text = message.headers["signal_tasks_event"], message.payload[0][0]
    send_text(broker.celery_app, text)

    run_all(broker)

    (letter,) = office.letters
    assert (letter.receiver, letter.signal) == ("bill", "anonymous")
    assert (letter.event_id, letter.text) == (event_id, text)
    assert (letter.reason, letter.error) == ("OSError", "the mail server is down")
    assert letter.attempts == retries + 1
    assert timedelta() <= letter.died_at - before < timedelta(minutes=1)


def test_handler_that_fails_is_reported_as_a_dead_letter(
    bridge: Bridge,
    broker: Broker,
    signal: Signal,
    kept: list[tuple[object, DeadLetterKept]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The lifecycle signal and the log tell of it, and show nothing that was sent."""
    error = OSError(SECRET)
    bridge.async_receiver(signal, name="bill", max_retries=0)(failing(error))
    signal.send("web", card=SECRET)

    broker.run()

    ((application, details),) = kept
    assert application is broker.celery_app
    assert (details.signal, details.receiver) == ("anonymous", "bill")
    assert (details.attempts, details.error) == (1, error)
    (record,) = [one for one in caplog.records if one.name == "signal_tasks.burial"]
    assert f"event {details.event_id} for bill is kept" in record.message
    assert vars(record)["signal_tasks.event_id"] == details.event_id
    assert SECRET not in record.message


def test_refusal_out_of_a_handler_is_a_failure_of_its_own(
    bridge: Bridge, broker: Broker, office: Office, signal: Signal
) -> None:
    """A handler that raises one of our refusals has run, and was not refused."""
    error = DecodeError(path="x", tag=None, reason="why")
    bridge.async_receiver(signal, name="bill", **AT_ONCE)(failing(error))
    refused: list[object] = []
    signal.send()

    with envelope_refused.connected_to(lambda _, details: refused.append(details)):
        run_all(broker)

    (letter,) = office.letters
    assert (letter.reason, letter.attempts) == ("DecodeError", 1)
    assert refused == []


def test_soft_time_limit_is_a_failure_as_any_other(
    bridge: Bridge, broker: Broker, office: Office, signal: Signal
) -> None:
    """A handler that exceeds it is tried again, and kept in the end."""
    bridge.async_receiver(signal, name="bill", **AT_ONCE)(
        failing(SoftTimeLimitExceeded())
    )
    signal.send()

    run_all(broker)

    (letter,) = office.letters
    assert (letter.reason, letter.attempts) == ("SoftTimeLimitExceeded", 4)


def test_event_that_was_handled_meanwhile_is_no_letter(
    bridge: Bridge,
    broker: Broker,
    office: Office,
    signal: Signal,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A message that came twice is dropped where the other one was handled."""
    bridge.async_receiver(signal, name="bill", max_retries=0)(failing(OSError("late")))
    office.is_new = False
    signal.send()

    with caplog.at_level(logging.INFO):
        broker.run()

    assert office.letters == []
    assert "handed out twice" in caplog.text


def test_error_that_says_nothing_is_kept_too(
    bridge: Bridge, broker: Broker, office: Office, signal: Signal
) -> None:
    """An error whose text cannot be had does not keep the envelope from being kept."""

    class MuteError(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    bridge.async_receiver(signal, name="bill", max_retries=0)(failing(MuteError()))
    signal.send()

    broker.run()

    (letter,) = office.letters
    assert (letter.reason, letter.error) == (
        "MuteError",
        "(what it says cannot be read)",
    )


def test_error_that_cannot_be_pickled_keeps_its_name(
    bridge: Bridge, broker: Broker, office: Office, signal: Signal
) -> None:
    """The letter names the error itself, and not what Celery makes of it."""

    class LocalError(Exception):
        pass

    bridge.async_receiver(signal, name="bill", max_retries=0)(failing(LocalError()))
    signal.send()

    broker.run()

    assert [letter.reason for letter in office.letters] == ["LocalError"]


class SickBackend(DisabledBackend):
    """A result backend that cannot be reached."""

    def mark_as_failure(self, *_: object, **__: object) -> None:
        """Raise, as a backend does that stores results elsewhere."""
        raise ConnectionError


def test_failing_result_backend_loses_no_letter(signal: Signal) -> None:
    """A result that cannot be stored does not keep the envelope from being kept."""
    office = Office()
    celery_app = new_celery_app()
    bridge = Bridge(
        celery_app,
        secret_key=KEY,
        on_error="raise",
        store=SimpleNamespace(dead_letters=office),
    )
    bridge.async_receiver(signal, name="bill", max_retries=0, ignore_result=False)(
        failing(OSError())
    )
    celery_app.tasks["bill"].backend = SickBackend(app=celery_app)
    signal.send()

    with pytest.warns(RuntimeWarning, match="Exception raised outside body"):
        Broker(celery_app).run()

    assert len(office.letters) == 1


def test_retry_that_the_broker_does_not_take_is_kept(
    bridge: Bridge,
    broker: Broker,
    office: Office,
    signal: Signal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that is gone when a handler is to be tried again costs no event."""
    bridge.async_receiver(signal, name="bill", **AT_ONCE)(failing(OSError("why")))
    signal.send()
    (message,) = broker.take()
    # The memory of this process, which is the broker, never fails by itself.
    monkeypatch.setattr(broker.celery_app, "send_task", failing(ConnectionError()))

    _execute(broker, message)

    (letter,) = office.letters
    assert (letter.reason, letter.attempts) == ("OSError", 1)
    assert letter.text == message.payload[0][0]


def _execute(broker: Broker, message: Any) -> object:
    """Do what a worker's pool does with *message*."""
    return Request(message, app=broker.celery_app).execute()


def test_users_own_on_failure_is_called(signal: Signal) -> None:
    """The task class of the Celery app hears of failures as it always did."""
    heard: list[str] = []

    class Telling(Task):
        def on_failure(self, exc: Exception, *_: object) -> None:
            heard.append(type(exc).__name__)

    celery_app = new_celery_app()
    celery_app.task_cls = Telling
    office = Office()
    bridge = Bridge(
        celery_app,
        secret_key=KEY,
        on_error="raise",
        store=SimpleNamespace(dead_letters=office),
    )
    bridge.async_receiver(signal, name="bill", max_retries=0)(failing(OSError()))
    signal.send()

    Broker(celery_app).run()

    assert heard == ["OSError"]
    assert len(office.letters) == 1


# -- envelopes that are refused


def strange(text: str) -> Iterator[tuple[str, str]]:
    """Yield what may become of *text* on its way, and the error that it dies of."""
    yield text.replace('"payload"', '"payloads"'), "SignatureError"
    yield text.replace('{"v":1,', '{"v":2,'), "UnsupportedVersionError"
    yield text[:-9], "MalformedEnvelopeError"
    yield "garbage", "MalformedEnvelopeError"
    yield "\ud800\0", "MalformedEnvelopeError"


@pytest.mark.parametrize("which", range(5), ids=lambda one: f"case {one}")
def test_unreadable_envelope_is_kept_as_it_came(
    bridge: Bridge, broker: Broker, office: Office, signal: Signal, which: int
) -> None:
    """What does not verify or cannot be read is kept, and nothing in it is believed."""
    bridge.async_receiver(signal, name="bill")(print)
    signal.send()
    _, text = envelope(broker)
    came, reason = list(strange(text))[which]
    send_text(broker.celery_app, came)

    run_all(broker)

    (letter,) = office.letters
    assert (letter.receiver, letter.reason) == ("bill", reason)
    assert (letter.event_id, letter.signal) == (None, None)
    assert (letter.text, letter.attempts) == (came, 0)


def test_task_called_by_hand_is_kept_whole(
    bridge: Bridge, broker: Broker, office: Office
) -> None:
    """What is no envelope at all is kept with every argument."""
    bridge.async_receiver(Signal(), name="bill")(print)
    broker.celery_app.tasks["bill"].delay(1, two=[2])

    broker.run()

    assert [letter.text for letter in office.letters] == ["((1,), {'two': [2]})"]


def test_redirected_envelope_is_kept_under_the_name_that_it_came_as(
    bridge: Bridge, broker: Broker, office: Office, signal: Signal
) -> None:
    """An envelope that came as another receiver's task is kept as that one's."""
    bridge.async_receiver(signal, name="bill")(print)
    bridge.async_receiver(Signal(), name="ship")(print)
    signal.send()
    event_id, text = envelope(broker)
    send_text(broker.celery_app, text, receiver="ship")

    run_all(broker)

    (letter,) = office.letters
    assert (letter.receiver, letter.event_id) == ("ship", event_id)
    assert letter.reason == "UnknownReceiverError"


def test_misfit_arguments_are_kept(
    bridge: Bridge, broker: Broker, office: Office, signal: Signal
) -> None:
    """An event that its handler does not take waits for a handler that does."""
    bridge.async_receiver(signal, name="bill", **AT_ONCE)(lambda sender: None)
    signal.send(card=SECRET)

    run_all(broker)

    (letter,) = office.letters
    assert (letter.reason, letter.attempts) == ("ArgumentsError", 0)
    assert letter.event_id is not None
    assert SECRET not in letter.error


def test_undecodable_payload_is_kept(
    broker: Broker, bridge: Bridge, office: Office, signal: Signal
) -> None:
    """An event with a type that only its sender knows waits for a worker that does."""

    class Coupon:
        pass

    sender = Bridge(
        new_celery_app(task_default_queue=broker.celery_app.conf.task_default_queue),
        secret_key=KEY,
        on_error="raise",
    )
    sender.register_type(Coupon, lambda _: 1, lambda _: Coupon(), tag="shop.Coupon")
    sender.async_receiver(signal, name="bill")(print)
    bridge.async_receiver(Signal(), name="bill")(print)
    signal.send(coupon=Coupon())

    run_all(broker)

    assert [letter.reason for letter in office.letters] == ["DecodeError"]


def test_refusal_at_a_retry_counts_the_attempts_before(
    bridge: Bridge, broker: Broker, office: Office
) -> None:
    """A worker with other code may refuse what has already been tried."""
    bridge.async_receiver(Signal(), name="bill")(print)
    broker.celery_app.send_task("bill", ["garbage"], retries=2)

    run_all(broker)

    assert [letter.attempts for letter in office.letters] == [2]


class Row:
    """Something that is sent by reference."""


@pytest.mark.parametrize(
    ("missing", "death"),
    [("fail", ("MissingReferenceError", 0)), ("retry", ("StillMissingError", 4))],
    ids=["fail", "retry"],
)
def test_event_that_refers_to_nothing_is_kept_by_policy(
    bridge: Bridge,
    broker: Broker,
    office: Office,
    missing: str,
    death: tuple[str, int],
) -> None:
    """What is gone is kept at once, or when it has not come back in time."""
    send_reference(bridge, missing)

    run_all(broker)

    (letter,) = office.letters
    assert (letter.reason, letter.attempts) == death


def send_reference(bridge: Bridge, missing: str) -> None:
    """Send a reference to something that the worker will not find."""

    def find(_: object) -> object:
        gone = Tombstone(type_name="shop.Row", key=(1,), columns={})
        return current_lookup().replace(gone)

    signal = Signal()
    bridge.register_type(Row, lambda _: 1, find, tag="shop.Row")
    bridge.async_receiver(signal, name="bill", missing=missing, **AT_ONCE)(
        lambda sender, row: row
    )
    signal.send(row=Row())


# -- receivers that the worker does not know


class WorkersConsumer:
    """What sends ``task_unknown`` in a worker, as far as it shows."""

    def __init__(self, celery_app: Celery) -> None:
        self.app = celery_app


def receive_unknown(celery_app: Celery, payload: object, **headers: object) -> None:
    """Do what a worker does with a message for a task that it does not know."""
    message = SimpleNamespace(
        headers={"signal_tasks_event": "e1", **headers}, payload=payload, body=b"raw"
    )
    sender = WorkersConsumer(celery_app)
    task_unknown.send(
        sender=sender, message=message, name="shop.gone", id="1", exc=None
    )


def test_envelope_for_an_unknown_receiver_is_kept(
    broker: Broker, bridge: Bridge, office: Office, signal: Signal
) -> None:
    """A worker that lacks the receiver keeps its envelope for one that has it."""
    bridge.async_receiver(signal, name="bill")(print)
    signal.send()
    event_id, text = envelope(broker)

    receive_unknown(broker.celery_app, ([text], {}, {}), retries=1)

    (letter,) = office.letters
    assert (letter.receiver, letter.reason) == ("shop.gone", "UnknownReceiverError")
    assert (letter.event_id, letter.text) == (event_id, text)
    assert letter.attempts == 1


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (({}, {}, {}), "({}, {})"),
        (([], {"a": 1}, {}), "([], {'a': 1})"),
        (17, "b'raw'"),
        ([1], "b'raw'"),
    ],
    ids=["object", "keywords", "number", "short"],
)
def test_message_of_another_form_for_an_unknown_receiver_is_kept_whole(
    celery_app: Celery, bridge: Bridge, office: Office, payload: object, text: str
) -> None:
    """What is no envelope is kept as well, for nobody here can tell what it was."""
    receive_unknown(celery_app, payload)

    (letter,) = office.letters
    assert (letter.text, letter.event_id, letter.attempts) == (text, None, 0)
    assert list(bridge.registry) == []


# -- what is no dead letter


def test_success_leaves_none(
    bridge: Bridge, broker: Broker, office: Office, signal: Signal
) -> None:
    """A handler that returns leaves nothing."""
    bridge.async_receiver(signal, name="bill")(lambda _: None)
    signal.send()

    run_all(broker)

    assert office.letters == []


@pytest.mark.parametrize("missing", ["discard", "none"])
def test_missing_reference_that_is_expected_leaves_none(
    bridge: Bridge, broker: Broker, office: Office, missing: str
) -> None:
    """A receiver that wants its event dropped, or None in its place, gets that."""
    send_reference(bridge, missing)

    assert broker.run() == [None]

    assert office.letters == []


def test_retry_that_succeeds_leaves_none(
    bridge: Bridge, broker: Broker, office: Office, signal: Signal
) -> None:
    """A handler that fails and then does not leaves nothing."""
    attempts: list[int] = []

    def handler(sender: object) -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError

    bridge.async_receiver(signal, name="bill", **AT_ONCE)(handler)
    signal.send()

    run_all(broker)

    assert len(attempts) == 3
    assert office.letters == []


@pytest.mark.parametrize("error", [Ignore(), Reject(requeue=False)], ids=repr)
def test_what_the_handler_asks_of_celery_leaves_none(
    bridge: Bridge, broker: Broker, office: Office, signal: Signal, error: Exception
) -> None:
    """A handler that tells Celery to be done with its message is obeyed."""
    bridge.async_receiver(signal, name="bill", autoretry_for=())(failing(error))
    signal.send()

    run_all(broker)

    assert office.letters == []


def test_eager_run_leaves_none(signal: Signal) -> None:
    """With task_always_eager the sender itself gets the error."""
    office = Office()
    celery_app = new_celery_app(task_always_eager=True)
    bridge = Bridge(
        celery_app,
        secret_key=KEY,
        on_error="raise",
        store=SimpleNamespace(dead_letters=office),
    )
    bridge.async_receiver(signal, name="bill", **AT_ONCE)(failing(OSError()))

    signal.send()
    celery_app.tasks["bill"].apply(["garbage"])

    assert office.letters == []


def test_direct_call_leaves_none(
    bridge: Bridge, celery_app: Celery, office: Office
) -> None:
    """A task that is called as a function raises into its caller."""
    bridge.async_receiver(Signal(), name="bill")(print)

    with pytest.raises(ValueError, match="not for delay"):
        celery_app.tasks["bill"]("garbage")

    assert office.letters == []


# -- a store that is not there, or fails


def test_bridge_without_a_store_keeps_nothing(
    celery_app: Celery,
    broker: Broker,
    signal: Signal,
    caplog: pytest.LogCaptureFixture,
    kept: list[object],
) -> None:
    """Without a store a failure is logged by Celery, as it always was."""
    bridge = Bridge(celery_app, secret_key=KEY, on_error="raise")
    bridge.async_receiver(signal, name="bill", max_retries=0)(failing(OSError()))
    signal.send()

    broker.run()

    assert kept == []
    assert "signal_tasks.burial" not in {record.name for record in caplog.records}
    assert "OSError" in caplog.text


def test_store_that_fails_is_survived_and_told_of(
    bridge: Bridge,
    broker: Broker,
    office: Office,
    signal: Signal,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says which event no letter could be kept of, and why."""
    office.error = StoreError("the disk is full")
    bridge.async_receiver(signal, name="bill", max_retries=0)(failing(OSError()))
    signal.send()
    (message,) = broker.take()

    _execute(broker, message)

    (record,) = [one for one in caplog.records if one.name == "signal_tasks.burial"]
    assert record.levelno == logging.ERROR
    assert message.headers["signal_tasks_event"] in record.message
    assert "bill" in record.message
    assert "the disk is full" in str(record.exc_text)


def test_store_that_fails_loses_no_event(
    bridge: Bridge, broker: Broker, office: Office, signal: Signal
) -> None:
    """What no letter could be kept of goes back to the broker, until there is a store."""
    office.error = StoreError("the disk is full")
    bridge.async_receiver(signal, name="bill", max_retries=2)(failing(OSError()))
    signal.send()
    (first,) = broker.take()
    first.headers["retries"] = 2
    _execute(broker, first)
    office.error = None

    (second,) = broker.take()
    _execute(broker, second)

    wait = datetime.fromisoformat(second.headers["eta"]) - datetime.now(UTC)
    assert timedelta(seconds=50) < wait < timedelta(seconds=61)
    (letter,) = office.letters
    assert (letter.reason, letter.attempts) == ("OSError", 3)
    assert letter.text == first.payload[0][0]


def test_store_that_fails_loses_what_is_acknowledged_already(
    bridge: Bridge,
    broker: Broker,
    office: Office,
    signal: Signal,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With early acknowledgement, which the user has chosen, only the log is left."""
    office.error = StoreError("the disk is full")
    bridge.async_receiver(signal, name="bill", max_retries=0, acks_late=False)(
        failing(OSError())
    )
    signal.send()

    (account,) = broker.run()

    assert "OSError" in repr(account)
    assert broker.take() == []
    assert "no dead letter could be kept for bill" in caplog.text


@pytest.mark.parametrize("text", [None, "garbage"], ids=["failure", "refusal"])
def test_store_that_cannot_be_opened_is_survived(
    signal: Signal, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    """An app whose store's place is gone keeps its messages, and says what is wrong."""
    bridge = Bridge()
    app = new_app(bridge)
    bridge.async_receiver(signal, name="bill", max_retries=0)(failing(OSError()))
    app.instance_path = "/dev/null/instance"
    broker = Broker(app.extensions["celery"])
    if text is None:
        signal.send(app)
    else:
        send_text(broker.celery_app, text)

    broker.run()

    (record,) = [one for one in caplog.records if one.name == "signal_tasks.burial"]
    assert "the folder /dev/null/instance cannot be made" in str(record.exc_text)
    assert broker.names() == ["bill"]


def test_store_whose_url_went_bad_is_survived(
    app: Flask, flask_bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails before a letter is written is survived too, also for unknown tasks."""
    app.config["SIGNAL_TASKS_STORE_URL"] = f"nonsense {SECRET}"

    receive_unknown(app.extensions["celery"], ([], {}, {}))

    (record,) = [one for one in caplog.records if one.name == "signal_tasks.burial"]
    assert "no dead letter could be kept for shop.gone" in record.message
    assert "SIGNAL_TASKS_STORE_URL" in str(record.exc_text)
    assert SECRET not in caplog.text
    assert list(flask_bridge.registry) == []
