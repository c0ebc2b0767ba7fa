"""What may be written in ``async_receiver(...)``, and what is wrong with the rest.

A mistake is found where it was made: while the module with the handler is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import (
    isasyncgenfunction,
    iscoroutinefunction,
    isfunction,
    isgeneratorfunction,
)

from blinker import Signal

from .exceptions import RegistrationError
from .registry import place_of, signal_name
from .signals import LIFECYCLE_SIGNALS
from .typing import DELIVERIES, Delivery


def check_signals(signals: Sequence[object]) -> None:
    """Make sure that there is a signal, and that each is one that can be listened to.

    Raises:
        RegistrationError: It is not so.
    """
    if not signals:
        raise RegistrationError(
            "async_receiver() needs at least one signal: @async_receiver(user_registered)."
        )
    for signal in signals:
        if not isinstance(signal, Signal):
            raise RegistrationError(
                f"async_receiver() takes blinker signals, not {type(signal).__name__}: "
                "@async_receiver(user_registered). To get a signal by its name, call "
                "blinker.signal(name)."
            )
        if signal in LIFECYCLE_SIGNALS:
            raise RegistrationError(
                f"async_receiver({signal_name(signal)}) would report on itself for ever, "
                "for the bridge sends that signal about its own work. Connect a plain "
                "receiver to it."
            )


def check_name(name: object) -> None:
    """Make sure that *name*, where one is given, can be a task's.

    Raises:
        RegistrationError: It is no text, or is empty.
    """
    if name is not None and not (isinstance(name, str) and name):
        raise RegistrationError(
            "async_receiver(name=...) takes a string with something in it. Leave it out "
            "for the handler's own name."
        )


def delivery_named(delivery: object) -> Delivery | None:
    """Read the ``delivery`` option of a receiver; None for what its host does.

    Raises:
        RegistrationError: There is no such delivery.
    """
    if delivery is None:
        return None
    for known in DELIVERIES:
        if delivery == known:
            return known
    raise RegistrationError(
        f"async_receiver(delivery=...) takes one of {', '.join(map(repr, DELIVERIES))}."
    )


def check_once(once: object) -> None:
    """Make sure that *once* is a yes or a no.

    Raises:
        RegistrationError: It is something else.
    """
    if not isinstance(once, bool):
        raise RegistrationError(
            f"async_receiver(once=...) takes True or False, not {type(once).__name__}."
        )


def check_choice(option: str, function: object) -> None:
    """Make sure that ``extract`` or ``condition`` has an answer when it is called.

    Raises:
        RegistrationError: It is no function, or one that has to be awaited.
    """
    if function is None:
        return
    if not callable(function):
        raise RegistrationError(
            f"async_receiver({option}=...) takes a function, not "
            f"{type(function).__name__}."
        )
    if iscoroutinefunction(function) or isgeneratorfunction(function):
        raise RegistrationError(
            f"the {option} at {place_of(function)} does not return its answer when it is "
            "called, and nobody can wait for it where a signal is sent. Make it a plain "
            "function."
        )


def check_handler(handler: object) -> None:
    """Make sure that calling *handler* runs it.

    Raises:
        RegistrationError: It cannot be called, or is a generator.
    """
    if not callable(handler):
        raise RegistrationError(
            f"async_receiver() decorates a function, not {type(handler).__name__}."
        )
    if isgeneratorfunction(handler) or isasyncgenfunction(handler):
        raise RegistrationError(
            f"the handler at {place_of(handler)} is a generator, so calling it would run "
            "nothing of it. Let it return instead of yield."
        )
    if _is_method_in_its_class(handler):
        raise RegistrationError(
            f"the handler at {place_of(handler)} is a method, decorated in its class, "
            "where no instance is there to call it on. Decorate the method of an "
            "instance: async_receiver(signal)(instance.method)."
        )


def _is_method_in_its_class(handler: object) -> bool:
    if not isfunction(handler):
        return False
    _, dot, _ = handler.__qualname__.rpartition("<locals>.")[-1].rpartition(".")
    first_names = handler.__code__.co_varnames[: handler.__code__.co_argcount][:1]
    return bool(dot) and first_names in (("self",), ("cls",))
