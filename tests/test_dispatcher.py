"""From an event to envelopes, and what happens to events that cannot leave."""

from __future__ import annotations

import logging
from collections import UserDict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from blinker import ANY, Signal

from signal_tasks import (
    ConfigurationError,
    DispatchError,
    EncodeError,
    Event,
    HopLimitError,
    PublishError,
    SignalTasksError,
    dispatch_failed,
    event_published,
)
from signal_tasks.audience import Audience
from signal_tasks.codec import Codec
from signal_tasks.contexts import Context, Contexts
from signal_tasks.dispatcher import Dispatcher, Sending
from signal_tasks.event import handling
from signal_tasks.registry import Receiver
from signal_tasks.signals import DispatchFailed, EventPublished
from signal_tasks.typing import Wanted
from tests.hosts import PlainHost

SECRET = "4111-1111-1111-1111"


class Basket:
    """Something that no codec knows."""

    def __repr__(self) -> str:
        return SECRET  # pragma: no cover  # for no error shows a value


class Undecided:
    """What some libraries return for a comparison: it is neither true nor false."""

    def __bool__(self) -> bool:
        raise TypeError(SECRET)


class Unreadable(UserDict[str, object]):
    """A mapping that fails when it is read."""

    def __iter__(self) -> Any:
        raise OSError(SECRET)


@dataclass
class Dispatch:
    """Dispatches events of one host."""

    host: PlainHost
    dispatcher: Dispatcher

    def __call__(
        self, *receivers: Receiver, sender: object = None, **kwargs: object
    ) -> None:
        self.dispatcher.dispatch(
            self.host,
            Sending(signal="order-placed", sender=sender, kwargs=kwargs),
            Audience.of(receivers),
        )


@pytest.fixture
def host() -> PlainHost:
    """Return an application whose failures raise."""
    return PlainHost()


@pytest.fixture
def contexts() -> Contexts:
    """Return the contexts that receivers can ask for: none yet."""
    return Contexts(Codec())


@pytest.fixture
def dispatch(host: PlainHost, contexts: Contexts) -> Dispatch:
    """Return what dispatches events of *host*."""
    return Dispatch(host, Dispatcher(Codec(), contexts))


@pytest.fixture
def failures() -> Any:
    """Return the failures that are reported."""
    reported: list[tuple[object, DispatchFailed]] = []

    def note(sender: object, details: DispatchFailed) -> None:
        reported.append((sender, details))

    with dispatch_failed.connected_to(note):
        yield reported


@pytest.fixture
def published() -> Any:
    """Return the reports of events that left."""
    reported: list[tuple[object, EventPublished]] = []

    def note(sender: object, details: EventPublished) -> None:
        reported.append((sender, details))

    with event_published.connected_to(note):
        yield reported


def make_receiver(
    name: str = "bill",
    *,
    extract: Callable[..., Any] | None = None,
    condition: Callable[..., Any] | None = None,
    context: Wanted = (),
) -> Receiver:
    """Make a receiver called *name*."""
    return Receiver(
        name=name,
        handler=print,
        signals=(Signal(),),
        sender=ANY,
        extract=extract,
        condition=condition,
        context=context,
        place="",
    )


def fail(*_: object, **__: object) -> Any:
    """Fail as a user's function may."""
    raise ZeroDivisionError(SECRET)


def test_event_leaves_for_each_receiver(dispatch: Dispatch, host: PlainHost) -> None:
    """Each receiver gets an envelope of the same event, all of them in one batch."""
    dispatch(make_receiver("bill"), make_receiver("pack"), sender="web", order=7)

    (batch,) = host.publisher.batches
    assert [envelope.receiver for envelope in batch] == ["bill", "pack"]
    assert len({envelope.id for envelope in batch}) == 1
    assert batch[0].payload == {"sender": "web", "kwargs": {"order": 7}}
    assert host.seal.open(batch[1].text) == batch[1]


