"""What a request has gathered leaves when it is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blinker import Signal
from flask import Flask, Response, after_this_request, request_finished
from flask.signals import appcontext_tearing_down, request_tearing_down

from signal_tasks import Bridge, event_withdrawn
from signal_tasks.signals import EventWithdrawn
from tests.in_memory import broker_of, new_app


def ship(sender: object, **_extra: object) -> None:
    """Do nothing."""


@pytest.fixture
def app(app: Flask, flask_bridge: Bridge, signal: Signal) -> Iterator[Flask]:
    """Return an app whose one receiver gathers, and a page that sends twice."""
    flask_bridge.async_receiver(signal, name="ship", delivery="request")(ship)

    @app.get("/order")
    def order() -> str:
        signal.send(app)
        assert broker_of(app).names() == []
        signal.send(app)
        return "ordered"

    @app.get("/failing")
    def failing() -> str:
        signal.send(app)
        raise LookupError

    yield app
    # Flask's signals are those of every app, also in the tests to come.
    flask_bridge.disconnect(*(receiver.name for receiver in flask_bridge.registry))


def get(app: Flask, path: str) -> Response:
    """Ask for a page as a visitor of the running shop does."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app.test_client().get(path)


def test_events_leave_when_the_request_is_over(app: Flask) -> None:
    """Inside the request nothing leaves; afterwards all of it has left."""
    response = get(app, "/order")

    assert response.text == "ordered"
    assert broker_of(app).names() == ["ship", "ship"]


def test_events_of_one_request_are_not_those_of_the_next(app: Flask) -> None:
    """Each request has a basket of its own."""
    get(app, "/order")
    broker_of(app).take()

    get(app, "/order")

    assert len(broker_of(app).take()) == 2


def test_teardown_that_fails_loses_no_event(app: Flask) -> None:
    """What was gathered leaves also where Flask does not tear the request down whole."""

    @app.teardown_request
    def fail(_error: BaseException | None) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        get(app, "/order")

    assert broker_of(app).names() == ["ship", "ship"]


def test_event_of_a_late_part_of_the_request_leaves_too(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """What is sent after the view, such as request_finished, is gathered as well."""
    flask_bridge.async_receiver(request_finished, name="note", delivery="request")(ship)

    @app.get("/late")
    def late() -> str:
        @after_this_request
        def send(response: Response) -> Response:
            signal.send(app)
            return response

        return ""

    get(app, "/late")

    assert broker_of(app).names() == ["ship", "note"]


@pytest.mark.parametrize(
    "last", [request_tearing_down, appcontext_tearing_down], ids=["request", "app"]
)
def test_event_of_the_tearing_down_leaves_at_once(
    app: Flask, flask_bridge: Bridge, last: Signal
) -> None:
    """What is sent when the basket has been emptied is not lost in it."""
    flask_bridge.async_receiver(last, name="note", delivery="request")(ship)

    get(app, "/order")

    assert broker_of(app).names() == ["ship", "ship", "note"]


def test_event_outside_a_request_leaves_at_once(app: Flask, signal: Signal) -> None:
    """A command that sends a signal has no request to wait for."""
    with app.app_context():
        signal.send(app)

    assert broker_of(app).names() == ["ship"]


def test_events_of_a_failed_request_leave(app: Flask) -> None:
    """Nothing is dropped unless somebody chose that."""
    response = get(app, "/failing")

    assert response.status_code == 500
    assert broker_of(app).names() == ["ship"]


def test_events_of_a_failed_request_may_be_dropped(app: Flask) -> None:
    """Where that is chosen, an exception takes them along, which is reported."""
    app.config["SIGNAL_TASKS_ON_EXCEPTION"] = "drop"
    withdrawn: list[EventWithdrawn] = []

    def note(sender: object, details: EventWithdrawn) -> None:
        withdrawn.append(details)

    with event_withdrawn.connected_to(note, sender=app):
        get(app, "/failing")

    assert broker_of(app).names() == []
    assert [one.receivers for one in withdrawn] == [("ship",)]


def test_request_that_sends_nothing_publishes_nothing(app: Flask) -> None:
    """An empty basket is not even looked into."""
    response = get(app, "/static/nothing")

    assert response.status_code == 404
    assert broker_of(app).names() == []


def test_default_delivery_is_configured(signal: Signal) -> None:
    """A receiver that names no delivery has that of its app."""
    bridge = Bridge()
    app = new_app(bridge, SIGNAL_TASKS_DELIVERY="request")
    bridge.async_receiver(signal, name="ship")(ship)

    with app.test_request_context():
        signal.send(app)
        before = broker_of(app).names()

    assert (before, broker_of(app).names()) == ([], ["ship"])
