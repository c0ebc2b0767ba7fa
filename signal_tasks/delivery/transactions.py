"""What hangs on the transactions of SQLAlchemy's sessions.

Out: envelopes that leave when the caller's transaction has committed, or that are rows
in it. In: the note that an event is handled, made in the handler's own transaction.

An event belongs to the innermost transaction that is open when it is sent. A savepoint
that is released hands its events to the transaction around it; one that is rolled back
takes them along. A transaction that ends with neither commit nor rollback and has
written nothing had nothing to undo: its events leave.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sqlalchemy import Connection, TextClause, event
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction

from ..envelope import Envelope
from ..exceptions import ConfigurationError, StoreError
from ..host import Publisher
from ..orm import current_session
from ..references import Database
from ..settlement import Settlement
from .announcing import Unattended, tell_withdrawn

_KEY = "signal_tasks"

# How statements begin that leave nothing behind in the database.
_READS = ("select", "values", "table", "show", "set", "reset", "explain", "pragma")
_WRITES = re.compile(r"\b(insert|update|delete|merge)\b")


class Follower(Protocol):
    """Waits for the end of a transaction."""

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Do what is to be done about *envelopes*, which may leave now."""
        ...

    def undone(self, envelopes: Sequence[Envelope]) -> None:
        """Do what is to be done about *envelopes*, whose transaction is undone."""
        ...

    def closed(self, envelopes: Sequence[Envelope]) -> None:
        """Do what is to be done about *envelopes*, whose transaction only read."""
        ...


class AfterCommit:
    """The delivery ``commit``: events leave when the caller's transaction commits.

    Args:
        database: Has the session.
        direct: Publishes where no transaction is open.
        later: Publishes after one, and raises nothing.
        application: Whose events they are.
    """

    def __init__(
        self,
        database: Callable[[], Database],
        *,
        direct: Publisher,
        later: Publisher,
        application: object,
    ) -> None:
        self._database = database
        self._direct = direct
        self._later = later
        self._application = application

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Publish *envelopes* when the transaction commits, now where there is none."""
        session = current_session(self._database())
        if session is None or not session.in_transaction():
            self._direct.publish(envelopes)
        else:
            _follow(session, self, envelopes)

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Publish them."""
        self._later.publish(envelopes)

    def closed(self, envelopes: Sequence[Envelope]) -> None:
        """Publish them: there was nothing to commit."""
        self._later.publish(envelopes)

    def undone(self, envelopes: Sequence[Envelope]) -> None:
        """Drop them, and report that."""
        tell_withdrawn(self._application, envelopes)


class OutboxRows(Protocol):
    """An outbox, of which the delivery uses this."""

    def is_in(self, connection: Connection) -> bool:
        """Tell whether *connection* is one to its database."""
        ...

    def add(
        self, envelopes: Sequence[Envelope], *, connection: Connection | None = None
    ) -> None:
        """Add rows, in the transaction of *connection* or one of their own."""
        ...


class InOutbox:
    """The delivery ``outbox``: events are rows in the caller's transaction.

    Args:
        database: Has the session.
        rows: Returns the outbox.
        application: Whose events they are.
    """

    def __init__(
        self,
        database: Callable[[], Database],
        *,
        rows: Callable[[], OutboxRows],
        application: object,
    ) -> None:
        self._database = database
        self._rows = rows
        self._alone = Unattended(_Alone(rows), application)
        self._application = application

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Add *envelopes* to the outbox.

        Raises:
            StoreError: The database did not do it. Nor does the transaction commit
                then, for what it writes and the event belong together.
            ConfigurationError: The session is of another database than the store.
        """
        session = current_session(self._database())
        if session is None or not _can_end(session):
            self._rows().add(envelopes)
            return
        if session.is_active:
            self._add_inside(session, envelopes)
        _follow(session, self, envelopes)

    def _add_inside(self, session: Session, envelopes: Sequence[Envelope]) -> None:
        connection = _connection_of(session)
        if connection is None or not self._rows().is_in(connection):
            raise ConfigurationError(
                "delivery='outbox' writes a row in the transaction of the session, and "
                "the session's database is not that of the store. Let them be the same: "
                "set SIGNAL_TASKS_STORE_URL to the session's, or leave it out."
            )
        try:
            self._rows().add(envelopes, connection=connection)
        except StoreError as error:
            _spoil(session, error)
            raise

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Leave them to the relay."""

    def closed(self, envelopes: Sequence[Envelope]) -> None:
        """Add them in a transaction of their own, for theirs took them along."""
        self._alone.publish(envelopes)

    def undone(self, envelopes: Sequence[Envelope]) -> None:
        """Report that they are gone with their transaction."""
        tell_withdrawn(self._application, envelopes)