def test_envelope_says_when_and_what(dispatch: Dispatch, host: PlainHost) -> None:
    """An envelope holds the signal's name and the time of the send, in UTC."""
    dispatch(make_receiver())

    (envelope,) = host.publisher.envelopes
    age = datetime.now(UTC) - envelope.sent_at
    assert timedelta(0) <= age < timedelta(minutes=1)
    assert (envelope.signal, envelope.trail) == ("order-placed", ())


def test_events_have_ids_of_their_own(dispatch: Dispatch, host: PlainHost) -> None:
    """Two sends are two events, though they are the same in everything else."""
    dispatch(make_receiver())
    dispatch(make_receiver())

    first, second = host.publisher.envelopes
    assert first.id != second.id


@pytest.mark.parametrize(
    "name",
    [
        "sender",
        "self",
        "signal",
        "host",
        "receivers",
        "kwargs",
        "name",
        "~tuple",
        "é",
        "\ud800",
    ],
)
def test_keyword_arguments_may_have_any_name(
    dispatch: Dispatch, host: PlainHost, name: str
) -> None:
    """The user's names never meet ours."""
    dispatch.dispatcher.dispatch(
        host,
        Sending(signal="order-placed", sender=None, kwargs={name: (1,)}),
        Audience.of(
            [
                make_receiver("plain"),
                make_receiver("picky", extract=lambda _sender, /, **kwargs: kwargs),
            ]
        ),
    )

    for envelope in host.publisher.envelopes:
        kwargs = Codec().decode(envelope.payload["kwargs"], path="kwargs")
        assert kwargs == {name: (1,)}


def test_extract_picks_what_travels(dispatch: Dispatch, host: PlainHost) -> None:
    """A receiver with extract= gets what that returns, and the others get everything."""
    picky = make_receiver(
        "picky", extract=lambda sender, order, **_: {"number": order[0], "by": sender}
    )

    dispatch(make_receiver("plain"), picky, sender="web", order=[7, "book"])

    payloads = {one.receiver: one.payload for one in host.publisher.envelopes}
    assert payloads["picky"]["kwargs"] == {"number": 7, "by": "web"}
    assert payloads["plain"]["kwargs"] == {"order": [7, "book"]}
    assert len(host.publisher.batches) == 1


def test_extract_makes_untravelled_values_harmless(
    dispatch: Dispatch, host: PlainHost
) -> None:
    """What cannot travel need not, when extract leaves it out."""
    dispatch(make_receiver(extract=lambda _sender, **_: {}), basket=Basket())

    assert host.publisher.envelopes[0].payload["kwargs"] == {}


@pytest.mark.parametrize(
    ("answer", "receivers"),
    [(True, ["bill"]), ([1], ["bill"]), (False, []), (None, []), ("", [])],
    ids=repr,
)
def test_condition_decides_about_its_receiver(
    dispatch: Dispatch, host: PlainHost, answer: object, receivers: list[str]
) -> None:
    """What condition= returns is taken for true or false, as Python does."""
    dispatch(make_receiver(condition=lambda _sender, **_: answer))

    assert host.publisher.receivers == receivers


def test_condition_and_extract_get_the_event(dispatch: Dispatch) -> None:
    """Both are called like a receiver: with the sender and the keyword arguments."""
    calls: list[tuple[object, object]] = []

    def note(sender: object, **kwargs: object) -> dict[str, object]:
        calls.append((sender, kwargs))
        return {"picked": 1}

    dispatch(make_receiver(condition=note, extract=note), sender="web", order=7)

    assert calls == [("web", {"order": 7})] * 2


def test_extract_is_not_asked_when_the_condition_is_false(
    dispatch: Dispatch, host: PlainHost
) -> None:
    """What nobody wants is not picked either."""
    dispatch(make_receiver(condition=lambda _sender: False, extract=fail))

    assert host.publisher.batches == []


def test_event_that_nobody_wants_is_not_published(
    dispatch: Dispatch, host: PlainHost, published: list[object]
) -> None:
    """Without an envelope the publisher is not asked, and nothing is reported."""
    dispatch(make_receiver(condition=lambda _sender: False))

    assert host.publisher.batches == []
    assert published == []


