"""Events that wait for the end of a transaction, and notes made in a handler's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from signal_tasks import ConfigurationError, dispatch_failed, event_withdrawn
from signal_tasks.delivery.transactions import (
    AfterCommit,
    InOutbox,
    settling_in,
    watch_sessions,
)
from signal_tasks.envelope import Envelope
from signal_tasks.exceptions import StoreError
from signal_tasks.references import NO_DATABASE, Database
from signal_tasks.settlement import Settlement
from signal_tasks.signals import DispatchFailed, EventWithdrawn
from tests.envelopes import envelope
from tests.hosts import RecordingPublisher


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default="new")


@dataclass
class Rows:
    """An outbox that remembers what was added, and by whose connection."""

    engine: Engine
    inside: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)
    error: Exception | None = None

    def is_in(self, connection: Connection) -> bool:
        """Tell whether it is a connection to the tests' database."""
        return connection.engine is self.engine

    def add(
        self, envelopes: Sequence[Envelope], *, connection: Connection | None = None
    ) -> None:
        """Remember the events."""
        if self.error is not None:
            raise self.error
        kept = self.alone if connection is None else self.inside
        kept += [envelope.id for envelope in envelopes]


@pytest.fixture(autouse=True)
def _watching() -> None:
    """Watch sessions from the start, as a declared delivery does."""
    watch_sessions()


@pytest.fixture
def engine() -> Iterator[Engine]:
    """Return a database in memory."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add(Order(number=1))
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """Return the caller's session."""
    with Session(engine) as session:
        yield session


@pytest.fixture
def direct() -> RecordingPublisher:
    """Return what publishes at once."""
    return RecordingPublisher()


@pytest.fixture
def later() -> RecordingPublisher:
    """Return what publishes after a transaction."""
    return RecordingPublisher()


@pytest.fixture
def withdrawn() -> Iterator[list[str]]:
    """Return the events that are reported to have been withdrawn."""
    events: list[str] = []

    def note(sender: object, details: EventWithdrawn) -> None:
        events.append(details.event_id)

    with event_withdrawn.connected_to(note):
        yield events


@pytest.fixture
def commit(
    session: Session, direct: RecordingPublisher, later: RecordingPublisher
) -> AfterCommit:
    """Return the delivery that waits for the session's commit."""
    return AfterCommit(
        lambda: Database(session=lambda: session),
        direct=direct,
        later=later,
        application="shop",
    )


@pytest.fixture
def rows(engine: Engine) -> Rows:
    """Return an outbox in the session's database."""
    return Rows(engine)


@pytest.fixture
def outbox(session: Session, rows: Rows) -> InOutbox:
    """Return the delivery that writes rows in the session's transaction."""
    return InOutbox(
        lambda: Database(session=lambda: session),
        rows=lambda: rows,
        application="shop",
    )


def ids(publisher: RecordingPublisher) -> list[str]:
    """Return the events that *publisher* got."""
    return [one.id for one in publisher.envelopes]


