"""Flask's g: captured where a signal is sent, put into the app context of a worker."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import g, has_app_context
from flask.globals import app_ctx

from ..codec import Codec
from ..contexts import Context
from ..portions import Portion, check_was_sent, portion_of
from ..typing import Keys


class RestoredContextWarning(UserWarning):
    """A handler wrote to ``g`` in a worker, where no request will read it."""


def g_context(codec: Codec) -> Context:
    """Return the context of Flask's ``g``.

    Args:
        codec: Knows what of it travels.
    """
    return Context(
        name="g", capture=lambda keys: _capture_g(keys, codec), restore=_restore_g
    )


def _capture_g(keys: Keys, codec: Codec) -> dict[str, object] | None:
    if not has_app_context():
        return None
    # A leading underscore marks what extensions keep there for themselves.
    items = {
        name: g.get(name)
        for name in g
        if name in (keys or ()) or not name.startswith("_")
    }
    if isinstance(g, _RestoredG):
        left_out = _left_out_of(g) - items.keys()
        return portion_of(
            Portion({"sent": items, "left_out": left_out}, what="g"), keys, codec
        )
    return portion_of(items, keys, codec)


@contextmanager
def _restore_g(captured: Mapping[str, Any] | None) -> Generator[None]:
    """Put the sent part of ``g`` into the app context, where it stays until that ends.

    Functions that run when the context is popped look there for what to close.
    """
    if captured is not None:
        here = app_ctx.g
        restored_class = type("RestoredG", (_RestoredG, type(here)), {})
        app_ctx.g = restored_class(here, captured)
    yield


class _RestoredG:
    """Mixed into the app's class for ``g``: holds what was sent, warns of writing."""

    def __init__(self, here: object, portion: Mapping[str, Any]) -> None:
        left_out = frozenset(portion["left_out"])
        self.__dict__.update(vars(here), **portion["sent"], _left_out=left_out)

    def __getattr__(self, name: str) -> Any:
        self._check(name)
        raise AttributeError(name)

    def __setattr__(self, name: str, value: object) -> None:
        _warn_of_writing(name)
        self.__dict__[name] = value

    def get(self, name: str, default: object = None) -> object:
        self._check(name)
        return self.__dict__.get(name, default)

    def setdefault(self, name: str, default: object = None) -> object:
        if name not in self.__dict__:
            _warn_of_writing(name)
        return self.__dict__.setdefault(name, default)

    # Here and in pop(), which closes things when the context ends, what was left out is
    # simply not there: `if "db" not in g: g.db = connect()` is how Flask's docs make one.
    def __contains__(self, name: str) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.__dict__ if name != "_left_out")

    def _check(self, name: str) -> None:
        if name not in self.__dict__:
            check_was_sent(name, _left_out_of(self), what="g")


def _left_out_of(restored: _RestoredG) -> frozenset[str]:
    """Return the names of what was in ``g`` and did not travel."""
    left_out: frozenset[str] = vars(restored)["_left_out"]
    return left_out


def _warn_of_writing(name: str) -> None:
    if not name.startswith("_"):
        warnings.warn(
            f"a handler in a worker set g.{name}, which the rest of the request will not "
            "see. A handler that prepares something for the request belongs into the "
            "request: connect it with signal.connect.",
            RestoredContextWarning,
            stacklevel=3,
        )