def test_event_that_left_is_reported(
    dispatch: Dispatch,
    host: PlainHost,
    published: list[tuple[object, EventPublished]],
) -> None:
    """event_published tells of the event and of those whom it was sent to."""
    dispatch(
        make_receiver("bill"),
        make_receiver("pack", condition=lambda _sender: False),
    )

    ((application, details),) = published
    assert application == "shop"
    assert details == EventPublished(
        event_id=host.publisher.envelopes[0].id,
        signal="order-placed",
        receivers=("bill",),
    )


def test_value_that_cannot_travel_is_an_error(
    dispatch: Dispatch, host: PlainHost
) -> None:
    """The error of a value that cannot travel names receiver, path and type."""
    with pytest.raises(EncodeError) as caught:
        dispatch(make_receiver("bill"), order={"items": [1, Basket()]})

    assert caught.value.receiver == "bill"
    assert caught.value.path == "kwargs['order']['items'][1]"
    assert caught.value.type_name == f"{__name__}.Basket"
    assert SECRET not in str(caught.value)
    assert host.publisher.batches == []


def test_sender_that_cannot_travel_is_an_error_with_the_mend(
    dispatch: Dispatch,
) -> None:
    """What may be a sender is said, and what to do with another."""
    with pytest.raises(EncodeError, match=r"register_type\(Basket") as caught:
        dispatch(make_receiver(), sender=Basket())

    assert caught.value.path == "sender"
    assert "the Flask app" in str(caught.value)


def test_value_inside_a_sender_is_named_by_its_place(dispatch: Dispatch) -> None:
    """A sender of a type that travels may hold something that does not."""
    with pytest.raises(EncodeError) as caught:
        dispatch(make_receiver(), sender=["web", Basket()])

    assert caught.value.path == "sender[1]"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"extract": fail}, "extract raised ZeroDivisionError"),
        ({"condition": fail}, "condition raised ZeroDivisionError"),
        ({"condition": lambda _: Undecided()}, "condition raised TypeError"),
        ({"extract": lambda _: ["number"]}, r"something else than a dict .* \(list\)"),
        ({"extract": lambda _: None}, r"\(NoneType\)"),
        ({"extract": lambda _: {7: "number"}}, "keys are strings"),
        ({"extract": lambda _: Unreadable()}, "raised OSError"),
        ({"extract": lambda _: {"basket": Basket()}}, r"kwargs\['basket'\]"),
        ({"extract": lambda _, number: {}}, "extract raised TypeError"),
    ],
    ids=[
        *("extract fails", "condition fails", "condition without truth"),
        *("list", "None", "integer key", "unreadable mapping", "value", "parameters"),
    ],
)
def test_failure_of_one_receiver_is_its_own(
    dispatch: Dispatch, host: PlainHost, broken: dict[str, Any], words: str
) -> None:
    """What fails for one receiver names it, and does not keep the event from the others."""
    with pytest.raises(DispatchError, match=words) as caught:
        dispatch(
            make_receiver("bill"),
            make_receiver("broken", **broken),
            make_receiver("pack", extract=lambda _: {}),
        )

    assert caught.value.receiver == "broken"
    assert str(caught.value).startswith("receiver broken: ")
    assert SECRET not in str(caught.value)
    assert sorted(host.publisher.receivers) == ["bill", "pack"]


def test_failure_shows_its_cause(dispatch: Dispatch) -> None:
    """The traceback of what the user's function raised is kept."""
    with pytest.raises(DispatchError) as caught:
        dispatch(make_receiver(extract=fail))

    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_value_for_all_fails_for_all_who_take_it(
    dispatch: Dispatch, host: PlainHost, failures: list[tuple[object, DispatchFailed]]
) -> None:
    """Receivers that take everything share a failure; one that picks gets the event."""
    with pytest.raises(EncodeError) as caught:
        dispatch(
            make_receiver("bill"),
            make_receiver("pack"),
            make_receiver("picky", extract=lambda _sender, **_: {}),
            basket=Basket(),
        )

    assert caught.value.receiver == "bill, pack"
    assert host.publisher.receivers == ["picky"]
    assert [details.receivers for _, details in failures] == [("bill", "pack")]


