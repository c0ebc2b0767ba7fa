"""The commands that look and send nothing: list and explain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from blinker import Namespace, Signal
from click.testing import Result
from flask import (
    Flask,
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    before_render_template,
    got_request_exception,
    message_flashed,
    request,
    request_finished,
    request_started,
    request_tearing_down,
    template_rendered,
)

from signal_tasks import (
    Bridge,
    DispatchError,
    ExceptionSnapshot,
    ResponseSnapshot,
    TemplateSnapshot,
    dispatch_failed,
    event_published,
)
from signal_tasks.cli.group import group
from signal_tasks.envelope import Envelope
from signal_tasks.registry import place_of
from tests.in_memory import broker_of

SECRET = "4111-1111-1111-1111"

FLASKS_OWN = [
    *(request_started, request_finished, request_tearing_down, got_request_exception),
    *(appcontext_pushed, appcontext_popped, appcontext_tearing_down),
    *(template_rendered, before_render_template, message_flashed),
]


def handle(sender: object, **extra: object) -> None:
    """Stand for a handler."""


@pytest.fixture
def app(app: Flask) -> Flask:
    """Return an app with the commands."""
    app.cli.add_command(group)
    return app


@pytest.fixture
def paid() -> Signal:
    """Return a signal that is described."""
    return Namespace().signal("paid", doc="An order was paid.\n\nSent by the shop.")


@pytest.fixture
def bridge(flask_bridge: Bridge) -> Iterator[Bridge]:
    """Return the bridge of the app, whose receivers are disconnected in the end."""
    yield flask_bridge
    # Flask's signals are those of all apps.
    flask_bridge.disconnect(*(receiver.name for receiver in flask_bridge.registry))


def run(app: Flask, *arguments: str) -> Result:
    """Run a command of the group."""
    return app.test_cli_runner().invoke(args=["signal-tasks", *arguments])


def as_json(app: Flask, *arguments: str, exit_code: int = 0) -> Any:
    """Run a command and read the JSON that it prints."""
    result = run(app, *arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def explained(app: Flask, *arguments: str) -> Envelope:
    """Return the one envelope that explain shows."""
    [shown] = as_json(app, "explain", *arguments)["envelopes"]
    envelope: Envelope = app.extensions["signal_tasks"].seal.open(shown["text"])
    return envelope


def decoded(bridge: Bridge, envelope: Envelope) -> Any:
    """Return the keyword arguments in *envelope*."""
    return bridge.codec.decode(envelope.payload["kwargs"], path="kwargs")


def test_list_shows_signals_and_receivers(
    app: Flask, bridge: Bridge, paid: Signal
) -> None:
    """Each signal stands with its documentation, queue, sender, policies and place."""
    bridge.async_receiver(paid, name="shop.bill", queue="mail", max_retries=5)(handle)
    bridge.async_receiver(Signal(), name="shop.note", sender="web")(handle)
    default = app.extensions["celery"].conf.task_default_queue

    result = run(app, "list")

    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "anonymous",
        "  shop.note",
        f"    queue {default}, sender str",
        f"    {place_of(handle)}",
        "paid  An order was paid.",
        "  shop.bill",
        "    queue mail, sender any",
        "    queue='mail', max_retries=5",
        f"    {place_of(handle)}",
    ]


def test_list_prints_json(app: Flask, bridge: Bridge, paid: Signal) -> None:
    """The same facts can be read by programs, with all of the documentation."""
    bridge.async_receiver(paid, name="shop.bill", queue="mail")(handle)

    assert as_json(app, "list") == [
        {
            "name": "paid",
            "documentation": "An order was paid.\n\nSent by the shop.",
            "receivers": [
                {
                    "name": "shop.bill",
                    "queue": "mail",
                    "place": place_of(handle),
                    "sender": "any",
                    "policies": ["queue='mail'"],
                }
            ],
        }
    ]


def test_empty_list_says_what_to_do(app: Flask) -> None:
    """Without any receiver, the command says how to make one; JSON is empty."""
    result = run(app, "list")

    assert result.exit_code == 0
    assert "@async_receiver(signal)" in result.output
    assert as_json(app, "list") == []


@pytest.mark.parametrize("arguments", [("list",), ("explain", "paid"), ("dev",)])
def test_app_without_the_extension_is_told(arguments: tuple[str, ...]) -> None:
    """Where SignalTasks was forgotten, the command says so in one line."""
    app = Flask("shop")
    app.cli.add_command(group)

    result = run(app, *arguments)

    assert result.exit_code == 1
    assert result.output.startswith("Error: the app shop has no SignalTasks: call ")


def test_explain_shows_the_envelope(app: Flask, bridge: Bridge, paid: Signal) -> None:
    """Receiver, queue, size, what is notable, and the exact text are there."""
    bridge.async_receiver(paid, name="shop.bill", queue="mail")(handle)

    result = run(app, "explain", "paid", "-k", "order=7", "-k", "note=to go")

    assert result.exit_code == 0
    name, queue, size, notable, text = result.output.splitlines()
    assert (name, queue) == ("shop.bill", "  queue      mail")
    assert notable == "  referenced sender: flask"
    sealed = text.removeprefix("  envelope   ")
    assert size == f"  size       {len(sealed)} bytes"
    envelope = app.extensions["signal_tasks"].seal.open(sealed)
    assert decoded(bridge, envelope) == {"order": 7, "note": "to go"}


def test_explain_shows_what_a_send_would_publish(
    app: Flask, bridge: Bridge, paid: Signal
) -> None:
    """But for the event's identifier and time, the envelope is the one of a send."""
    bridge.async_receiver(paid, name="shop.bill", context=("request", "g"))(handle)

    shown = explained(app, "paid", "-k", "order=[1, 2.5, null]", "--path", "/cart?a=1")
    with app.test_request_context("/cart?a=1"):
        paid.send(app, order=[1, 2.5, None])

    [message] = broker_of(app).take()
    [text], *_ = message.payload
    sent = app.extensions["signal_tasks"].seal.open(text)
    for part in ("signal", "receiver", "trail", "payload", "context"):
        assert getattr(shown, part) == getattr(sent, part)


