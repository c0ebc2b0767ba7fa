"""Which receivers there are, under which names.

Both sides meet here: the sender asks which receivers an event has, the worker asks
which handler a name stands for.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import CodeType
from typing import Any

from blinker import Signal

from .exceptions import RegistrationError, UnknownReceiverError
from .references import FAIL, MissingPolicy
from .typing import Condition, Delivery, Extract, Handler, Wanted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Receiver:
    """What is registered about a handler."""

    name: str
    """Name of its Celery task, the same in every process."""

    handler: Handler

    signals: tuple[Signal, ...]

    sender: object
    """The sender that it listens to, or :data:`blinker.ANY`."""

    extract: Extract | None = None
    condition: Condition | None = None

    context: Wanted = ()
    """What the worker restores around the handler."""

    missing: MissingPolicy = FAIL
    """What happens when something that the event refers to is gone."""

    delivery: Delivery | None = None
    """How its events reach the broker; None for what its host does."""

    once: bool = False
    """Whether an event that was handled is known, and not handled again."""

    task_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Those of Celery's options that it reads from the receiver's task."""

    message_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Those of Celery's options that go with each message."""

    place: str
    """File and line of the handler."""


class Registry:
    """The receivers of one bridge, by name."""

    def __init__(self) -> None:
        self._receivers: dict[str, Receiver] = {}
        self._lock = Lock()

    def __iter__(self) -> Iterator[Receiver]:
        return iter(tuple(self._receivers.values()))

    def add(self, receiver: Receiver) -> Receiver | None:
        """Register *receiver*.

        Returns:
            The receiver that it replaces: the one of the same function before its
            module was reloaded.

        Raises:
            RegistrationError: The name is taken.
        """
        with self._lock:
            former = self._receivers.get(receiver.name)
            if former is not None and not _is_reload(former, receiver):
                raise RegistrationError(_clash(former, receiver))
            self._receivers[receiver.name] = receiver
            return former

    def get(self, name: str) -> Receiver:
        """Return the receiver called *name*.

        Raises:
            UnknownReceiverError: There is none.
        """
        try:
            return self._receivers[name]
        except KeyError:
            raise UnknownReceiverError(
                f"this worker knows no receiver {name}. Deploy the code that declares it "
                "to the worker, and make sure that the worker imports its module.",
                receiver=name,
            ) from None

    def of(self, handler: Handler) -> tuple[Receiver, ...]:
        """Return the receivers that were made of *handler*, one per decoration."""
        # Equality, for every access to a method makes a new bound method.
        return tuple(one for one in self if one.handler == handler)


def unused_name(registry: Registry, handler: Handler, first_signal: Signal) -> str:
    """Return a stable name for a receiver made of *handler*.

    The first decoration of a function is called ``module.qualname``; a further one of
    the same function adds the signal's name, for each is a task of its own.

    Raises:
        RegistrationError: The handler has no name of its own that another process
            would find again.
    """
    name = _importable_name(handler)
    is_stacked = any(one.name == name for one in registry.of(handler))
    return f"{name}:{signal_name(first_signal)}" if is_stacked else name


def signal_name(signal: Signal) -> str:
    """Return the name by which people know *signal*."""
    return str(getattr(signal, "name", "anonymous"))


def place_of(handler: Handler) -> str:
    """Return file and line of *handler*, as far as it has them."""
    code = _code_of(handler)
    if code is None:
        return f"{type(handler).__module__}.{type(handler).__qualname__}"
    return f"{code.co_filename}:{code.co_firstlineno}"


def module_name(module: str) -> str:
    """Return the name under which another process imports *module*.

    A program started as a script is ``__main__`` to itself and ``app`` to the worker.
    """
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else module


def _clash(former: Receiver, receiver: Receiver) -> str:
    if former.place == receiver.place:
        return (
            f"receiver {receiver.name} at {receiver.place} is declared twice. If that is "
            "inside a function, such as an app factory, declare it outside, or give each "
            "app a Bridge of its own; else give each a name: "
            "async_receiver(..., name='...')."
        )
    return (
        f"receiver {receiver.name} at {receiver.place} has the name of the one at "
        f"{former.place}. Give one of them a name of its own: "
        "async_receiver(..., name='...')."
    )


def _importable_name(handler: Handler) -> str:
    qualname = getattr(handler, "__qualname__", None)
    if qualname is None or "<" in qualname:
        raise RegistrationError(
            f"the handler at {place_of(handler)} has no name that a worker would find "
            "again, for it is a closure, a lambda or an object. Give it one: "
            "async_receiver(..., name='...')."
        )
    return f"{module_name(handler.__module__)}.{qualname}"


def _is_reload(former: Receiver, receiver: Receiver) -> bool:
    """Tell whether the same source ran again, which compiles its code anew.

    Methods of two objects, and two wrappers of a function, have their code in common.
    """
    return (
        _code_of(former.handler) is not _code_of(receiver.handler)
        and former.place == receiver.place
        and "<" not in getattr(receiver.handler, "__qualname__", "<")
    )


def _code_of(handler: Handler) -> CodeType | None:
    code = getattr(inspect.unwrap(handler), "__code__", None)
    return code if isinstance(code, CodeType) else None
