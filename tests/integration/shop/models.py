"""The shop's tables."""

from __future__ import annotations

from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from signal_tasks import register_type


class Base(DeclarativeBase):
    """The base of all models."""


db = SQLAlchemy(model_class=Base)


class Customer(Base):
    """Somebody who buys; travels as a reference, which is the primary key."""

    __tablename__ = "customer"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Run(Base):
    """One run of a handler, as it told of itself."""

    __tablename__ = "run"

    id: Mapped[int] = mapped_column(primary_key=True)
    handler: Mapped[str]
    event_id: Mapped[str] = mapped_column(index=True)
    signal: Mapped[str]
    attempt: Mapped[int]
    pid: Mapped[int]
    parent_pid: Mapped[int]
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)


def _key_of(customer: Customer) -> int:
    return customer.id


def _customer_of(key: int) -> Customer:
    return db.session.get_one(Customer, key)


register_type(Customer, _key_of, _customer_of)
