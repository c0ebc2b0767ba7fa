"""The warm-up of a process beside its first request."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from blinker import Signal
from celery import Celery
from flask import Flask, request_started

from signal_tasks import Bridge
from signal_tasks.bridge import default_bridge
from signal_tasks.flask.warming import THREAD, WarmUp
from signal_tasks.publisher.celery_publisher import CeleryPublisher
from tests.in_memory import celery_settings, new_app

PATIENCE_SECONDS = 20


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Let no receiver of the demo hear of the requests, for it listens to all apps."""
    with default_bridge.disconnected():
        yield


@pytest.fixture
def shop() -> Flask:
    """Return an app without SignalTasks."""
    return Flask("shop")


@pytest.fixture
def warmed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[threading.Thread]]:
    """Return the threads in which publishers warm up, which goes on all the same."""
    threads: list[threading.Thread] = []
    warm_up = CeleryPublisher.warm_up

    def note(publisher: CeleryPublisher) -> None:
        threads.append(threading.current_thread())
        warm_up(publisher)

    monkeypatch.setattr(CeleryPublisher, "warm_up", note)
    yield threads
    await_threads()


def await_threads() -> None:
    """Wait until nothing warms up any more."""
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()


def ask(app: Flask, path: str = "/") -> None:
    """Make a request, for a page that is not there, and wait for what warms up."""
    app.test_client().get(path)
    await_threads()


def waits(app: Flask) -> bool:
    """Tell whether a warm-up waits for a request of *app*."""
    listening = request_started.receivers_for(app)
    return any(isinstance(getattr(one, "__self__", None), WarmUp) for one in listening)


def serving(**config: object) -> Flask:
    """Return an app that is no test's, with one receiver."""
    bridge = Bridge()
    bridge.async_receiver(Signal(), name="bill")(print)
    return new_app(bridge, **{"TESTING": False, **config})


def test_first_request_has_the_process_warmed_up(
    warmed: list[threading.Thread],
) -> None:
    """A thread that does not hold up the process's end warms up, whatever is asked for."""
    app = serving()

    ask(app)

    (thread,) = warmed
    assert (thread.name, thread.daemon) == (THREAD, True)
    assert thread is not threading.current_thread()


def test_later_requests_warm_up_nothing(warmed: list[threading.Thread]) -> None:
    """It happens once, and no later request has anything to ask about it."""
    app = serving()
    waited = waits(app)
    ask(app)

    ask(app)

    assert len(warmed) == 1
    assert (waited, waits(app)) == (True, False)


def test_each_app_has_its_own(warmed: list[threading.Thread]) -> None:
    """The first request of one app says nothing about the broker of another."""
    shop, bank = serving(), serving()
    ask(shop)

    ask(bank)

    assert len(warmed) == 2


@pytest.mark.parametrize(
    "config",
    [
        {"TESTING": True},
        {"CELERY": celery_settings(task_always_eager=True)},
        {"SIGNAL_TASKS_WARM_UP": False},
    ],
    ids=["testing", "eager", "switched off"],
)
def test_nothing_is_warmed_up_where_it_does_not_help(
    warmed: list[threading.Thread], config: dict[str, object]
) -> None:
    """Tests, programs that need no broker, and users who do not want it have no thread."""
    ask(serving(**config))

    assert warmed == []


def test_nothing_is_warmed_up_without_receivers(
    warmed: list[threading.Thread],
) -> None:
    """An app that sends nothing needs no broker."""
    ask(new_app(Bridge(), TESTING=False))

    assert warmed == []


def test_testing_may_be_switched_on_later(warmed: list[threading.Thread]) -> None:
    """Tests configure the app that a factory has made."""
    app = serving()
    app.testing = True

    ask(app)

    assert warmed == []


def test_celery_app_of_the_first_request_is_warmed_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What counts is the Celery app that the app has then, and not at first."""
    apps: list[Celery] = []
    monkeypatch.setattr(
        CeleryPublisher, "warm_up", lambda publisher: apps.append(publisher._celery_app)
    )
    app = serving()
    app.extensions["celery"] = another = Celery("another", set_as_current=False)

    ask(app)

    assert apps == [another]


def test_of_many_requests_at_once_one_is_the_first(shop: Flask) -> None:
    """Two threads that serve their first requests side by side start one warm-up."""
    at_once = threading.Barrier(2)
    runs: list[None] = []
    warm_up = WarmUp(shop, lambda: lambda: runs.append(None))

    def begin() -> None:
        at_once.wait(PATIENCE_SECONDS)
        warm_up._begin(shop)

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(begin) for _ in range(2)]:
            done.result()
    await_threads()

    assert runs == [None]


def fail() -> None:
    """Fail as nothing should."""
    raise ZeroDivisionError


def test_failing_thread_is_logged(
    shop: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes wrong in the thread ends there, and the log tells it."""
    warm_up = WarmUp(shop, lambda: fail)

    ask(shop)

    assert "was not warmed up" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    del warm_up


def test_failing_question_is_logged(
    shop: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """The request knows nothing of a warm-up that cannot begin."""
    warm_up = WarmUp(shop, fail)

    assert shop.test_client().get("/").status_code == 404

    assert "ZeroDivisionError" in caplog.text
    del warm_up


def test_system_without_threads_is_logged(
    shop: Flask, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread can be had, the first event takes longer, and that is all."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    warm_up = WarmUp(shop, lambda: fail)

    assert shop.test_client().get("/").status_code == 404

    assert "can't start new thread" in caplog.text
    del warm_up


def test_nobody_keeps_it_but_who_made_it(shop: Flask) -> None:
    """What listens for the request goes with its app, for test suites make many."""
    warm_up = WarmUp(shop, fail)
    waited = waits(shop)

    del warm_up
    gc.collect()

    assert (waited, waits(shop)) == (True, False)
