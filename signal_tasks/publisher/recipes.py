"""How Celery writes the messages of a receiver, learned from Celery once.

In: a receiver's name. Out: what its messages have in common and where they differ; or
nothing, where only Celery itself can tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from threading import Lock
from typing import Any, Final, NamedTuple

from celery import Celery, Task, signals
from kombu import Producer
from kombu.serialization import dumps

from ..envelope import EVENT_HEADER, Envelope
from ..registry import Receiver, Registry

#: What stands in a message that is learned from, and differs in each that is sent.
TEXT, TASK_ID, ROOT_ID, PARENT_ID, EVENT_ID, ARGSREPR = MARKS = (
    "<text of the envelope>",
    "<id of the task>",
    "<id of the first task>",
    "<id of the parent>",
    "<id of the event>",
    "<arguments>",
)

#: Celery's arguments of kombu's ``Producer.publish()`` that a recipe has in another form,
#: and its own that stand in the headers and that nobody reads among the properties.
_REFORMED: Final = frozenset(
    {"headers", "declare", "retry", "retry_policy", "timeout", "confirm_timeout"}
    | {"serializer", "compression", "exchange", "routing_key", "argsrepr", "kwargsrepr"}
)


#: What Celery passes on of a receiver with a queue of its own that says nothing of it.
_NOTHING_SAID: Final = (("mandatory", None), ("immediate", None))


#: What Celery makes and publishes messages with. Any, for its stubs leave types open.
_TASK: Final[Any] = Task
_CELERY: Final[Any] = Celery
_PRODUCER: Final[Any] = Producer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recipe:
    """What all messages of a receiver have in common, with marks where they differ."""

    exchange: str
    routing_key: str

    declare: Sequence[Any]
    """The queues that have to be there."""

    headers: Mapping[str, Any]
    header_marks: Sequence[tuple[str, str]]
    """Which of the headers stand for what differs."""

    properties: Mapping[str, Any]
    property_marks: Sequence[tuple[str, str]]
    """The same of the properties."""

    body: tuple[str, str]
    """What stands before and after the envelope's text."""

    content_type: str
    content_encoding: str

    def body_for(self, text: str) -> str:
        """Return the body of the message with the envelope *text*."""
        before, after = self.body
        return f"{before}{quoted(text)}{after}"

    def publish(
        self,
        producer: Producer,
        body: str,
        values: Mapping[str, str | None],
        options: Mapping[str, Any],
    ) -> None:
        """Let kombu publish a message.

        Args:
            producer: Kombu's.
            body: What :meth:`body_for` made.
            values: What stands in this message where the marks are.
            options: Further ones, of kombu's ``Producer.publish()``.
        """
        producer.publish(
            body,
            exchange=self.exchange,
            routing_key=self.routing_key,
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            headers=_filled(self.headers, self.header_marks, values),
            **{**options, **_filled(self.properties, self.property_marks, values)},
        )


class Parentage(NamedTuple):
    """The task that an event is sent in, and the first one that led to it."""

    parent_id: str | None
    root_id: str | None

    @classmethod
    def now(cls, celery_app: Celery) -> Parentage:
        """Return that of what is sent now."""
        task: Any = celery_app.current_worker_task
        if not task:
            return _ORPHAN
        return cls(task.request.id, task.request.root_id or task.request.id)

    def values(self, envelope: Envelope, task_id: str) -> dict[str, str | None]:
        """Return what stands in a message where the marks are."""
        return {
            TASK_ID: task_id,
            ROOT_ID: self.root_id or task_id,
            PARENT_ID: self.parent_id,
            EVENT_ID: envelope.id,
            ARGSREPR: argsrepr(envelope.id, envelope.signal),
        }


_ORPHAN: Final = Parentage(None, None)


def argsrepr(event_id: str, signal: str) -> str:
    """Return what Celery's tools show of the arguments: nothing that is in them."""
    return f"(<event {event_id} of {signal}>,)"


class _Spy:
    """Stands for a producer, and notes what Celery would publish."""

    serializer = None

    def __init__(self, celery_app: Celery) -> None:
        self.connection = celery_app.connection_for_write()
        self.body: object = None
        self.options: dict[str, Any] = {}

    def publish(self, body: object, **options: Any) -> None:
        """Note it."""
        self.body, self.options = body, options