class TestCommit:
    """The delivery ``commit``."""

    def test_event_leaves_with_the_commit(
        self, commit: AfterCommit, session: Session, later: RecordingPublisher
    ) -> None:
        """What is sent in a transaction leaves when that commits, and not before."""
        session.add(Order(number=2))
        commit.publish([envelope("one")])
        before = ids(later)

        session.commit()

        assert (before, ids(later)) == ([], ["one"])

    def test_events_of_a_transaction_leave_together(
        self, commit: AfterCommit, session: Session, later: RecordingPublisher
    ) -> None:
        """One batch takes all the events of a transaction, in order."""
        session.add(Order(number=2))
        commit.publish([envelope("one")])
        commit.publish([envelope("two")])

        session.commit()

        assert [[one.id for one in batch] for batch in later.batches] == [
            ["one", "two"]
        ]

    def test_event_outside_a_transaction_leaves_at_once(
        self, commit: AfterCommit, direct: RecordingPublisher
    ) -> None:
        """Where no transaction is open, there is no commit to wait for."""
        commit.publish([envelope("one")])

        assert ids(direct) == ["one"]

    @pytest.mark.parametrize(
        "database",
        [NO_DATABASE, Database(session=lambda: None)],
        ids=["nobody said which", "none here"],
    )
    def test_event_without_a_session_leaves_at_once(
        self, direct: RecordingPublisher, later: RecordingPublisher, database: Database
    ) -> None:
        """An application without a session has no transactions."""
        commit = AfterCommit(
            lambda: database, direct=direct, later=later, application="shop"
        )

        commit.publish([envelope("one")])

        assert ids(direct) == ["one"]

    def test_scoped_session_stands_for_its_session(
        self, engine: Engine, direct: RecordingPublisher, later: RecordingPublisher
    ) -> None:
        """A scoped_session is asked for the session that is used here."""
        scoped = scoped_session(sessionmaker(engine))
        commit = AfterCommit(
            lambda: Database(session=lambda: scoped),
            direct=direct,
            later=later,
            application="shop",
        )
        scoped.add(Order(number=2))

        commit.publish([envelope("one")])
        scoped.commit()

        scoped.remove()
        assert (ids(direct), ids(later)) == ([], ["one"])

    def test_rollback_drops_the_event(
        self,
        commit: AfterCommit,
        session: Session,
        later: RecordingPublisher,
        withdrawn: list[str],
    ) -> None:
        """What a rolled back transaction has sent never leaves, and that is reported."""
        session.add(Order(number=2))
        commit.publish([envelope("one")])

        session.rollback()
        session.commit()

        assert (ids(later), withdrawn) == ([], ["one"])

    def test_rollback_of_what_only_read_drops_the_event(
        self, commit: AfterCommit, session: Session, later: RecordingPublisher
    ) -> None:
        """Who rolls back wants nothing of it to be, also where nothing was written."""
        session.get(Order, 1)
        commit.publish([envelope("one")])

        session.rollback()

        assert ids(later) == []

    def test_failed_flush_drops_the_event(
        self, commit: AfterCommit, session: Session, later: RecordingPublisher
    ) -> None:
        """A transaction that fails on its way takes its events along."""
        session.add(Order(number=1))
        commit.publish([envelope("one")])

        with pytest.raises(Exception, match="UNIQUE"):
            session.commit()
        session.rollback()
        session.commit()

        assert ids(later) == []

    @pytest.mark.parametrize(
        "read",
        [
            lambda session: session.get(Order, 1),
            lambda session: session.execute(select(Order)),
            lambda session: session.execute(text(" SELECT 1")),
        ],
        ids=["get", "select", "text"],
    )
    def test_transaction_that_only_read_loses_nothing(
        self,
        commit: AfterCommit,
        session: Session,
        later: RecordingPublisher,
        read: Callable[[Session], object],
    ) -> None:
        """A session that only read may be closed without a commit: its event leaves."""
        read(session)
        commit.publish([envelope("one")])

        session.close()

        assert ids(later) == ["one"]

    @pytest.mark.parametrize(
        "write",
        [
            lambda session: (session.add(Order(number=2)), session.flush()),
            lambda session: session.add(Order(number=2)),
            lambda session: setattr(session.get(Order, 1), "state", "paid"),
            lambda session: session.execute(update(Order).values(state="paid")),
            lambda session: session.execute(text("UPDATE orders SET state = 'paid'")),
        ],
        ids=["flushed", "added", "changed", "update", "text"],
    )
    def test_transaction_that_wrote_and_is_closed_is_undone(
        self,
        commit: AfterCommit,
        session: Session,
        later: RecordingPublisher,
        write: Callable[[Session], Any],
    ) -> None:
        """Closing a session without a commit undoes what it wrote, and its events."""
        write(session)
        commit.publish([envelope("one")])

        session.close()

        assert ids(later) == []

    def test_next_transaction_begins_with_nothing_written(
        self, commit: AfterCommit, session: Session, later: RecordingPublisher
    ) -> None:
        """What a committed transaction wrote does not count for the one after it."""
        session.add(Order(number=2))
        session.commit()
        session.get(Order, 1)
        commit.publish([envelope("one")])

        session.close()

        assert ids(later) == ["one"]

    def test_released_savepoint_waits_for_the_commit_around_it(
        self, commit: AfterCommit, session: Session, later: RecordingPublisher
    ) -> None:
        """A savepoint that is released has not committed yet."""
        with session.begin_nested():
            session.add(Order(number=2))
            commit.publish([envelope("one")])
        before = ids(later)

        session.commit()

        assert (before, ids(later)) == ([], ["one"])

    def test_rolled_back_savepoint_takes_its_events_alone(
        self,
        commit: AfterCommit,
        session: Session,
        later: RecordingPublisher,
        withdrawn: list[str],
    ) -> None:
        """What was sent before and after a savepoint that is undone leaves."""
        session.add(Order(number=2))
        commit.publish([envelope("before")])
        savepoint = session.begin_nested()
        commit.publish([envelope("inside")])
        savepoint.rollback()
        commit.publish([envelope("after")])

        session.commit()

        assert (ids(later), withdrawn) == (["before", "after"], ["inside"])

    def test_savepoint_in_a_savepoint_is_exact(
        self, commit: AfterCommit, session: Session, later: RecordingPublisher
    ) -> None:
        """An inner savepoint that is released goes with the outer one that is not."""
        outer = session.begin_nested()
        with session.begin_nested():
            session.add(Order(number=2))
            commit.publish([envelope("inner")])
        outer.rollback()
        commit.publish([envelope("after")])

        session.commit()

        assert ids(later) == ["after"]

    def test_rollback_reaches_open_savepoints(
        self, commit: AfterCommit, session: Session, later: RecordingPublisher
    ) -> None:
        """A transaction that is rolled back takes along what its open savepoint sent."""
        session.add(Order(number=2))
        session.begin_nested()
        commit.publish([envelope("one")])

        session.get_transaction().rollback()  # type: ignore[union-attr]

        assert ids(later) == []

    def test_event_sent_during_a_flush_leaves_with_the_commit(
        self, commit: AfterCommit, session: Session, later: RecordingPublisher
    ) -> None:
        """A flush is a part of the transaction, so its events wait for that."""

        def send(*_: object) -> None:
            commit.publish([envelope("one")])

        event.listen(Order, "after_insert", send)
        session.add(Order(number=2))
        session.flush()
        event.remove(Order, "after_insert", send)
        before = ids(later)

        session.commit()

        assert (before, ids(later)) == ([], ["one"])

    def test_session_without_events_is_left_alone(self, session: Session) -> None:
        """Sessions that send nothing commit and roll back as ever."""
        session.execute(insert(Order).values(number=2))
        session.commit()
        session.rollback()
        with Session(session.get_bind()) as reader:
            reader.get(Order, 1)
            reader.rollback()
            reader.get(Order, 1)
            reader.commit()

        assert session.get(Order, 2) is not None


