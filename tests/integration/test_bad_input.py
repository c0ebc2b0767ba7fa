"""What a worker does with messages that it cannot or must not run: it says so and goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from blinker import Signal
from flask import Flask

from signal_tasks import Bridge, SignalTasks
from signal_tasks.envelope import Seal
from tests.integration.shop import handlers
from tests.integration.shop.goods import describe
from tests.integration.stack import Stack, close_connections, publications

pytestmark = pytest.mark.integration

GREET = f"{handlers.__name__}.greet"


class Sender:
    """A process that sends to the shop's worker and runs other code than it does.

    Args:
        stack: Whose worker it sends to.
        config: What its app is configured with besides.
    """

    def __init__(self, stack: Stack, **config: object) -> None:
        self.bridge = Bridge()
        self._app = Flask("elsewhere")
        self._app.config.update(stack.app.config)
        self._app.config.update(config)
        SignalTasks(self._app, bridge=self.bridge)
        self._signal = Signal()

    def send(self, receiver: str, **kwargs: object) -> None:
        """Send an event to the receiver of that name, as this code knows it."""
        self.bridge.async_receiver(self._signal, name=receiver)(print)
        with publications(self._app) as published, self._app.app_context():
            self._signal.send("elsewhere", **kwargs)
        close_connections(self._app)
        assert len(published) == 1


@dataclass(frozen=True, slots=True)
class Unregistered:
    """A type that the sender registers and the worker does not know."""

    number: int


def refusal_after(stack: Stack, happening: Callable[[], object]) -> str:
    """Return the one refusal in the worker's log after *happening*.

    The worker has run a good event since.
    """
    lines = len(stack.worker.lines)

    happening()
    stack.worker.await_log("refused", since=lines)
    stack.settle()

    (refusal,) = re.findall(
        r"envelope for .* refused: .*", "\n".join(stack.worker.lines[lines:])
    )
    return str(refusal)


def sealed(stack: Stack, receiver: str) -> str:
    """Return a good envelope's text, as a process with the shop's key writes it."""
    (envelope,) = Seal([stack.app.config["SECRET_KEY"]]).seal(
        id="1234",
        signal="door-opened",
        sent_at=datetime.now(UTC),
        trail=(),
        payload={"sender": "guest", "kwargs": {}},
        context={},
        receivers=[receiver],
    )
    return envelope.text


def test_unknown_receiver_is_refused(stack: Stack) -> None:
    """A receiver that only the sender has is named, with what to deploy."""
    sender = Sender(stack)

    refusal = refusal_after(stack, lambda: sender.send("shop.handlers.brand_new"))

    assert "shop.handlers.brand_new refused" in refusal
    assert "Deploy the code that declares it" in refusal


def test_arguments_that_do_not_fit_are_refused(stack: Stack) -> None:
    """A handler that does not take what the event carries is named, with its place."""
    sender = Sender(stack)

    refusal = refusal_after(
        stack, lambda: sender.send(f"{handlers.__name__}.shout", volume=11)
    )

    assert "handlers.shout at " in refusal
    assert "'volume'" in refusal
    assert "Change its parameters" in refusal


def test_undecodable_payload_is_refused(stack: Stack) -> None:
    """A type that only the sender has registered is named, with its place in the event."""
    sender = Sender(stack)
    sender.bridge.register_type(Unregistered, tag="elsewhere.Unregistered")

    refusal = refusal_after(
        stack, lambda: sender.send(GREET, basket={"items": [Unregistered(7)]})
    )

    assert "kwargs['basket']['items'][0] (tag 'elsewhere.Unregistered')" in refusal
    assert "register_type()" in refusal


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("the key of somebody else", id="other key"),
        pytest.param(None, id="no key"),
    ],
)
def test_envelope_without_our_signature_is_refused(
    stack: Stack, key: str | None
) -> None:
    """What was not signed with the worker's SECRET_KEY does not run."""
    stranger = Sender(stack, SECRET_KEY=key)

    refusal = refusal_after(stack, lambda: stranger.send(GREET))

    assert "handlers.greet refused: the envelope's signature does not verify" in refusal
    assert "SECRET_KEY_FALLBACKS" in refusal


