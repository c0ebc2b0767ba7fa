"""From an envelope's text to a call of its handler, or a refusal."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from blinker import ANY, Signal

from signal_tasks import (
    ArgumentsError,
    DecodeError,
    MalformedEnvelopeError,
    RefusedError,
    SignatureError,
    UnknownReceiverError,
    current_event,
    envelope_refused,
)
from signal_tasks.codec import Codec
from signal_tasks.consumer import Consumer
from signal_tasks.contexts import Context, Contexts
from signal_tasks.envelope import Seal
from signal_tasks.event import is_quiet
from signal_tasks.registry import Receiver, Registry, place_of
from signal_tasks.signals import EnvelopeRefused, HandlerFinished, handler_finished
from tests.hosts import PlainHost, entered

SECRET = "4111-1111-1111-1111"
SENT_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class Worker:
    """Consumes envelopes that it seals itself."""

    host: PlainHost
    registry: Registry
    codec: Codec

    def handles(self, handler: Callable[..., Any], name: str = "bill") -> None:
        """Register *handler*."""
        self.registry.add(
            Receiver(
                name=name,
                handler=handler,
                signals=(Signal(),),
                sender=ANY,
                place=place_of(handler),
            )
        )

    def text(
        self,
        *,
        receiver: str = "bill",
        payload: Any = None,
        sender: object = None,
        **kwargs: object,
    ) -> str:
        """Seal an envelope with *sender* and *kwargs*, or with *payload*."""
        usual = {
            "sender": self.codec.encode(sender, path="sender"),
            "kwargs": self.codec.encode(kwargs, path="kwargs"),
        }
        (envelope,) = self.host.seal.seal(
            id="e1",
            signal="order-placed",
            sent_at=SENT_AT,
            trail=("cart-filled",),
            payload=usual if payload is None else payload,
            context={},
            receivers=[receiver],
        )
        return envelope.text

    def consume(self, text: object, *, receiver: str = "bill") -> object:
        """Consume *text*, which came as a task of *receiver*."""
        consumer = Consumer(self.registry, self.codec, Contexts(self.codec))
        return consumer.consume(
            self.host,
            text,
            receiver=receiver,
            attempt=2,
            headers={"x": "y"},
            lease_seconds=60,
        )


@pytest.fixture
def worker() -> Worker:
    """Return a worker that knows no handler yet."""
    return Worker(PlainHost(), Registry(), Codec())


@pytest.fixture
def refused() -> Generator[list[tuple[object, EnvelopeRefused]]]:
    """Return the refusals that are reported."""
    reported: list[tuple[object, EnvelopeRefused]] = []

    def note(sender: object, details: EnvelopeRefused) -> None:
        reported.append((sender, details))

    with envelope_refused.connected_to(note):
        yield reported


def see_all(sender: object, **kwargs: object) -> tuple[object, dict[str, object]]:
    """Return what a handler got."""
    return sender, kwargs


def test_handler_is_called_as_blinker_calls_a_receiver(worker: Worker) -> None:
    """The handler gets the sender and the keyword arguments, with their types."""
    worker.handles(see_all)

    result = worker.consume(worker.text(sender="web", order=(1, SENT_AT)))

    assert result == ("web", {"order": (1, SENT_AT)})


@pytest.mark.parametrize("name", ["self", "host", "text", "receiver", "~set", "\ud800"])
def test_keyword_arguments_may_have_any_name(worker: Worker, name: str) -> None:
    """The user's names never meet ours."""
    worker.handles(see_all)
    kwargs = worker.codec.encode({name: {1}}, path="kwargs")

    result = worker.consume(worker.text(payload={"sender": None, "kwargs": kwargs}))

    assert result == (None, {name: {1}})


def test_handler_sees_the_event(worker: Worker) -> None:
    """While the handler runs, current_event has the facts of its event."""
    worker.handles(
        lambda _sender: (
            *(current_event.id, current_event.signal, current_event.sent_at),
            *(current_event.attempt, current_event.hops, current_event.headers),
        )
    )

    facts = worker.consume(worker.text())

    assert facts == ("e1", "order-placed", SENT_AT, 2, 1, {"x": "y"})
    assert not current_event


def test_handler_runs_in_the_context_of_its_application(worker: Worker) -> None:
    """The application's context is entered around the handler, and left after it."""
    worker.handles(lambda _sender: entered.get())

    inside = worker.consume(worker.text())

    assert (inside, entered.get()) == ("shop", None)


