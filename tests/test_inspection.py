"""Facts about receivers and envelopes, for people to read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from blinker import Namespace, Signal
from flask import Flask, g, session, template_rendered
from jinja2 import Template

from signal_tasks import Bridge, ResponseSnapshot, TemplateSnapshot
from signal_tasks.inspection import Notable, notables_of, signals_named, signals_of
from signal_tasks.registry import place_of


class Connection:
    """Something that no message carries."""


def handle(sender: object, **extra: object) -> None:
    """Stand for a handler."""


def facts(bridge: Bridge, app: Flask) -> tuple[Any, ...]:
    """Return the facts about the signals of *bridge*."""
    return signals_of(bridge, app.extensions["celery"])


def policies(app: Flask, bridge: Bridge, signal: Signal, **options: Any) -> Any:
    """Return the policies that a receiver with *options* is said to have."""
    bridge.async_receiver(signal, name="note", **options)(handle)
    [[receiver]] = [one.receivers for one in facts(bridge, app)]
    return receiver.policies


def notables(
    app: Flask, bridge: Bridge, context: Any = (), **kwargs: object
) -> list[tuple[str, str, str]]:
    """Return what is notable in an envelope with *kwargs* and *context*."""
    signal = Signal()
    bridge.async_receiver(signal, name="note", context=context)(handle)
    [envelope], [] = bridge.rehearse(signal, app, kwargs)
    return [(one.path, one.kind, one.what) for one in notables_of(envelope)]


FROM_THE_APP = ("sender", "referenced", "flask")


def test_signals_are_listed_by_name(app: Flask, flask_bridge: Bridge) -> None:
    """Each signal has its documentation and its receivers, once for each."""
    shop = Namespace()
    paid, opened = shop.signal("paid", doc="An order\n    was paid."), Signal("Opened.")
    flask_bridge.async_receiver(paid, opened, name="bill")(handle)
    flask_bridge.async_receiver(paid, name="ship")(handle)

    seen = [
        (one.name, one.documentation, [receiver.name for receiver in one.receivers])
        for one in facts(flask_bridge, app)
    ]

    assert seen == [
        ("anonymous", "Opened.", ["bill"]),
        ("paid", "An order\nwas paid.", ["bill", "ship"]),
    ]


def test_signal_that_nobody_described_has_no_documentation(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """The documentation of blinker's classes is not that of a signal."""
    flask_bridge.async_receiver(Namespace().signal("paid"), name="a")(handle)
    flask_bridge.async_receiver(signal, name="b")(handle)

    assert [one.documentation for one in facts(flask_bridge, app)] == ["", ""]


def test_without_receivers_there_is_nothing(app: Flask, flask_bridge: Bridge) -> None:
    """A bridge that nobody used has no signals."""
    assert facts(flask_bridge, app) == ()