def test_several_failures_raise_the_first_with_notes(dispatch: Dispatch) -> None:
    """One send raises one error, which tells of the others."""
    with pytest.raises(DispatchError) as caught:
        dispatch(
            make_receiver("bill", extract=fail), make_receiver("pack", condition=fail)
        )

    assert caught.value.receiver == "bill"
    (note,) = caught.value.__notes__
    assert note.startswith("Also: receiver pack: its condition raised")


def test_failures_are_reported(
    dispatch: Dispatch, failures: list[tuple[object, DispatchFailed]]
) -> None:
    """dispatch_failed tells of each failure, also where it raises."""
    with pytest.raises(DispatchError) as caught:
        dispatch(make_receiver("bill", extract=fail))

    ((application, details),) = failures
    assert application == "shop"
    assert details.error is caught.value
    assert (details.signal, details.receivers) == ("order-placed", ("bill",))


def test_failures_are_logged_where_they_do_not_raise(
    dispatch: Dispatch, host: PlainHost, caplog: pytest.LogCaptureFixture
) -> None:
    """In production a send goes on: each failure is an error in the log, with its facts."""
    host.raises = False

    dispatch(make_receiver("bill", extract=fail), make_receiver("pack"), order=SECRET)

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message.startswith("event not sent: receiver bill: ")
    assert record.exc_info is not None
    assert record.__dict__["signal_tasks.signal"] == "order-placed"
    assert record.__dict__["signal_tasks.receivers"] == ("bill",)
    assert record.__dict__["signal_tasks.event_id"] == host.publisher.envelopes[0].id
    assert host.publisher.receivers == ["pack"]


@pytest.mark.parametrize("raises", [True, False], ids=["raising", "logging"])
def test_failures_are_reported_once(
    dispatch: Dispatch,
    host: PlainHost,
    failures: list[tuple[object, DispatchFailed]],
    *,
    raises: bool,
) -> None:
    """Whether it raises or not, each failure is reported once."""
    host.raises = raises

    with pytest.raises(SignalTasksError) if raises else nullcontext():
        dispatch(make_receiver("bill", extract=fail), make_receiver("pack"))

    assert [details.receivers for _, details in failures] == [("bill",)]


def test_publish_error_is_about_those_that_were_left(
    dispatch: Dispatch, host: PlainHost, failures: list[tuple[object, DispatchFailed]]
) -> None:
    """When the first messages left, only the others' receivers did not get the event."""
    left = ("pack", "ship")
    host.publisher.error = PublishError("the broker went away", receivers=left)

    with pytest.raises(PublishError) as caught:
        dispatch(*(make_receiver(name) for name in ("bill", "pack", "ship")))

    ((_, details),) = failures
    assert details.receivers == ("pack", "ship")
    assert caught.value.receiver == "pack, ship"


def test_event_that_did_not_leave_is_not_reported_as_published(
    dispatch: Dispatch, host: PlainHost, published: list[object]
) -> None:
    """event_published is sent when the broker took every message."""
    left = ("bill",)
    host.publisher.error = PublishError("the broker went away", receivers=left)

    with pytest.raises(PublishError):
        dispatch(make_receiver())

    assert published == []


def test_any_error_of_a_publisher_becomes_ours(
    dispatch: Dispatch, host: PlainHost, failures: list[tuple[object, DispatchFailed]]
) -> None:
    """A publisher that fails in a way of its own does not break the request either."""
    host.publisher.error = KeyError(SECRET)
    host.raises = False

    dispatch(make_receiver("bill"), make_receiver("pack"))

    ((_, details),) = failures
    assert details.receivers == ("bill", "pack")
    assert "publishing raised KeyError" in str(details.error)
    assert SECRET not in str(details.error)


