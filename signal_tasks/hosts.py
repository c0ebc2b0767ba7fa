"""Which application an event belongs to, of those that a bridge serves."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING
from weakref import ref

from celery import Celery

from .delivery.deliveries import Deliveries, settling
from .envelope import Seal
from .exceptions import ConfigurationError
from .host import EventBuffer, Publisher
from .publisher.celery_publisher import CeleryPublisher
from .references import Database, SessionSource, closing_session
from .registry import Registry
from .relay.relaying import Relaying, RelaySettings
from .relay.worker_relay import WorkerRelay
from .settlement import Settlement
from .tasks.receiver_task import CeleryHost
from .typing import Delivery

if TYPE_CHECKING:
    from .store import Inbox, Store, StoredDeadLetters

_logger = logging.getLogger(__name__)

_MEND = (
    "Send it with the app as its sender or inside an app context, and call "
    "SignalTasks.init_app(app) for the app."
)


class Hosts:
    """The hosts of one bridge, which it does not keep alive."""

    def __init__(self) -> None:
        # To go through a WeakSet would cost each send more than all else in here.
        self._hosts: tuple[ref[CeleryHost], ...] = ()
        self._has_told_of_strangers = False

    def add(self, host: CeleryHost) -> None:
        """Serve *host* too."""
        others = tuple(one for one in self._hosts if one() not in {None, host})
        self._hosts = (*others, ref(host))

    def of(self, sender: object) -> CeleryHost | None:
        """Return the host that an event of *sender* belongs to.

        None where it is nobody's: an app without the extension sent it, or there are
        several and nothing tells which, and none of them wants to hear of that. It is
        logged.

        Raises:
            ConfigurationError: There is no host at all, or one of several wants to hear
                that it is not clear which.
        """
        unsure: list[CeleryHost] = []
        is_any = False
        for reference in self._hosts:
            host = reference()
            if host is None:
                continue
            claim = host.claims(sender)
            if claim:
                return host
            is_any = True
            if claim is None:
                unsure.append(host)
        if len(unsure) == 1:
            return unsure[0]
        if not is_any:
            raise ConfigurationError(
                "a signal with async receivers was sent, and no app is there to run "
                "them: call SignalTasks(app) or init_app(app), or without Flask use "
                "Bridge(celery_app) and its async_receiver()."
            )
        self._explain(unsure)
        return None

    def _explain(self, unsure: list[CeleryHost]) -> None:
        if not unsure:
            self._tell_of_strangers()
            return
        message = (
            f"event not sent: there are {len(unsure)} apps that have SignalTasks, and "
            f"nothing tells to which it belongs. {_MEND}"
        )
        if any(host.raises for host in unsure):
            raise ConfigurationError(message)
        _logger.error(message)

    def _tell_of_strangers(self) -> None:
        """Log once that there are other apps; each of their requests would repeat it."""
        if not self._has_told_of_strangers:
            self._has_told_of_strangers = True
            _logger.warning(
                "event not sent: it belongs to an app that has no SignalTasks. %s Later "
                "ones are left out without a word. Receivers of some apps only belong "
                "to a Bridge of their own, or name their sender.",
                _MEND,
            )


class PlainHost:
    """A Celery app alone, with no web framework around it."""

    def __init__(
        self,
        *,
        celery_app: Celery,
        registry: Registry,
        seal: Seal,
        publisher: CeleryPublisher,
        raises: bool,
        max_hops: int,
        max_deliveries: int,
        store: Store | None,
        session: SessionSource | None,
        default_delivery: Delivery,
    ) -> None:
        self.store = store
        self.default_delivery: Delivery = default_delivery
        self.celery_app = celery_app
        self.registry = registry
        self.application = celery_app
        self.seal = seal
        self.publisher = publisher
        self.raises = raises
        self.max_hops = max_hops
        self.max_deliveries = max_deliveries
        self.database = Database(session=session)
        self._session = session
        self._deliveries = Deliveries(self)
        self._worker_relay = WorkerRelay(self)

    @property
    def has_store(self) -> bool:
        """Whether it was given one."""
        return self.store is not None

    @property
    def dead_letters(self) -> StoredDeadLetters | None:
        """The dead letters of the store; None where there is none."""
        return None if self.store is None else self.store.dead_letters

    @property
    def inbox(self) -> Inbox | None:
        """The inbox of the store; None where there is none."""
        return None if self.store is None else self.store.inbox

    def settling(self, settlement: Settlement) -> AbstractContextManager[object]:
        """Let *settlement* into what the handler's session commits."""
        return settling(self.database, settlement)

    @property
    def buffer(self) -> EventBuffer:
        """Where events of buffered delivery wait."""
        return self._deliveries.buffer

    def delivery(self, name: Delivery) -> Publisher:
        """Return the way to the broker that is so called."""
        return self._deliveries.named(name)

    @property
    def has_relay_in_worker(self) -> bool:
        """Whether workers publish what is in the outbox, where anything goes there."""
        return self.store is not None

    def relaying(self) -> Relaying:
        """Return what publishes the rows of the outbox.

        Raises:
            ConfigurationError: There is no store.
        """
        return self._deliveries.relaying(RelaySettings())

    def claims(self, sender: object) -> None:
        """Leave it open: there is nothing to tell by whose event it is."""

    def context(self) -> AbstractContextManager[object]:
        """Return a context that closes the handler's session, if it has one."""
        if self._session is None:
            return nullcontext()
        return closing_session(self._session)