def test_explain_prints_json(app: Flask, bridge: Bridge, paid: Signal) -> None:
    """Programs read the same, with the size in bytes."""
    bridge.async_receiver(paid, name="shop.bill", queue="mail")(handle)

    preview = as_json(app, "explain", "paid", "-k", 'note="größe"')

    [shown] = preview["envelopes"]
    assert preview["failures"] == []
    assert (shown["name"], shown["queue"]) == ("shop.bill", "mail")
    assert shown["bytes"] == len(shown["text"].encode())
    assert shown["notable"] == [
        {"path": "sender", "kind": "referenced", "what": "flask"}
    ]


def test_explain_sends_nothing_and_tells_nobody(
    app: Flask, bridge: Bridge, paid: Signal, signal: Signal
) -> None:
    """No message, no lifecycle signal, and no event of what runs for the command."""
    heard: list[object] = []

    def note(_: object, details: object) -> None:
        heard.append(details)

    def pick(_: object) -> dict[str, object]:
        signal.send(app)
        return {}

    caused = (appcontext_pushed, appcontext_popped, request_tearing_down, signal)
    bridge.async_receiver(*caused, name="caused")(handle)
    bridge.async_receiver(paid, name="note", extract=pick)(handle)
    bridge.async_receiver(paid, name="fails", context=("none",))(handle)

    with event_published.connected_to(note), dispatch_failed.connected_to(note):
        result = run(app, "explain", "paid", "--path", "/")
        run(app, "list")
        assert (result.exit_code, heard, broker_of(app).take()) == (1, [], [])

        with pytest.raises(DispatchError):
            paid.send(app)

    assert len(heard) == 3
    assert broker_of(app).names() == ["caused", "note"]


def test_explain_needs_no_broker(app: Flask, bridge: Bridge, paid: Signal) -> None:
    """An app whose broker is down is explained all the same."""
    app.extensions["celery"].conf.broker_url = "redis://127.0.0.1:1/0"
    bridge.async_receiver(paid, name="shop.bill")(handle)

    assert run(app, "explain", "paid").exit_code == 0
    assert run(app, "list").exit_code == 0


def test_explain_knows_the_sender(app: Flask, bridge: Bridge, paid: Signal) -> None:
    """Receivers of one sender are shown where that is the sender."""
    bridge.async_receiver(paid, name="of.web", sender="web")(handle)
    bridge.async_receiver(paid, name="of.app", sender=app)(handle)

    assert explained(app, "paid", "--sender", "web").receiver == "of.web"
    assert explained(app, "paid").receiver == "of.app"


def test_explain_stands_in_a_request(app: Flask, bridge: Bridge, paid: Signal) -> None:
    """With a path, conditions and contexts find a request."""
    bridge.async_receiver(
        paid,
        name="shop.bill",
        condition=lambda _: request.path == "/cart",
        context=("request",),
    )(handle)

    context: Any = explained(app, "paid", "--path", "/cart").context

    assert context["request"]["environ"]["PATH_INFO"] == "/cart"


