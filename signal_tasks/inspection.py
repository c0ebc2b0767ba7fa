"""What there is, and what a signal would send to whom: facts for people to read."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from blinker import ANY, Signal
from celery import Celery
from celery.exceptions import QueueNotFound

from .bridge import Bridge
from .envelope import Envelope
from .registry import Receiver, signal_name
from .tasks.receiver_tasks import queue_of
from .typing import JSONValue

_REFERENCES = frozenset({"model", "model-class"})
_PARTS = frozenset({"portion", "response"})
_COPIES = frozenset({"response", "template", "template-copy", "exception"})
_IDENTITIES = frozenset({"flask"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverFacts:
    """What people want to know about a receiver."""

    name: str
    queue: str
    place: str
    sender: str
    policies: tuple[str, ...]
    """Its options as they would be written in ``async_receiver(...)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFacts:
    """A signal that has async receivers."""

    name: str
    documentation: str
    receivers: tuple[ReceiverFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notable:
    """Something in an envelope that is no plain JSON."""

    path: str
    kind: str
    """``converted``, ``referenced``, ``copied`` or ``left out``."""
    what: str


def signals_of(bridge: Bridge, celery_app: Celery) -> tuple[SignalFacts, ...]:
    """Describe the signals of *bridge* and their receivers, by name."""
    receivers: dict[Signal, list[Receiver]] = {}
    for receiver in bridge.registry:
        for signal in receiver.signals:
            receivers.setdefault(signal, []).append(receiver)
    facts = (
        SignalFacts(
            name=signal_name(signal),
            documentation=_documentation(signal),
            receivers=tuple(receiver_facts(celery_app, one) for one in listeners),
        )
        for signal, listeners in receivers.items()
    )
    return tuple(sorted(facts, key=lambda one: one.name))


def receiver_facts(celery_app: Celery, receiver: Receiver) -> ReceiverFacts:
    """Describe *receiver*."""
    is_any = receiver.sender is ANY
    return ReceiverFacts(
        name=receiver.name,
        queue=_queue(celery_app, receiver),
        place=receiver.place,
        sender="any" if is_any else type(receiver.sender).__name__,
        policies=tuple(_policies(receiver)),
    )


def signals_named(bridge: Bridge, name: str) -> tuple[Signal, ...]:
    """Return the signals with async receivers that are called *name*."""
    signals = {one: None for receiver in bridge.registry for one in receiver.signals}
    return tuple(one for one in signals if signal_name(one) == name)


def notables_of(envelope: Envelope) -> tuple[Notable, ...]:
    """Say what in *envelope* was converted, referenced, copied or left out."""
    found = [
        notable
        for name, part in envelope.payload.items()
        for notable in _notables(part, name)
    ]
    for name, part in envelope.context.items():
        path = f"context[{name!r}]"
        found += (*_left_out(part, path), *_notables(part, path))
    return tuple(found)


def _notables(value: JSONValue, path: str) -> Iterator[Notable]:
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from _notables(item, f"{path}[{position}]")
    elif isinstance(value, dict):
        yield from _notables_of_object(value, path)


def _notables_of_object(value: dict[str, JSONValue], path: str) -> Iterator[Notable]:
    for key, item in value.items():
        # The codec gives no other meaning to a key that begins so.
        if key.startswith("~"):
            yield Notable(path=path, kind=_kind(key[1:]), what=key[1:])
            if key[1:] in _PARTS:
                yield from _left_out(item, path)
            yield from _notables(item, path)
        else:
            yield from _notables(item, f"{path}[{key!r}]")


def _left_out(value: JSONValue, path: str) -> Iterator[Notable]:
    """Say what stayed behind of something that we took a part of."""
    parts = value if isinstance(value, dict) else {}
    for key, names in parts.items():
        if key.endswith("left_out") and isinstance(names, list) and names:
            of = key.removesuffix("left_out").replace("_", " ")
            what = of + ", ".join(str(name) for name in names)
            yield Notable(path=path, kind="left out", what=what)


def _kind(tag: str) -> str:
    if tag in _REFERENCES | _IDENTITIES:
        return "referenced"
    return "copied" if tag in _COPIES else "converted"


def _queue(celery_app: Celery, receiver: Receiver) -> str:
    try:
        return queue_of(celery_app, receiver)
    except QueueNotFound as error:
        return f"none: {error.args[0]}"


def _documentation(signal: Signal) -> str:
    """Return what the signal's author wrote about it."""
    if signal.__doc__ is None or signal.__doc__ == type(signal).__doc__:
        return ""
    return inspect.cleandoc(signal.__doc__)


def _policies(receiver: Receiver) -> Iterator[str]:
    if receiver.extract is not None:
        yield "extract"
    if receiver.condition is not None:
        yield "condition"
    if receiver.context:
        yield f"context={', '.join(name for name, _ in receiver.context)}"
    if receiver.delivery is not None:
        yield f"delivery={receiver.delivery}"
    if receiver.once:
        yield "once"
    if receiver.missing.action != "fail":
        yield f"missing={receiver.missing.action}"
    options: Mapping[str, object] = {
        **receiver.task_options,
        **receiver.message_options,
    }
    for name, value in options.items():
        yield f"{name}={value!r}"
