"""Turns what SQLAlchemy writes into ``data_changed`` signals, once it is committed."""

from __future__ import annotations

from typing import Final

from flask import has_request_context
from flask import session as visitor
from sqlalchemy import event, inspect
from sqlalchemy.orm import Session, UOWTransaction

from .models import User, db
from .signals import data_changed

AUDITED: Final = (User,)
_SECRET: Final = {"password_hash"}
_KEY: Final = "demo.changes"


@event.listens_for(db.session, "after_flush")
def collect(session: Session, _flush: UOWTransaction) -> None:
    """Note the changed columns, while SQLAlchemy still knows what they held before."""
    changed = [*session.new, *session.dirty, *session.deleted]
    noted = session.info.setdefault(_KEY, [])
    noted.extend(
        (row.__tablename__, row.id, _columns(row))
        for row in changed
        if isinstance(row, AUDITED)
    )


@event.listens_for(db.session, "after_commit")
def announce(session: Session) -> None:
    """Send one signal for each row, now that the change is true."""
    actor_id = visitor.get("user_id") if has_request_context() else None
    for table, row_id, columns in session.info.pop(_KEY, ()):
        data_changed.send(table, row_id=row_id, actor_id=actor_id, columns=columns)


@event.listens_for(db.session, "after_rollback")
def discard(session: Session) -> None:
    """Forget what did not happen."""
    session.info.pop(_KEY, None)


def _columns(row: User) -> dict[str, tuple[object, object]]:
    """Return old and new value of each column that changed; of secrets, only that."""
    columns: dict[str, tuple[object, object]] = {}
    for attribute in inspect(row).attrs:
        history = attribute.history
        if history.has_changes():
            old = history.deleted[0] if history.deleted else None
            new = history.added[0] if history.added else None
            is_secret = attribute.key in _SECRET
            columns[attribute.key] = ("***", "***") if is_secret else (old, new)
    return columns
