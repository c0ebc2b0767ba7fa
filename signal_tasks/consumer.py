"""The way in: an envelope's text becomes a call of its handler.

In: the text, as the task got it. Out: what the handler returns, or a ``RefusedError``
for an envelope that this worker will not run, now or later.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from time import perf_counter
from types import TracebackType
from typing import Any

from .claiming import claim
from .codec import Codec
from .contexts import Contexts
from .envelope import Envelope
from .event import Event, handling, quiet
from .exceptions import (
    ArgumentsError,
    MalformedEnvelopeError,
    MissingReferenceError,
    RefusedError,
    StillMissingError,
    UnknownReceiverError,
)
from .host import Host
from .references import Lookup, looking_up
from .registry import Receiver, Registry
from .signals import (
    EnvelopeRefused,
    EventDiscarded,
    HandlerFinished,
    envelope_refused,
    event_discarded,
    handler_finished,
    report,
)
from .typing import Handler, named_items

_logger = logging.getLogger(__name__)


class Consumer:
    """Opens envelopes and calls handlers.

    Args:
        registry: Names the handlers.
        codec: Decodes what the dispatcher encoded.
        contexts: Restores the surroundings that receivers asked for.
    """

    def __init__(self, registry: Registry, codec: Codec, contexts: Contexts) -> None:
        self._registry = registry
        self._codec = codec
        self._contexts = contexts
        self._signatures: dict[Receiver, inspect.Signature | None] = {}
        self._fitting: dict[Receiver, tuple[str, ...]] = {}

    def consume(
        self,
        host: Host,
        text: object,
        *,
        receiver: str,
        attempt: int,
        headers: Mapping[str, object],
        lease_seconds: float,
    ) -> object:
        """Run the handler that the envelope in *text* is for.

        Args:
            host: The application to run it in.
            text: The envelope, sealed.
            receiver: The name under which the message came, which nobody signed.
            attempt: 1 the first time.
            headers: The message's headers.
            lease_seconds: How long the handler may take, where nobody else is to run it
                meanwhile.

        Raises:
            StillClaimedError: It is not to be run now, and may be later.
            RefusedError: The envelope cannot be run here. That is logged and reported.
            Exception: Whatever the handler raises.
        """
        # The handler runs inside this too, but under `handling`, which lifts it.
        with quiet():
            with _Refusing(host, receiver):
                envelope = host.seal.open(text)
                known = self._named(envelope, receiver)
            event = _event(envelope, attempt, headers)
            if not (known.once or envelope.is_kept):
                return self._run(host, known, envelope, event, settling=nullcontext)
            claimed = claim(
                host, envelope, once=known.once, lease_seconds=lease_seconds
            )
            if claimed is None:
                return None
            return claimed.handle(
                lambda: self._run(
                    host, known, envelope, event, settling=claimed.settling
                )
            )

    def _run(
        self,
        host: Host,
        receiver: Receiver,
        envelope: Envelope,
        event: Event,
        *,
        settling: Callable[[], AbstractContextManager[object]],
    ) -> object:
        with (
            host.context(),
            looking_up(receiver.missing, host.database) as lookup,
            self._restored(host, receiver, envelope),
        ):
            with _Refusing(host, receiver.name):
                arguments = self._arguments(host, receiver, envelope, lookup)
            if arguments is None:
                return None
            sender, kwargs = arguments
            with settling(), handling(event), _Reporting(host, event):
                result = receiver.handler(sender, **kwargs)
                # Most return nothing, and to ask whether that can be awaited takes time.
                if result is None or not inspect.isawaitable(result):
                    return result
                return _awaited(result)

    def _restored(
        self, host: Host, receiver: Receiver, envelope: Envelope
    ) -> AbstractContextManager[object]:
        """Restore what the receiver asked for, if it did."""
        if not envelope.context:
            return nullcontext()
        with _Refusing(host, receiver.name), ExitStack() as stack:
            stack.enter_context(self._contexts.restored(envelope.context))
            return stack.pop_all()

    def _named(self, envelope: Envelope, receiver: str) -> Receiver:
        if envelope.receiver != receiver:
            raise UnknownReceiverError(
                f"the envelope is for {envelope.receiver} and came as a task of "
                f"{receiver}. Somebody redirected it; look who may write to the broker.",
                receiver=receiver,
            )
        return self._registry.get(receiver)

    def _arguments(
        self, host: Host, receiver: Receiver, envelope: Envelope, lookup: Lookup
    ) -> tuple[object, dict[str, object]] | None:
        """Return the handler's sender and kwargs; None where it is not to run."""
        sender, kwargs = self._decoded(envelope)
        if lookup.failure is not None:
            raise lookup.failure
        if lookup.misses:
            _miss(host, envelope, lookup)
            return None
        self._check_fit(receiver, sender, kwargs)
        return sender, kwargs

    def _check_fit(
        self, receiver: Receiver, sender: object, kwargs: Mapping[str, object]
    ) -> None:
        """Refuse arguments that the handler does not take, before it has begun.

        A TypeError out of the call itself could as well come from inside the handler.
        """
        # Whether they fit, their names tell, which are mostly those of the last time.
        names = tuple(kwargs)
        if self._fitting.get(receiver) == names:
            return
        # Kept, for to find it out takes as long as all the rest of a run.
        if receiver not in self._signatures:
            self._signatures[receiver] = _signature_of(receiver.handler)
        signature = self._signatures[receiver]
        if signature is None:
            return
        try:
            signature.bind(sender, **kwargs)
            self._fitting[receiver] = names
        except TypeError as error:
            raise ArgumentsError(
                f"handler {receiver.name} at {receiver.place} does not take what its "
                f"event carries: {error}. Change its parameters (end them with "
                "**extra), or what the signal is sent with.",
                receiver=receiver.name,
            ) from error

    def _decoded(self, envelope: Envelope) -> tuple[object, dict[str, object]]:
        try:
            sender = envelope.payload["sender"]
            kwargs = envelope.payload["kwargs"]
        except KeyError as error:
            raise MalformedEnvelopeError("the payload lacks a part.") from error
        arguments = named_items(self._codec.decode(kwargs, path="kwargs"))
        if arguments is None:
            raise MalformedEnvelopeError("the payload has no keyword arguments.")
        return self._codec.decode(sender, path="sender"), arguments


