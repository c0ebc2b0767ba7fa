"""A Flask app as a host: events belong to it, and handlers run inside it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from celery import Celery
from flask import Flask, current_app
from flask.ctx import AppContext
from werkzeug.local import LocalProxy

from ..bridge import Bridge
from ..delivery.deliveries import Deliveries, prepare_for, settling
from ..envelope import Seal, key_ring
from ..exceptions import ConfigurationError
from ..host import EventBuffer, Publisher
from ..publisher.celery_publisher import CeleryPublisher
from ..references import Database, SessionSource, closing_session
from ..registry import Registry
from ..relay.relay import BATCH_SIZE
from ..relay.relaying import Relaying, RelaySettings
from ..relay.worker_relay import WorkerRelay
from ..settlement import Settlement
from ..typing import Delivery
from .request_context import config_of
from .request_delivery import Baskets, publish_after_requests
from .settings import Settings
from .warming import WarmUp

if TYPE_CHECKING:
    from ..store import Inbox, Store, StoredDeadLetters

_logger = logging.getLogger(__name__)

EXTENSION: Final = "signal_tasks"
"""Where an app has its host, among its extensions."""


class FlaskHost:
    """A Flask app that events belong to and handlers run in."""

    def __init__(
        self, app: Flask, bridge: Bridge, session: SessionSource | None = None
    ) -> None:
        self._app = app
        self._session = session
        self._database = Database(session=session)
        self._bridge = bridge
        self._settings = Settings(app)
        self._baskets = Baskets()
        self._deliveries = Deliveries(
            self, basket=self._baskets.current, buffer=lambda: self._settings.buffer
        )
        self._publishing = self.celery_app, self._new_publisher()
        self._worker_relay = WorkerRelay(self)
        self._store: Store | None = None
        self._sealing: tuple[object, object, Seal] | None = None
        self._warm_up: WarmUp | None = None

    @property
    def bridge(self) -> Bridge:
        """The bridge with the app's receivers."""
        return self._bridge

    @property
    def registry(self) -> Registry:
        """The app's receivers."""
        return self._bridge.registry

    @property
    def application(self) -> Flask:
        """The app."""
        return self._app

    @property
    def celery_app(self) -> Celery:
        """The app's Celery app, also when it was given another one later."""
        celery_app: Celery = self._app.extensions["celery"]
        return celery_app

    @property
    def seal(self) -> Seal:
        """Signs with the app's keys of now; several may change at run time."""
        config = config_of(self._app)
        key, fallbacks = config.get("SECRET_KEY"), config.get("SECRET_KEY_FALLBACKS")
        # All at once, for another thread must not get the new keys' old seal.
        sealing = self._sealing
        if sealing is None or sealing[0] != key or sealing[1] != fallbacks:
            seal = self._new_seal(_secret_keys(self._app))
            # A copy, for the list itself may be changed.
            sealing = self._sealing = key, copy(fallbacks), seal
        return sealing[2]

    @property
    def publisher(self) -> CeleryPublisher:
        """The way to the broker of the app's Celery app."""
        celery_app, publisher = self._publishing
        if self._app.extensions["celery"] is not celery_app:
            self._bridge.attach(self)
            publisher = self._new_publisher()
            self._publishing = self.celery_app, publisher
        return publisher

    @property
    def has_store(self) -> bool:
        """Whether there is one, as there always is."""
        return True

    @property
    def store(self) -> Store:
        """The database for what the bridge keeps."""
        if self._store is None:
            # Imported on first use, for SQLAlchemy costs a start more than all the rest.
            from .app_store import store_of  # noqa: PLC0415

            self._store = store_of(self._app)
        return self._store

    @property
    def dead_letters(self) -> StoredDeadLetters:
        """The dead letters of the store."""
        return self.store.dead_letters

    @property
    def inbox(self) -> Inbox:
        """The inbox of the store."""
        return self.store.inbox

    def settling(self, settlement: Settlement) -> AbstractContextManager[object]:
        """Let *settlement* into what the handler's session commits."""
        return settling(self.database, settlement)

    @property
    def database(self) -> Database:
        """That of Flask-SQLAlchemy, also when the app gets it later than us."""
        extension = self._sqlalchemy
        if extension is None:
            return self._database
        # Flask-SQLAlchemy-Lite goes by the same name and makes no base for models.
        model = getattr(extension, "Model", None)
        registries = () if model is None else (model.registry,)
        return Database(registries=registries, session=lambda: extension.session)

    @property
    def raises(self) -> bool:
        """Whether a failed send raises, as configured."""
        return self._settings.raises

    @property
    def max_hops(self) -> int:
        """How far handlers' signals may lead, as configured."""
        return self._settings.max_hops

    @property
    def max_deliveries(self) -> int:
        """How often a message may be handed out again, as configured."""
        return self._settings.max_deliveries

    @property
    def default_delivery(self) -> Delivery:
        """The delivery of receivers that name none, as configured."""
        # Most apps name none, and it is asked for at each send.
        if config_of(self._app).get("SIGNAL_TASKS_DELIVERY") is None:
            return "direct"
        return self._settings.delivery

    @property
    def buffer(self) -> EventBuffer:
        """Where events of buffered delivery wait."""
        return self._deliveries.buffer

    def delivery(self, name: Delivery) -> Publisher:
        """Return the way to the broker that is so called."""
        return self._deliveries.named(name)

    @property
    def has_relay_in_worker(self) -> bool:
        """Whether workers publish what is in the outbox, as configured."""
        return self._settings.has_relay_in_worker

    def relaying(self, *, batch_size: int = BATCH_SIZE) -> Relaying:
        """Return what publishes the rows of the outbox."""
        keep_keys = timedelta(days=self._settings.keep_keys_days)
        return self._deliveries.relaying(
            RelaySettings(batch_size=batch_size, keep_keys=keep_keys)
        )

    def check_settings(self) -> None:
        """Read each setting, so that a wrong one ends the start and not a request.

        Raises:
            ConfigurationError: One is wrong.
        """
        self._settings.check()
        if config_of(self._app).get("SIGNAL_TASKS_STORE_URL") is not None:
            _ = self.store
        _ = _secret_keys(self._app)

    def publish_after_requests(self) -> None:
        """Let requests publish what they have gathered, and sessions be watched."""
        prepare_for(self.default_delivery)
        publish_after_requests(
            self._app,
            self._baskets,
            lambda: self._deliveries.unattended,
            lambda: self._settings.drops_on_exception,
        )

    def warm_up_beside_first_request(self) -> None:
        """Let the first request of each process have it warmed up, where that helps."""
        self._warm_up = WarmUp(self._app, self._wanted_warm_up)

    def claims(self, sender: object) -> bool | None:
        """Claim what the app sends, and what is sent inside its context."""
        if isinstance(sender, LocalProxy):
            sender = object_behind(sender)
        if isinstance(sender, Flask):
            return sender is self._app
        try:
            return object_behind(current_app) is self._app
        except RuntimeError:  # there is no context
            return None

    def context(self) -> AbstractContextManager[object]:
        """Enter a new context of the app, and close the handler's session in the end."""
        context = _HandlerContext(self._app.app_context())
        # Flask-SQLAlchemy closes its session with the app context.
        if self._session is None or self._sqlalchemy is not None:
            return context
        return _both(context, closing_session(self._session))

    @property
    def _sqlalchemy(self) -> Any:
        return self._app.extensions.get("sqlalchemy")

    def _wanted_warm_up(self) -> Callable[[], None] | None:
        is_wanted = (
            self._settings.warms_up
            and not self._app.testing
            and any(True for _ in self.registry)
            and not self.celery_app.conf.task_always_eager
        )
        return self.publisher.warm_up if is_wanted else None

    def _new_seal(self, keys: tuple[str | bytes, ...]) -> Seal:
        if not keys:
            _logger.warning(
                "the app %s has no SECRET_KEY, so its events are not signed, and whoever "
                "can write to the broker can run its handlers. Set SECRET_KEY, the same "
                "for web and worker.",
                self._app.name,
            )
        return Seal(keys)

    def _new_publisher(self) -> CeleryPublisher:
        return self._bridge.publisher(
            self.celery_app, self._settings.publish_timeout_seconds
        )