def test_any_error_of_a_host_becomes_ours(
    dispatch: Dispatch, host: PlainHost, failures: list[tuple[object, DispatchFailed]]
) -> None:
    """An application that is not set up well does not break the request either."""
    host.max_hops = None  # type: ignore[assignment]  # what a typo in a file may give
    host.raises = False

    with handling(event_with_trail(["cart-filled"])):
        dispatch(make_receiver("bill"))

    ((_, details),) = failures
    assert details.receivers == ("bill",)
    assert isinstance(details.error.__cause__, TypeError)


def test_our_own_errors_stay_what_they_are(dispatch: Dispatch, host: PlainHost) -> None:
    """An error that says already what to do is not wrapped in another."""
    host.publisher.error = ConfigurationError("name a broker")

    with pytest.raises(ConfigurationError, match="name a broker"):
        dispatch(make_receiver())


def event_with_trail(trail: Sequence[str]) -> Event:
    """Return the event that a handler is called for after *trail*."""
    return Event(
        id="e1",
        signal="paid",
        receiver="shop.bill",
        sent_at=datetime.now(UTC),
        attempt=1,
        trail=tuple(trail),
        headers={},
    )


def test_signal_sent_by_a_handler_carries_the_trail(
    dispatch: Dispatch, host: PlainHost
) -> None:
    """An envelope knows which signals' handlers led to it."""
    with handling(event_with_trail(["placed"])):
        dispatch(make_receiver())

    assert host.publisher.envelopes[0].trail == ("placed", "paid")


@pytest.mark.parametrize("hops", [0, 1, 8])
def test_events_leave_up_to_the_limit(
    dispatch: Dispatch, host: PlainHost, hops: int
) -> None:
    """As many hops as the limit says are fine."""
    host.max_hops = hops + 1

    with handling(event_with_trail(["placed"] * hops)):
        dispatch(make_receiver())

    assert len(host.publisher.envelopes[0].trail) == host.max_hops


def test_events_beyond_the_limit_do_not_leave(
    dispatch: Dispatch, host: PlainHost
) -> None:
    """One hop more is an error that shows the loop and the setting."""
    host.max_hops = 2

    with (
        handling(event_with_trail(["placed", "packed"])),
        pytest.raises(HopLimitError, match="SIGNAL_TASKS_MAX_HOPS") as caught,
    ):
        dispatch(make_receiver("bill"), make_receiver("pack"))

    assert caught.value.trail == ("placed", "packed", "paid", "order-placed")
    assert "3 hops" in str(caught.value)
    assert "placed -> packed -> paid -> order-placed" in str(caught.value)
    assert caught.value.receiver == "bill, pack"
    assert host.publisher.batches == []


TENANT: Wanted = (("tenant", None),)


def make_context(name: str, capture: Callable[[Any], object]) -> Context:
    """Make a context that is only captured here."""
    return Context(name=name, capture=capture, restore=nullcontext)


def test_receivers_get_the_contexts_that_they_ask_for(
    dispatch: Dispatch, host: PlainHost, contexts: Contexts
) -> None:
    """What one receiver asks for does not travel to another; the event is the same."""
    contexts.add(make_context("tenant", lambda keys: keys or "north"))

    dispatch(
        make_receiver("bill", context=TENANT),
        make_receiver("pack"),
        make_receiver("ship", context=(("tenant", ("id",)),)),
        order=7,
    )

    (batch,) = host.publisher.batches
    assert {envelope.receiver: envelope.context for envelope in batch} == {
        "bill": {"tenant": "north"},
        "pack": {},
        "ship": {"tenant": {"~tuple": ["id"]}},
    }
    assert len({envelope.id for envelope in batch}) == 1
    assert all(envelope.payload["kwargs"] == {"order": 7} for envelope in batch)


