"""The program under test: each order that is placed is booked once, in a worker.

The order and the event that tells of it belong to one transaction, of which some are
rolled back. Booking leaves a row with the order's number; what there is of both tables in
the end tells what was lost, doubled or made up.
"""

from __future__ import annotations

import time
from typing import Final

from blinker import Signal
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from signal_tasks import Bridge, SignalTasks
from signal_tasks.cli.group import group

PAGE_SECONDS: Final = 0.01
"""How long a page still takes when the event is sent, so that a kill finds it there."""

WORK_SECONDS: Final = 0.02
"""How long a handler takes before its commit, and after it."""


TIME_LIMIT_SECONDS: Final = 6
"""How long a handler may take; for as long nobody else is to begin on its event."""


class Base(DeclarativeBase):
    """What the tables have in common."""


class Order(Base):
    """An order that was placed."""

    __tablename__ = "orders"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Booking(Base):
    """What is to be there once for each order."""

    __tablename__ = "bookings"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(index=True)


db = SQLAlchemy(model_class=Base)
order_placed = Signal()


class ChangedMindError(Exception):
    """The customer does not want the order after all."""


def create_app() -> Flask:
    """Make the app, configured by variables that begin with FAULTS_."""
    app = Flask(__name__)
    app.config.from_prefixed_env("FAULTS")
    bridge = Bridge()
    bridge.async_receiver(
        order_placed,
        name="faults.book",
        delivery=app.config["DELIVERY"],
        once=app.config["ONCE"],
        time_limit=TIME_LIMIT_SECONDS,
    )(book)
    db.init_app(app)
    signal_tasks = SignalTasks(app, bridge=bridge)
    if app.config["SERVES"]:
        signal_tasks.warm_up(app)
    app.cli.add_command(group)
    app.post("/orders/<int:number>")(place)
    return app


def place(number: int) -> dict[str, float]:
    """Place an order, unless its number says that it comes to nothing.

    Returns:
        How many seconds of it went to the event.
    """
    db.session.add(Order(number=number))
    db.session.flush()
    started = time.perf_counter()
    order_placed.send(current_app, number=number)
    sent = time.perf_counter()
    time.sleep(PAGE_SECONDS)
    if number % 10 == 5:
        raise ChangedMindError
    if number % 10 == 0:
        db.session.rollback()
    committing = time.perf_counter()
    db.session.commit()
    done = time.perf_counter()
    if current_app.config["DELIVERY"] != "commit":
        done = committing
    return {"seconds": sent - started + done - committing}


def book(sender: object, number: int, **extra: object) -> None:
    """Leave a row for the order."""
    time.sleep(WORK_SECONDS)
    db.session.add(Booking(number=number))
    db.session.commit()
    time.sleep(WORK_SECONDS)
