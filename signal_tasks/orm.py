"""What identifies an instance of a SQLAlchemy model, and how a worker finds it again.

Out: an instance, of which nothing is read that is not in memory already. In: the row as
it is now, in the handler's own session.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState, Mapper, Session

from .faults import FormError, type_name
from .references import Database, Lookup, MissingPolicy, Referral, Tombstone


def reference_to(instance: object, name: str, referral: Referral) -> dict[str, object]:
    """Return what a worker finds *instance* by, without a query.

    Args:
        instance: Of a mapped class.
        name: The class's name on the wire.
        referral: The event that it travels with.

    Raises:
        FormError: A worker could not find it.
    """
    if referral.database.session is None:
        raise FormError(
            "nobody said which session handlers load it with. Pass SignalTasks(session="
            "...) or Bridge(session=...); with Flask-SQLAlchemy it is db.session."
        )
    state: InstanceState[Any] = inspect(instance, raiseerr=True)
    reference: dict[str, object] = {"class": name, "key": list(_key_of(state))}
    if state.identity_token is not None:
        reference["token"] = state.identity_token
    if referral.policy.action == "tombstone":
        reference["columns"] = _tombstone_columns(state, referral.policy)
    elif _is_deleted(state):
        raise FormError(
            "it is deleted, so the worker will not find it. Send what the handler needs "
            "of it, before it is deleted or with extract=; or keep its columns with "
            "async_receiver(..., missing='tombstone')."
        )
    return reference


def find(cls: type[object], reference: dict[str, Any], lookup: Lookup) -> object:
    """Return the instance that *reference* stands for, or what the handler gets instead.

    A database that cannot be asked is no answer: *lookup* then fails as a whole, and
    can be tried again.

    Args:
        cls: The mapped class that the reference names.
        reference: What :func:`reference_to` returned, or what somebody made up.
        lookup: The run of the handler.

    Raises:
        FormError: It is no reference to an instance of *cls*.
    """
    key, token = tuple(reference["key"]), reference.get("token")
    mapper: Mapper[Any] = inspect(cls, raiseerr=True)
    if len(key) != len(mapper.primary_key):
        raise FormError(
            "its primary key has another number of columns here. Sender and worker have "
            "different versions of the class: let both run the same code."
        )
    identity = cls, key, token
    if identity not in lookup.found and lookup.failure is None:
        session = _session_of(lookup.database)
        try:
            row = _read(session, cls, key, token)
        except Exception as error:  # noqa: BLE001  # drivers and events raise anything
            lookup.failure = error
            return None
        if row is None:
            columns = reference.get("columns", {})
            row = lookup.replace(_tombstone(mapper, key, columns))
        lookup.found[identity] = row
    return lookup.found.get(identity)


def _key_of(state: InstanceState[Any]) -> tuple[Any, ...]:
    if state.identity is not None:
        return state.identity
    if state.pending:
        raise FormError(
            "it is new in its session and has no primary key yet. Flush the session "
            "before the signal is sent, or better commit: a worker sees no row before."
        )
    raise FormError(
        "it was never in the database and has no primary key. Add it to a session and "
        "commit before the signal is sent, or send its values."
    )


def _is_deleted(state: InstanceState[Any]) -> bool:
    session = state.session
    return (
        state.deleted
        or state.was_deleted
        or (session is not None and state.obj() in session.deleted)
    )


def _tombstone_columns(
    state: InstanceState[Any], policy: MissingPolicy
) -> dict[str, object]:
    columns = state.mapper.column_attrs.keys()
    loaded: dict[str, object] = state.dict
    if policy.columns is None:
        return {column: loaded[column] for column in columns if column in loaded}
    named = _columns_of(state.mapper, policy.columns)
    for column in named:
        if column not in columns:
            raise FormError(
                f"it has no column {column!r} for its tombstone. Name one that it has; "
                "one of a single model in the event is named as 'Model.column'."
            )
        if column not in loaded:
            raise FormError(
                f"its column {column!r} is not loaded, so there is nothing to put into "
                "its tombstone. A commit expires what was loaded: send the signal "
                "before, read the column again, or use expire_on_commit=False."
            )
    return {column: loaded[column] for column in named}


def _columns_of(mapper: Mapper[Any], names: tuple[str, ...]) -> list[str]:
    """Return those of *names* that are meant for the model of *mapper*."""
    owners = {"", *(cls.__name__ for cls in mapper.class_.__mro__)}
    parts = [name.rpartition(".") for name in names]
    return [column for owner, _, column in parts if owner in owners]


def current_session(database: Database) -> Session | None:
    """Return the session that is used here; None where nobody said which."""
    session = _answer_of(database)
    return session if isinstance(session, Session) else None


def _answer_of(database: Database) -> object:
    session = database.session() if database.session is not None else None
    # A scoped_session, which stands for a session, and calls to which return it.
    return session() if callable(session) else session


def _session_of(database: Database) -> Session:
    session = _answer_of(database)
    if isinstance(session, Session):
        return session
    raise FormError(
        f"there is no session to load it with, but {type_name(type(session))}. Pass a "
        "scoped_session, or a callable that returns a Session, as SignalTasks(session="
        "...) or Bridge(session=...)."
    )


def _read(
    session: Session, cls: type[object], key: tuple[Any, ...], token: object
) -> object | None:
    # Fresh, unless tasks run eagerly in a session whose changes that would undo.
    is_clean = not (session.new or session.dirty or session.deleted)
    return session.get(cls, key, populate_existing=is_clean, identity_token=token)


def _tombstone(
    mapper: Mapper[Any], key: tuple[Any, ...], columns: dict[str, object]
) -> Tombstone:
    names = [mapper.get_property_by_column(one).key for one in mapper.primary_key]
    return Tombstone(
        type_name=type_name(mapper.class_),
        key=key,
        columns={**dict(zip(names, key, strict=True)), **columns},
    )
