"""A worker's consumer: what becomes of messages that Celery would drop or die of."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest
from blinker import Signal
from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.signals import task_rejected
from celery.worker.state import task_ready
from kombu import Queue

from signal_tasks import Bridge, StoreError, envelope_refused
from signal_tasks.dead_letters import DeadLetter
from signal_tasks.tasks.worker_consumer import WorkerConsumer
from tests.in_memory import KEY, new_celery_app


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


class Timer:
    """Keeps what is to be called later."""

    call_at = None

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def call_after(
        self,
        seconds: float,
        function: Callable[..., object],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Keep it."""
        assert seconds >= 0
        self.waiting.append(lambda: function(*args, **(kwargs or {})))


class Slots:
    """Counts the messages that a worker may fetch besides those that run."""

    def __init__(self) -> None:
        self.extra = 0

    def increment_eventually(self) -> None:
        """Allow one more."""
        self.extra += 1

    def decrement_eventually(self) -> None:
        """Allow one less."""
        self.extra -= 1


class Worker:
    """A worker without a pool."""

    def __init__(self, celery_app: Celery, office: Office | None) -> None:
        self.office = office
        self.celery_app = celery_app
        self.signal = Signal()
        self.bridge = Bridge(
            celery_app,
            secret_key=KEY,
            on_error="raise",
            store=SimpleNamespace(dead_letters=office) if office else None,
        )
        self.bridge.async_receiver(self.signal, name="bill")(print)
        self.requests: list[Any] = []
        self.pool_error: Exception | None = None
        self.timer, self.slots = Timer(), Slots()
        self.consumer: Any = WorkerConsumer(
            self.on_request,
            app=celery_app,
            hostname="worker@localhost",
            pool=SimpleNamespace(
                num_processes=1, is_green=False, apply_async=self.apply_async
            ),
            timer=self.timer,
            controller=SimpleNamespace(
                state=SimpleNamespace(revoked=()),
                semaphore=None,
                use_eventloop=False,
            ),
        )
        self.consumer.connection = self.consumer.connection_for_read()
        channel = self.consumer.connection.default_channel
        self.consumer.task_consumer = SimpleNamespace(channel=channel)
        self.consumer.qos = self.slots
        self.consumer.event_dispatcher = None
        self.consumer.update_strategies()
        self.handle = self.consumer.create_task_handler()

    def on_request(self, request: Any) -> None:
        """Do what Celery does with a task: give it to the pool."""
        try:
            request.execute_using_pool(self.consumer.pool)
        except TaskRevokedError:
            self.requests.append("released")

    def apply_async(self, *_: object, **options: Any) -> None:
        """Take a task into the pool."""
        if self.pool_error is not None:
            raise self.pool_error
        self.requests.append(options["correlation_id"])

    def publish(self, payload: object = None, **headers: Any) -> Any:
        """Put a message into the queue, and return it as it comes out."""
        envelope = ['{"v":1}'], {}, {}
        facts = {"task": "bill", "id": "1", **headers}
        name = self.celery_app.conf.task_default_queue
        with self.celery_app.connection_for_write() as connection:
            connection.Producer().publish(
                envelope if payload is None else payload,
                routing_key=name,
                declare=[Queue(name)],
                headers={name: one for name, one in facts.items() if one is not ...},
            )
        channel = self.celery_app.connection_for_read().default_channel
        message: Any = Queue(name, channel=channel).get(accept=["json"])
        return message


@pytest.fixture
def office() -> Office:
    """Return where dead letters are kept."""
    return Office()


@pytest.fixture
def worker(celery_app: Celery, office: Office) -> Worker:
    """Return a worker with a store."""
    return Worker(celery_app, office)


def test_good_message_goes_to_the_pool(worker: Worker, office: Office) -> None:
    """A message that is one runs, and is acknowledged by its task."""
    message = worker.publish()

    worker.handle(message)

    assert worker.requests == ["1"]
    assert not message.acknowledged
    assert office.letters == []


@pytest.mark.parametrize(
    ("payload", "headers"),
    [
        (None, {"id": ...}),
        (None, {"task": ...}),
        (None, {"task": None}),
        (None, {"task": [1]}),
        (None, {"eta": "noon"}),
        (None, {"timelimit": [1]}),
        (17, {}),
        ([1, {}, {}], {}),
        ([[], [], {}], {}),
    ],
    ids=str,
)
def test_malformed_message_is_kept_and_acknowledged(
    worker: Worker, office: Office, payload: object, headers: dict[str, Any]
) -> None:
    """What Celery drops or dies of is a dead letter, and then gone from the broker."""
    message = worker.publish(payload, **headers)

    worker.handle(message)

    (letter,) = office.letters
    assert letter.reason == "UnreadableMessageError"
    assert message.acknowledged


def test_message_that_the_pool_does_not_take_gives_its_place_back(
    worker: Worker, office: Office
) -> None:
    """A message that cannot be given to a process is kept, and others run."""
    worker.pool_error = RecursionError()
    message = worker.publish()

    worker.handle(message)

    assert [letter.receiver for letter in office.letters] == ["bill"]
    assert worker.requests == ["released"]
    assert message.acknowledged


