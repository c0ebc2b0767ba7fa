"""Model instances travel as references, and are loaded where the handler runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from billiard.einfo import ExceptionInfo
from blinker import Signal
from celery import Celery
from celery.exceptions import Retry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Engine,
    ForeignKey,
    Numeric,
    create_engine,
    event,
    inspect,
    text,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    declared_attr,
    mapped_column,
    registry,
    relationship,
    scoped_session,
    sessionmaker,
)

from signal_tasks import Bridge, EncodeError
from signal_tasks.exceptions import (
    DecodeError,
    MissingReferenceError,
    RegistrationError,
    StillMissingError,
)
from signal_tasks.references import FAIL, Database, Tombstone, looking_up, sending
from signal_tasks.signals import event_discarded
from tests.in_memory import KEY, Broker
from tests.integration.servers import (
    POSTGRESQL,
    UnreachableError,
    missing,
    postgresql_database,
)


class Base(DeclarativeBase):
    @declared_attr.directive
    def __tablename__(cls) -> str:  # noqa: N805  # SQLAlchemy calls it with the class
        return cls.__name__.lower()


class Secret:
    """What no message can carry."""


class User(Base):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None]
    bio: Mapped[str | None] = mapped_column(deferred=True)
    orders: Mapped[list[Order]] = relationship(back_populates="user")


class Order(Base):
    id: Mapped[int] = mapped_column("order_id", primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    user: Mapped[User | None] = relationship(back_populates="orders")

    def __len__(self) -> int:
        return 0  # pragma: no cover  # whoever asked would take an order for nothing


class Seat(Base):
    row: Mapped[int] = mapped_column(primary_key=True)
    letter: Mapped[str] = mapped_column(primary_key=True)


class Booking(Base):
    number: Mapped[UUID] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    rate: Mapped[Decimal] = mapped_column(Numeric(8, 2), primary_key=True)


class Employee(Base):
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {  # noqa: RUF012
        "polymorphic_on": "kind",
        "polymorphic_identity": "employee",
    }


class Engineer(Employee):
    id: Mapped[int] = mapped_column(ForeignKey("employee.id"), primary_key=True)
    language: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012


class Manager(Employee):
    __tablename__ = None
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012


class Gadget(MappedAsDataclass, Base):
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(default="")


plain_registry = registry()


@plain_registry.mapped
class Pen:
    __tablename__ = "pen"

    id: Mapped[int] = mapped_column(primary_key=True)


class StrangerBase(DeclarativeBase):
    """Nobody registers it."""


class Stranger(StrangerBase):
    __tablename__ = "stranger"

    id: Mapped[int] = mapped_column(primary_key=True)


@contextmanager
def new_engine(url: str) -> Iterator[Engine]:
    """Make an engine for a database with our tables."""
    engine = create_engine(url)
    for base in (Base, plain_registry, StrangerBase):
        base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """Return the URL of a PostgreSQL database of our own."""
    try:
        with postgresql_database(POSTGRESQL) as url:
            yield url
    except UnreachableError as error:  # pragma: no cover  # it is there in CI
        missing(error)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Return the way to a database."""
    with new_engine(f"sqlite:///{tmp_path / 'shop.sqlite'}") as engine:
        yield engine


