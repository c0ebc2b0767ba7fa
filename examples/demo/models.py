"""The database: users, and what the handlers write about them."""

from __future__ import annotations

from datetime import datetime

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.security import check_password_hash, generate_password_hash


class Base(DeclarativeBase):
    """What all models have in common."""


db = SQLAlchemy(model_class=Base)


class User(Base):
    """Somebody who registered."""

    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str] = mapped_column(unique=True)
    about: Mapped[str] = mapped_column(default="")
    password_hash: Mapped[str] = mapped_column(default="")
    """Empty for those who registered on the live page: they cannot log in."""

    modified_at: Mapped[datetime | None]
    """When the profile was last changed, in UTC; the handler of that signal sets it."""

    def set_password(self, password: str) -> None:
        """Keep a salted hash of *password*, never the password."""
        self.password_hash = generate_password_hash(password)

    def has_password(self, password: str) -> bool:
        """Tell whether *password* is the one that was set."""
        return check_password_hash(self.password_hash, password)


class Record(Base):
    """What a handler writes down about something that happened."""

    __abstract__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    """When it happened, in UTC, and not when the handler came to it."""


class Activity(Record):
    """One line of the activity log."""

    __tablename__ = "activity"

    user_id: Mapped[int | None]
    what: Mapped[str]
    detail: Mapped[str]


class TemplateRender(Record):
    """A template that was rendered, and what kind of values it was given."""

    __tablename__ = "template_render"

    template: Mapped[str]
    context: Mapped[dict[str, str]] = mapped_column(JSON)


class Change(Record):
    """One column of one row that somebody changed."""

    __tablename__ = "change"

    actor_id: Mapped[int | None]
    table: Mapped[str]
    row_id: Mapped[int]
    column: Mapped[str]
    old: Mapped[str]
    new: Mapped[str]


class Count(Base):
    """How often a page was viewed or an action done."""

    __tablename__ = "count"

    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    total: Mapped[int]


class HandlerRun(Base):
    """One run of a handler in a worker, for the live page."""

    __tablename__ = "handler_run"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[str]
    signal: Mapped[str]
    handler: Mapped[str]
    sent_at: Mapped[float]
    """Seconds since the epoch, by the sender's clock."""

    hops: Mapped[int]
    attempt: Mapped[int]
    queued_ms: Mapped[float]
    ran_ms: Mapped[float]
    error: Mapped[str | None]
    """The exception's type, where the handler failed."""

    pid: Mapped[int]
    parent_pid: Mapped[int]
    """The worker, where the handler ran in one of its child processes."""
