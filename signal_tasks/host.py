"""What both sides need of the application that events belong to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from .dead_letters import DeadLetterOffice
from .envelope import Envelope, Seal
from .inbox import InboxOffice
from .references import Database
from .settlement import Settlement
from .typing import Delivery


class Publisher(Protocol):
    """Takes envelopes and gives them to the broker."""

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Hand *envelopes* to the broker, in order, or raise ``PublishError``."""
        ...


class EventBuffer(Protocol):
    """Keeps events in memory until a thread publishes them."""

    def put(self, make: Callable[[], Sequence[Envelope]]) -> None:
        """Keep an event whose envelopes *make* makes, in the thread."""
        ...


class Host(Protocol):
    """An application: events belong to it, and handlers run inside it."""

    @property
    def application(self) -> object:
        """What observers know it by: the Flask app, or the Celery app."""
        ...

    @property
    def seal(self) -> Seal:
        """Signs and opens its envelopes."""
        ...

    @property
    def default_delivery(self) -> Delivery:
        """The delivery of receivers that name none."""
        ...

    def delivery(self, name: Delivery) -> Publisher:
        """Return the way to its broker that is so called."""
        ...

    @property
    def buffer(self) -> EventBuffer:
        """Where events of buffered delivery wait."""
        ...

    @property
    def database(self) -> Database:
        """Where the rows are that its events refer to."""
        ...

    @property
    def raises(self) -> bool:
        """Whether a failed dispatch raises into ``signal.send()``."""
        ...

    @property
    def max_hops(self) -> int:
        """How many hops from the first signal an event may be."""
        ...

    @property
    def dead_letters(self) -> DeadLetterOffice | None:
        """Where what nobody runs is kept; None where there is no store."""
        ...

    @property
    def inbox(self) -> InboxOffice | None:
        """Knows what is handled; None where there is no store."""
        ...

    def settling(self, settlement: Settlement) -> AbstractContextManager[object]:
        """Let *settlement* into what the handler inside commits, where that is ours."""
        ...

    def claims(self, sender: object) -> bool | None:
        """Tell whether an event that *sender* sends now is its own; None: no idea."""
        ...

    def context(self) -> AbstractContextManager[object]:
        """Return the context that a handler runs in."""
        ...