@dataclass(kw_only=True)
class Shop:
    """A program without Flask, whose worker runs when the test says so."""

    bridge: Bridge
    broker: Broker
    engine: Engine
    session: scoped_session[Session]
    """That of the handlers."""

    signal: Signal = field(default_factory=Signal)
    received: list[dict[str, Any]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    """What was asked of the database."""

    @property
    def database(self) -> Database:
        """Where its rows are."""
        return Database(session=self.session)

    def listen(self, **options: Any) -> None:
        """Declare the handler, which notes what it gets."""

        def handle(sender: object, **kwargs: object) -> None:
            self.received.append({"sender": sender, **kwargs})

        self.bridge.async_receiver(self.signal, name="handle", **options)(handle)

    def send(self, sender: object = None, **kwargs: object) -> None:
        """Send the signal, of which nothing may ask the database."""
        before = len(self.queries)
        self.signal.send(sender, **kwargs)
        assert self.queries[before:] == []

    def run(self) -> None:
        """Run the one message that waits, which has to go well."""
        (result,) = self.broker.run()
        assert not isinstance(result, ExceptionInfo), result.traceback

    def fail(self) -> BaseException:
        """Run the one message that waits, and return what is raised."""
        (result,) = self.broker.run()
        assert isinstance(result, ExceptionInfo)
        # Billiard wraps what Celery did not make ready for another process.
        return getattr(result.exception, "exc", result.exception)

    def carry(self, value: object, **options: Any) -> Any:
        """Send *value* and return what the handler gets."""
        self.listen(**options)
        self.send(value=value)
        self.run()
        return self.received[0]["value"]


@contextmanager
def open_shop(engine: Engine, celery_app: Celery) -> Iterator[Shop]:
    """Give a shop whose models are those of ``Base``."""
    session = scoped_session(sessionmaker(engine))
    bridge = Bridge(celery_app, secret_key=KEY, on_error="raise", session=session)
    bridge.register_type(Base)
    shop = Shop(
        bridge=bridge, broker=Broker(celery_app), engine=engine, session=session
    )

    def note(*args: Any) -> None:
        shop.queries.append(args[2])

    event.listen(engine, "before_cursor_execute", note)
    yield shop
    session.remove()


@pytest.fixture
def shop(engine: Engine, celery_app: Celery) -> Iterator[Shop]:
    """Return a shop on SQLite."""
    with open_shop(engine, celery_app) as shop:
        yield shop


@pytest.fixture
def db(shop: Shop) -> Iterator[Session]:
    """Return a session of the sender's."""
    with Session(shop.engine) as db:
        yield db


@pytest.fixture(params=["sqlite", "postgresql"])
def each_shop(
    request: pytest.FixtureRequest, celery_app: Celery, tmp_path: Path
) -> Iterator[Shop]:
    """Return a shop on each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'each.sqlite'}"
    else:
        url = request.getfixturevalue("postgresql")
    with new_engine(url) as engine:
        with open_shop(engine, celery_app) as shop:
            yield shop
        Base.metadata.drop_all(engine)


def stored(db: Session, *rows: Any) -> Any:
    """Commit *rows*, after which all that is loaded of them has expired."""
    db.add_all(rows)
    db.commit()
    return rows[0] if len(rows) == 1 else rows


def ada(**columns: Any) -> User:
    """Return a user that is in no database."""
    return User(**{"name": "Ada", "email": "ada@example.org", "bio": "long"} | columns)


NEW_ROWS: dict[str, Callable[[], Any]] = {
    "one column": ada,
    "two columns": lambda: Seat(row=3, letter="b"),
    "uuid, date and decimal": lambda: Booking(
        number=UUID(int=7), day=date(2026, 1, 2), rate=Decimal("1.10")
    ),
    "base of a hierarchy": Employee,
    "joined table": lambda: Engineer(language="Python"),
    "single table": Manager,
    "mapped dataclass": lambda: Gadget(id=1, label="x"),
    "false in a condition": Order,
}


@pytest.mark.parametrize("make", NEW_ROWS.values(), ids=NEW_ROWS.keys())
def test_instances_are_found_by_class_and_key(
    each_shop: Shop, make: Callable[[], Any]
) -> None:
    """An instance arrives as the same row of the same class, loaded by the worker."""
    with Session(each_shop.engine) as db:
        row = stored(db, make())

        arrived = each_shop.carry(row)

        assert type(arrived) is type(row)
        assert arrived is not row
        assert inspect(arrived).identity == inspect(row).identity


def test_rows_arrive_as_they_are_when_the_handler_runs(shop: Shop, db: Session) -> None:
    """What changed after the signal was sent is what the handler reads."""
    user = stored(db, ada())
    shop.listen()
    shop.send(user=user)
    user.name = "Grace"
    db.commit()

    shop.run()

    assert shop.received[0]["user"].name == "Grace"


def test_instances_travel_inside_other_values(shop: Shop, db: Session) -> None:
    """Lists, dicts and senders may be or hold instances."""
    user, order = stored(db, ada(), Order())
    shop.listen()

    shop.send(user, orders=[order], by_name={"Ada": (user, 1)})
    shop.run()

    (received,) = shop.received
    assert [received["sender"].id, received["orders"][0].id] == [user.id, order.id]
    assert received["by_name"]["Ada"] == (received["sender"], 1)


def test_same_row_is_one_object_and_read_once(shop: Shop, db: Session) -> None:
    """A row that an event refers to twice is one object, which one query loads."""
    user = stored(db, ada())
    shop.listen()
    shop.send(user, users=[user, user])
    before = len(shop.queries)

    shop.run()

    (received,) = shop.received
    assert received["users"] == [received["sender"]] * 2
    assert len(shop.queries) - before == 1


def test_sending_expired_instances_asks_the_database_nothing(
    shop: Shop, db: Session
) -> None:
    """What a commit expired is not read again to be sent, with columns or without."""
    user, order = stored(db, ada(), Order())
    shop.listen(missing="tombstone")
    shop.bridge.async_receiver(shop.signal, name="second")(print)

    shop.send(user, order=order, both=[user, order])

    assert shop.broker.names() == ["handle", "second"]
    assert inspect(user).expired_attributes >= {"name", "email", "orders"}


def test_wire_form_is_class_and_key(shop: Shop, db: Session) -> None:
    """Nothing of a row but its class and its key stands in a message."""
    seat = stored(db, Seat(row=3, letter="b"))

    with sending(FAIL, shop.database):
        tree = shop.bridge.codec.encode(seat, path="it")

    assert tree == {"~row": {"class": "tests.test_orm.Seat", "key": [3, "b"]}}


def test_identity_token_travels(shop: Shop, db: Session) -> None:
    """Which shard a row came from is part of what it is found by."""
    stored(db, ada())
    user = db.get(User, 1, identity_token="north")

    arrived = shop.carry(user)

    assert inspect(arrived).identity_token == "north"


@pytest.mark.parametrize("model", [User, Engineer, Gadget, Pen])
def test_models_travel_as_classes(shop: Shop, model: type[object]) -> None:
    """A model itself may be sent, and be the sender."""
    shop.bridge.register_type(Pen)
    shop.listen(sender=model)

    shop.send(model, models=[model])
    shop.run()

    assert shop.received == [{"sender": model, "models": [model]}]


def test_other_classes_do_not_travel(shop: Shop) -> None:
    """A class that is no model cannot be sent, and the error says so."""
    shop.listen()

    with pytest.raises(EncodeError, match="of classes, only SQLAlchemy's mapped ones"):
        shop.send(cls=Secret)


def test_handlers_row_is_in_the_handlers_session(shop: Shop, db: Session) -> None:
    """What the handler changes in a row is stored by a commit of its own session."""
    user = stored(db, ada())

    @shop.bridge.async_receiver(shop.signal, name="rename")
    def rename(sender: object, user: User) -> None:
        user.name = "Grace"
        shop.session.commit()

    shop.send(user=user)
    shop.run()

    assert user.name == "Grace"


def test_handlers_session_is_closed_after_it(shop: Shop, db: Session) -> None:
    """What a handler did not commit is rolled back, and the next one starts afresh."""
    user = stored(db, ada())

    @shop.bridge.async_receiver(shop.signal, name="rename")
    def rename(sender: object, user: User) -> None:
        user.name = "Grace"
        shop.session.flush()

    shop.send(user=user)
    shop.run()

    assert not shop.session().in_transaction()
    assert not list(shop.session)
    assert user.name == "Ada"


def test_eager_task_reads_what_its_sender_did_not_flush(shop: Shop) -> None:
    """Run eagerly in the sender's session, a handler gets the sender's own object."""
    user = stored(shop.session(), ada())
    user.name = "Grace"
    shop.listen()
    shop.send(user=user)

    shop.run()

    assert shop.received[0]["user"] is user
    assert user.name == "Grace"
    assert shop.session().in_transaction()


def test_eager_task_in_an_open_transaction_leaves_it_open(shop: Shop) -> None:
    """A row that the sender has loaded before is read afresh, in the same transaction."""
    user = stored(shop.session(), ada())
    assert user.name == "Ada"
    shop.session.execute(text("UPDATE user SET name = 'Grace'"))
    shop.listen()
    shop.send(user=user)

    shop.run()

    assert shop.received[0]["user"] is user
    assert user.name == "Grace"
    assert shop.session().in_transaction()


def pending(db: Session) -> User:
    """Return a user that was added and not flushed."""
    user = ada()
    db.add(user)
    return user


def deleted_on_flush(db: Session) -> User:
    """Return a user that the next flush will delete."""
    user = stored(db, ada())
    db.refresh(user)
    db.delete(user)
    return user


def deleted(db: Session) -> User:
    """Return a user that was deleted in the open transaction."""
    user = deleted_on_flush(db)
    db.flush()
    return user


def was_deleted(db: Session) -> User:
    """Return a user that is deleted for good."""
    user = deleted(db)
    db.commit()
    return user


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda db: ada(), "never in the database .* commit before the signal is sent"),
        (pending, "new in its session .* Flush the session"),
        *((make, "it is deleted") for make in (deleted_on_flush, deleted, was_deleted)),
    ],
    ids=["transient", "pending", "marked deleted", "deleted", "deleted and committed"],
)
def test_instances_that_no_worker_would_find_are_not_sent(
    shop: Shop, db: Session, make: Callable[[Session], User], fault: str
) -> None:
    """An instance without a row is an error at send, which says what to do."""
    user = make(db)
    shop.listen()

    with pytest.raises(EncodeError, match=fault) as as_argument:
        shop.send(user=[user])
    with pytest.raises(EncodeError, match=fault) as as_sender:
        shop.send(user)

    assert as_argument.value.path == "kwargs['user'][0]"
    assert as_sender.value.path == "sender"
    assert as_sender.value.type_name == "tests.test_orm.User"
    assert "Ada" not in f"{as_argument.value} {as_sender.value}"


def flushed(db: Session) -> User:
    """Return a user whose row is not committed."""
    user = pending(db)
    db.flush()
    return user


def detached(db: Session) -> User:
    """Return a user that left its session, with all of it expired."""
    user = stored(db, ada())
    db.expunge(user)
    return user


def undeleted(db: Session) -> User:
    """Return a user whose deletion was rolled back."""
    user = deleted(db)
    db.rollback()
    return user


@pytest.mark.parametrize("make", [flushed, detached, undeleted])
def test_instances_with_a_key_are_sent(
    shop: Shop, db: Session, make: Callable[[Session], User]
) -> None:
    """Flushed, detached and undeleted instances have an identity, which is enough."""
    user = make(db)
    shop.listen()
    shop.send(user=user)
    db.commit()

    shop.run()

    assert shop.received[0]["user"].name == "Ada"


def test_stranger_is_not_sent(shop: Shop, db: Session) -> None:
    """A model of a base that nobody registered is not sent, and the error says how."""
    stranger = stored(db, Stranger())
    shop.listen()

    with pytest.raises(EncodeError, match=r"Add register_type\(Stranger\)"):
        shop.send(value=stranger)
    with pytest.raises(EncodeError, match=r"Add register_type\(Stranger\)"):
        shop.send(Stranger)


def test_annotation_makes_a_base_known(shop: Shop, db: Session) -> None:
    """A model that a handler's annotation names needs no registration."""
    pens: list[Pen] = []

    @shop.bridge.async_receiver(shop.signal, name="write")
    def write(sender: object, pen: Pen | None = None) -> None:
        pens.append(pen)

    shop.send(pen=stored(db, Pen()))
    shop.run()

    assert [type(pen) for pen in pens] == [Pen]


def test_annotation_makes_a_base_known_to_the_worker(shop: Shop) -> None:
    """A worker that was sent nothing yet knows the models that its handlers name."""

    def write(sender: object, pen: type[Pen]) -> None: ...

    shop.bridge.async_receiver(shop.signal, name="write")(write)

    pen = shop.bridge.codec.decode({"~model": "tests.test_orm.Pen"}, path="it")

    assert pen is Pen


def test_model_that_is_registered_with_functions_travels_by_them(
    shop: Shop, db: Session
) -> None:
    """Functions for a model win over references."""
    shop.bridge.register_type(Seat, lambda seat: seat.row, lambda row: row)

    assert shop.carry(Seat(row=3, letter="b")) == 3


def test_model_may_have_another_name_on_the_wire(shop: Shop, db: Session) -> None:
    """A model that was moved can keep the name that messages on their way have."""
    shop.bridge.register_type(Pen, tag="desk.Pencil")

    with sending(FAIL, shop.database):
        tree = shop.bridge.codec.encode(Pen, path="it")

    assert tree == {"~model": "desk.Pencil"}
    assert type(shop.carry(stored(db, Pen()))) is Pen


def test_wire_name_belongs_to_one_model(shop: Shop) -> None:
    """Two models cannot have one name, and the same one may be registered again."""
    shop.bridge.register_type(Pen, tag="desk.Pencil")
    shop.bridge.register_type(Pen, tag="desk.Pencil")

    with pytest.raises(RegistrationError, match="Pen has it"):
        shop.bridge.register_type(Seat, tag="desk.Pencil")


def local_model(base: type[Any]) -> type[Any]:
    """Make a model that has the name of the one that was made before."""

    class Twin(base):
        __tablename__ = f"twin_{len(base.metadata.tables)}"

        id: Mapped[int] = mapped_column(primary_key=True)

    return Twin


@pytest.mark.filterwarnings("ignore:This declarative base already contains a class")
def test_models_of_one_name_are_told_apart_by_tags(shop: Shop) -> None:
    """Two models of the same full name do not travel until one of them has another."""

    class OwnBase(DeclarativeBase):
        """Has twins alone."""

    twins = [local_model(OwnBase), local_model(OwnBase)]
    shop.bridge.register_type(OwnBase)
    shop.listen()

    for twin in twins:
        with pytest.raises(
            EncodeError, match="another mapped class is called the same"
        ):
            shop.send(twin)
    for number, twin in enumerate(twins):
        shop.bridge.register_type(twin, tag=f"twin{number}")
        shop.send(twin)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"class": "shop.Gone", "key": [1]}, "no mapped class of that name"),
        ({"class": "os.path", "key": [1]}, "no mapped class of that name"),
        (
            {"class": "tests.test_orm.Secret", "key": [1]},
            "no mapped class of that name",
        ),
        ({"class": "tests.test_orm.Seat", "key": [1]}, "another number of columns"),
        ({"class": "tests.test_orm.User", "key": [[1]]}, "raised TypeError"),
        ({"key": [1]}, "raised KeyError"),
        (7, "raised TypeError"),
    ],
)
def test_what_is_no_reference_is_refused(shop: Shop, content: Any, fault: str) -> None:
    """A reference that somebody made up is refused, and imports nothing."""
    with pytest.raises(DecodeError, match=fault), looking_up(FAIL, shop.database):
        shop.bridge.codec.decode({"~row": content}, path="it")


