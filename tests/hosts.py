"""An application and a publisher without Celery and Flask behind them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from signal_tasks.delivery.announcing import Announcing
from signal_tasks.envelope import Envelope, Seal
from signal_tasks.inbox import InboxOffice
from signal_tasks.references import NO_DATABASE, Database
from signal_tasks.typing import Delivery

entered: ContextVar[str | None] = ContextVar("entered", default=None)
"""The name of the application whose context is entered."""


@dataclass
class RecordingPublisher:
    """Keeps what it is given, and fails when it is told to."""

    batches: list[list[Envelope]] = field(default_factory=list)
    error: Exception | None = None

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Keep *envelopes*, or raise the error."""
        if self.error is not None:
            raise self.error
        self.batches.append(list(envelopes))

    @property
    def envelopes(self) -> list[Envelope]:
        """All that was published."""
        return [envelope for batch in self.batches for envelope in batch]

    @property
    def receivers(self) -> list[str]:
        """The names of those it was published for."""
        return [envelope.receiver for envelope in self.envelopes]


@dataclass(kw_only=True, eq=False)
class PlainHost:
    """An application that is its name."""

    application: str = "shop"
    seal: Seal = field(default_factory=lambda: Seal(["the key of the tests"]))
    publisher: RecordingPublisher = field(default_factory=RecordingPublisher)
    default_delivery: Delivery = "direct"
    raises: bool = True
    max_hops: int = 8
    database: Database = NO_DATABASE

    inbox: InboxOffice | None = None

    def delivery(self, name: Delivery) -> Announcing:
        """Return the one way there is."""
        return Announcing(self)

    def claims(self, sender: object) -> None:
        """Leave it open whose event it is."""

    @contextmanager
    def context(self) -> Generator[None]:
        """Enter the application's context."""
        token = entered.set(self.application)
        try:
            yield
        finally:
            entered.reset(token)