def test_unwanted_event_is_explained(app: Flask, bridge: Bridge, paid: Signal) -> None:
    """Where no condition holds, the command says so, and that is no failure."""
    bridge.async_receiver(paid, name="shop.bill", condition=lambda _: False)(handle)

    result = run(app, "explain", "paid")

    assert (result.exit_code, as_json(app, "explain", "paid")["envelopes"]) == (0, [])
    assert result.output.startswith("Nothing would be sent")


def test_failures_are_shown_beside_what_would_be_sent(
    app: Flask, bridge: Bridge, paid: Signal
) -> None:
    """A receiver that cannot be served is named with the error; the exit code is 1."""

    def fail(_: object) -> dict[str, object]:
        raise ZeroDivisionError(SECRET)

    bridge.async_receiver(paid, name="shop.bill", extract=fail)(handle)
    bridge.async_receiver(paid, name="shop.ship")(handle)

    result = run(app, "explain", "paid")

    assert result.exit_code == 1
    first, second, *_, envelope = result.output.splitlines()
    assert first == "not sent to shop.bill"
    assert "its extract raised ZeroDivisionError" in second
    assert envelope.startswith("  envelope   {")
    assert SECRET not in result.output


def test_failures_are_in_the_json(app: Flask, bridge: Bridge, paid: Signal) -> None:
    """Programs read the error of each receiver that cannot be served."""
    bridge.async_receiver(paid, name="shop.bill", context=("none",))(handle)

    preview = as_json(app, "explain", "paid", exit_code=1)

    [failure] = preview["failures"]
    assert (preview["envelopes"], failure["receivers"]) == ([], ["shop.bill"])
    assert "no such context is registered" in failure["error"]


def test_unknown_signal_is_an_error(app: Flask, bridge: Bridge, paid: Signal) -> None:
    """A name that no receiver listens to leads to the list."""
    bridge.async_receiver(paid, name="shop.bill")(handle)

    result = run(app, "explain", "shipment")

    assert result.exit_code == 1
    assert "no signal called shipment has an async receiver. `flask" in result.output
    assert "flask signal-tasks list" in result.output


def test_signals_name_in_python_leads_to_its_own(app: Flask, bridge: Bridge) -> None:
    """Who asks for Flask's request_finished hears that it is called request-finished."""
    bridge.async_receiver(request_finished, name="shop.count")(handle)

    result = run(app, "explain", "request_finished")

    assert result.exit_code == 1
    assert "Did you mean request-finished?" in result.output


@pytest.mark.parametrize("pair", ["order", "=7", ""])
def test_argument_needs_a_key_and_a_value(
    app: Flask, bridge: Bridge, paid: Signal, pair: str
) -> None:
    """Anything but KEY=VALUE is a usage error."""
    bridge.async_receiver(paid, name="shop.bill")(handle)

    result = run(app, "explain", "paid", "-k", pair)

    assert result.exit_code == 2
    assert "is not KEY=VALUE" in result.output


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ('"7"', "7"),
        ("null", None),
        ("seven", "seven"),
        ("a=b", "a=b"),
        ("", ""),
        ('{"a": [true]}', {"a": [True]}),
    ],
)
def test_value_is_json_or_else_a_text(
    app: Flask, bridge: Bridge, paid: Signal, text: str, value: object
) -> None:
    """What reads as JSON is that, and anything else is itself."""
    bridge.async_receiver(paid, name="shop.bill")(handle)

    assert decoded(bridge, explained(app, "paid", "-k", f"order={text}")) == {
        "order": value
    }


@pytest.mark.parametrize("signal", FLASKS_OWN, ids=lambda signal: signal.name)
def test_flasks_signals_have_samples(
    app: Flask, bridge: Bridge, signal: Signal
) -> None:
    """Each of Flask's signals is explained without arguments, as Flask sends it."""
    bridge.async_receiver(signal, sender=app, name="note")(handle)

    kwargs = decoded(bridge, explained(app, signal.name))

    expected = {
        "request-finished": {"response": ResponseSnapshot},
        "got-request-exception": {"exception": ExceptionSnapshot},
        "request-tearing-down": {"exc": type(None)},
        "appcontext-tearing-down": {"exc": type(None)},
        "template-rendered": {"template": TemplateSnapshot},
        "before-render-template": {"template": TemplateSnapshot},
        "message-flashed": {"message": str, "category": str},
    }.get(signal.name, {})
    kwargs.pop("context", None)
    assert {name: type(value) for name, value in kwargs.items()} == expected


def test_argument_takes_the_place_of_a_sample(app: Flask, bridge: Bridge) -> None:
    """Of a signal of Flask's, single arguments can be given."""
    bridge.async_receiver(message_flashed, sender=app, name="note")(handle)

    kwargs = decoded(bridge, explained(app, "message-flashed", "-k", "category=error"))

    assert kwargs == {"message": "an example", "category": "error"}
