"""Where references lead, and what happens when a worker finds nothing there.

A reference sends identity and not state: what it stands for may be gone by the time
that the handler runs. The application's database and the receiver's policy are set here
around encoding and decoding; the tags that make references ask for them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias, get_args

from .exceptions import ConfigurationError, RegistrationError
from .typing import named_items, names_in
from .within import Within

Action: TypeAlias = Literal["discard", "fail", "none", "retry", "tombstone"]

_ACTIONS: Final[tuple[Action, ...]] = get_args(Action)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingPolicy:
    """What a receiver wants when something that its event refers to is gone."""

    action: Action = "fail"

    columns: tuple[str, ...] | None = None
    """Columns that a tombstone keeps; None for all that were loaded when it was sent.

    ``"email"`` is a column of every model in the event, ``"User.email"`` of one alone.
    """


FAIL: Final = MissingPolicy()


class HandlerSession(Protocol):
    """What we ask of SQLAlchemy's ``Session`` wherever we do not import it."""

    def in_transaction(self) -> bool:
        """Tell whether a transaction is under way."""
        ...

    def close(self) -> None:
        """Give the connection back, and forget what is not committed."""
        ...


SessionSource: TypeAlias = Callable[[], HandlerSession]
"""Returns the session that a handler uses, such as a ``scoped_session``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where an application keeps what its events refer to."""

    registries: tuple[object, ...] = ()
    """SQLAlchemy's registries of its models, as far as it knows them by itself."""

    session: Callable[[], object] | None = None
    """Returns the session that a handler uses; None where nobody said which."""


NO_DATABASE: Final = Database()


def check_session(session: object) -> None:
    """Check what an application was given as ``session=``.

    Raises:
        ConfigurationError: It is a session, or makes another one at every call.
    """
    is_factory = hasattr(session, "configure") and not hasattr(session, "remove")
    if session is not None and (is_factory or not callable(session)):
        raise ConfigurationError(
            "session= takes a scoped_session, or a callable that returns the session of "
            f"the handler that runs, not a {type(session).__name__}. Pass "
            "scoped_session(sessionmaker(engine))."
        )


@contextmanager
def closing_session(session: SessionSource) -> Generator[None]:
    """Close the session when the handler has run, so that the next one reads afresh.

    One that has a transaction under way already is somebody else's: tasks that run
    eagerly share it with the sender.
    """
    current = session()
    is_shared = current.in_transaction()
    try:
        yield
    finally:
        if not is_shared:
            current.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """Stands in a handler's arguments for something that is gone.

    The columns that were sent along are its attributes.
    """

    type_name: str
    """Full name of the class of what is gone."""

    key: tuple[object, ...]
    """Its primary key."""

    columns: Mapping[str, object] = field(repr=False)
    """What was known of it when the signal was sent."""

    def __getattr__(self, name: str) -> object:
        columns: Mapping[str, object] = object.__getattribute__(self, "columns")
        if name in columns:
            return columns[name]
        raise AttributeError(
            f"the tombstone of a {self.type_name} has no {name}: the row is gone, and "
            "that column was not sent along. Name it in missing={'tombstone': (...)}."
        )


@dataclass(slots=True, kw_only=True)
class Lookup:
    """One run of a handler, looking up what its event refers to."""

    policy: MissingPolicy
    database: Database = NO_DATABASE
    misses: list[str] = field(default_factory=list[str])
    """Full names of the classes of what was not found and not replaced."""

    failure: Exception | None = None
    """What kept it from looking, which says nothing about what is there."""

    found: dict[object, object] = field(default_factory=dict[object, object])
    """What it found, by identity: the same row is one object, read once."""

    @property
    def is_complete(self) -> bool:
        """Whether everything so far was found, or replaced as the receiver wants it."""
        return self.failure is None and not self.misses

    def replace(self, tombstone: Tombstone) -> Tombstone | None:
        """Return what the handler gets for something that is gone."""
        if self.policy.action == "tombstone":
            return tombstone
        if self.policy.action != "none":
            self.misses.append(tombstone.type_name)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Referral:
    """What an event on its way out takes its references from."""

    policy: MissingPolicy = FAIL
    database: Database = NO_DATABASE


_referral: ContextVar[Referral | None] = ContextVar(
    "signal_tasks_referral", default=None
)
_lookup: ContextVar[Lookup | None] = ContextVar("signal_tasks_lookup", default=None)


def sending(
    policy: MissingPolicy, database: Database
) -> AbstractContextManager[Referral]:
    """Let references that are encoded inside carry what *policy* will need.

    Args:
        policy: The receiver's.
        database: The application's, where the worker will look.
    """
    return Within(_referral, Referral(policy=policy, database=database))


def current_referral() -> Referral:
    """Return the referral that references encoded now belong to."""
    return _referral.get() or Referral()


def looking_up(
    policy: MissingPolicy, database: Database
) -> AbstractContextManager[Lookup]:
    """Let references that are decoded inside be looked up in *database*.

    Args:
        policy: What the receiver wants about those that are not there.
        database: The application's.
    """
    return Within(_lookup, Lookup(policy=policy, database=database))


def current_lookup() -> Lookup:
    """Return the lookup that references decoded now belong to."""
    return _lookup.get() or Lookup(policy=FAIL)


def missing_policy(missing: object) -> MissingPolicy:
    """Read the ``missing`` option of a receiver.

    Raises:
        RegistrationError: It names no policy.
    """
    if missing is ...:
        return FAIL
    for action in _ACTIONS:
        if missing == action:
            return MissingPolicy(action=action)
    items = named_items(missing) or {}
    columns = names_in(items.get("tombstone"))
    if columns is None or len(items) != 1:
        raise RegistrationError(
            f"missing= takes one of {', '.join(map(repr, _ACTIONS))}, or "
            "{'tombstone': (columns, ...)}."
        )
    return MissingPolicy(action="tombstone", columns=columns)