class TestOutbox:
    """The delivery ``outbox``."""

    def test_row_is_written_in_the_callers_transaction(
        self, outbox: InOutbox, session: Session, rows: Rows
    ) -> None:
        """The event is a row beside what the caller writes."""
        session.add(Order(number=2))

        outbox.publish([envelope("one")])
        session.commit()

        assert (rows.inside, rows.alone) == (["one"], [])

    def test_row_outside_a_transaction_has_its_own(
        self, outbox: InOutbox, rows: Rows
    ) -> None:
        """Where nobody would commit, the row is committed at once."""
        outbox.publish([envelope("one")])

        assert (rows.inside, rows.alone) == ([], ["one"])

    def test_transaction_that_only_read_loses_no_row(
        self, outbox: InOutbox, session: Session, rows: Rows
    ) -> None:
        """A row that goes with a transaction which only read is added again."""
        session.get(Order, 1)
        outbox.publish([envelope("one")])

        session.close()

        assert rows.alone == ["one"]

    def test_row_that_cannot_be_added_again_is_reported(
        self, outbox: InOutbox, session: Session, rows: Rows
    ) -> None:
        """A closing session raises nothing, so the loss is logged and reported."""
        failures: list[DispatchFailed] = []

        def note(sender: object, details: DispatchFailed) -> None:
            failures.append(details)

        session.get(Order, 1)
        outbox.publish([envelope("one")])
        rows.error = StoreError("gone")

        with dispatch_failed.connected_to(note):
            session.close()

        assert [one.event_id for one in failures] == ["one"]

    def test_rollback_takes_the_row_along(
        self, outbox: InOutbox, session: Session, rows: Rows, withdrawn: list[str]
    ) -> None:
        """A row of a rolled back transaction is gone with it, and that is reported."""
        session.add(Order(number=2))
        outbox.publish([envelope("one")])

        session.rollback()

        assert (rows.alone, withdrawn) == ([], ["one"])

    def test_session_of_another_database_is_refused(
        self, outbox: InOutbox, session: Session, rows: Rows
    ) -> None:
        """A row in another database than the session's would not be in its transaction."""
        rows.engine = create_engine("sqlite://")
        session.get(Order, 1)

        with pytest.raises(ConfigurationError, match="SIGNAL_TASKS_STORE_URL"):
            outbox.publish([envelope("one")])

        rows.engine.dispose()