def test_values_are_decoded_in_the_context_too(worker: Worker) -> None:
    """A type's decode function may look something up in the application."""

    class Page:
        pass

    worker.codec.register(Page, lambda _page: 1, lambda _one: entered.get(), "page")
    worker.handles(see_all)

    result = worker.consume(worker.text(page=Page()))

    assert result == (None, {"page": "shop"})


def test_handler_may_send_signals(worker: Worker) -> None:
    """What the bridge does around a handler is quiet, and the handler is not."""
    worker.handles(lambda _sender: is_quiet())

    inside = worker.consume(worker.text())

    assert (inside, is_quiet()) == (False, False)


def test_context_is_entered_and_left_quietly(worker: Worker) -> None:
    """Signals that are sent because a context is pushed or popped go nowhere."""
    seen: list[bool] = []

    class Watching(PlainHost):
        def context(self) -> Any:
            seen.append(is_quiet())
            return super().context()

    worker.host = Watching()
    worker.handles(see_all)

    worker.consume(worker.text())

    assert seen == [True]


def test_error_of_a_handler_comes_through(
    worker: Worker, refused: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    """What a handler raises is the handler's: it is no refusal."""

    def fail(_sender: object) -> None:
        raise ZeroDivisionError

    worker.handles(fail)

    with pytest.raises(ZeroDivisionError):
        worker.consume(worker.text())

    assert not refused
    assert not caplog.records
    assert not current_event


def test_coroutine_handler_is_run_to_its_end(worker: Worker) -> None:
    """An async handler is awaited, inside the event and the application's context."""

    async def handle(_sender: object, number: int) -> object:
        await asyncio.sleep(0)
        return number, current_event.id, entered.get()

    worker.handles(handle)

    assert worker.consume(worker.text(number=7)) == (7, "e1", "shop")


def test_coroutine_handler_runs_inside_a_running_loop(worker: Worker) -> None:
    """Where a loop runs already, as in an async test, the handler runs beside it."""
    mine: ContextVar[str] = ContextVar("mine")

    async def handle(_sender: object) -> object:
        await asyncio.sleep(0)
        return current_event.id, entered.get(), mine.get()

    worker.handles(handle)

    async def main() -> object:
        mine.set("here")
        return worker.consume(worker.text())

    assert asyncio.run(main()) == ("e1", "shop", "here")


@pytest.mark.parametrize("in_a_loop", [False, True], ids=["plain", "in a loop"])
def test_error_of_a_coroutine_handler_comes_through(
    worker: Worker, *, in_a_loop: bool
) -> None:
    """An async handler's exception is raised as a plain one's is."""

    async def handle(_sender: object) -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def main() -> None:
        worker.consume(worker.text())

    worker.handles(handle)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main()) if in_a_loop else worker.consume(worker.text())


def test_any_awaitable_is_awaited(worker: Worker) -> None:
    """A plain function that returns something awaitable is as good as an async one."""

    class Later:
        def __await__(self) -> Generator[None, None, int]:
            yield
            return 7

    worker.handles(lambda _sender: Later())

    assert worker.consume(worker.text()) == 7


def test_workers_threads_have_their_own_events(worker: Worker) -> None:
    """Two threads that handle events at once do not see each other's."""
    both = threading.Barrier(2)
    seen: list[object] = []

    def handle(sender: object) -> None:
        both.wait(5)
        seen.append((sender, current_event.attempt, entered.get()))

    worker.handles(handle)
    texts = [worker.text(sender=number) for number in range(2)]

    threads = [threading.Thread(target=worker.consume, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(seen) == [(0, 2, "shop"), (1, 2, "shop")]


@pytest.mark.parametrize(
    "text",
    ["", "garbage", None, 7, ["list"], '{"v":1,'],
    ids=repr,
)
def test_malformed_text_is_refused(worker: Worker, text: object) -> None:
    """Whatever comes as an envelope and is none is refused."""
    worker.handles(see_all)

    with pytest.raises(MalformedEnvelopeError):
        worker.consume(text)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"sender": None},
        {"kwargs": {}},
        {"sender": None, "kwargs": []},
        {"sender": None, "kwargs": None},
        {"sender": None, "kwargs": {"~tuple": []}},
        {"sender": None, "kwargs": {"~dict": [[1, 2]]}},
    ],
    ids=repr,
)
def test_incomplete_payload_is_refused(worker: Worker, payload: object) -> None:
    """A payload without sender or keyword arguments is malformed, though it is signed."""
    worker.handles(see_all)

    with pytest.raises(MalformedEnvelopeError, match="payload"):
        worker.consume(worker.text(payload=payload))