def host_of(app: Flask) -> FlaskHost:
    """Return what :class:`SignalTasks` made of *app*.

    Raises:
        ConfigurationError: The app has no SignalTasks.
    """
    host = app.extensions.get(EXTENSION)
    if isinstance(host, FlaskHost):
        return host
    raise ConfigurationError(
        f"the app {app.name} has no SignalTasks: call SignalTasks(app) or "
        "init_app(app) where it is made."
    )


def object_behind(proxy: Any) -> object:
    """Return what *proxy*, a ``LocalProxy`` whatever its annotation says, stands for."""
    return proxy._get_current_object()  # noqa: SLF001  # documented by Werkzeug


class _HandlerContext:
    """An app context that tells what a handler which misses its request can do.

    It tells whoever reads the traceback. It is no generator, for every event enters it.
    """

    __slots__ = ("_app_context",)

    def __init__(self, app_context: AppContext) -> None:
        self._app_context = app_context

    def __enter__(self) -> None:
        self._app_context.push()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc, RuntimeError) and "outside of request context" in str(exc):
            exc.add_note(
                "The handler runs in a worker, after the request. To read from it, ask "
                "for a copy: async_receiver(..., context=('request', 'session'))."
            )
        self._app_context.pop(exc)


@contextmanager
def _both(
    outer: AbstractContextManager[object], inner: AbstractContextManager[object]
) -> Generator[None]:
    with outer, inner:
        yield


def _secret_keys(app: Flask) -> tuple[str | bytes, ...]:
    """Return the app's keys, the one that signs last."""
    config = config_of(app)
    return key_ring(config.get("SECRET_KEY"), config.get("SECRET_KEY_FALLBACKS"))
