"""Receivers as Celery tasks: what their messages show, and how their runs end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from blinker import Signal
from celery import Celery, Task
from celery.signals import before_task_publish, import_modules, task_unknown
from celery.worker import control

from signal_tasks import (
    Bridge,
    MalformedEnvelopeError,
    RegistrationError,
    UnknownReceiverError,
    current_event,
    envelope_refused,
)
from signal_tasks.envelope import Seal
from signal_tasks.event import is_quiet
from signal_tasks.signals import EnvelopeRefused
from signal_tasks.tasks import vital_signs
from signal_tasks.tasks.receiver_tasks import split_options
from tests.in_memory import KEY, Broker, new_celery_app

SECRET = "4111-1111-1111-1111"

# A retry is due at once, for the tests do not wait.
AT_ONCE: dict[str, Any] = {"retry_backoff": False, "default_retry_delay": 0}


class Failing:
    """A handler that fails, and keeps what it saw of its events."""

    def __init__(self, error: type[Exception] = OSError) -> None:
        self._error = error
        self.attempts: list[int] = []
        self.ids: set[str] = set()
        self.headers: list[object] = []

    def __call__(self, sender: object, **kwargs: object) -> None:
        self.attempts.append(current_event.attempt)
        self.ids.add(current_event.id)
        self.headers.append(current_event.headers)
        raise self._error(SECRET)


def run_all(broker: Broker) -> None:
    """Run messages until there are no more."""
    while broker.run():
        pass


@pytest.fixture
def refused() -> Generator[list[tuple[object, EnvelopeRefused]]]:
    """Return the refusals that are reported."""
    reported: list[tuple[object, EnvelopeRefused]] = []

    def note(sender: object, details: EnvelopeRefused) -> None:
        reported.append((sender, details))

    with envelope_refused.connected_to(note):
        yield reported


def test_receiver_is_a_task_with_the_handlers_looks(
    bridge: Bridge, celery_app: Celery
) -> None:
    """Celery knows the handler's name, docstring and module."""

    def send_mail(sender: object) -> None:
        """Send a mail."""

    bridge.async_receiver(Signal(), name="shop.mail")(send_mail)

    task = celery_app.tasks["shop.mail"]
    assert (task.name, task.__name__) == ("shop.mail", "send_mail")
    assert (task.__doc__, task.__module__) == ("Send a mail.", __name__)


@pytest.mark.parametrize(
    "handler",
    [Failing(), print, [].append, lambda _: None],
    ids=["object", "builtin", "method", "lambda"],
)
def test_any_callable_makes_a_task(
    bridge: Bridge, celery_app: Celery, handler: Callable[..., Any]
) -> None:
    """A handler without a name, a docstring or a module is a task as well."""
    bridge.async_receiver(Signal(), name="shop.mail")(handler)

    assert celery_app.tasks["shop.mail"].name == "shop.mail"