class _Alone:
    """Adds rows to an outbox in transactions of their own."""

    def __init__(self, rows: Callable[[], OutboxRows]) -> None:
        self._rows = rows

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        self._rows().add(envelopes)


@contextmanager
def settling_in(database: Database, settlement: Settlement) -> Generator[None]:
    """Write *settlement* in the transaction that the handler inside commits first.

    Args:
        database: Has the handler's session.
        settlement: What to write, and whether that has happened.
    """
    watch_sessions()
    session = current_session(database)
    if session is None:
        yield
        return
    watch = _watch_of(session)
    watch.settlement = settlement
    try:
        yield
    finally:
        watch.settlement = None


def watch_sessions() -> None:
    """Hear of the transactions of every session of the process, from now on."""
    if event.contains(Session, "after_transaction_end", _after_transaction_end):
        return
    event.listen(Session, "do_orm_execute", _do_orm_execute)
    event.listen(Session, "persistent_to_detached", _persistent_to_detached)
    event.listen(Session, "pending_to_transient", _pending_to_transient)
    event.listen(Session, "before_commit", _before_commit)
    event.listen(Session, "after_commit", _after_commit)
    event.listen(Session, "after_rollback", _after_rollback)
    event.listen(Session, "after_transaction_end", _after_transaction_end)


_Waiting = dict[Follower, list[Envelope]]


@dataclass(slots=True)
class _Watch:
    """What is known of a session's transactions, in its ``info``."""

    written: set[SessionTransaction | None] = field(
        default_factory=set[SessionTransaction | None]
    )
    """Those that have written; None for one that is about to begin with that."""
    waiting: dict[SessionTransaction, _Waiting] = field(
        default_factory=dict[SessionTransaction, _Waiting]
    )
    outcomes: dict[SessionTransaction, Literal["committed", "rolled back"]] = field(
        default_factory=dict[SessionTransaction, Literal["committed", "rolled back"]]
    )
    spoilt: dict[SessionTransaction, StoreError] = field(
        default_factory=dict[SessionTransaction, StoreError]
    )
    settlement: Settlement | None = None


def _watch_of(session: Session) -> _Watch:
    watch: _Watch = session.info.setdefault(_KEY, _Watch())
    return watch


def _follow(
    session: Session, follower: Follower, envelopes: Sequence[Envelope]
) -> None:
    """Tell *follower* of the end of the transaction that is open in *session*."""
    watch_sessions()
    transaction = _innermost(session)
    waiting = _watch_of(session).waiting.setdefault(transaction, {})
    waiting.setdefault(follower, []).extend(envelopes)


def _can_end(session: Session) -> bool:
    """Tell whether a transaction is open that has not committed.

    What hears of a commit is called before the session is done with it.
    """
    if not session.in_transaction():
        return False
    return session.is_active or (
        _watch_of(session).outcomes.get(_innermost(session)) == "rolled back"
    )


def _connection_of(session: Session) -> Connection | None:
    """Return the session's own connection; None where only its models have any."""
    try:
        return session.connection()
    except UnboundExecutionError:
        return None


