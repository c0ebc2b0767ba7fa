"""Types that travel because a handler's annotations name them.

They are looked at when something unknown is sent or arrives, and no sooner: by then all
modules are imported, what annotations refer to is defined, and types that somebody
registered in another way stay as they are.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from types import SimpleNamespace
from typing import Annotated, Any

from .exceptions import RegistrationError
from .registry import Receiver, Registry, place_of
from .typing import Handler

_logger = logging.getLogger(__name__)


class AnnotatedTypes:
    """The types that handlers say they take.

    Args:
        registry: Names the handlers.
        register: Lets a type travel, or raises ``RegistrationError`` where it cannot do
            so by itself.
    """

    def __init__(
        self, registry: Registry, register: Callable[[type[Any]], object]
    ) -> None:
        self._registry = registry
        self._register = register
        self._settled: set[Receiver] = set()
        self._seen: tuple[int, tuple[Receiver, ...]] = (0, ())
        self._lock = Lock()

    def register(self) -> None:
        """Register what the annotations name, as far as it needs no functions.

        A name that means nothing, because it is not defined yet or is imported for type
        checkers alone, is tried again once more modules have been imported.
        """
        # Whoever comes second waits, for what it misses is being registered.
        with self._lock:
            receivers = tuple(self._registry)
            now = len(sys.modules), receivers
            if self._seen != now:
                new = set(receivers) - self._settled
                self._settled |= {one for one in new if self._settle(one.handler)}
                self._seen = now

    def _settle(self, handler: Handler) -> bool:
        """Register the types of *handler*, and tell whether those were all."""
        function = _function_behind(handler)
        scope: Mapping[str, Any] = getattr(function, "__globals__", {})
        is_settled = True
        for name, annotation in _annotations_of(function).items():
            try:
                resolved = _resolve(annotation, dict(scope))
            except Exception as error:  # noqa: BLE001  # it may hold any expression
                is_settled = is_settled and not isinstance(error, NameError)
                _logger.debug(
                    "the annotation of %s at %s cannot be resolved: %s",
                    name,
                    place_of(handler),
                    type(error).__name__,
                )
                continue
            for cls in _classes_in(resolved):
                self._try(cls)
        return is_settled

    def _try(self, cls: type[object]) -> None:
        try:
            self._register(cls)
        except RegistrationError as error:
            _logger.debug("not registered by annotation: %s", error)


def _function_behind(handler: Any) -> object:
    """Return the function whose annotations say what *handler* takes."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = inspect.unwrap(handler)
    if not inspect.isroutine(handler):
        handler = type(handler).__call__
    return getattr(handler, "__func__", handler)


def _annotations_of(function: object) -> dict[str, object]:
    annotations: Mapping[str, object] = getattr(function, "__annotations__", {})
    return {name: one for name, one in annotations.items() if name != "return"}


def _resolve(annotation: object, scope: dict[str, Any]) -> object:
    """Evaluate *annotation*, which may be or hold text; one that fails is one alone."""
    holder = SimpleNamespace(__annotations__={"it": annotation})
    return typing.get_type_hints(holder, scope, scope, include_extras=True)["it"]


def _classes_in(annotation: object) -> Iterator[type[object]]:
    """Yield the classes that *annotation* names, at whatever depth."""
    if isinstance(annotation, type):
        yield annotation
    origin = typing.get_origin(annotation)
    if origin is not None and origin is not Annotated:
        yield from _classes_in(origin)
    parts = typing.get_args(annotation)
    for part in parts[:1] if origin is Annotated else parts:
        yield from _classes_in(part)