@pytest.mark.parametrize(
    ("found", "put", "said"),
    [
        pytest.param("guest", "owner", "does not verify", id="payload"),
        pytest.param('"trail":[', '"trail":["a"', "does not verify", id="trail"),
        pytest.param('"v":1,', '"v":2,', "Upgrade signal-tasks in the", id="version"),
        pytest.param('"sig"', '"gis"', "cut off", id="signature"),
        pytest.param('{"v"', '[{"v"', "something else than one", id="form"),
    ],
)
def test_altered_envelope_is_refused(
    stack: Stack, found: str, put: str, said: str
) -> None:
    """An envelope that was altered on its way, at whichever place, does not run."""
    text = sealed(stack, GREET)
    assert found in text

    refusal = refusal_after(
        stack,
        lambda: stack.celery_app.send_task(GREET, [text.replace(found, put)]),
    )

    assert "handlers.greet refused" in refusal
    assert said in refusal


def test_replayed_envelope_runs(stack: Stack) -> None:
    """The envelope that the tests above alter is a good one."""
    stack.celery_app.send_task(GREET, [sealed(stack, GREET)])

    run = stack.await_run("1234", "greet")

    assert run.facts["sender"] == describe("guest")


def test_envelope_for_another_receiver_is_refused(stack: Stack) -> None:
    """A good envelope does not run another handler than the one it is for."""
    text = sealed(stack, f"{handlers.__name__}.reserve_stock")

    refusal = refusal_after(stack, lambda: stack.celery_app.send_task(GREET, [text]))

    assert "is for tests.integration.shop.handlers.reserve_stock" in refusal
    assert "redirected" in refusal


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        pytest.param([], {}, id="nothing"),
        pytest.param(["garbage"], {}, id="text"),
        pytest.param([17], {}, id="number"),
        pytest.param(["one", "two"], {}, id="two arguments"),
        pytest.param([{"~tuple": []}], {}, id="object"),
        pytest.param([], {"sender": None, "args": [], "kwargs": {}}, id="named"),
        pytest.param(["\ud800"], {}, id="surrogate"),
        pytest.param(['{"v":' + "9" * 5000 + ","], {}, id="endless version"),
    ],
)
def test_task_called_with_something_else_is_refused(
    stack: Stack, args: list[object], kwargs: Mapping[str, object]
) -> None:
    """Whatever else somebody calls a receiver's task with does not run."""
    refusal = refusal_after(
        stack, lambda: stack.celery_app.send_task(GREET, args, kwargs)
    )

    assert "handlers.greet refused: the task was called with something else" in refusal
    assert "call the handler, or send its signal" in refusal


def test_refusal_is_not_tried_again(stack: Stack) -> None:
    """What is refused once is a failed task at once, and waits for no retry."""
    lines = len(stack.worker.lines)

    refusal_after(stack, lambda: stack.celery_app.send_task(GREET, ["garbage"]))

    stack.worker.await_log(r"raised expected: MalformedEnvelopeError", since=lines)
    assert "Retry" not in "\n".join(stack.worker.lines[lines:])


def test_refusal_is_known_by_its_class(stack: Stack) -> None:
    """Celery too knows a refused envelope's error by its class, not by a base of it."""
    lines = len(stack.worker.lines)
    sender = Sender(stack)
    sender.bridge.register_type(Unregistered, tag="elsewhere.Unregistered")

    refusal_after(stack, lambda: sender.send(GREET, thing=Unregistered(7)))

    stack.worker.await_log(r"greet\[.*raised expected: DecodeError", since=lines)


def test_refusal_does_not_show_what_was_sent(stack: Stack) -> None:
    """No payload of a refused envelope is in the worker's log."""
    stranger = Sender(stack, SECRET_KEY="the key of somebody else")

    refusal_after(stack, lambda: stranger.send(GREET, secret="a tale of somebody"))

    assert "a tale" not in stack.worker.log