def _spoil(session: Session, error: StoreError) -> None:
    """Let the transaction that is open in *session* not commit without its row.

    PostgreSQL undoes it after an error, and answers ``COMMIT`` as if it had not.
    """
    watch_sessions()
    _watch_of(session).spoilt[_innermost(session)] = error


def _innermost(session: Session) -> Any:
    """Return the savepoint or transaction that is open; there is one."""
    return session.get_nested_transaction() or session.get_transaction()


def _do_orm_execute(state: ORMExecuteState) -> None:
    if not state.is_select and not _only_reads(state.statement):
        _note_write(state.session)


def _note_write(session: Session) -> None:
    _watch_of(session).written.add(_innermost(session))


def _only_reads(statement: object) -> bool:
    if not isinstance(statement, TextClause):
        return False
    said = statement.text.lstrip(" \n\t(").lower()
    if said.startswith("with"):
        return _WRITES.search(said) is None
    return said.startswith(_READS)


def _persistent_to_detached(session: Session, instance: object) -> None:
    watch = session.info.get(_KEY)
    if watch is not None and watch.waiting and session.is_modified(instance):
        _note_write(session)


def _pending_to_transient(session: Session, _instance: object) -> None:
    _note_write(session)


def _before_commit(session: Session) -> None:
    watch = session.info.get(_KEY)
    if watch is None or session.get_nested_transaction() is not None:
        return
    spoilt = watch.spoilt.get(_innermost(session))
    if spoilt is not None:
        raise StoreError(
            f"not committed, for an event could not be added to the outbox: {spoilt} "
            "What the transaction has written is undone with it; roll it back."
        ) from spoilt
    settlement = watch.settlement
    if settlement is not None and not settlement.is_done:
        connection = _connection_of(session)
        if connection is not None:
            settlement.is_written = settlement.settle(connection)


def _after_commit(session: Session) -> None:
    watch = session.info.get(_KEY)
    if watch is None:
        return
    transaction = _innermost(session)
    watch.outcomes[transaction] = "committed"
    settlement = watch.settlement
    if settlement is not None and not transaction.nested:
        settlement.is_done = settlement.is_done or settlement.is_written


def _after_rollback(session: Session) -> None:
    watch = _watch_of(
        session
    )  # an event may follow, before the session is done with it
    transaction = _innermost(session)
    watch.outcomes[transaction] = "rolled back"
    if watch.settlement is not None and not transaction.nested:
        watch.settlement.is_written = False


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if not transaction.nested and transaction.parent is not None:
        # A flush, or a bulk operation, which nothing else tells of.
        _note_write(session)
        return
    watch: _Watch | None = session.info.get(_KEY)
    if watch is None:
        return
    outcome = watch.outcomes.pop(transaction, None)
    those = {transaction} if transaction.nested else {transaction, None}
    has_written = bool(watch.written & those)
    watch.written -= those
    waiting = watch.waiting.pop(transaction, {})
    watch.spoilt.pop(transaction, None)
    if transaction.nested:
        if outcome == "rolled back":
            _undo(waiting)
            return
        _hand_on(session, watch, waiting)
        if has_written:
            _note_write(session)
    else:
        _end(waiting, outcome, has_written=has_written)


def _hand_on(session: Session, watch: _Watch, waiting: _Waiting) -> None:
    """Let what waited for a savepoint wait for what is around it, and open now."""
    around = watch.waiting.setdefault(_innermost(session), {})
    for follower, envelopes in waiting.items():
        around.setdefault(follower, []).extend(envelopes)


def _end(waiting: _Waiting, outcome: str | None, *, has_written: bool) -> None:
    if outcome == "rolled back" or (outcome is None and has_written):
        _undo(waiting)
        return
    for follower, envelopes in waiting.items():
        if outcome == "committed":
            follower.committed(envelopes)
        else:
            follower.closed(envelopes)


def _undo(waiting: _Waiting) -> None:
    for follower, envelopes in waiting.items():
        follower.undone(envelopes)