def _event(envelope: Envelope, attempt: int, headers: Mapping[str, object]) -> Event:
    return Event(
        id=envelope.id,
        signal=envelope.signal,
        receiver=envelope.receiver,
        sent_at=envelope.sent_at,
        attempt=attempt,
        trail=envelope.trail,
        headers=headers,
    )


def refuse(application: object, receiver: str, error: RefusedError) -> None:
    """Log and report an envelope that nobody here will run."""
    error.is_verdict = True
    error.receiver = error.receiver or receiver
    _logger.error(
        "envelope for %s refused: %s",
        receiver,
        error,
        extra={"signal_tasks.receiver": receiver},
    )
    report(
        envelope_refused,
        application,
        EnvelopeRefused(receiver=receiver, error=error),
    )


class _Refusing:
    """Makes what is raised inside the verdict on an envelope, before its handler begins.

    Like the other one below no generator, for both are entered for each event.
    """

    __slots__ = ("_host", "_receiver")

    def __init__(self, host: Host, receiver: str) -> None:
        self._host = host
        self._receiver = receiver

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc, RefusedError):
            refuse(self._host.application, self._receiver, exc)


class _Reporting:
    """Reports how the handler that runs inside ended."""

    __slots__ = ("_event", "_host", "_started")

    def __init__(self, host: Host, event: Event) -> None:
        self._host = host
        self._event = event

    def __enter__(self) -> None:
        """Begin to take the time."""
        self._started = perf_counter()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if handler_finished.receivers:
            seconds = perf_counter() - self._started
            details = HandlerFinished(event=self._event, seconds=seconds, error=exc)
            report(handler_finished, self._host.application, details)


def _miss(host: Host, envelope: Envelope, lookup: Lookup) -> None:
    """Follow the receiver's policy, for something that its event refers to is gone."""
    error = MissingReferenceError(tuple(lookup.misses), receiver=envelope.receiver)
    match lookup.policy.action:
        case "discard":
            _discard(host.application, envelope, error)
        case "retry":
            raise StillMissingError(str(error)) from error
        case _:
            raise error


def _discard(application: object, envelope: Envelope, error: RefusedError) -> None:
    """Log and report an event that its receiver does not want any more."""
    _logger.info(
        "event for %s discarded: %s",
        envelope.receiver,
        error,
        extra={
            "signal_tasks.receiver": envelope.receiver,
            "signal_tasks.event_id": envelope.id,
        },
    )
    report(
        event_discarded,
        application,
        EventDiscarded(event_id=envelope.id, receiver=envelope.receiver, error=error),
    )


def _signature_of(handler: Handler) -> inspect.Signature | None:
    """Return what *handler* takes; some callables, written in C, do not tell."""
    try:
        return inspect.signature(handler)
    except ValueError:
        return None


def _awaited(result: Awaitable[Any]) -> object:
    """Run a coroutine handler to its end."""

    async def finish() -> object:
        return await result

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(finish())
    # Celery runs tasks eagerly in tests, which may stand inside a running loop.
    context = contextvars.copy_context()
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(context.run, asyncio.run, finish()).result()