def test_receiver_is_described(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """Its name, place, queue and kind of sender are told."""
    flask_bridge.async_receiver(signal, sender=app, name="a", queue="mail")(handle)
    flask_bridge.async_receiver(signal, sender="web", name="b")(handle)
    flask_bridge.async_receiver(signal, name="c")(handle)

    [signal_facts] = facts(flask_bridge, app)

    default = app.extensions["celery"].conf.task_default_queue
    assert [(one.name, one.queue, one.sender) for one in signal_facts.receivers] == [
        *(("a", "mail", "Flask"), ("b", default, "str"), ("c", default, "any"))
    ]
    assert {one.place for one in signal_facts.receivers} == {place_of(handle)}


def test_queue_is_the_one_of_the_routes(app: Flask, flask_bridge: Bridge) -> None:
    """Celery's own routing decides for receivers that name no queue."""
    app.extensions["celery"].conf.task_routes = {"note.*": {"queue": "routed"}}
    flask_bridge.async_receiver(Signal(), name="note.paid")(handle)

    [signal_facts] = facts(flask_bridge, app)

    assert signal_facts.receivers[0].queue == "routed"


def test_queue_that_celery_does_not_know_is_told(
    app: Flask, flask_bridge: Bridge
) -> None:
    """An app that makes no queues has none for a receiver whose queue it lacks."""
    app.extensions["celery"].conf.task_create_missing_queues = False
    flask_bridge.async_receiver(Signal(), name="note", queue="mail")(handle)

    [signal_facts] = facts(flask_bridge, app)

    assert signal_facts.receivers[0].queue == (
        "none: Queue 'mail' missing from task_queues"
    )


def test_plain_receiver_has_no_policies(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """Defaults are not told."""
    assert policies(app, flask_bridge, signal) == ()


def test_policies_are_told_as_they_are_written(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """Every option beside the defaults is there."""
    assert policies(
        app,
        flask_bridge,
        signal,
        extract=dict,
        condition=bool,
        context={"session": ("id",), "g": True},
        delivery="request",
        once=True,
        missing={"tombstone": ("email",)},
        queue="mail",
        max_retries=5,
        countdown=10,
    ) == (
        *("extract", "condition", "context=session, g", "delivery=request", "once"),
        "missing=tombstone",
        *("queue='mail'", "max_retries=5", "countdown=10"),
    )


def test_signals_are_found_by_name(flask_bridge: Bridge) -> None:
    """Two namespaces may have a signal of the same name; each is found once."""
    one, other = Namespace().signal("paid"), Namespace().signal("paid")
    flask_bridge.async_receiver(one, other, name="a")(handle)
    flask_bridge.async_receiver(one, Namespace().signal("sent"), name="b")(handle)

    assert signals_named(flask_bridge, "paid") == (one, other)
    assert signals_named(flask_bridge, "gone") == ()


def test_plain_json_is_not_notable(app: Flask, flask_bridge: Bridge) -> None:
    """What JSON itself carries is not worth a word."""
    assert notables(app, flask_bridge, a=1, b="text", c=[None, {"d": True}]) == [
        FROM_THE_APP
    ]


def test_converted_values_are_named_by_their_places(
    app: Flask, flask_bridge: Bridge
) -> None:
    """Each value with a tag is told, however deep it is."""
    assert notables(app, flask_bridge, order=[{"total": (Decimal(1), {2: 3})}]) == [
        FROM_THE_APP,
        ("kwargs['order'][0]['total']", "converted", "tuple"),
        ("kwargs['order'][0]['total'][0]", "converted", "decimal"),
        ("kwargs['order'][0]['total'][1]", "converted", "dict"),
    ]


def test_copies_are_told_from_conversions(app: Flask, flask_bridge: Bridge) -> None:
    """Snapshots are copies, and say what stayed behind."""
    response = app.response_class("shop")
    response.set_cookie("token", "secret")

    found = notables(
        app,
        flask_bridge,
        response=response,
        again=ResponseSnapshot.of(app.response_class()),
        template=TemplateSnapshot(name="a.html", filename=None),
        error=ValueError("no"),
    )

    assert found == [
        FROM_THE_APP,
        ("kwargs['response']", "copied", "response"),
        ("kwargs['response']", "left out", "set-cookie"),
        ("kwargs['again']", "copied", "response"),
        ("kwargs['template']", "copied", "template-copy"),
        ("kwargs['error']", "copied", "exception"),
    ]


def test_parts_name_what_they_lack(app: Flask, flask_bridge: Bridge) -> None:
    """Contexts tell the names that were left out, of headers and cookies too."""
    with app.test_request_context(headers={"Cookie": "theme=dark", "X-Shop": "north"}):
        session["user_id"] = 7
        g.tags, g.db = {"new"}, Connection()

        found = notables(app, flask_bridge, {"session": (), "g": True})

    assert found == [
        FROM_THE_APP,
        ("context['session']", "left out", "user_id"),
        ("context['g']", "left out", "db"),
        ("context['g']['sent']['tags']", "converted", "set"),
        ("context['request']", "left out", "headers cookie, x-shop"),
        ("context['request']", "left out", "cookies theme"),
    ]


def test_context_outside_a_request_is_not_notable(
    app: Flask, flask_bridge: Bridge
) -> None:
    """Where there was no request, nothing of it was left out."""
    assert notables(app, flask_bridge, ("request",)) == [FROM_THE_APP]


@pytest.mark.parametrize("value", [["b"], [], "b"], ids=repr)
def test_arguments_of_the_user_are_not_taken_for_ours(
    app: Flask, flask_bridge: Bridge, value: object
) -> None:
    """A dict with a key like ours is only a dict."""
    assert notables(app, flask_bridge, order={"left_out": value}) == [FROM_THE_APP]


def test_template_context_names_what_it_lacks(app: Flask, flask_bridge: Bridge) -> None:
    """What a part of a mapping lacks is told where the mapping stands."""
    sent = {"template": Template("T"), "context": {"title": "T", "db": Connection()}}
    flask_bridge.async_receiver(template_rendered, sender=app, name="note")(handle)

    [envelope], [] = flask_bridge.rehearse(template_rendered, app, sent)
    flask_bridge.disconnect("note")

    assert notables_of(envelope)[-2:] == (
        Notable(path="kwargs['context']", kind="converted", what="portion"),
        Notable(path="kwargs['context']", kind="left out", what="db"),
    )
