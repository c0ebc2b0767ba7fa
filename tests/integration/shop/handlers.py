"""The shop's handlers. Each tells of its run in the database."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from celery import current_task
from flask import current_app, url_for

from signal_tasks import async_receiver, current_event

from . import signals
from .goods import describe
from .models import Customer, Run, db
from .settings import REPORTS_QUEUE


def note(handler: str, **facts: object) -> None:
    """Write down that *handler* runs, and what it saw."""
    run = Run(
        handler=handler,
        event_id=current_event.id,
        signal=current_event.signal,
        attempt=current_event.attempt,
        pid=os.getpid(),
        parent_pid=os.getppid(),
        facts=facts,
    )
    db.session.add(run)
    db.session.commit()


# -- customers: what a handler finds around it


@async_receiver(signals.customer_registered)
def send_welcome(sender: object, customer: Customer, **extra: Any) -> None:
    """Write to a new customer, who is found again in the handler's own session."""
    note(
        "send_welcome",
        name=customer.name,
        is_of_session=customer in db.session,
        app=current_app.name,
        currency=current_app.config["CURRENCY"],
        url=url_for("order", order=7),
    )


@async_receiver(signals.customer_left, sender="branch-1")
def say_goodbye(sender: str, **extra: Any) -> None:
    """Hear of one branch's customers only."""
    note("say_goodbye", sender=sender)


# -- orders: who gets what


@async_receiver(signals.order_placed)
def reserve_stock(sender: object, **extra: Any) -> None:
    """Be the first of two receivers of a signal."""
    note("reserve_stock")


@async_receiver(signals.order_placed)
async def tell_warehouse(sender: object, **extra: Any) -> None:
    """Be the second one, and a coroutine."""
    await asyncio.sleep(0)
    note("tell_warehouse", has_loop=asyncio.get_running_loop().is_running())


@async_receiver(signals.order_paid, signals.order_shipped)
def keep_books(sender: object, **extra: Any) -> None:
    """Listen to two signals."""
    note("keep_books")


@async_receiver(signals.parcel_scanned, name="shop.trace")
@async_receiver(signals.order_shipped, name="shop.announce")
def follow_parcel(sender: object, **extra: Any) -> None:
    """Be two receivers, for the decorators are stacked."""
    note("follow_parcel", task=current_task.name)


class Stocktaking:
    """Something with state and a method that handles."""

    def __init__(self, place: str) -> None:
        self.place = place

    def count(self, sender: object, **extra: Any) -> None:
        """Count, bound to an object that every process has."""
        note("Stocktaking.count", place=self.place)


cellar = Stocktaking("cellar")
async_receiver(signals.stock_counted)(cellar.count)


@async_receiver(signals.bell)
def answer_bell(sender: object, **extra: Any) -> None:
    """Hear a signal that has no name."""
    note("answer_bell")


# -- values: what arrives


@async_receiver(signals.door_opened)
def greet(sender: object, **extra: Any) -> None:
    """See who sent the signal."""
    is_app = sender is current_app._get_current_object()  # type: ignore[attr-defined]
    note("greet", sender="the app" if is_app else describe(sender))


@async_receiver(signals.catalogue_read)
def index_catalogue(sender: object, **values: Any) -> None:
    """See everything that travels."""
    note("index_catalogue", values=describe(values))


def _pick_number(sender: object, order: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {"number": order["number"], "pid_of_extract": os.getpid()}


def _is_dear(sender: object, order: dict[str, Any], **extra: Any) -> bool:
    return bool(order["price"] > 100)


@async_receiver(signals.order_paid, extract=_pick_number, condition=_is_dear)
def insure(sender: object, number: int, pid_of_extract: int) -> None:
    """Get what was picked, and only where it matters."""
    note("insure", number=number, pid_of_extract=pid_of_extract)


# -- Celery's options


@async_receiver(
    signals.card_declined, retry_backoff=True, retry_jitter=False, max_retries=2
)
def charge_again(sender: object, **extra: Any) -> None:
    """Fail once, then succeed."""
    note(
        "charge_again",
        at=time.time(),
        headers=dict(current_event.headers),
        task_id=current_task.request.id,
    )
    if current_event.attempt == 1:
        raise TimeoutError("the bank does not answer")


@async_receiver(
    signals.printer_jammed,
    retry_backoff=False,
    default_retry_delay=0,
    max_retries=2,
    ignore_result=False,
)
def print_label(sender: object, **extra: Any) -> None:
    """Fail for good."""
    note("print_label", task_id=current_task.request.id)
    raise RuntimeError("out of paper")


@async_receiver(signals.reminder_due, countdown=0.6)
def remind(sender: object, **extra: Any) -> None:
    """Run later."""
    note("remind", seconds=time.time() - current_event.sent_at.timestamp())


@async_receiver(signals.offer_made, countdown=0.4, expires=0.1)
def advertise(sender: object, **extra: Any) -> None:
    """Be too late in any case."""
    raise NotImplementedError  # pragma: no cover  # which is what its test is about


@async_receiver(signals.report_wanted, queue=REPORTS_QUEUE)
def write_report(sender: object, **extra: Any) -> None:
    """Run from a queue of its own."""
    note(
        "write_report",
        queue=current_task.request.delivery_info["routing_key"],
        node=current_task.request.hostname,
    )


@async_receiver(signals.report_wanted, priority=7, ignore_result=False)
def sum_up(sender: object, parts: tuple[int, ...], **extra: Any) -> int:
    """Return something, with a priority."""
    info = current_task.request.delivery_info
    note("sum_up", task_id=current_task.request.id, priority=info["priority"])
    return sum(parts)


# -- signals that handlers send


@async_receiver(signals.customer_registered)
def open_account(sender: object, customer: Customer, **extra: Any) -> None:
    """Let somebody in, as a signal of its own."""
    note("open_account", hops=current_event.hops)
    signals.door_opened.send(customer.name, cause=current_event.id)


@async_receiver(signals.door_opened)
def count_visitors(sender: object, cause: str = "", **extra: Any) -> None:
    """Tell how far from the first signal this one is."""
    note("count_visitors", hops=current_event.hops, cause=cause)


@async_receiver(signals.echo_heard)
def shout(sender: object, cause: str = "") -> None:
    """Send what leads back to this."""
    cause = cause or current_event.id
    note("shout", hops=current_event.hops, cause=cause)
    signals.echo_answered.send(sender, cause=cause)


@async_receiver(signals.echo_answered)
def shout_back(sender: object, cause: str) -> None:
    """Send what leads back to this."""
    note("shout_back", hops=current_event.hops, cause=cause)
    signals.echo_heard.send(sender, cause=cause)


@async_receiver(signals.day_closed)
def close_day(sender: object, **extra: Any) -> None:
    """Come last: what was sent before to the same queue has run by now."""
    note("close_day")
