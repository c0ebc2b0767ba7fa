"""However ill the broker is, a send ends in time; run it with ``-s`` for the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import pytest

from signal_tasks.dev.servers import free_port
from tests.integration.proxy import Proxy, proxy_to
from tests.integration.servers import (
    RABBITMQ,
    UnreachableError,
    check_broker,
    missing,
)
from tests.integration.sick_brokers import (
    PASSWORD,
    TIMEOUT_SECONDS,
    Outcome,
    RedisProcess,
    Sender,
    black_hole,
    mute_server,
    redis_process,
)

pytestmark = pytest.mark.integration

# For a thread to get its turn on a busy machine, and for a hundred to do so.
SLACK_SECONDS = 1
CROWD_SLACK_SECONDS = 2

THREADS = [pytest.param(1, id="1-thread"), pytest.param(100, id="100-threads")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A broker, and its illness."""

    url: str
    fall_ill: Callable[[], None]
    recover: Callable[[], None]


@contextmanager
def ill_redis(
    fall_ill: Callable[[RedisProcess], None],
    recover: Callable[[RedisProcess], None] = lambda _: None,
) -> Iterator[Patient]:
    """Give a Redis with the illness that is made and mended by the two."""
    with redis_process() as process:
        yield Patient(
            url=process.url,
            fall_ill=partial(fall_ill, process),
            recover=partial(recover, process),
        )


@contextmanager
def silent_redis() -> Iterator[Patient]:
    """Give a Redis whose way to us falls silent."""
    with redis_process() as process, proxy_to(process.url) as proxy:
        yield silenced(proxy)


@contextmanager
def rabbitmq(illness: Callable[[Proxy], Patient]) -> Iterator[Patient]:
    """Give a RabbitMQ whose way to us has an illness."""
    try:
        url = check_broker(RABBITMQ)
    except UnreachableError as error:  # pragma: no cover  # not every machine has one
        missing(error)
    with proxy_to(url) as proxy:
        yield illness(proxy)


def silenced(proxy: Proxy) -> Patient:
    """Return a broker from which nothing comes any more, as after a memory alarm."""
    silence = ExitStack()
    return Patient(
        url=proxy.url,
        fall_ill=lambda: silence.enter_context(proxy.silence()),
        recover=silence.close,
    )


def cut_off(proxy: Proxy) -> Patient:
    """Return a broker that drops all its clients, as when it restarts."""
    return Patient(url=proxy.url, fall_ill=proxy.cut, recover=proxy.cut)


@contextmanager
def refusing_redis() -> Iterator[str]:
    """Give the URL of a Redis with a password that is not the right one."""
    with redis_process() as process:
        yield process.url.replace(PASSWORD, "another-password")


@contextmanager
def refusing_rabbitmq() -> Iterator[str]:
    """Give the URL of a RabbitMQ with a password that is not the right one."""
    with rabbitmq(silenced) as patient:
        yield patient.url.replace("guest:guest@", "guest:another-password@")


@contextmanager
def unused_port() -> Iterator[int]:
    """Give a port where nobody listens."""
    yield free_port()


@contextmanager
def broker_at(
    port: Callable[[], AbstractContextManager[int]], scheme: str
) -> Iterator[str]:
    """Give the URL of a broker that would be at *port*."""
    with port() as number:
        yield f"{scheme}://127.0.0.1:{number}//"


PLACES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "redis-refuses-login": refusing_redis,
    "rabbitmq-refuses-login": refusing_rabbitmq,
    **{
        f"{name}-{place}": partial(broker_at, port, scheme)
        for name, scheme in (("redis", "redis"), ("rabbitmq", "amqp"))
        for place, port in (
            ("is-not-there", unused_port),
            ("is-behind-a-firewall", black_hole),
            ("never-speaks", mute_server),
        )
    },
}
"""Where no send ever works."""

ILLNESSES: dict[str, Callable[[], AbstractContextManager[Patient]]] = {
    "redis-hangs": partial(ill_redis, RedisProcess.hang, RedisProcess.wake),
    "redis-has-no-memory": partial(ill_redis, RedisProcess.fill, RedisProcess.enlarge),
    "redis-is-a-replica": partial(ill_redis, RedisProcess.demote, RedisProcess.promote),
    "redis-ends": partial(ill_redis, RedisProcess.kill, RedisProcess.start),
    "redis-falls-silent": silent_redis,
    "rabbitmq-falls-silent": partial(rabbitmq, silenced),
}
"""What makes each send fail until it is over."""

HICCUPS: dict[str, Callable[[], AbstractContextManager[Patient]]] = {
    "redis-restarts": partial(ill_redis, RedisProcess.restart),
    "redis-drops-clients": partial(ill_redis, RedisProcess.drop_clients),
    "rabbitmq-drops-clients": partial(rabbitmq, cut_off),
}
"""What no send notices."""


def each(cases: Iterable[str]) -> list[object]:
    """Return what parametrizes a test by name."""
    return [pytest.param(name, id=name) for name in cases]


def check(case: str, outcomes: Sequence[Outcome], within_seconds: float) -> None:
    """Make sure that each send ended in time."""
    slowest = max(outcome.seconds for outcome in outcomes)
    failed = sum(outcome.error is not None for outcome in outcomes)
    print(f"\n{case:45} slowest {slowest:.3f} s, {failed} of {len(outcomes)} failed")  # noqa: T201  # the table
    assert slowest < within_seconds + (
        SLACK_SECONDS if len(outcomes) == 1 else CROWD_SLACK_SECONDS
    )


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("place", each(PLACES))
def test_send_to_a_broker_that_is_not_there_ends_in_time(
    place: str, threads: int
) -> None:
    """Where no connection can be made, the first sends pay, and the next ones do not."""
    with PLACES[place]() as url:
        sender = Sender(url)
        first = sender.send_at_once(threads)
        next_one = sender.send()

    check(f"{place}, {threads} first", first, TIMEOUT_SECONDS)
    check(f"{place}, then", [next_one], 0)
    assert all(outcome.error for outcome in (*first, next_one))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize(
    "is_warm", [pytest.param(False, id="cold"), pytest.param(True, id="warm")]
)
@pytest.mark.parametrize("illness", each(ILLNESSES))
def test_send_to_an_ill_broker_ends_in_time(
    illness: str, is_warm: bool, threads: int
) -> None:
    """When the broker falls ill, sends fail in time; when it is well again, they work."""
    with ILLNESSES[illness]() as patient:
        sender = Sender(patient.url)
        if is_warm:
            sender.send_at_once(threads)
            sender.send_until_it_works()

        patient.fall_ill()
        first = sender.send_at_once(threads)
        patient.recover()
        sender.send_until_it_works()
        sender.clean_up()

    check(
        f"{illness}, {threads} {'warm' if is_warm else 'cold'}", first, TIMEOUT_SECONDS
    )
    assert all(outcome.error for outcome in first)


@pytest.mark.parametrize("hiccup", each(HICCUPS))
def test_send_after_a_hiccup_works(hiccup: str) -> None:
    """What is over when the next event is sent costs a new connection, and no event."""
    with HICCUPS[hiccup]() as patient:
        sender = Sender(patient.url)
        sender.send_until_it_works()

        patient.fall_ill()
        outcome = sender.send()
        sender.clean_up()

    check(hiccup, [outcome], TIMEOUT_SECONDS)
    assert outcome.error is None
