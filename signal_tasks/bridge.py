"""Where both sides are wired together, and where receivers are declared."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from blinker import ANY, Signal
from celery import Celery

from .annotations import AnnotatedTypes
from .audience import Audience
from .codec import Codec
from .consumer import Consumer
from .contexts import Context, Contexts, as_a_whole, wanted_contexts
from .declaration import (
    check_choice,
    check_handler,
    check_name,
    check_once,
    check_signals,
    delivery_named,
)
from .delivery.deliveries import prepare_for
from .dispatcher import Dispatcher, Sending
from .envelope import Envelope, Seal, key_ring
from .exceptions import ConfigurationError, RegistrationError
from .hosts import Hosts, PlainHost
from .models import Models
from .publisher.celery_publisher import CeleryPublisher
from .references import (
    SessionSource,
    check_session,
    missing_policy,
)
from .registry import Receiver, Registry, place_of, signal_name, unused_name
from .relay.relaying import Relaying
from .relay_receiver import RelayReceivers
from .signals import DispatchFailed
from .tasks.receiver_task import MAX_DELIVERIES, CeleryHost
from .tasks.receiver_tasks import ReceiverTasks, split_options
from .typing import Adapt, Condition, Delivery, Extract, Handler, HandlerT

if TYPE_CHECKING:
    from .store import Store

T = TypeVar("T")

OnError = Literal["raise", "log"]

PUBLISH_TIMEOUT_SECONDS = 0.5
MAX_HOPS = 8


class Bridge:
    """Runs the receivers of blinker signals in Celery workers.

    With Flask, use :class:`signal_tasks.SignalTasks`, which attaches the app to the
    default bridge, the one of the bare :func:`async_receiver`. A bridge of your own is
    for programs without Flask, and for receivers that only some apps shall have.

    Args:
        celery_app: The Celery app to run handlers with, outside Flask.
        secret_key: Signs envelopes. Without one they are not signed, and whoever can
            write to the broker can run a handler.
        secret_key_fallbacks: Older keys, which still verify.
        on_error: What a failed dispatch does: raise into ``signal.send()``, or log.
        publish_timeout_seconds: How long a publish may take in all.
        max_hops: How many handlers may stand between the first signal and an event.
        max_deliveries: How often a broker may hand out a message again, for its runs do
            not end, before it is a dead letter.
        store: The database for an outbox, for dead letters and for events that the
            broker did not take: ``signal_tasks.store.Store(url)``.
        delivery: That of receivers that name none.
        session: The SQLAlchemy session that handlers use outside Flask: a
            ``scoped_session``, or a callable that returns the current one. Models are
            loaded in it, and it is closed when the handler has run.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        celery_app: Celery | None = None,
        *,
        secret_key: str | bytes | None = None,
        secret_key_fallbacks: Sequence[str | bytes] = (),
        on_error: OnError = "log",
        publish_timeout_seconds: float = PUBLISH_TIMEOUT_SECONDS,
        max_hops: int = MAX_HOPS,
        max_deliveries: int = MAX_DELIVERIES,
        store: Store | None = None,
        delivery: Delivery = "direct",
        session: SessionSource | None = None,
    ) -> None:
        check_session(session)
        self.codec = Codec()
        """Which types travel, and how."""
        self.registry = Registry()
        """The receivers, by name."""
        self.contexts = Contexts(self.codec)
        """What a worker can restore."""
        self._models = Models(self.codec)
        annotated = AnnotatedTypes(self.registry, self._models.register)
        self.codec.when_unknown(annotated.register)
        self._dispatcher = Dispatcher(self.codec, self.contexts)
        self._tasks = ReceiverTasks(
            self.registry, Consumer(self.registry, self.codec, self.contexts)
        )
        self._relays = RelayReceivers(self._deliver)
        self._adaptations: dict[Signal, Adapt] = {}
        self._hosts = Hosts()
        self._own_host: PlainHost | None = None
        if on_error not in ("raise", "log"):
            raise ConfigurationError("Bridge(on_error=...) is 'raise' or 'log'.")
        prepare_for(delivery_named(delivery))
        if celery_app is not None:
            keys = key_ring(secret_key, secret_key_fallbacks)
            self._own_host = PlainHost(
                celery_app=celery_app,
                registry=self.registry,
                seal=Seal(keys),
                publisher=self.publisher(celery_app, publish_timeout_seconds),
                raises=on_error == "raise",
                max_hops=max_hops,
                max_deliveries=max_deliveries,
                store=store,
                session=session,
                default_delivery=delivery,
            )
            self.attach(self._own_host)

    def async_receiver(
        self,
        *signals: Signal,
        sender: object = ANY,
        name: str | None = None,
        extract: Extract | None = None,
        context: Sequence[str] | Mapping[str, Sequence[str] | bool] = (),
        condition: Condition | None = None,
        delivery: str | None = None,
        missing: object = ...,
        once: bool = False,
        **celery_options: Any,
    ) -> Callable[[HandlerT], HandlerT]:
        """Run the decorated handler in a worker, whenever one of *signals* is sent.

        The handler is returned unchanged, so that it can be called as a function. In
        the worker it is called as blinker would call it: ``handler(sender, **kwargs)``.
        Decorators stack; each makes a receiver, which is a Celery task, of its own.

        Args:
            signals: One or more blinker signals.
            sender: Listen to this sender alone, as in ``signal.connect(..., sender)``.
            name: Name of the Celery task; ``module.qualname`` of the handler if left
                out. Closures and lambdas need one.
            extract: Called as ``extract(sender, **kwargs)`` where the signal is sent;
                the handler gets the dict that it returns for keyword arguments.
            context: Names of what the worker restores while the handler runs, such as
                ``("request", "session", "g")``, or a dict that names the keys of each,
                as in ``{"session": ("user_id",), "g": True}``.
            condition: Called like *extract*; when it returns something false, the event
                does not reach this handler.
            delivery: ``"direct"``: the broker has the message before ``send()``
                returns. ``"request"``: it gets it when the response is ready.
                ``"commit"``: when the transaction of the session has committed.
                ``"outbox"``: the event is a row in that transaction until its handler
                has finished. ``"buffered"``: a thread publishes it, which may lose it.
                By default what the app is configured for, else direct.
            missing: What to do when a database row that the event refers to is gone:
                ``"fail"`` (the default), ``"discard"``, ``"retry"``, ``"none"`` for
                None in its place, or ``"tombstone"`` for a :class:`Tombstone` with the
                columns that were loaded, or ``{"tombstone": ("email",)}`` to name them.
            once: Whether an event that was handled is not handled again. Where the
                handler commits in the database of the store, effect and note of it are
                one transaction.
            celery_options: Celery's own, for tasks and messages: ``queue``,
                ``priority``, ``countdown``, ``expires``, ``max_retries``,
                ``retry_backoff``, ``rate_limit``, ``time_limit`` and so on. Results are
                ignored unless ``ignore_result=False``; what fails is tried again three
                times, with backoff and jitter.

        Raises:
            RegistrationError: Something is wrong with the arguments or the handler, or
                the name is taken.
            ConfigurationError: ``once=True`` without a store.

        .. versionadded:: 0.1
        """
        check_signals(signals)
        check_name(name)
        delivery_name = delivery_named(delivery)
        check_once(once)
        check_choice("extract", extract)
        check_choice("condition", condition)
        wanted = wanted_contexts(context)
        policy = missing_policy(missing)
        task_options, message_options = split_options(celery_options)

        def decorate(handler: HandlerT) -> HandlerT:
            check_handler(handler)
            receiver = Receiver(
                name=name or unused_name(self.registry, handler, signals[0]),
                handler=handler,
                signals=signals,
                sender=sender,
                extract=extract,
                condition=condition,
                context=wanted,
                missing=policy,
                delivery=delivery_name,
                once=once,
                task_options=task_options,
                message_options=message_options,
                place=place_of(handler),
            )
            self._add(receiver)
            return handler

        return decorate

    def register_type(
        self,
        cls: type[T],
        encode: Callable[[T], object] | None = None,
        decode: Callable[[Any], T] | None = None,
        tag: str | None = None,
    ) -> type[T]:
        """Let instances of *cls* travel; works as a class decorator too.

        Enums, dataclasses, named tuples, attrs classes, Pydantic models and msgspec
        structs need no functions. Neither do SQLAlchemy models, which travel as
        references; a declarative base stands for all models that have it.

        Sender and worker both have to register the type, so do it beside its
        definition. Types in the annotations of a handler are registered by that.

        Args:
            cls: Exactly this class; subclasses are registered for themselves.
            encode: Turns an instance into something that travels.
            decode: Turns that back into an instance.
            tag: The name that stands for it on the wire; ``module.qualname`` if left
                out. Give one to move or rename the class while events are on their way.

        Raises:
            RegistrationError: It cannot be registered so.

        .. versionadded:: 0.1
        """
        self._models.register(cls, encode, decode, tag)
        return cls

    def context(
        self,
        name: str,
        capture: Callable[[], object],
        restore: Callable[[Any], AbstractContextManager[object]],
    ) -> None:
        """Let receivers ask for a context of your own: ``context=(name,)``.

        Sender and worker both have to register it.

        Args:
            name: What receivers call it.
            capture: Called where the signal is sent; returns something that travels.
            restore: Called in the worker with that; the handler runs inside the context
                manager that it returns.
        """
        self.contexts.add(
            Context(name=name, capture=as_a_whole(capture), restore=restore)
        )

    def adapt(self, signal: Signal, adapt: Adapt) -> None:
        """Let *adapt* change the keyword arguments of *signal* into ones that travel.

        It is called where the signal is sent, for all receivers that have no
        ``extract`` of their own.
        """
        self._adaptations = {**self._adaptations, signal: adapt}

    def connect(self, *handlers: Handler | str) -> None:
        """Connect *handlers*, or the receivers so named, again after a disconnect.

        .. versionadded:: 0.1
        """
        for receiver in self._receivers_of(handlers):
            self._relays.connect(receiver)

    def disconnect(self, *handlers: Handler | str) -> None:
        """Stop sending events to *handlers*, or to the receivers so named.

        Events that are on their way still run.

        .. versionadded:: 0.1
        """
        for receiver in self._receivers_of(handlers):
            self._relays.disconnect(receiver)

    @contextmanager
    def disconnected(self, *handlers: Handler | str) -> Generator[None]:
        """Disconnect *handlers*, or all there are, while the block runs: for tests.

        .. versionadded:: 0.1
        """
        receivers = self._receivers_of(handlers) if handlers else tuple(self.registry)
        connected = [one for one in receivers if self._relays.has(one)]
        for receiver in connected:
            self._relays.disconnect(receiver)
        try:
            yield
        finally:
            for receiver in connected:
                self._relays.connect(receiver)

    def attach(self, host: CeleryHost) -> None:
        """Serve *host* too: its events, and handlers in its workers.

        The bridge does not keep it alive.
        """
        self._hosts.add(host)
        self._tasks.serve(host)

    def relaying(self) -> Relaying:
        """Return a relay for the outbox of the Celery app that the bridge was given.

        For programs without Flask, whose dead letters were replayed or which want the
        relay in a process of its own: ``bridge.relaying().run(threading.Event())``.
        Workers bring one along where a receiver's delivery is ``"outbox"``.

        Raises:
            ConfigurationError: The bridge has no Celery app of its own, or no store.

        .. versionadded:: 0.1
        """
        if self._own_host is None:
            raise ConfigurationError(
                "the bridge was given no Celery app. With Flask, run `flask signal-tasks "
                "relay`; without, make it with Bridge(celery_app, store=...)."
            )
        return self._own_host.relaying()

    def rehearse(
        self, signal: Signal, sender: object, kwargs: Mapping[str, object]
    ) -> tuple[list[Envelope], list[DispatchFailed]]:
        """Return what ``signal.send(sender, **kwargs)`` would publish and not publish.

        Nothing is sent, and nobody hears of it.

        """
        host = self._hosts.of(sender)
        if host is None:
            return [], []
        audience = Audience.of(self._relays.receivers_for(signal, sender))
        adapt = self._adaptations.get(signal)
        sending = Sending(signal_name(signal), sender, kwargs, adapt)
        return self._dispatcher.rehearse(host, sending, audience)

    def publisher(self, celery_app: Celery, timeout_seconds: float) -> CeleryPublisher:
        """Return a way to the broker of *celery_app*, for a host to keep."""
        return CeleryPublisher(
            celery_app, self.registry, timeout_seconds=timeout_seconds
        )

    def _add(self, receiver: Receiver) -> None:
        if receiver.once and self._own_host and self._own_host.inbox is None:
            raise ConfigurationError(
                f"receiver {receiver.name} with once=True needs a store to note in what "
                "it has handled: Bridge(celery_app, store=Store('sqlite:///file'))."
            )
        self._tasks.check_name(receiver.name)
        prepare_for(receiver.delivery)
        former = self.registry.add(receiver)
        if former is not None:
            self._relays.disconnect(former)
        self._tasks.add(receiver)
        self._relays.connect(receiver)

    def _deliver(
        self,
        signal: Signal,
        sender: object,
        kwargs: Mapping[str, object],
        audience: Audience,
    ) -> str | None:
        host = self._hosts.of(sender)
        if host is None:
            return None
        adapt = self._adaptations.get(signal)
        sending = Sending(signal_name(signal), sender, kwargs, adapt)
        return self._dispatcher.dispatch(host, sending, audience)

    def _receivers_of(self, handlers: Sequence[Handler | str]) -> tuple[Receiver, ...]:
        found: list[Receiver] = []
        for handler in handlers:
            if isinstance(handler, str):
                found.append(self.registry.get(handler))
                continue
            receivers = self.registry.of(handler)
            if not receivers:
                raise RegistrationError(
                    f"the function at {place_of(handler)} is no async receiver of this "
                    "bridge. Decorate it first, or give the receiver's name."
                )
            found.extend(receivers)
        return tuple(found)


default_bridge = Bridge()
"""The bridge of the bare :func:`async_receiver` and :func:`register_type`."""

async_receiver = default_bridge.async_receiver
context = default_bridge.context
register_type = default_bridge.register_type
