"""Models and sessions as users hand them over. Checked and never run."""

from __future__ import annotations

from typing import assert_type

from blinker import Signal
from celery import Celery
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session, sessionmaker

from signal_tasks import Bridge, SignalTasks, Tombstone, register_type


class Base(DeclarativeBase):
    """The base of all models."""


def get_session() -> Session:
    """Return the session of the handler that runs."""
    return Session()


def set_up(celery_app: Celery) -> None:
    """Say which session handlers use, and which models there are."""
    SignalTasks(session=scoped_session(sessionmaker()))
    SignalTasks(session=get_session)
    Bridge(celery_app, session=scoped_session(sessionmaker()))
    SignalTasks(session=Session())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(register_type(Base), type[Base])


def listen(bridge: Bridge, signal: Signal) -> None:
    """Say what happens when a row is gone."""

    @bridge.async_receiver(signal, missing={"tombstone": ("email",)})
    def handle(sender: object, user: Base | Tombstone) -> None:
        if isinstance(user, Tombstone):
            assert_type(user.key, tuple[object, ...])
