"""Flask's session: captured where a signal is sent, restored in a worker to be read."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

from flask import has_request_context, session
from flask.sessions import SessionMixin

from ..codec import Codec
from ..contexts import Context
from ..exceptions import NotSentError, ReadOnlySessionError
from ..portions import Portion, portion_of
from ..typing import Keys

_session: ContextVar[_RestoredSession | None] = ContextVar(
    "signal_tasks_session", default=None
)


def session_context(codec: Codec) -> Context:
    """Return the context of Flask's session, which the request's takes over.

    Args:
        codec: Knows what of a session travels.
    """
    return Context(
        name="session",
        capture=lambda keys: _capture_session(keys, codec),
        restore=_restore_session,
        needs=("request",),
    )


def _capture_session(keys: Keys, codec: Codec) -> dict[str, object] | None:
    if not has_request_context() or isinstance(session, _NoSession):
        return None
    return portion_of(session, keys, codec)


@contextmanager
def _restore_session(captured: Mapping[str, Any] | None) -> Generator[None]:
    """Keep the session for the request context, which is the one to hold it."""
    restored = None if captured is None else _RestoredSession(captured, what="session")
    token = _session.set(restored)
    try:
        yield
    finally:
        _session.reset(token)


@contextmanager
def session_with(items: Mapping[str, Any], keys: Collection[str]) -> Generator[None]:
    """Add *items* to the session that the next request context will hold.

    Args:
        items: What was there under *keys*.
        keys: If one is not among *items*, then it was not in the session either.
    """
    token = _session.set(restored_session().with_items(items, keys))
    try:
        yield
    finally:
        _session.reset(token)


def _refuse_to_write(*_: object, **__: object) -> NoReturn:
    raise ReadOnlySessionError(
        "the session in a worker is a copy, and what is written to it would reach no "
        "browser. Write it in the request; keep what a handler finds out in a database."
    )


class _RestoredSession(Portion, SessionMixin):
    """A session to read from."""

    # Told of by those who changed something inside a value.
    modified = property(lambda _: False, _refuse_to_write)

    def with_items(
        self, items: Mapping[str, Any], keys: Collection[str]
    ) -> _RestoredSession:
        """Return a session that has *items* as well, and nothing else under *keys*."""
        sent = {**self, **items}
        left_out = self.left_out.difference(keys)
        return type(self)({"sent": sent, "left_out": left_out}, what=self.what)

    __setitem__ = __delitem__ = _refuse_to_write
    clear = pop = popitem = setdefault = update = _refuse_to_write
    __ior__ = _refuse_to_write


def _refuse_to_go_through(*_: object, **__: object) -> NoReturn:
    raise _not_sent("its keys were asked for")


def _not_sent(what_happened: str) -> NotSentError:
    return NotSentError(
        f"the session did not travel, and {what_happened}. Ask for it: "
        "async_receiver(..., context=('session',)), or 'user' for Flask-Login's user."
    )


class _NoSession(_RestoredSession):
    """Stands where the session was not asked for; says so to whoever reads it."""

    # Flask itself looks for these, whatever a handler does.
    known: frozenset[str] = frozenset(("_permanent", "_flashes"))
    """Keys that may be read, for what would be there is there."""

    def with_items(self, items: Mapping[str, Any], keys: Collection[str]) -> _NoSession:
        """Return a session that has *items*, and nothing else under *keys*."""
        copy = _NoSession({"sent": items, "left_out": ()}, what=self.what)
        copy.known = self.known.union(keys)
        return copy

    __iter__ = keys = values = items = copy = _refuse_to_go_through

    def _check(self, key: object) -> None:
        if key not in self.known:
            raise _not_sent(f"{key!r} was read from it")


def restored_session() -> _RestoredSession:
    """Return the session that the next request context will hold."""
    session = _session.get()
    if session is not None:
        return session
    return _NoSession({"sent": {}, "left_out": ()}, what="session")