def test_lookup_without_a_session_is_refused(shop: Shop) -> None:
    """A worker that has no session says how to give it one."""
    row = {"~row": {"class": "tests.test_orm.User", "key": [1]}}

    with pytest.raises(DecodeError, match=r"but None\w+. Pass a scoped_session"):
        shop.bridge.codec.decode(row, path="it")


def test_session_of_another_kind_is_refused(celery_app: Celery, db: Session) -> None:
    """A callable that returns no ``Session`` is found out, by its type."""
    bridge = Bridge(celery_app, secret_key=KEY, session=AsyncSession)
    bridge.register_type(User)

    with (
        looking_up(FAIL, Database(session=AsyncSession)),
        pytest.raises(DecodeError, match=r"but sqlalchemy\.ext\.asyncio"),
    ):
        bridge.codec.decode(
            {"~row": {"class": "tests.test_orm.User", "key": [1]}}, path="it"
        )


def test_instances_are_not_sent_where_no_session_would_load_them(
    celery_app: Celery, signal: Signal, db: Session
) -> None:
    """Without a session for handlers, sending fails and says how to give one."""
    bridge = Bridge(celery_app, secret_key=KEY, on_error="raise")
    bridge.register_type(User)
    bridge.async_receiver(signal, name="handle")(print)

    with pytest.raises(EncodeError, match=r"Bridge\(session=\.\.\.\)"):
        signal.send(None, user=stored(db, ada()))