def test_receivers_that_ask_for_the_same_are_served_at_once(
    dispatch: Dispatch, contexts: Contexts
) -> None:
    """A context is captured once for all receivers that want nothing else."""
    captured: list[object] = []
    contexts.add(make_context("tenant", captured.append))

    dispatch(
        make_receiver("bill", context=TENANT),
        make_receiver("pack"),
        make_receiver("ship", context=TENANT),
    )

    assert captured == [None]


def test_extract_and_contexts_go_together(
    dispatch: Dispatch, host: PlainHost, contexts: Contexts
) -> None:
    """A receiver that picks its arguments still gets the contexts it asks for."""
    contexts.add(make_context("tenant", lambda _: "north"))

    dispatch(
        make_receiver(extract=lambda _, order: {"number": order}, context=TENANT),
        order=7,
    )

    (envelope,) = host.publisher.envelopes
    assert envelope.payload["kwargs"] == {"number": 7}
    assert envelope.context == {"tenant": "north"}


def test_context_that_fails_is_the_failure_of_those_who_ask(
    dispatch: Dispatch, host: PlainHost, contexts: Contexts
) -> None:
    """The other receivers get the event; the error names the first ones."""
    contexts.add(make_context("tenant", fail))

    with pytest.raises(EncodeError, match=r"context\['tenant'\]") as caught:
        dispatch(
            make_receiver("bill", context=TENANT),
            make_receiver("pack"),
            make_receiver("ship", context=TENANT),
        )

    assert caught.value.receiver == "bill, ship"
    assert host.publisher.receivers == ["pack"]
    assert SECRET not in str(caught.value)


def adapted(dispatch: Dispatch, adapt: Callable[..., Any], *to: Receiver) -> None:
    """Dispatch an event of an order whose arguments *adapt* changes."""
    sending = Sending(
        signal="order-placed", sender=None, kwargs={"order": Basket()}, adapt=adapt
    )
    dispatch.dispatcher.dispatch(dispatch.host, sending, Audience.of(to))


def test_arguments_are_adapted_for_all_who_extract_nothing(
    dispatch: Dispatch, host: PlainHost
) -> None:
    """Condition and extract are asked about what the signal was really sent with."""
    asked: list[object] = []

    def pick(_: object, order: object) -> dict[str, object]:
        return {"kind": type(order).__name__}

    adapted(
        dispatch,
        lambda kwargs: dict.fromkeys(kwargs, "adapted"),
        make_receiver("bill", condition=lambda _, order: asked.append(order) or True),
        make_receiver("pack", extract=pick),
    )

    kwargs = {one.receiver: one.payload["kwargs"] for one in host.publisher.envelopes}
    assert kwargs == {"bill": {"order": "adapted"}, "pack": {"kind": "Basket"}}
    assert isinstance(asked[0], Basket)


def test_adaptation_that_fails_is_the_failure_of_those_who_need_it(
    dispatch: Dispatch, host: PlainHost
) -> None:
    """A receiver that picks its arguments itself does not depend on it."""
    with pytest.raises(DispatchError, match="ZeroDivisionError") as caught:
        adapted(
            dispatch,
            fail,
            make_receiver("bill"),
            make_receiver("pack", extract=lambda *_, **__: {}),
        )

    assert caught.value.receiver == "bill"
    assert host.publisher.receivers == ["pack"]


def test_rehearsal_sends_nothing_and_tells_nobody(
    dispatch: Dispatch, host: PlainHost, published: list[Any], failures: list[Any]
) -> None:
    """It returns the envelopes and the failures, though the host's failures raise."""
    sending = Sending(signal="order-placed", sender="web", kwargs={"order": 7})
    audience = Audience.of([make_receiver("bill"), make_receiver("pack", extract=fail)])

    envelopes, failed = dispatch.dispatcher.rehearse(host, sending, audience)

    assert [envelope.receiver for envelope in envelopes] == ["bill"]
    assert host.seal.open(envelopes[0].text) == envelopes[0]
    assert [failure.receivers for failure in failed] == [("pack",)]
    assert (host.publisher.batches, published, failures) == ([], [], [])
