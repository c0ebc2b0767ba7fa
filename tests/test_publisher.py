"""From envelopes to the broker, also where that is ill."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from amqp.exceptions import (
    AccessRefused,
    ConnectionForced,
    MessageNacked,
    PreconditionFailed,
)
from blinker import Signal
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from signal_tasks import Bridge, DispatchError, NotSentError, PublishError
from signal_tasks.dev.broker import running_broker
from signal_tasks.publisher.breaker import FIRST_PAUSE_SECONDS
from signal_tasks.publisher.formats import Formats
from signal_tasks.publisher.line import Line
from signal_tasks.publisher.lines import CrowdedError, Lines
from tests.in_memory import KEY, Broker, new_celery_app
from tests.test_recipes import watched

# Far above what the publisher is given, and far below its libraries' own patience.
PATIENCE_SECONDS = 4

SECRET = "4111-1111-1111-1111"


@pytest.fixture(scope="module")
def redis_url() -> Generator[str]:
    """Return the URL of a real broker that is ours alone."""
    with running_broker() as broker:
        yield broker.url


@contextmanager
def listening(*, backlog: int = 8) -> Generator[int]:
    """Give a port where connections are accepted by the system, and by nobody else."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as listener:
        yield int(listener.getsockname()[1])


@contextmanager
def within_patience() -> Generator[None]:
    """Make sure that what runs inside does not wait for a sick broker."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < PATIENCE_SECONDS


def connect(
    celery_app: Celery, signal: Signal, *, timeout_seconds: float = 0.2
) -> Bridge:
    """Connect a receiver whose failures raise, and soon; the signal keeps its bridge."""
    bridge = Bridge(
        celery_app,
        secret_key=KEY,
        on_error="raise",
        publish_timeout_seconds=timeout_seconds,
    )
    bridge.async_receiver(signal, name="bill")(print)
    return bridge


def test_messages_leave_in_order(
    bridge: Bridge, broker: Broker, signal: Signal
) -> None:
    """The messages of an event are in the queue in the receivers' order."""
    for name in ("b", "a", "c"):
        bridge.async_receiver(signal, name=name)(print)

    signal.send()
    signal.send()

    assert broker.names() == ["b", "a", "c", "b", "a", "c"]


def test_no_envelopes_need_no_broker() -> None:
    """Publishing nothing does nothing, also without a broker."""
    celery_app = new_celery_app(broker_url="redis://127.0.0.1:1/0")
    publisher = Bridge().publisher(celery_app, 0.2)

    publisher.publish([])


@pytest.mark.parametrize("transport", ["redis", "amqp"])
def test_refused_connection_is_an_error(signal: Signal, transport: str) -> None:
    """Where nobody listens, the error names the address and the mend, and comes soon."""
    with listening() as port:
        pass
    url = f"{transport}://shop:{SECRET}@127.0.0.1:{port}//"
    connect(new_celery_app(broker_url=url), signal)

    with within_patience(), pytest.raises(PublishError, match="broker_url") as caught:
        signal.send()

    assert f"127.0.0.1:{port}" in str(caught.value)
    assert caught.value.receivers == ("bill",)
    assert caught.value.receiver == "bill"
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("transport", ["redis", "amqp"])
def test_broker_that_never_answers_is_an_error(signal: Signal, transport: str) -> None:
    """A broker that takes the connection and then hangs is given up on."""
    with listening() as port:
        url = f"{transport}://127.0.0.1:{port}//"
        connect(new_celery_app(broker_url=url), signal)

        with within_patience(), pytest.raises(PublishError):
            signal.send()


@pytest.mark.parametrize("transport", ["redis", "amqp"])
def test_broker_that_takes_no_connection_is_an_error(
    signal: Signal, transport: str
) -> None:
    """A host that drops what is sent to it, as a firewall does, is given up on, too."""
    with listening(backlog=0) as port, contextmanager(_filled)(port):
        url = f"{transport}://127.0.0.1:{port}//"
        connect(new_celery_app(broker_url=url), signal)

        with within_patience(), pytest.raises(PublishError):
            signal.send()


def _filled(port: int) -> Generator[None]:
    """Fill the queue of connections at *port*, so that the system drops further ones."""
    waiting = [socket.socket() for _ in range(4)]
    try:
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield
    finally:
        for one in waiting:
            one.close()