class Recipes:
    """The recipes of one Celery app in one process.

    Args:
        celery_app: Has a task for each receiver.
        registry: Knows the receivers' message options.
    """

    def __init__(self, celery_app: Celery, registry: Registry) -> None:
        self._celery_app = celery_app
        self._registry = registry
        self._known: dict[str, tuple[object, Recipe | None]] = {}
        self._lock = Lock()
        self._methods: tuple[object, ...] = ()
        self._are_own = False

    @property
    def apply(self) -> bool:
        """Whether nobody looks at Celery's messages while they are made.

        Those who do, such as tracers, get them from Celery itself.
        """
        if (
            signals.before_task_publish.receivers
            or signals.after_task_publish.receivers
            or signals.task_sent.receivers
        ):
            return False
        # Some replace Celery's methods by their own.
        methods = _TASK.apply_async, _CELERY.send_task, _PRODUCER.publish
        if methods != self._methods:
            self._are_own = all(map(_is_as_written, methods))
            self._methods = methods
        return self._are_own

    def of(self, name: str, task: Any) -> Recipe | None:
        """Return the recipe of the receiver called *name*, or None if it has none.

        Args:
            name: The receiver's.
            task: That of this name; another receiver of the name has another one.
        """
        known = self._known.get(name)
        if known is not None and known[0] is task:
            return known[1]
        # Celery looks for a result backend in each thread that asks it for a message,
        # which takes so long that a hundred threads at once would be too late.
        with self._lock:
            known = self._known.get(name)
            if known is None or known[0] is not task:
                receiver = self._registry.get(name)
                known = self._known[name] = task, self._learn(task, receiver)
        return known[1]

    def _learn(self, task: Any, receiver: Receiver) -> Recipe | None:
        if not self._has_one(task):
            return None
        spy = _Spy(self._celery_app)
        options = dict(receiver.message_options)
        options["headers"] = {**options.get("headers", {}), EVENT_HEADER: EVENT_ID}
        try:
            task.apply_async(
                args=(TEXT,),
                producer=spy,
                task_id=TASK_ID,
                root_id=ROOT_ID,
                parent_id=PARENT_ID,
                argsrepr=ARGSREPR,
                retry=False,
                add_to_parent=False,
                **options,
            )
        except Exception:  # noqa: BLE001  # the real message will tell
            return None
        return _recipe(spy.body, spy.options)

    def _has_one(self, task: Any) -> bool:
        """Tell whether nothing in the making of its messages is up to chance."""
        conf, amqp = self._celery_app.conf, self._celery_app.amqp
        cls: Any = task.__class__
        return (
            task.ignore_result
            and not conf.task_send_sent_event
            and "apply_async" not in vars(task)
            and _is_as_written(cls.shadow_name)
            and _is_as_written(type(self._celery_app).send_task)
            and _is_as_written(amqp.create_task_message)
            and _is_as_written(amqp.send_task_message)
            and all(map(_is_ours_or_as_written, _all_of(cls, "apply_async")))
            and _are_tables(conf.task_routes)
        )


def _are_tables(routes: Any) -> bool:
    """Tell whether *routes* are nothing but tables; functions may decide otherwise."""
    if not routes or isinstance(routes, Mapping):
        return True
    return not isinstance(routes, str) and all(
        isinstance(one, Mapping) for one in routes
    )


def _recipe(body: object, options: Mapping[str, Any]) -> Recipe | None:
    headers: Mapping[str, Any] = options.get("headers") or {}
    is_plain = (
        headers.get("ignore_result")
        and headers.get("eta") is None
        and headers.get("expires") is None
        and options.get("serializer") == "json"
        and not options.get("compression")
        and "expiration" not in options
        and isinstance(options.get("exchange"), str)
    )
    if not is_plain:
        return None
    content_type, content_encoding, data = dumps(body, "json")
    before, mark, after = data.partition(json.dumps(TEXT))
    properties = {
        name: value
        for name, value in options.items()
        # None would go before what the line says of messages that no queue would get.
        if name not in _REFORMED and (name, value) not in _NOTHING_SAID
    }
    recipe = Recipe(
        exchange=options["exchange"],
        routing_key=options["routing_key"],
        declare=tuple(options["declare"] or ()),
        headers=headers,
        header_marks=_marks_in(headers),
        properties=properties,
        property_marks=_marks_in(properties),
        body=(before, after),
        content_type=content_type,
        content_encoding=content_encoding,
    )
    return recipe if mark else None


def _marks_in(values: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    return [
        (name, value)
        for name, value in values.items()
        if isinstance(value, str) and value in MARKS
    ]


def _filled(
    values: Mapping[str, Any],
    marks: Sequence[tuple[str, str]],
    fillings: Mapping[str, str | None],
) -> dict[str, Any]:
    filled = dict(values)
    for name, mark in marks:
        filled[name] = fillings[mark]
    return filled


def _all_of(cls: type, name: str) -> list[object]:
    return [vars(base)[name] for base in cls.__mro__ if name in vars(base)]


def _is_as_written(function: Any) -> bool:
    """Tell whether *function* is one of Celery's or kombu's, and wrapped by nobody."""
    return _package_of(function) in ("celery", "kombu")


def _is_ours_or_as_written(function: Any) -> bool:
    return _package_of(function) in ("celery", __name__.partition(".")[0])


def _package_of(function: Any) -> str:
    module = getattr(function, "__globals__", {}).get("__name__", "")
    return str(module).partition(".")[0]