def test_task_hands_back_what_the_handler_returns(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """A handler's value is the task's result, for those who ask for results."""
    bridge.async_receiver(signal, name="bill")(lambda sender, n: (sender, n))

    signal.send("web", n=7)

    assert broker.run() == [("web", 7)]


def test_message_shows_the_event_and_not_the_payload(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """Tools that show a task's arguments show which event it is, not what it holds."""
    bridge.async_receiver(signal, name="bill")(print)

    signal.send(SECRET, card=SECRET)

    (message,) = broker.take()
    event_id = message.headers["signal_tasks_event"]
    assert message.headers["argsrepr"] == f"(<event {event_id} of anonymous>,)"
    assert message.headers["kwargsrepr"] == "{}"
    assert SECRET not in str(message.headers) + str(message.properties)


def test_argument_is_one_text(bridge: Bridge, broker: Broker, signal: Signal) -> None:
    """Nothing that a user sends is walked by the transport's JSON hooks."""
    bridge.async_receiver(signal, name="bill")(print)

    signal.send(order={"__type__": "datetime", "__value__": "never"})

    (message,) = broker.take()
    (args, kwargs, _embed) = message.payload
    assert [type(one) for one in args] == [str]
    assert kwargs == {}
    assert message.content_type == "application/json"


def test_message_is_json_whatever_the_app_prefers(signal: Signal) -> None:
    """An app that serializes with pickle still gets JSON from a receiver."""
    celery_app = new_celery_app(task_serializer="pickle", accept_content=["pickle"])
    bridge = Bridge(celery_app, secret_key=KEY, on_error="raise")
    bridge.async_receiver(signal, name="bill")(print)

    signal.send()

    (message,) = Broker(celery_app).take()
    assert message.content_type == "application/json"


def test_result_is_ignored_unless_asked_for(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """A message asks for no result; one of a receiver with ignore_result=False does."""
    bridge.async_receiver(signal, name="bill")(print)
    bridge.async_receiver(signal, name="ship", ignore_result=False)(print)

    signal.send()

    asked = {one.headers["task"]: one.headers["ignore_result"] for one in broker.take()}
    assert asked == {"bill": True, "ship": False}


def test_celery_announces_each_message(bridge: Bridge, signal: Signal) -> None:
    """before_task_publish is sent, for tracing and monitoring hang on it."""
    bridge.async_receiver(signal, name="bill")(print)
    heard: list[tuple[object, object]] = []

    def note(sender: object, headers: dict[str, object], **_: object) -> None:
        heard.append((sender, headers["signal_tasks_event"]))

    before_task_publish.connect(note)
    try:
        signal.send()
    finally:
        before_task_publish.disconnect(note)

    assert [sender for sender, _ in heard] == ["bill"]


@pytest.mark.parametrize(
    ("option", "value", "where"),
    [
        ("queue", "metrics", lambda message: message.delivery_info["routing_key"]),
        ("priority", 7, lambda message: message.properties["priority"]),
        ("shadow", "Bill", lambda message: message.headers["shadow"]),
        ("time_limit", 30, lambda message: message.headers["timelimit"][0]),
        ("soft_time_limit", 20, lambda message: message.headers["timelimit"][1]),
        (
            "headers",
            {"tenant": "a"},
            lambda message: {"tenant": message.headers["tenant"]},
        ),
    ],
)
def test_options_are_in_the_message(
    signal: Signal, option: str, value: Any, where: Callable[[Any], object]
) -> None:
    """Celery's options keep their names and their meaning."""
    celery_app = new_celery_app(task_default_queue=f"options.{option}")
    bridge = Bridge(celery_app, secret_key=KEY, on_error="raise")
    bridge.async_receiver(signal, name="bill", **{option: value})(print)
    if option == "queue":
        celery_app.conf.task_default_queue = value

    signal.send()

    (message,) = Broker(celery_app).take()
    assert where(message) == value


@pytest.mark.parametrize(
    "option", [{"countdown": 60}, {"eta": datetime(2030, 1, 1, tzinfo=UTC)}], ids=str
)
def test_message_may_be_for_later(
    bridge: Bridge, broker: Broker, signal: Signal, option: dict[str, Any]
) -> None:
    """A handler may run some time after its event."""
    bridge.async_receiver(signal, name="bill", **option)(print)

    signal.send()

    (message,) = broker.take()
    assert datetime.fromisoformat(message.headers["eta"]) > datetime.now(UTC)


def test_expiry_counts_from_each_send(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """Seconds after which a message is worth nothing begin when it is sent."""
    bridge.async_receiver(signal, name="bill", expires=60)(print)

    signal.send()

    (message,) = broker.take()
    left = datetime.fromisoformat(message.headers["expires"]) - datetime.now(UTC)
    assert 0 < left.total_seconds() <= 60


def test_options_of_a_task_are_the_tasks(bridge: Bridge, celery_app: Celery) -> None:
    """What a worker reads from the task is there for it to read."""
    bridge.async_receiver(Signal(), name="bill", rate_limit="10/m", acks_late=True)(
        print
    )

    task = celery_app.tasks["bill"]

    assert (task.rate_limit, task.acks_late) == ("10/m", True)


def test_failing_handler_is_tried_again(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """Three retries follow a failure; each knows its number, and the event is the same."""
    handler = Failing()
    bridge.async_receiver(signal, name="bill", **AT_ONCE)(handler)

    signal.send()
    run_all(broker)

    assert handler.attempts == [1, 2, 3, 4]
    assert len(handler.ids) == 1


def test_event_keeps_its_headers_when_it_is_tried_again(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """A retry's message has the headers of the first one."""
    handler = Failing()
    bridge.async_receiver(signal, name="bill", headers={"x": "y"}, **AT_ONCE)(handler)

    signal.send()
    run_all(broker)

    (event_id,) = handler.ids
    assert handler.headers == [{"x": "y", "signal_tasks_event": event_id}] * 4


def test_retry_shows_no_payload_either(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """The message of a retry asks for no result and shows none of the arguments."""
    bridge.async_receiver(signal, name="bill", **AT_ONCE)(Failing())
    signal.send(SECRET, card=SECRET)

    broker.run()

    (message,) = broker.take()
    assert message.headers["retries"] == 1
    assert message.headers["ignore_result"] is True
    assert SECRET not in str(message.headers) + str(message.properties)


def test_retries_back_off(bridge: Bridge, broker: Broker, signal: Signal) -> None:
    """By default a retry waits, longer each time, so that what is down can come back."""
    bridge.async_receiver(signal, name="bill", retry_jitter=False)(Failing())
    signal.send()
    waits: list[float] = []

    for _ in range(3):
        broker.run()
        (message,) = broker.take()
        eta = datetime.fromisoformat(message.headers["eta"])
        waits.append(round((eta - datetime.now(UTC)).total_seconds()))
        _put_back(broker, message)

    assert waits == [1, 2, 4]


def _put_back(broker: Broker, message: Any) -> None:
    """Put *message* into the queue as it came out of it."""
    with broker.celery_app.connection_for_write() as connection:
        connection.Producer().publish(
            message.body,
            routing_key=broker.celery_app.conf.task_default_queue,
            headers=message.headers,
            content_type=message.content_type,
            content_encoding=message.content_encoding,
        )


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_number_of_retries_can_be_set(
    bridge: Bridge, broker: Broker, signal: Signal, retries: int
) -> None:
    """max_retries is how often a handler is tried again."""
    handler = Failing()
    bridge.async_receiver(signal, name="bill", max_retries=retries, **AT_ONCE)(handler)

    signal.send()
    run_all(broker)

    assert len(handler.attempts) == retries + 1


@pytest.mark.parametrize(
    ("options", "attempts"),
    [
        ({"autoretry_for": (KeyError,)}, 1),
        ({"autoretry_for": (OSError,)}, 4),
        ({"autoretry_for": ()}, 1),
        ({"dont_autoretry_for": (OSError,)}, 1),
        ({"dont_autoretry_for": [KeyError]}, 4),
    ],
    ids=str,
)
def test_user_says_what_is_tried_again(
    bridge: Bridge,
    broker: Broker,
    signal: Signal,
    options: dict[str, Any],
    attempts: int,
) -> None:
    """Celery's options about which errors to retry hold here, too."""
    handler = Failing(OSError)
    bridge.async_receiver(signal, name="bill", **options, **AT_ONCE)(handler)

    signal.send()
    run_all(broker)

    assert len(handler.attempts) == attempts


def test_refused_envelope_is_not_tried_again(
    bridge: Bridge, celery_app: Celery, broker: Broker
) -> None:
    """No retry would mend what a worker refuses."""
    bridge.async_receiver(Signal(), name="bill", **AT_ONCE)(print)
    celery_app.tasks["bill"].delay("garbage")

    broker.run()

    assert broker.take() == []


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((SECRET,), {}),
        ((SECRET, SECRET), {}),
        ((), {"order": SECRET}),
        ((SECRET,), {"order": SECRET}),
        (({"order": SECRET},), {}),
    ],
    ids=["nothing", "a text", "two texts", "keywords", "both", "a dict"],
)
def test_task_called_by_hand_is_refused(
    bridge: Bridge,
    broker: Broker,
    refused: list[tuple[object, EnvelopeRefused]],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> None:
    """delay() with anything is refused, with the mend and without the thing."""
    ran: list[object] = []
    bridge.async_receiver(Signal(), name="bill")(lambda _, **__: ran.append(1))
    broker.celery_app.tasks["bill"].delay(*args, **kwargs)

    broker.run()

    ((application, details),) = refused
    assert application is broker.celery_app
    assert isinstance(details.error, MalformedEnvelopeError)
    assert "not for delay()" in str(details.error)
    assert SECRET not in str(details.error)
    assert ran == []


def test_refusal_is_not_logged_as_a_crash(
    bridge: Bridge,
    celery_app: Celery,
    broker: Broker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A refusal is our one error in the log; Celery takes it for expected."""
    caplog.set_level(logging.INFO)
    bridge.async_receiver(Signal(), name="bill", throws=(OSError,))(print)
    celery_app.tasks["bill"].apply(args=["garbage"])

    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]

    assert [record.name for record in errors] == ["signal_tasks.consumer"]
    assert OSError in celery_app.tasks["bill"].throws


def test_tasks_own_class_is_kept(signal: Signal) -> None:
    """The Celery app's task class is around the handler, as around every task."""
    seen: list[bool] = []

    class Traced(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            seen.append(is_quiet())
            return self.run(*args, **kwargs)

    celery_app = new_celery_app()
    celery_app.task_cls = Traced
    bridge = Bridge(celery_app, secret_key=KEY, on_error="raise")
    bridge.async_receiver(signal, name="bill")(lambda _: is_quiet())
    signal.send()

    results = Broker(celery_app).run()

    assert isinstance(celery_app.tasks["bill"], Traced)
    assert seen == [True]
    assert results == [False]


def test_handler_runs_eagerly_where_celery_is_told_to(signal: Signal) -> None:
    """With task_always_eager a send runs the handler, with its retries, before it returns."""
    celery_app = new_celery_app(task_always_eager=True)
    bridge = Bridge(celery_app, secret_key=KEY, on_error="raise")
    handler = Failing()
    bridge.async_receiver(signal, name="bill", **AT_ONCE)(handler)

    signal.send("web", order=(1, 2))

    assert handler.attempts == [1, 2, 3, 4]
    assert len(handler.ids) == 1


def test_worker_that_starts_gets_all_tasks(bridge: Bridge, celery_app: Celery) -> None:
    """What took a task away before the worker started does not keep it from running."""
    bridge.async_receiver(Signal(), name="bill")(print)
    del celery_app.tasks["bill"]

    import_modules.send(sender=celery_app)

    assert "bill" in celery_app.tasks


def test_workers_of_two_bridges_get_their_own(bridge: Bridge) -> None:
    """A second bridge in the process serves its workers as the first one does."""
    others_app = new_celery_app()
    other = Bridge(others_app, secret_key=KEY)
    bridge.async_receiver(Signal(), name="bill")(print)
    other.async_receiver(Signal(), name="ship")(print)
    del others_app.tasks["ship"]

    import_modules.send(sender=others_app)

    assert "ship" in others_app.tasks
    assert "bill" not in others_app.tasks


def test_worker_tells_the_vital_signs_of_a_receiver(
    bridge: Bridge, celery_app: Celery, signal: Signal
) -> None:
    """Whoever inspects a worker learns how it knows a receiver."""

    @bridge.async_receiver(signal, name="bill", acks_late=True, time_limit=30)
    def bill(sender: object, user: object) -> None: ...

    state = SimpleNamespace(app=celery_app)
    [answer] = control.registered(state, taskinfoitems=["vital_signs"])
    name, signs = vital_signs.read(answer)

    assert name == "bill"
    assert signs
    assert signs.app == celery_app.main
    assert signs.parameters == "(sender, user)"
    assert signs.fingerprints == Seal([KEY]).fingerprints
    assert signs.acks_late
    assert signs.time_limit == 30
    assert signs.told_at == pytest.approx(time.time(), abs=60)


def test_worker_of_another_app_gets_none(bridge: Bridge) -> None:
    """A worker's Celery app without our host stays as it is."""
    bridge.async_receiver(Signal(), name="bill")(print)
    other = new_celery_app()

    import_modules.send(sender=other)

    assert "bill" not in other.tasks


def test_name_of_a_users_task_is_refused(celery_app: Celery, bridge: Bridge) -> None:
    """A receiver does not silently take the place of a task that others send to."""
    celery_app.task(name="shop.mail", shared=False)(Failing.__init__)

    with pytest.raises(RegistrationError, match=r"a task shop\.mail"):
        bridge.async_receiver(Signal(), name="shop.mail")(print)

    assert list(bridge.registry) == []


class WorkersConsumer:
    """What sends ``task_unknown`` in a worker, as far as it shows."""

    def __init__(self, celery_app: Celery) -> None:
        self.app = celery_app


def receive_unknown(celery_app: Celery, headers: dict[str, object], name: str) -> None:
    """Do what a worker does with a message for a task that it does not know."""
    message = SimpleNamespace(headers=headers)
    task_unknown.send(
        sender=WorkersConsumer(celery_app), message=message, name=name, id="1", exc=None
    )


def test_message_for_an_unknown_receiver_is_refused(
    bridge: Bridge,
    celery_app: Celery,
    refused: list[tuple[object, EnvelopeRefused]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Celery drops a message for a task that it does not know; we say what it means."""
    receive_unknown(celery_app, {"signal_tasks_event": "e1"}, "shop.gone")

    ((application, details),) = refused
    assert application is celery_app
    assert isinstance(details.error, UnknownReceiverError)
    assert details.receiver == "shop.gone"
    assert "Deploy the code" in caplog.text


def test_message_for_an_unknown_task_of_others_is_left_alone(
    bridge: Bridge, celery_app: Celery, refused: list[object]
) -> None:
    """What is no message of ours is no business of ours."""
    receive_unknown(celery_app, {}, "shop.gone")
    receive_unknown(new_celery_app(), {"signal_tasks_event": "e1"}, "shop.gone")

    assert refused == []


def test_message_for_a_known_receiver_is_no_unknown_one(
    bridge: Bridge, celery_app: Celery, refused: list[object]
) -> None:
    """A name that the registry has is not reported as unknown to it."""
    bridge.async_receiver(Signal(), name="bill")(print)

    receive_unknown(celery_app, {"signal_tasks_event": "e1"}, "bill")

    assert refused == []


def test_options_are_split_into_the_tasks_and_the_messages() -> None:
    """Celery reads some options from the task, and takes others with each message."""
    task, message = split_options({"queue": "q", "countdown": 1, "priority": 3})

    assert (task, message) == ({"queue": "q", "priority": 3}, {"countdown": 1})


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("max_retrys", r"Did you mean 'max_retries'\?"),
        ("que", r"Did you mean 'queue'\?"),
        ("count_down", r"Did you mean 'countdown'\?"),
        ("zzz", "such as queue, priority"),
        ("bind", "such as|Did you mean"),
        ("base", "such as|Did you mean"),
        ("serializer", "such as|Did you mean"),
        ("task_id", "such as|Did you mean"),
        ("argsrepr", "such as|Did you mean"),
    ],
)
def test_unknown_option_is_refused_with_a_hint(option: str, hint: str) -> None:
    """What is no option, or none for a receiver, fails where it was written."""
    with pytest.raises(RegistrationError, match=hint) as caught:
        split_options({option: SECRET})

    assert repr(option) in str(caught.value)
    assert SECRET not in str(caught.value)