class TestSettling:
    """A note that goes into the handler's own transaction."""

    def settlement(self, written: list[bool], *, can: bool = True) -> Settlement:
        """Return a settlement that notes whether it could be written."""

        def settle(connection: Connection) -> bool:
            written.append(connection.in_transaction())
            return can

        return Settlement(settle)

    def test_note_goes_with_the_first_commit(self, session: Session) -> None:
        """The note is written once, inside the transaction that commits first."""
        written: list[bool] = []
        settlement = self.settlement(written)

        with settling_in(Database(session=lambda: session), settlement):
            session.add(Order(number=2))
            session.commit()
            session.add(Order(number=3))
            session.commit()

        assert (written, settlement.is_done) == ([True], True)

    def test_savepoint_is_no_commit(self, session: Session) -> None:
        """A released savepoint makes nothing true yet."""
        written: list[bool] = []
        settlement = self.settlement(written)

        with settling_in(Database(session=lambda: session), settlement):
            with session.begin_nested():
                session.add(Order(number=2))
            inside = list(written)
            session.commit()

        assert (inside, written) == ([], [True])

    def test_note_is_written_again_after_a_rollback(self, session: Session) -> None:
        """A commit that failed has taken no note along; the next one does."""
        written: list[bool] = []
        settlement = self.settlement(written)

        with settling_in(Database(session=lambda: session), settlement):
            session.add(Order(number=1))
            with pytest.raises(Exception, match="UNIQUE"):
                session.commit()
            session.rollback()
            done = settlement.is_done
            session.add(Order(number=2))
            session.commit()

        assert (done, len(written), settlement.is_done) == (False, 2, True)

    def test_rolled_back_savepoint_leaves_the_note(self, session: Session) -> None:
        """Only the end of the whole transaction decides about the note."""
        settlement = self.settlement([])

        with settling_in(Database(session=lambda: session), settlement):
            session.add(Order(number=2))
            savepoint = session.begin_nested()
            savepoint.rollback()
            session.commit()

        assert settlement.is_done

    def test_note_that_cannot_be_written_there_is_not_done(
        self, session: Session
    ) -> None:
        """A session of another database takes no note along."""
        settlement = self.settlement([], can=False)

        with settling_in(Database(session=lambda: session), settlement):
            session.add(Order(number=2))
            session.commit()

        assert not settlement.is_done

    def test_what_it_raises_comes_out_of_the_commit(self, session: Session) -> None:
        """A handler whose work must not be committed hears of it in commit()."""

        def settle(connection: Connection) -> bool:
            raise LookupError

        with settling_in(Database(session=lambda: session), Settlement(settle)):
            session.add(Order(number=2))
            with pytest.raises(LookupError):
                session.commit()
        session.rollback()

        assert session.get(Order, 2) is None

    def test_later_commits_are_not_the_handlers(self, session: Session) -> None:
        """Outside the block a commit writes no note."""
        written: list[bool] = []

        with settling_in(Database(session=lambda: session), self.settlement(written)):
            pass
        session.add(Order(number=2))
        session.commit()

        assert written == []

    def test_handler_without_a_session_is_run_all_the_same(self) -> None:
        """Where there is no session, there is no transaction to write the note in."""
        settlement = self.settlement([])

        with settling_in(NO_DATABASE, settlement):
            pass

        assert not settlement.is_done