def test_undecodable_value_is_refused_by_its_place(worker: Worker) -> None:
    """A value that has no type here is named by its path and its tag."""
    worker.handles(see_all)
    payload = {"sender": None, "kwargs": {"order": [{"~shop.Order": SECRET}]}}

    with pytest.raises(DecodeError, match=r"register_type\(\)") as caught:
        worker.consume(worker.text(payload=payload))

    assert caught.value.path == "kwargs['order'][0]"
    assert caught.value.tag == "shop.Order"
    assert SECRET not in str(caught.value)


def test_undecodable_sender_is_refused(worker: Worker) -> None:
    """The sender is named as the sender."""
    worker.handles(see_all)
    payload = {"sender": {"~shop.Shop": 1}, "kwargs": {}}

    with pytest.raises(DecodeError) as caught:
        worker.consume(worker.text(payload=payload))

    assert caught.value.path == "sender"


def test_unknown_receiver_is_refused(worker: Worker) -> None:
    """An envelope for a receiver that nobody registered raises UnknownReceiverError."""
    with pytest.raises(UnknownReceiverError) as caught:
        worker.consume(worker.text(receiver="gone"), receiver="gone")

    assert caught.value.receiver == "gone"


def test_redirected_envelope_is_refused(worker: Worker) -> None:
    """A signed envelope runs as no other receiver's task than the one it names."""
    ran: list[object] = []
    worker.handles(ran.append, name="refund")
    worker.handles(see_all, name="bill")

    with pytest.raises(UnknownReceiverError, match="redirected") as caught:
        worker.consume(worker.text(receiver="bill"), receiver="refund")

    assert caught.value.receiver == "refund"
    assert ran == []


def test_envelope_of_another_key_is_refused(worker: Worker) -> None:
    """What another application signed does not run here, and is not even decoded."""
    worker.handles(see_all)
    text = worker.text(payload={"sender": {"~unknown": 1}})
    worker.host.seal = Seal(["another key"])

    with pytest.raises(SignatureError):
        worker.consume(text)


def picky(sender: object, number: int) -> None:
    """Stand for a handler that takes one argument of one name."""


async def async_picky(sender: object, number: int) -> None:
    """Stand for an async handler that takes one argument of one name."""


@pytest.mark.parametrize("handler", [picky, async_picky], ids=["plain", "async"])
@pytest.mark.parametrize(
    "kwargs",
    [{}, {"amount": SECRET}, {"number": 1, "amount": SECRET}],
    ids=["missing", "other name", "too many"],
)
def test_arguments_that_do_not_fit_are_refused(
    worker: Worker, handler: Callable[..., Any], kwargs: dict[str, object]
) -> None:
    """The error names handler, place and argument, with the mend and without a value."""
    worker.handles(handler)

    with pytest.raises(ArgumentsError, match=r"\*\*extra") as caught:
        worker.consume(worker.text(**kwargs))

    assert caught.value.receiver == "bill"
    assert place_of(handler) in str(caught.value)
    assert SECRET not in str(caught.value)


def test_argument_called_like_the_first_parameter_is_refused(worker: Worker) -> None:
    """A keyword argument of the sender's parameter's name is one value too many."""
    worker.handles(picky)
    kwargs = {"sender": 1, "number": 2}

    with pytest.raises(ArgumentsError, match="multiple values"):
        worker.consume(worker.text(payload={"sender": None, "kwargs": kwargs}))


def test_type_error_inside_a_handler_is_the_handlers(worker: Worker) -> None:
    """A TypeError out of a handler that was called is not about its arguments."""

    def handle(_sender: object) -> None:
        picky()  # type: ignore[call-arg]

    worker.handles(handle)

    with pytest.raises(TypeError) as caught:
        worker.consume(worker.text())

    assert not isinstance(caught.value, RefusedError)


def test_callable_that_does_not_tell_its_parameters_is_called(worker: Worker) -> None:
    """Some built-in types do not say what they take; they just run."""
    worker.handles(dict)

    assert worker.consume(worker.text(sender=[("a", 1)], b=2)) == {"a": 1, "b": 2}


