"""Brokers that are missing, cut off or silent, seen from the sender's side."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask

from signal_tasks import PublishError
from signal_tasks.dev.servers import free_port
from signal_tasks.publisher.breaker import FIRST_PAUSE_SECONDS
from tests.integration.proxy import Proxy, proxy_to
from tests.integration.shop import create_app, signals
from tests.integration.stack import Stack, close_connections, publications

pytestmark = pytest.mark.integration

TIMEOUT_SECONDS = 0.7

# For a process to get its turn on a busy machine; without a timeout, a send takes minutes.
SLACK_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The sending side of a stack, whose way to the broker can be ill."""

    app: Flask
    proxy: Proxy
    stack: Stack

    def send(self) -> str:
        """Send a signal, and return the event's identifier."""
        with publications(self.app) as published, self.app.app_context():
            signals.bell.send("web")
        return published[0].event_id


@contextmanager
def shop_at(stack: Stack, broker_url: str, **config: object) -> Iterator[Flask]:
    """Give the app of *stack*, as it is where the broker has another URL."""
    celery = {**stack.app.config["CELERY"], "broker_url": broker_url}
    bound = {"SIGNAL_TASKS_PUBLISH_TIMEOUT": TIMEOUT_SECONDS}
    app = create_app(**{**stack.app.config, "CELERY": celery, **bound, **config})
    app.add_url_rule("/ring", view_func=ring)
    yield app
    close_connections(app)


def ring() -> str:
    """Answer a request by sending a signal."""
    signals.bell.send("web")
    return "ding"


@pytest.fixture
def web(stack: Stack) -> Iterator[Web]:
    """Return an app that has a connection to the broker, by a way of its own."""
    with (
        proxy_to(stack.app.config["CELERY"]["broker_url"]) as proxy,
        shop_at(stack, proxy.url) as app,
    ):
        web = Web(app=app, proxy=proxy, stack=stack)
        web.send()
        yield web


def test_connection_that_was_cut_is_replaced(web: Web) -> None:
    """A send over a connection that has died since goes over a new one."""
    web.proxy.cut()

    event_id = web.send()

    (run,) = web.stack.await_runs(event_id)
    assert run.handler == "answer_bell"


def test_silent_broker_holds_a_send_up_no_longer_than_the_timeout(web: Web) -> None:
    """A broker that stops answering costs a send its timeout, once."""
    start = time.monotonic()

    with web.proxy.silence(), pytest.raises(PublishError, match="did not take 1 of 1"):
        web.send()

    assert TIMEOUT_SECONDS <= time.monotonic() - start < TIMEOUT_SECONDS + SLACK_SECONDS


def test_broker_that_speaks_again_is_sent_to_again(web: Web) -> None:
    """Soon after a send has failed, the next ones work without any help."""
    with web.proxy.silence(), pytest.raises(PublishError):
        web.send()
    time.sleep(FIRST_PAUSE_SECONDS)

    event_id = web.send()

    assert web.stack.await_runs(event_id)


@pytest.mark.parametrize("stack", ["embedded-sqlite"], indirect=True)
@pytest.mark.parametrize(
    "scheme", [pytest.param("redis", id="redis"), pytest.param("amqp", id="amqp")]
)
class TestMissingBroker:
    """Nobody listens where the broker should be."""

    def test_send_raises_while_testing(self, stack: Stack, scheme: str) -> None:
        """In tests and debugging a send raises, and names the broker and the mend."""
        port = free_port()
        url = f"{scheme}://user:the-password@127.0.0.1:{port}"

        with (
            shop_at(stack, url) as app,
            app.app_context(),
            pytest.raises(PublishError, match=f"127.0.0.1:{port}.*Is it run") as caught,
        ):
            signals.bell.send("web")

        assert caught.value.receiver == "tests.integration.shop.handlers.answer_bell"
        assert "the-password" not in str(caught.value)

    def test_request_succeeds_in_production(
        self,
        stack: Stack,
        scheme: str,
        caplog: pytest.LogCaptureFixture,
        tmp_path: Path,
    ) -> None:
        """In production the request is answered soon, and the event is kept."""
        url = f"{scheme}://127.0.0.1:{free_port()}"
        store = f"sqlite:///{tmp_path / 'kept.sqlite3'}"
        start = time.monotonic()

        with shop_at(stack, url, TESTING=False, SIGNAL_TASKS_STORE_URL=store) as app:
            response = app.test_client().get("/ring", base_url="http://shop.example")

        assert response.text == "ding"
        assert time.monotonic() - start < SLACK_SECONDS
        assert "1 events kept until the broker is back" in caplog.text