def test_unknown_transport_is_an_error_of_ours(signal: Signal) -> None:
    """A broker_url that makes no sense is an error at send, with its cause."""
    connect(new_celery_app(broker_url="pigeon://127.0.0.1"), signal)

    with pytest.raises(DispatchError) as caught:
        signal.send()

    assert isinstance(caught.value.__cause__, KeyError)


def test_lost_connection_is_made_again(signal: Signal, redis_url: str) -> None:
    """After the broker has dropped our connections, the next event just leaves."""
    celery_app = new_celery_app(broker_url=redis_url)
    connect(celery_app, signal, timeout_seconds=PATIENCE_SECONDS)
    signal.send()

    with redis.Redis.from_url(redis_url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    signal.send()

    assert Broker(celery_app).names() == ["bill", "bill"]


def test_events_leave_again_after_a_hang(signal: Signal, redis_url: str) -> None:
    """A broker that hung is as good as before once it is back."""
    celery_app = new_celery_app(broker_url=redis_url)
    connect(celery_app, signal, timeout_seconds=0.8)
    signal.send()
    with redis.Redis.from_url(redis_url) as client:
        client.client_pause(1200)
        with within_patience(), pytest.raises(PublishError):
            signal.send()
        client.ping()  # answered when the pause is over
        client.client_pause(int(1000 * FIRST_PAUSE_SECONDS))
        client.ping()
    Broker(celery_app).take()
    signal.send()

    assert Broker(celery_app).names() == ["bill"]


def fail_at(celery_app: Celery, name: str, error: BaseException) -> None:
    """Let each message of one receiver fail with *error*."""

    def fail(**_: object) -> None:
        raise error

    celery_app.tasks[name].apply_async = fail


@pytest.mark.parametrize(
    "error",
    [OperationalError(), ConnectionForced("shutdown"), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
def test_error_counts_what_is_left(signal: Signal, error: Exception) -> None:
    """When the broker fails, what was sent before is on its way, and the rest is not."""
    celery_app = new_celery_app()
    bridge = connect(celery_app, signal)
    for name in ("pack", "ship"):
        bridge.async_receiver(signal, name=name)(print)
    fail_at(celery_app, "pack", error)

    with pytest.raises(PublishError) as caught:
        signal.send()

    assert caught.value.receivers == ("pack", "ship")
    assert caught.value.unsent == ("pack", "ship")
    assert {name for _, name in caught.value.events or ()} == {"pack", "ship"}
    assert caught.value.is_outage
    assert caught.value.receiver == "pack, ship"
    assert Broker(celery_app).names() == ["bill"]


@pytest.mark.parametrize(
    "error",
    [AccessRefused("no rights"), PreconditionFailed("queue"), MessageNacked()],
    ids=lambda error: type(error).__name__,
)
def test_refused_queue_stops_no_other(signal: Signal, error: Exception) -> None:
    """What the broker refuses of one receiver is no outage, and the others leave."""
    celery_app = new_celery_app()
    bridge = connect(celery_app, signal)
    for name in ("pack", "ship"):
        bridge.async_receiver(signal, name=name)(print)
    fail_at(celery_app, "pack", error)

    for _ in range(2):
        with pytest.raises(PublishError, match="broker refused it") as caught:
            signal.send()

    assert caught.value.receivers == caught.value.unsent == ("pack",)
    assert {name for _, name in caught.value.events or ()} == {"pack"}
    assert not caught.value.is_outage
    assert Broker(celery_app).names() == ["bill", "ship"] * 2


def test_error_of_another_signal_is_no_outage(signal: Signal) -> None:
    """When Celery's signals lead to a send that fails, this broker is not to blame."""
    celery_app = new_celery_app()
    bridge = connect(celery_app, signal)
    bridge.async_receiver(signal, name="pack")(print)
    fail_at(celery_app, "bill", PublishError("elsewhere", receivers=("far",)))

    with pytest.raises(PublishError, match="made no message") as caught:
        signal.send()

    assert caught.value.receivers == ("bill",)
    assert Broker(celery_app).names() == ["pack"]


def test_interrupted_send_leaves_nothing_behind(signal: Signal) -> None:
    """Ctrl-C in the middle of a send goes through, and the next send works."""
    celery_app = new_celery_app()
    connect(celery_app, signal)
    publish = celery_app.tasks["bill"].apply_async
    fail_at(celery_app, "bill", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        signal.send()
    celery_app.tasks["bill"].apply_async = publish

    signal.send()

    assert Broker(celery_app).names() == ["bill"]


def test_next_address_is_tried(signal: Signal, redis_url: str) -> None:
    """Of several addresses of a broker, one that does not answer costs a little time."""
    with listening() as port:
        pass
    urls = f"redis://127.0.0.1:{port}/0;{redis_url}"
    connect(new_celery_app(broker_url=urls), signal, timeout_seconds=PATIENCE_SECONDS)

    results = signal.send()

    assert len(results) == 1


def test_url_that_makes_no_sense_is_no_outage(signal: Signal) -> None:
    """A mistake in the broker's URL is told each time, with its cause."""
    connect(new_celery_app(broker_url="redis://127.0.0.1/shop"), signal)

    for _ in range(2):
        with pytest.raises(DispatchError) as caught:
            signal.send()

    assert isinstance(caught.value.__cause__, ValueError)


def test_publishes_fail_at_once_after_one_has_failed(signal: Signal) -> None:
    """In an outage one send waits for the broker, and those after it do not."""
    with listening() as port:
        celery_app = new_celery_app(broker_url=f"redis://127.0.0.1:{port}//")
        connect(celery_app, signal, timeout_seconds=0.2)
        with pytest.raises(PublishError, match="did not take"):
            signal.send()

        with pytest.raises(PublishError, match="was not asked") as caught:
            signal.send()

    assert caught.value.unsent == ("bill",)


def test_wrong_option_is_no_outage(signal: Signal) -> None:
    """What Celery makes no message of says nothing about the broker."""
    celery_app = new_celery_app()
    bridge = connect(celery_app, signal)
    bridge.async_receiver(signal, name="pack", countdown="soon")(print)

    for _ in range(2):
        with pytest.raises(PublishError, match="made no message") as caught:
            signal.send()

    assert caught.value.unsent == ()
    assert Broker(celery_app).names() == ["bill", "bill"]


def test_wrong_option_of_one_receiver_stops_no_other(signal: Signal) -> None:
    """Where Celery makes no message of one envelope, the others leave all the same."""
    celery_app = new_celery_app()
    bridge = connect(celery_app, signal)
    bridge.async_receiver(signal, name="pack", countdown="soon")(print)
    bridge.async_receiver(signal, name="ship")(print)

    with pytest.raises(PublishError, match="Mend the receiver's options") as caught:
        signal.send()

    assert caught.value.receivers == ("pack",)
    assert sorted(Broker(celery_app).names()) == ["bill", "ship"]


def test_queue_that_cannot_be_made_stops_no_other_receiver(signal: Signal) -> None:
    """A queue that fails on our side, before the broker sees it, is no outage."""

    def fail(*_: object) -> None:
        raise ValueError

    queues = [Queue("celery"), Queue("odd", on_declared=fail)]
    celery_app = new_celery_app(task_queues=queues)
    bridge = connect(celery_app, signal)
    bridge.async_receiver(signal, name="pack", queue="odd")(print)
    bridge.async_receiver(signal, name="ship")(print)

    with pytest.raises(PublishError, match="made no message") as caught:
        signal.send()

    assert caught.value.receivers == ("pack",)
    assert Broker(celery_app).names() == ["bill", "ship"]


def test_threads_share_the_pool(signal: Signal, redis_url: str) -> None:
    """More threads than connections publish at once, and each message arrives."""
    celery_app = new_celery_app(broker_url=redis_url, broker_pool_limit=2)
    connect(celery_app, signal, timeout_seconds=10)

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(signal.send, range(40)))

    assert len(Broker(celery_app).take()) == 40


def test_send_inside_a_send_has_a_line_of_its_own(signal: Signal) -> None:
    """However small Celery's pool is, nobody waits for a connection that is in use."""
    celery_app = new_celery_app(broker_pool_limit=1)
    bridge = connect(celery_app, signal)

    @bridge.async_receiver(signal, name="second")
    def second(sender: object) -> None:
        """Stand for a handler whose message is sent while another is."""

    task = celery_app.tasks["second"]
    publish = task.apply_async

    def publish_after_another(**options: object) -> None:
        with bridge.disconnected(second):
            signal.send()
        publish(**options)

    task.apply_async = publish_after_another

    signal.send()

    assert Broker(celery_app).names() == ["bill", "bill", "second"]


@pytest.mark.parametrize("limit", [0, None, 3])
def test_any_pool_limit_of_celery_will_do(signal: Signal, limit: int | None) -> None:
    """Celery's setting for no limit at all means none here, too."""
    celery_app = new_celery_app(broker_pool_limit=limit)
    connect(celery_app, signal)

    signal.send()

    assert Broker(celery_app).names() == ["bill"]


def test_users_shorter_bound_wins(signal: Signal) -> None:
    """Who gives the transport less time than the publisher has, gets that."""
    with listening() as port:
        celery_app = new_celery_app(
            broker_url=f"redis://127.0.0.1:{port}/0",
            broker_transport_options={"socket_timeout": 0.1},
        )
        connect(celery_app, signal, timeout_seconds=60)

        with within_patience(), pytest.raises(PublishError):
            signal.send()


def test_users_longer_bound_does_not_count(signal: Signal) -> None:
    """A timeout that was meant for workers does not hold up a request."""
    with listening() as port:
        celery_app = new_celery_app(
            broker_url=f"redis://127.0.0.1:{port}/0",
            broker_transport_options={"socket_timeout": 60},
        )
        connect(celery_app, signal)

        with within_patience(), pytest.raises(PublishError):
            signal.send()


def test_publisher_leaves_no_open_connection(signal: Signal, redis_url: str) -> None:
    """A publisher that nobody needs any more takes its connections with it."""
    bridge = connect(
        new_celery_app(broker_url=redis_url), signal, timeout_seconds=PATIENCE_SECONDS
    )
    signal.send()
    bridge.disconnect("bill")
    # Otherwise it is chance whether a socket's end comes before its owner's: the
    # collector takes the youngest of what it finds before what is a little older.
    gc.collect()

    with redis.Redis.from_url(redis_url) as client:
        before = len(client.client_list())
        del bridge
        gc.collect()
        after = len(client.client_list())

    assert after < before


FORKING = """
import os, sys
from blinker import Signal
from celery import Celery
from signal_tasks import Bridge

celery_app = Celery("tests", broker=sys.argv[1])
celery_app.conf.task_default_queue = sys.argv[2]
bridge = Bridge(celery_app, secret_key="key", on_error="raise")
signal = Signal()
bridge.async_receiver(signal, name="bill")(print)

signal.send("parent")
child = os.fork()
if not child:
    signal.send("child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
signal.send("parent")
"""


def test_forked_child_has_connections_of_its_own(redis_url: str) -> None:
    """Parent and child of a fork, as pre-forking servers make, publish side by side."""
    celery_app = new_celery_app(broker_url=redis_url)
    queue = celery_app.conf.task_default_queue

    subprocess.run(
        [sys.executable, "-c", FORKING, redis_url, queue],
        check=True,
        cwd=Path(__file__).parent.parent,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )

    assert Broker(celery_app).names() == ["bill"] * 3


def test_warmed_up_process_sends_over_a_connection_that_is_there(
    signal: Signal, redis_url: str
) -> None:
    """After a warm-up the first event makes no connection, and asks for nothing."""
    celery_app = new_celery_app(broker_url=redis_url)
    bridge = connect(celery_app, signal, timeout_seconds=PATIENCE_SECONDS)
    publisher = bridge.publisher(celery_app, PATIENCE_SECONDS)
    publisher.warm_up()
    with redis.Redis.from_url(redis_url) as client:
        before = client.info("stats")["total_connections_received"]
        commands = client.info("commandstats")

        publisher.publish(bridge.rehearse(signal, None, {})[0])

        assert client.info("stats")["total_connections_received"] == before
        after = client.info("commandstats")
    assert after["cmdstat_lpush"]["calls"] == commands["cmdstat_lpush"]["calls"] + 1
    assert after.get("cmdstat_sadd") == commands.get("cmdstat_sadd")
    assert Broker(celery_app).names() == ["bill"]


def test_warm_up_sends_nothing(signal: Signal) -> None:
    """To warm up is no event."""
    celery_app = new_celery_app()
    bridge = connect(celery_app, signal)

    bridge.publisher(celery_app, 1).warm_up()

    assert Broker(celery_app).take() == []


def test_warm_up_without_a_broker_is_logged(
    signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    """A web server starts before its broker, too."""
    with listening() as port:
        pass
    celery_app = new_celery_app(broker_url=f"redis://:{SECRET}@127.0.0.1:{port}/0")
    bridge = connect(celery_app, signal)

    bridge.publisher(celery_app, 0.2).warm_up()

    assert f"127.0.0.1:{port}/0 is not there yet (ConnectionError)" in caplog.text
    assert SECRET not in caplog.text


def test_warm_up_with_an_ill_broker_is_logged(
    signal: Signal, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes wrong after the connection is made is no error either."""
    celery_app = new_celery_app(broker_url=redis_url)
    bridge = connect(celery_app, signal)
    with redis.Redis.from_url(redis_url) as client:
        client.replicaof("127.0.0.1", 1)

        bridge.publisher(celery_app, PATIENCE_SECONDS).warm_up()
        client.replicaof("NO", "ONE")

    assert "(ReadOnlyError)" in caplog.text


def test_warm_up_leaves_messages_that_are_watched_to_celery(signal: Signal) -> None:
    """Where somebody watches Celery make messages there is nothing to learn."""
    celery_app = new_celery_app()
    bridge = connect(celery_app, signal)

    with watched() as seen:
        bridge.publisher(celery_app, 1).warm_up()

    assert seen == []


def test_warm_up_that_fails_keeps_no_line(
    signal: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no fault of the broker's is raised, and leaves no line in use."""

    def fail(_: Formats, __: Line) -> None:
        raise ZeroDivisionError

    celery_app = new_celery_app()
    publisher = connect(celery_app, signal).publisher(celery_app, 1)
    monkeypatch.setattr(Formats, "prepare", fail)

    with pytest.raises(ZeroDivisionError):
        publisher.warm_up()

    assert not publisher._way().lines._in_use


def test_warm_up_that_sends_crowd_out_is_none(
    signal: Signal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where sends use all the lines all the time, the process is warm."""

    def refuse(_: Lines, __: float) -> None:
        raise CrowdedError

    celery_app = new_celery_app()
    bridge = connect(celery_app, signal)
    monkeypatch.setattr(Lines, "take_spare", refuse)

    bridge.publisher(celery_app, 1).warm_up()

    assert caplog.text == ""


def test_crowd_is_no_outage(signal: Signal, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there are too many threads for the time, the next send is tried as well."""
    celery_app = new_celery_app()
    connect(celery_app, signal)

    def refuse(_: Lines, __: float) -> None:
        raise CrowdedError

    with monkeypatch.context() as patch:
        patch.setattr(Lines, "take", refuse)
        with pytest.raises(PublishError, match="too many threads"):
            signal.send()
    signal.send()

    assert Broker(celery_app).names() == ["bill"]


def test_message_that_may_be_lost_says_so(signal: Signal) -> None:
    """What the user has chosen to be lost without a word goes to Celery like that."""
    celery_app = new_celery_app()
    bridge = Bridge(celery_app, secret_key=KEY, on_error="raise")
    bridge.async_receiver(signal, name="bill", mandatory=False, countdown=1)(print)

    signal.send()

    assert Broker(celery_app).names() == ["bill"]


@pytest.mark.parametrize("error", [ValueError(), NotSentError()], ids=["any", "ours"])
def test_error_of_an_eager_handler_is_the_senders(
    signal: Signal, error: Exception
) -> None:
    """With Celery told to be eager and to propagate, a handler's error is heard of."""
    celery_app = new_celery_app(task_always_eager=True, task_eager_propagates=True)
    bridge = Bridge(celery_app, secret_key=KEY, on_error="raise")

    @bridge.async_receiver(signal, name="bill", max_retries=0)
    def bill(sender: object) -> None:
        raise error

    with pytest.raises((PublishError, NotSentError)) as caught:
        signal.send()

    assert error in (caught.value, caught.value.__cause__)