def test_refusal_is_logged_and_reported(
    worker: Worker,
    refused: list[tuple[object, EnvelopeRefused]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A refusal is an error in the log, with the receiver, and a lifecycle signal."""
    with pytest.raises(RefusedError) as caught:
        worker.consume("garbage")

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message.startswith("envelope for bill refused: ")
    assert record.__dict__["signal_tasks.receiver"] == "bill"
    assert refused == [("shop", EnvelopeRefused(receiver="bill", error=caught.value))]
    assert caught.value.receiver == "bill"


def test_no_refusal_shows_what_the_envelope_holds(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither error nor log shows a value that somebody sent."""
    worker.handles(picky)
    good = worker.text(number=SECRET, amount=SECRET)

    for text in (good, good[:-9], good.replace("e1", "e2"), f"{SECRET}{good}"):
        with pytest.raises(RefusedError) as caught:
            worker.consume(text)
        assert SECRET not in str(caught.value)

    assert SECRET not in caplog.text


@pytest.fixture
def finished() -> Generator[list[HandlerFinished]]:
    """Return the ends of handlers that are reported."""
    reported: list[HandlerFinished] = []

    def note(_sender: object, details: HandlerFinished) -> None:
        reported.append(details)

    with handler_finished.connected_to(note):
        yield reported


def test_end_of_a_handler_is_reported(
    worker: Worker, finished: list[HandlerFinished]
) -> None:
    """Whoever measures hears which handler ran, for which event, and how long."""
    worker.handles(lambda _sender: None)

    worker.consume(worker.text())

    (details,) = finished
    assert (details.event.id, details.event.receiver) == ("e1", "bill")
    assert details.seconds > 0
    assert details.error is None


def test_error_of_a_handler_is_reported(
    worker: Worker, finished: list[HandlerFinished]
) -> None:
    """A handler that raises has ended too, and the error goes on its way."""
    error = ValueError("no")

    def handle(_sender: object) -> None:
        raise error

    worker.handles(handle)

    with pytest.raises(ValueError, match="no"):
        worker.consume(worker.text())

    assert [details.error for details in finished] == [error]


def test_refused_envelope_ends_no_handler(
    worker: Worker, finished: list[HandlerFinished]
) -> None:
    """Where no handler ran, none is reported."""
    with pytest.raises(RefusedError):
        worker.consume("garbage")

    assert finished == []


def consume_with_tenant(
    worker: Worker, restore: Callable[[Any], Any], context: Any = "north"
) -> object:
    """Consume an envelope with a tenant, for a worker that may restore tenants."""
    contexts = Contexts(worker.codec)
    contexts.add(Context(name="tenant", capture=lambda _: None, restore=restore))
    (envelope,) = worker.host.seal.seal(
        id="e1",
        signal="order-placed",
        sent_at=SENT_AT,
        trail=(),
        payload={"sender": None, "kwargs": {}},
        context={"tenant": context},
        receivers=["bill"],
    )
    consumer = Consumer(worker.registry, worker.codec, contexts)
    return consumer.consume(
        worker.host,
        envelope.text,
        receiver="bill",
        attempt=1,
        headers={},
        lease_seconds=60,
    )


def test_contexts_are_restored_around_the_handler(worker: Worker) -> None:
    """They are entered inside the application's context, without causing events."""
    steps: list[object] = []

    @contextmanager
    def restore(tenant: object) -> Generator[None]:
        steps.append((tenant, entered.get(), is_quiet()))
        yield
        steps.append(("left", entered.get(), is_quiet()))

    worker.handles(lambda _: steps.append(("handled", entered.get(), is_quiet())))

    consume_with_tenant(worker, restore, {"~tuple": ["north"]})

    assert steps == [
        (("north",), "shop", True),
        ("handled", "shop", False),
        ("left", "shop", True),
    ]


def test_error_of_a_handler_passes_through_its_contexts(worker: Worker) -> None:
    """A context sees how its handler ended, and it cannot be mistaken for a refusal."""
    seen: list[BaseException] = []

    @contextmanager
    def restore(_: object) -> Generator[None]:
        try:
            yield
        except ZeroDivisionError as error:
            seen.append(error)
            raise

    def fail(_: object) -> None:
        raise ZeroDivisionError

    worker.handles(fail)

    with pytest.raises(ZeroDivisionError) as caught:
        consume_with_tenant(worker, restore)

    assert seen == [caught.value]


def test_context_that_cannot_be_restored_runs_no_handler(worker: Worker) -> None:
    """Its error comes through, for Celery to try again: the next time it may be there."""
    calls: list[object] = []
    worker.handles(calls.append)

    def refuse(_: object) -> Any:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        consume_with_tenant(worker, refuse)

    assert calls == []


def test_unreadable_context_is_refused(
    worker: Worker, refused: list[tuple[object, EnvelopeRefused]]
) -> None:
    """A context that this worker cannot decode is refused, with its place."""
    worker.handles(see_all)

    with pytest.raises(DecodeError) as caught:
        consume_with_tenant(worker, nullcontext, {"~gone": 1})

    assert (caught.value.path, caught.value.tag) == ("context['tenant']", "gone")
    assert [(host, details.error) for host, details in refused] == [
        ("shop", caught.value)
    ]
