"""The event being handled, and whether events are the bridge's own doing.

The worker sets this state around every handler; the sending side reads it, so that
a signal sent by a handler knows how many hops it is from the first one, and a signal
caused by the bridge's own work (pushing an app context sends one) goes nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from .within import Within


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One ``signal.send(...)``, as the handler in the worker sees it.

    .. versionadded:: 0.1
    """

    id: str
    """The same for every receiver of the event, and for every attempt."""

    signal: str
    """The signal's name; ``"anonymous"`` for a signal without one."""

    receiver: str
    """Name of the receiver whose handler runs."""

    sent_at: datetime
    """When it was sent, in UTC, by the sender's clock."""

    attempt: int
    """1 the first time, one more with every retry."""

    trail: tuple[str, ...]
    """Names of the signals whose handlers led to this one, the oldest first."""

    headers: Mapping[str, object]
    """The message's headers, as Celery hands them over."""

    @property
    def hops(self) -> int:
        """How many handlers stand between the first signal and this event."""
        return len(self.trail)


_QUIET: Final = "quiet"

_state: ContextVar[Event | Literal["quiet"] | None] = ContextVar(
    "signal_tasks_event", default=None
)


def quiet() -> AbstractContextManager[object]:
    """Mark what runs inside as the bridge's own work: its events are not dispatched."""
    return Within(_state, _QUIET)


def handling(event: Event) -> AbstractContextManager[Event]:
    """Make *event* the current one; signals sent inside are dispatched again."""
    return Within(_state, event)


def is_quiet() -> bool:
    """Tell whether events sent now come from the bridge's own work."""
    return _state.get() is _QUIET


def current_trail() -> tuple[str, ...]:
    """Return the signals whose handlers lead to an event that is sent now."""
    state = _state.get()
    return (*state.trail, state.signal) if isinstance(state, Event) else ()


class CurrentEvent:
    """Stands for the event that the running handler was called for.

    It is false outside a handler run by a worker, so that a function which is also
    called directly, in a unit test or inside the request, can ask.

    Raises:
        RuntimeError: On reading an attribute outside such a handler.

    .. versionadded:: 0.1
    """

    def __bool__(self) -> bool:
        return isinstance(_state.get(), Event)

    @property
    def id(self) -> str:
        """The event's identifier, the same for all its receivers and attempts."""
        return _current().id

    @property
    def signal(self) -> str:
        """The signal's name."""
        return _current().signal

    @property
    def receiver(self) -> str:
        """Name of the receiver whose handler runs."""
        return _current().receiver

    @property
    def sent_at(self) -> datetime:
        """When the signal was sent, in UTC."""
        return _current().sent_at

    @property
    def attempt(self) -> int:
        """1 the first time the handler runs for the event, then 2, and so on."""
        return _current().attempt

    @property
    def hops(self) -> int:
        """How many handlers stand between the first signal and this event."""
        return _current().hops

    @property
    def headers(self) -> Mapping[str, object]:
        """The message's headers, as Celery hands them over."""
        return _current().headers


def _current() -> Event:
    state = _state.get()
    if isinstance(state, Event):
        return state
    msg = (
        "current_event is read outside a handler that a worker runs. "
        "Ask `if current_event:` first in code that is also called directly."
    )
    raise RuntimeError(msg)


current_event: Final = CurrentEvent()
"""The event being handled: ``id``, ``signal``, ``sent_at``, ``attempt``, ``hops``,
``headers``."""
