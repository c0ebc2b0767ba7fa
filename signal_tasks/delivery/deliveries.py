"""The deliveries of one application, from its settings: what wraps which publisher.

In: the name of a delivery. Out: the publisher that so delivers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from celery.signals import worker_process_shutdown

from ..exceptions import ConfigurationError
from ..host import Publisher
from ..references import Database
from ..registry import Registry
from ..relay.relay import drain
from ..relay.relaying import Relaying, RelaySettings
from ..settlement import Settlement
from ..typing import Delivery
from .announcing import Announcing, Sender, Unattended
from .buffer import Buffer, WhenFull
from .gathering import Basket, Gathering
from .spool import Spool

if TYPE_CHECKING:
    from ..store import Store

BUFFER_SIZE = 10_000


class DeliveringSender(Sender, Protocol):
    """What the deliveries want to know of the application besides."""

    @property
    def raises(self) -> bool:
        """Whether a failed send raises."""
        ...

    @property
    def database(self) -> Database:
        """Has the session whose transactions count."""
        ...

    @property
    def has_store(self) -> bool:
        """Whether there is one; to ask costs nothing."""
        ...

    @property
    def store(self) -> Store | None:
        """Where an outbox is; None where there is no store."""
        ...

    @property
    def registry(self) -> Registry:
        """Its receivers."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferSettings:
    """How many events may wait in memory, and what happens to others."""

    size: int = BUFFER_SIZE
    when_full: WhenFull = "direct"


class Deliveries:
    """The ways to an application's broker, each made when it is first used.

    Args:
        sender: The application.
        basket: Where requests gather.
        buffer: For buffered delivery.
    """

    def __init__(
        self,
        sender: DeliveringSender,
        *,
        basket: Callable[[], Basket | None] = lambda: None,
        buffer: Callable[[], BufferSettings] = BufferSettings,
    ) -> None:
        self._sender = sender
        self._basket = basket
        self._buffer_settings = buffer
        self._ways: dict[Delivery, Publisher] = {}
        self._buffers: dict[Literal["buffered"], Buffer] = {}

    def named(self, name: Delivery) -> Publisher:
        """Return the way that is so called."""
        way = self._ways.get(name)
        # Of two threads that are first, both go the way that stays.
        return self._ways.setdefault(name, self._made(name)) if way is None else way

    @property
    def buffer(self) -> Buffer:
        """Where events of buffered delivery wait."""
        buffer = self._buffers.get("buffered")
        if buffer is None:
            # As above; what waited in another one would be gone with that.
            buffer = self._buffers.setdefault("buffered", self._new_buffer())
            # The child of a worker's pool ends without a word to Python.
            uid = f"signal_tasks.buffer.{id(self)}"
            worker_process_shutdown.connect(self._flush, dispatch_uid=uid)
        return buffer

    def _flush(self, **_: object) -> None:
        self.buffer.flush()

    def _new_buffer(self) -> Buffer:
        settings = self._buffer_settings()
        return Buffer(
            self.unattended,
            direct=self.named("direct"),
            application=self._sender.application,
            size=settings.size,
            when_full=settings.when_full,
        )

    @property
    def unattended(self) -> Publisher:
        """The direct way, for envelopes whose ``send()`` is over."""
        return Unattended(self.named("direct"), self._sender.application)

    @property
    def plain(self) -> Publisher:
        """The way that keeps nothing, and raises what the broker did not take."""
        return Announcing(self._sender)

    def relaying(self, settings: RelaySettings) -> Relaying:
        """Return what publishes the rows of the application's outbox.

        Raises:
            ConfigurationError: There is no store.
        """
        return Relaying(
            self._store, self.plain, receivers=self._receivers, settings=settings
        )

    def _receivers(self) -> list[str]:
        return [receiver.name for receiver in self._sender.registry]

    def _made(self, name: Delivery) -> Publisher:
        makers: dict[Delivery, Callable[[], Publisher]] = {
            "direct": self._direct,
            "request": self._gathering,
            "commit": self._after_commit,
            "outbox": self._in_outbox,
            "buffered": lambda: self.buffer,
        }
        return makers[name]()

    def _direct(self) -> Publisher:
        publisher = self.plain
        return Spool(
            publisher,
            rows=lambda: self._store.spool,
            drain=lambda: drain(
                self._store.spool, publisher, receivers=self._receivers
            ),
            application=self._sender.application,
            is_wanted=self._is_spool_wanted,
        )

    def _is_spool_wanted(self) -> bool:
        return not self._sender.raises and self._sender.has_store

    def _gathering(self) -> Publisher:
        return Gathering(self.named("direct"), self._basket)

    def _after_commit(self) -> Publisher:
        from .transactions import AfterCommit  # noqa: PLC0415  # it needs SQLAlchemy

        return AfterCommit(
            lambda: self._sender.database,
            direct=self.named("direct"),
            later=self.unattended,
            application=self._sender.application,
        )

    def _in_outbox(self) -> Publisher:
        from .transactions import InOutbox  # noqa: PLC0415  # as above

        return InOutbox(
            lambda: self._sender.database,
            rows=lambda: self._store.outbox,
            application=self._sender.application,
        )

    @property
    def _store(self) -> Store:
        store = self._sender.store
        if store is None:
            raise ConfigurationError(
                "delivery='outbox' needs a store to keep events in: "
                "Bridge(celery_app, store=Store('postgresql+psycopg://...'))."
            )
        return store


def settling(
    database: Database, settlement: Settlement
) -> AbstractContextManager[None]:
    """Let *settlement* into what the handler's session commits, if it has one."""
    if database.session is None:
        return nullcontext()
    from .transactions import settling_in  # noqa: PLC0415  # as above

    return settling_in(database, settlement)


def prepare_for(delivery: Delivery | None) -> None:
    """Hear of transactions before the first event goes by *delivery*.

    What a session has written before it is watched would not count.
    """
    if delivery in ("commit", "outbox"):
        from .transactions import watch_sessions  # noqa: PLC0415  # as above

        watch_sessions()