def test_revoked_message_is_nothing_to_keep(worker: Worker, office: Office) -> None:
    """What Celery itself will not run is none of our business."""
    worker.pool_error = TaskRevokedError()

    worker.handle(worker.publish())

    assert worker.requests == ["released"]
    assert office.letters == []


def test_body_that_cannot_be_decoded_is_kept(worker: Worker, office: Office) -> None:
    """Kombu tells of a body that is none, and the message is kept."""
    message = worker.publish()

    worker.consumer.on_decode_error(message, ValueError("what was sent"))

    (letter,) = office.letters
    assert letter.text == '{"v":1}'
    assert message.acknowledged


def test_log_shows_nothing_that_was_sent(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """What is wrong is told, and not with what."""
    worker.consumer.on_decode_error(worker.publish(), ValueError("4111-1111"))

    assert "a message for bill is none" in caplog.text
    assert "ValueError" in caplog.text
    assert "4111" not in caplog.text


def test_celerys_signal_tells_of_what_is_rejected(worker: Worker) -> None:
    """Who listens to Celery's own signal hears of it as before."""
    heard: list[object] = []

    def listen(message: Any, **_: object) -> None:
        heard.append(message)

    task_rejected.connect(listen)
    messages = [worker.publish(17, task=...), worker.publish(eta="noon")]
    try:
        for message in messages:
            worker.handle(message)
    finally:
        task_rejected.disconnect(listen)

    assert heard == messages


def test_connection_that_is_lost_is_celerys_business(worker: Worker) -> None:
    """Errors of the connection come out, so that Celery connects again."""
    worker.pool_error = ConnectionError()
    message = worker.publish()

    with pytest.raises(ConnectionError):
        worker.handle(message)

    assert not message.acknowledged


# -- a store that does not take it


def test_message_stays_with_the_broker_until_it_is_kept(
    worker: Worker, office: Office
) -> None:
    """It is tried again later, and takes no other's place meanwhile."""
    office.error = StoreError("the disk is full")
    message = worker.publish(task=...)

    worker.handle(message)
    worker.timer.waiting.pop()()

    assert not message.acknowledged
    assert worker.slots.extra == 1
    office.error = None
    worker.timer.waiting.pop()()
    assert message.acknowledged
    assert worker.slots.extra == 0
    assert len(office.letters) == 1


# -- unknown tasks


def test_unknown_receiver_is_kept_before_it_is_acknowledged(
    worker: Worker, office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """An event for a receiver that is not there is told of without what it holds."""
    refused: list[str] = []
    message = worker.publish(task="gone", signal_tasks_event="e1")

    with envelope_refused.connected_to(
        lambda _, details: refused.append(details.receiver)
    ):
        worker.handle(message)

    assert [letter.reason for letter in office.letters] == ["UnknownReceiverError"]
    assert refused == ["gone"]
    assert message.acknowledged
    assert '{"v"' not in caplog.text


def test_unknown_receiver_waits_for_a_store(worker: Worker, office: Office) -> None:
    """What is not kept yet is not acknowledged either."""
    office.error = StoreError("the disk is full")
    message = worker.publish(task="gone", signal_tasks_event="e1")

    worker.handle(message)

    assert not message.acknowledged


def test_unknown_task_of_others_is_celerys_business(
    worker: Worker, office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """A task that is none of ours ends as Celery ends it."""
    message = worker.publish(task="gone")

    worker.handle(message)

    assert "Received unregistered task" in caplog.text
    assert office.letters == []
    assert message.acknowledged


# -- without a store, or receivers


def test_without_a_store_the_log_tells(
    celery_app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nothing is kept, the worker goes on all the same."""
    worker = Worker(celery_app, None)
    message = worker.publish(task=...)

    worker.handle(message)

    assert "a message for (unreadable) is none" in caplog.text
    assert message.acknowledged


def test_worker_without_receivers_is_as_celerys(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """Where there is no receiver there is no store to ask."""
    worker.celery_app.tasks.pop("bill")
    message = worker.publish(task="gone", signal_tasks_event="e1")

    worker.handle(message)

    assert "Received unregistered task" in caplog.text


# -- errors at the connection


def test_acknowledgement_of_a_closed_connection_is_survived(worker: Worker) -> None:
    """Celery 5.7.0 ends the worker when it finds the connection of a message closed."""
    message = worker.publish()
    worker.handle(message)
    message.channel.basic_ack = None

    assert message.ack_log_error(None, ()) is None


def reading(worker: Worker, *errors: Exception | None) -> list[str]:
    """Return how reading from the connection ends, once for each of *errors*."""
    ends: list[str] = []
    left = list(errors)

    def read() -> str:
        error = left.pop(0)
        if error is not None:
            raise error
        return "read"

    survive = worker.consumer._surviving(read, at_most=3)
    for _ in errors:
        try:
            ends.append(survive() or "survived")
        except Exception as error:  # noqa: BLE001
            ends.append(type(error).__name__)
    return ends


def test_what_cannot_be_read_is_survived(worker: Worker) -> None:
    """A strange message on the control channel is gone, and the next one is read."""
    strange = AttributeError()

    assert reading(worker, strange, strange, None, strange) == [
        "survived",
        "survived",
        "read",
        "survived",
    ]


def test_connection_that_cannot_be_read_at_all_is_lost(worker: Worker) -> None:
    """When nothing comes but errors, Celery is to connect again."""
    strange = AttributeError()

    assert reading(worker, strange, strange, strange)[-1] == "ConnectionError"


def test_lost_connection_is_told(worker: Worker) -> None:
    """An error of the connection itself comes out."""
    lost = worker.consumer.connection_errors[0]

    assert reading(worker, lost()) == [lost.__name__]


# -- Redis


def test_channel_of_redis_is_prepared(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no message does not get as far as kombu, which keeps its client."""
    commands: list[str] = []
    client = SimpleNamespace(
        set_response_callback=lambda command, _: commands.append(command)
    )
    channel = SimpleNamespace(client=client, Client=print)
    transport = SimpleNamespace(driver_type="redis")
    consumer = worker.consumer
    monkeypatch.setattr(consumer, "connection", SimpleNamespace(transport=transport))
    monkeypatch.setattr(consumer, "task_consumer", SimpleNamespace(channel=channel))

    consumer.create_task_handler()

    assert commands == ["BRPOP"]
    assert channel.Client is not print


@pytest.mark.parametrize(
    ("chosen", "seconds"),
    [({}, 5), ({"socket_timeout": 1}, 1), ({"polling_interval": 9}, None)],
    ids=str,
)
def test_redis_that_says_nothing_is_left(
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    chosen: dict[str, object],
    seconds: float | None,
) -> None:
    """Each wait of the consumer has an end, unless the user has set it otherwise."""
    celery_app = new_celery_app(
        broker_url="redis://127.0.0.1:1/0", broker_transport_options=chosen
    )
    monkeypatch.setattr(worker.consumer, "app", celery_app)
    monkeypatch.setattr(worker.consumer, "ensure_connected", lambda one: one)

    connection = worker.consumer.connection_for_read()

    assert connection.transport_options.get("socket_timeout") == seconds
    assert connection.transport.on_readable.__name__ == "survive"
    assert connection.close.__name__ == "survive"
    assert worker.consumer._keep_entry("garbage", ValueError())


@pytest.mark.parametrize("is_current", [True, False], ids=["current", "former"])
def test_lost_acknowledgement_makes_the_connection_anew(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, is_current: bool
) -> None:
    """One that fails would be a place that is never free; not so on a former channel."""
    message = worker.publish()
    worker.handle(message)
    if is_current:
        worker.consumer.task_consumer.channel = message.channel

    def fail(**_: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(message, "ack", fail)
    message.ack_log_error(logging.getLogger(__name__), (ConnectionResetError,))

    assert len(worker.timer.waiting) == is_current
    for call in worker.timer.waiting:
        with pytest.raises(ConnectionResetError):
            call()


@pytest.mark.parametrize(
    ("given", "count"), [(4, 2), (3, 6), (0, 0)], ids=["nothing", "three", "no limit"]
)
def test_prefetch_is_ours_unless_it_is_given(
    celery_app: Celery, given: int, count: int
) -> None:
    """Celery's command reads the setting too early, and gives its own default."""
    celery_app.conf.worker_prefetch_multiplier = 1

    consumer: Any = WorkerConsumer(
        print,
        app=celery_app,
        pool=SimpleNamespace(num_processes=2, is_green=False),
        controller=SimpleNamespace(use_eventloop=False),
        timer=Timer(),
        initial_prefetch_count=2 * given,
        prefetch_multiplier=given,
    )

    assert consumer.initial_prefetch_count == count


# -- what is left behind


def test_message_that_is_settled_holds_nothing_of_itself(worker: Worker) -> None:
    """Else it would stay until Python looks through all that there is."""
    message = worker.publish()
    before = dict(vars(message))

    worker.handle(message)
    message.ack_log_error(logging.getLogger(), ())

    assert message.acknowledged
    assert vars(message) == before


def test_request_that_runs_holds_nothing_of_itself(worker: Worker) -> None:
    """When the pool has done with it, it is gone."""
    given: list[ref[Any]] = []

    def take(*_: object, accept_callback: Any, **__: object) -> None:
        request = accept_callback.__self__
        given.append(ref(request))
        task_ready(request)

    worker.consumer.pool.apply_async = take
    worker.consumer.update_strategies()
    gc.disable()
    try:
        worker.consumer.create_task_handler()(worker.publish())
    finally:
        gc.enable()

    assert [request() for request in given] == [None]


def test_limits_are_kept_out_of_the_timer(worker: Worker) -> None:
    """In a worker with an event loop, whose timer would keep what has ended."""
    timer: Any = SimpleNamespace(call_after=print, clear=print)

    WorkerConsumer(
        print,
        app=worker.celery_app,
        pool=worker.consumer.pool,
        controller=worker.consumer.controller,
        hub=SimpleNamespace(timer=timer),
    )

    assert timer.call_after is not print