class TestSessionsThatDoMore:
    """Sessions as applications really use them."""

    def test_bulk_insert_is_a_write(
        self,
        commit: AfterCommit,
        session: Session,
        later: RecordingPublisher,
        withdrawn: list[str],
    ) -> None:
        """What is written past the unit of work is undone with its transaction, too."""
        session.bulk_insert_mappings(Order, [{"number": 2}])  # type: ignore[arg-type]
        commit.publish([envelope("one")])

        session.close()

        assert (ids(later), withdrawn) == ([], ["one"])

    def test_savepoint_that_is_undone_has_written_nothing(
        self, commit: AfterCommit, session: Session, later: RecordingPublisher
    ) -> None:
        """What goes on after a failed attempt and only reads has nothing to undo."""
        with suppress(IntegrityError), session.begin_nested():
            session.add(Order(number=1))
        commit.publish([envelope("one")])

        session.close()

        assert ids(later) == ["one"]

    def test_savepoint_that_is_released_has_written(
        self, commit: AfterCommit, session: Session, withdrawn: list[str]
    ) -> None:
        """What a savepoint has written is undone with the transaction around it."""
        with session.begin_nested():
            session.add(Order(number=2))
        commit.publish([envelope("one")])

        session.close()

        assert withdrawn == ["one"]

    @pytest.mark.parametrize(
        "statement",
        [
            "PRAGMA cache_size = 100",
            "explain SELECT 1",
            " WITH one AS (SELECT 1) SELECT 1",
        ],
        ids=["setting", "plan", "query"],
    )
    def test_setting_is_no_write(
        self,
        commit: AfterCommit,
        session: Session,
        later: RecordingPublisher,
        statement: str,
    ) -> None:
        """A transaction that was only prepared for its queries has nothing to undo."""
        session.execute(text(statement))
        commit.publish([envelope("one")])

        session.close()

        assert ids(later) == ["one"]

    def test_query_that_writes_is_a_write(
        self, commit: AfterCommit, session: Session, withdrawn: list[str]
    ) -> None:
        """A statement that begins as a query does may go on to write."""
        statement = (
            "WITH two AS (SELECT 2 AS n) INSERT INTO orders SELECT n, 'x' FROM two"
        )
        session.execute(text(statement))
        commit.publish([envelope("one")])

        session.close()

        assert withdrawn == ["one"]

    def test_event_of_a_commit_is_added_at_once(
        self, outbox: InOutbox, session: Session, rows: Rows
    ) -> None:
        """What is sent when a transaction has committed cannot be a row in it."""

        def send(_session: Session) -> None:
            outbox.publish([envelope("one")])

        event.listen(session, "after_commit", send)
        session.add(Order(number=2))

        session.commit()

        assert (rows.inside, rows.alone) == ([], ["one"])

    def test_event_of_a_failed_flush_is_withdrawn(
        self, outbox: InOutbox, session: Session, rows: Rows, withdrawn: list[str]
    ) -> None:
        """A transaction that can only be rolled back takes no row."""
        session.add(Order(number=1))
        with pytest.raises(IntegrityError):
            session.flush()

        outbox.publish([envelope("one")])
        session.rollback()

        assert (rows.inside, rows.alone, withdrawn) == ([], [], ["one"])

    def test_outbox_wants_a_database_of_the_session_itself(
        self, engine: Engine, rows: Rows
    ) -> None:
        """A session with a database for each model has none for the row."""
        with Session(binds={Order: engine}) as session:
            session.execute(select(Order))
            outbox = InOutbox(
                lambda: Database(session=lambda: session),
                rows=lambda: rows,
                application="shop",
            )

            with pytest.raises(ConfigurationError, match="not that of the store"):
                outbox.publish([envelope("one")])

    def test_note_waits_where_each_model_has_a_database(self, engine: Engine) -> None:
        """A handler commits as ever where there is no place for the note."""
        settlement = Settlement(lambda _: pytest.fail("there is no connection"))
        with (
            Session(binds={Order: engine}) as session,
            settling_in(Database(session=lambda: session), settlement),
        ):
            session.add(Order(number=2))
            session.commit()

        assert not settlement.is_done

    def test_row_that_fails_ends_the_transaction(
        self, outbox: InOutbox, session: Session, rows: Rows
    ) -> None:
        """Who goes on after that commits nothing, and is told; a database may not tell."""
        session.add(Order(number=2))
        rows.error = StoreError("no such table")
        with pytest.raises(StoreError):
            outbox.publish([envelope("one")])

        with pytest.raises(StoreError, match="undone with it"):
            session.commit()

        session.rollback()
        assert session.scalars(select(Order.number)).all() == [1]
        session.commit()

    def test_row_that_fails_in_a_savepoint_ends_that(
        self, outbox: InOutbox, session: Session, rows: Rows
    ) -> None:
        """A savepoint that is rolled back takes the failure along."""
        session.add(Order(number=2))
        savepoint = session.begin_nested()
        rows.error = StoreError("no such table")
        with pytest.raises(StoreError):
            outbox.publish([envelope("one")])
        savepoint.rollback()

        session.commit()

        assert session.scalars(select(Order.number)).all() == [1, 2]

    def test_session_that_only_reads_is_left_alone(self, engine: Engine) -> None:
        """A transaction that nothing waits for leaves no trace in its session."""
        with Session(engine) as session:
            session.execute(select(Order))
            session.commit()

            assert session.info == {}