def test_database_that_does_not_answer_is_no_missing_row(
    shop: Shop, db: Session
) -> None:
    """An error of the database is raised as it is, so that Celery tries again."""
    users = stored(db, ada(), ada())
    shop.listen(missing="discard", max_retries=0)
    shop.send(users=users)
    Base.metadata.drop_all(shop.engine)

    error = shop.fail()

    assert isinstance(error, OperationalError)
    assert shop.received == []


class TestMissing:
    """What happens when the row is gone, by policy."""

    @pytest.fixture
    def user(self, db: Session) -> User:
        """Return a user whose columns are loaded."""
        user = stored(db, ada())
        db.refresh(user)
        return user

    def send_and_delete(self, shop: Shop, db: Session, user: Any, **more: Any) -> None:
        """Send *user* and delete its row."""
        shop.send(user, user=user, **more)
        db.delete(user)
        db.commit()

    def test_fail(self, shop: Shop, db: Session, user: User) -> None:
        """By default, an event whose row is gone is refused, and names its class."""
        shop.listen()

        self.send_and_delete(shop, db, user)
        error = shop.fail()

        assert isinstance(error, MissingReferenceError)
        assert error.type_names == ("tests.test_orm.User",)
        assert error.receiver == "handle"
        assert shop.received == []

    def test_discard(
        self, shop: Shop, db: Session, user: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With "discard", the event is dropped, and that is logged and reported."""
        shop.listen(missing="discard")
        discarded = []

        with (
            event_discarded.connected_to(lambda _, details: discarded.append(details)),
            caplog.at_level("INFO"),
        ):
            self.send_and_delete(shop, db, user)
            shop.run()

        assert shop.received == []
        assert [details.receiver for details in discarded] == ["handle"]
        assert "event for handle discarded" in caplog.text

    def test_none(self, shop: Shop, db: Session, user: User) -> None:
        """With "none", the handler gets None for it, and the rest as it is."""
        shop.listen(missing="none")
        order = stored(db, Order())

        self.send_and_delete(shop, db, user, order=order)
        shop.run()

        (received,) = shop.received
        assert received["user"] is received["sender"] is None
        assert type(received["order"]) is Order

    def test_retry(self, shop: Shop, db: Session) -> None:
        """With "retry", a row that appears later is found by a later attempt."""
        shop.listen(missing="retry")
        user = flushed(db)
        shop.send(user=user)
        db.rollback()

        early = shop.fail()
        stored(db, ada())
        shop.run()

        assert isinstance(early, Retry)
        assert isinstance(early.exc, StillMissingError)
        assert [received["user"].name for received in shop.received] == ["Ada"]

    def test_retry_in_vain(self, shop: Shop, db: Session, user: User) -> None:
        """With "retry", a row that never appears is an error in the end."""
        shop.listen(missing="retry", max_retries=0)
        self.send_and_delete(shop, db, user)

        assert isinstance(shop.fail(), StillMissingError)

    def test_tombstone(self, shop: Shop, db: Session, user: User) -> None:
        """With "tombstone", the handler reads the columns that were loaded."""
        shop.listen(missing="tombstone")

        self.send_and_delete(shop, db, user)
        shop.run()

        stone = shop.received[0]["user"]
        assert isinstance(stone, Tombstone)
        assert (stone.type_name, stone.key) == ("tests.test_orm.User", (1,))
        assert stone.columns == {"id": 1, "name": "Ada", "email": "ada@example.org"}
        assert stone.name == "Ada"
        with pytest.raises(AttributeError, match="has no bio"):
            stone.bio  # noqa: B018  # it raises

    def test_tombstone_of_what_a_commit_expired(self, shop: Shop, db: Session) -> None:
        """Of an expired instance the key alone is known, by the columns' names."""
        shop.listen(missing="tombstone")

        self.send_and_delete(shop, db, stored(db, Order()))
        shop.run()

        assert shop.received[0]["user"].columns == {"id": 1}

    def test_tombstone_with_named_columns(
        self, shop: Shop, db: Session, user: User
    ) -> None:
        """Columns that the receiver names travel, and no others."""
        shop.listen(missing={"tombstone": ("email",)})

        self.send_and_delete(shop, db, user)
        shop.run()

        assert shop.received[0]["user"].columns == {"id": 1, "email": "ada@example.org"}

    def test_tombstones_of_several_models(
        self, shop: Shop, db: Session, user: User
    ) -> None:
        """A column named with its model is asked of that model alone, or of its heirs."""
        shop.listen(missing={"tombstone": ("User.name", "Employee.kind", "id")})
        engineer = stored(db, Engineer(language="Python"))
        for row in (user, engineer):
            db.refresh(row)
        shop.send(users=[user, engineer])
        db.delete(user)
        db.delete(engineer)
        db.commit()

        shop.run()

        assert [stone.columns for stone in shop.received[0]["users"]] == [
            {"id": 1, "name": "Ada"},
            {"id": 1, "kind": "engineer"},
        ]

    def test_tombstone_that_is_not_needed(self, shop: Shop, user: User) -> None:
        """While the row is there, the handler gets the row."""
        assert type(shop.carry(user, missing="tombstone")) is User

    def test_tombstone_travels_on(self, shop: Shop, db: Session, user: User) -> None:
        """A handler may send the tombstone that it got with a signal of its own."""
        stone = Tombstone(type_name="shop.User", key=(1,), columns={"name": "Ada"})

        assert shop.carry(stone) == stone

    @pytest.mark.parametrize("make", [deleted_on_flush, deleted, was_deleted])
    def test_deleted_instance_leaves_its_tombstone(
        self, shop: Shop, db: Session, make: Callable[[Session], User]
    ) -> None:
        """What is deleted already can be sent where the receiver wants tombstones."""
        user = make(db)
        shop.listen(missing={"tombstone": ("name",)})
        shop.send(user=user)
        db.commit()

        shop.run()

        assert shop.received[0]["user"].name == "Ada"

    @pytest.mark.parametrize(
        ("columns", "fault"),
        [
            (("nickname",), "it has no column 'nickname'"),
            (("orders",), "it has no column 'orders'"),
            (("User.nickname",), "it has no column 'nickname'"),
            (("bio",), "its column 'bio' is not loaded"),
        ],
        ids=["unknown", "relationship", "unknown of a model", "deferred"],
    )
    def test_columns_that_are_not_there_are_errors(
        self, shop: Shop, user: User, columns: tuple[str, ...], fault: str
    ) -> None:
        """A column that cannot be sent is an error at send, not first in the worker."""
        shop.listen(missing={"tombstone": columns})

        with pytest.raises(EncodeError, match=fault):
            shop.send(user=user)

    def test_column_that_cannot_travel_is_named(
        self, shop: Shop, db: Session, user: User
    ) -> None:
        """A value without a tag is an error at send, which shows the column."""
        user.name = Secret()  # type: ignore[assignment]
        shop.listen(missing="tombstone")

        with pytest.raises(EncodeError) as caught:
            shop.send(user=user)

        assert caught.value.path == "kwargs['user'].columns['name']"

    def test_missing_in_a_context_counts_too(
        self, shop: Shop, db: Session, user: User
    ) -> None:
        """A context whose row is gone is not entered, and the policy is followed."""
        entered = []

        def restore(user: object) -> Any:
            entered.append(user)  # pragma: no cover  # nothing may enter it

        shop.bridge.context("login", lambda: user, restore)
        shop.listen(context=("login",), missing="discard")
        shop.send()
        db.delete(user)
        db.commit()

        shop.run()

        assert entered == shop.received == []


keys = st.tuples(
    st.uuids(),
    st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    st.decimals(Decimal("-99999.99"), Decimal("99999.99"), places=2),
)


@given(st.lists(keys, min_size=1, max_size=4, unique=True))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_key_finds_its_row(engine: Engine, all_keys: list[Any]) -> None:
    """Whatever a key is made of, each reference finds the row that it was made of."""
    bridge = Bridge()
    bridge.register_type(Base)
    with Session(engine) as db, Session(engine) as other:
        rows = [Booking(number=n, day=d, rate=r) for n, d, r in all_keys]
        db.add_all(rows)
        db.commit()

        with sending(FAIL, Database(session=lambda: db)):
            tree = json.loads(json.dumps(bridge.codec.encode(rows, path="it")))
        with looking_up(FAIL, Database(session=lambda: other)):
            arrived: Any = bridge.codec.decode(tree, path="it")

        assert [inspect(one).identity for one in arrived] == all_keys
        for row in rows:
            db.delete(row)
        db.commit()
