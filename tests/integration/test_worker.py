"""A shop's handlers in a real worker, on every broker and database there is."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from celery import states
from celery.result import AsyncResult
from sqlalchemy.orm import Session

from signal_tasks import EncodeError
from tests.integration.shop import goods, handlers, signal_tasks, signals
from tests.integration.shop.goods import Coupon, Money, describe
from tests.integration.shop.models import Customer
from tests.integration.shop.settings import REPORTS_QUEUE
from tests.integration.stack import Stack, publications

pytestmark = pytest.mark.integration

TWO_EUROS = Money(Decimal("2.00"))


def register_customer(stack: Stack, name: str) -> str:
    """Write a customer to the database, and send the signal with the model."""
    with Session(stack.engine) as session:
        customer = Customer(name=name)
        session.add(customer)
        session.commit()
        return stack.send(signals.customer_registered, "web", customer=customer)


# -- where a handler runs


def test_handler_runs_in_a_child_of_the_worker(stack: Stack) -> None:
    """A handler runs in a process of the worker and not in the sender's."""
    event_id = stack.send(signals.bell)

    (run,) = stack.await_runs(event_id)

    assert run.parent_pid == stack.worker.child.pid
    assert run.pid != os.getpid()


def test_handler_runs_in_the_app_context(stack: Stack) -> None:
    """A handler finds the app, its configuration, its URLs and its database session."""
    event_id = register_customer(stack, "Ada")

    run = stack.await_run(event_id, "send_welcome")

    assert run.facts == {
        "name": "Ada",
        "is_of_session": True,
        "app": "tests.integration.shop",
        "currency": "EUR",
        "url": "http://shop.example/orders/7",
    }


def test_current_event_tells_of_the_event(stack: Stack) -> None:
    """current_event has the identifier, signal, time and headers of what was sent."""
    before = datetime.now(UTC)
    event_id = stack.send(signals.card_declined)

    run = stack.await_run(event_id, "charge_again")

    assert (run.event_id, run.signal, run.attempt) == (event_id, "card-declined", 1)
    assert run.facts["headers"]["signal_tasks_event"] == event_id
    assert before.timestamp() <= run.facts["at"] <= datetime.now(UTC).timestamp()


# -- who gets what


@pytest.mark.parametrize(
    ("sender", "arrived"),
    [
        pytest.param(None, describe(None), id="none"),
        pytest.param("kiosk", describe("kiosk"), id="text"),
        pytest.param(7, describe(7), id="number"),
        pytest.param(TWO_EUROS, describe(TWO_EUROS), id="registered type"),
    ],
)
def test_sender_arrives(stack: Stack, sender: object, arrived: object) -> None:
    """A handler gets the sender that the signal was sent with."""
    event_id = stack.send(signals.door_opened, sender)

    run = stack.await_run(event_id, "greet")

    assert run.facts["sender"] == arrived


def test_app_as_sender_arrives_as_the_worker_s_app(stack: Stack) -> None:
    """The Flask app as the sender becomes the app of the worker."""
    event_id = stack.send(signals.door_opened, stack.app)

    run = stack.await_run(event_id, "greet")

    assert run.facts["sender"] == "the app"


def test_each_receiver_of_a_signal_runs_once(stack: Stack) -> None:
    """All receivers of a signal, coroutines too, run once for one event."""
    event_id = stack.send(signals.order_placed)

    stack.settle()

    runs = {run.handler: run.facts for run in stack.await_runs(event_id, 2)}
    assert runs == {"reserve_stock": {}, "tell_warehouse": {"has_loop": True}}


def test_receiver_of_several_signals_runs_for_each(stack: Stack) -> None:
    """A handler that listens to two signals runs for either."""
    order = {"number": 1, "price": 1}
    paid = stack.send(signals.order_paid, order=order)
    shipped = stack.send(signals.order_shipped)

    runs = [stack.await_run(event_id, "keep_books") for event_id in (paid, shipped)]

    assert [run.signal for run in runs] == ["order-paid", "order-shipped"]


def test_stacked_decorators_are_tasks_of_their_own(stack: Stack) -> None:
    """A handler decorated twice runs as one task for one signal, as another for another."""
    shipped = stack.send(signals.order_shipped)
    scanned = stack.send(signals.parcel_scanned)

    runs = [
        stack.await_run(event_id, "follow_parcel") for event_id in (shipped, scanned)
    ]

    assert [run.facts["task"] for run in runs] == ["shop.announce", "shop.trace"]


def test_bound_method_runs_on_the_worker_s_object(stack: Stack) -> None:
    """A bound method is called on the object that the worker has imported."""
    event_id = stack.send(signals.stock_counted)

    (run,) = stack.await_runs(event_id)

    assert run.facts == {"place": "cellar"}


def test_anonymous_signal_runs_its_handlers(stack: Stack) -> None:
    """A signal without a name reaches its handlers all the same."""
    event_id = stack.send(signals.bell)

    (run,) = stack.await_runs(event_id)

    assert (run.handler, run.signal) == ("answer_bell", "anonymous")


def test_sender_filter_keeps_others_out(stack: Stack) -> None:
    """A receiver of one sender's signals does not hear those of another."""
    with publications(stack.app) as published:
        stack.send_only(signals.customer_left, "branch-2")
        stack.send_only(signals.customer_left, "branch-1")

    (details,) = published
    (run,) = stack.await_runs(details.event_id)
    assert run.facts == {"sender": "branch-1"}


def test_extract_picks_what_travels(stack: Stack) -> None:
    """What extract returned where the signal was sent is what the handler gets."""
    order = {"number": 17, "price": 200, "coupon": Coupon()}
    with signal_tasks.bridge.disconnected(handlers.keep_books):
        event_id = stack.send(signals.order_paid, order=order)

    (run,) = stack.await_runs(event_id)

    assert run.facts == {"number": 17, "pid_of_extract": os.getpid()}


def test_condition_keeps_events_out(stack: Stack) -> None:
    """A handler does not run for an event that its condition is false for."""
    event_id = stack.send(signals.order_paid, order={"number": 18, "price": 5})

    stack.settle()

    assert [run.handler for run in stack.runs(event_id)] == ["keep_books"]


def test_disconnected_receiver_is_sent_nothing(stack: Stack) -> None:
    """What is disconnected gets no events until it is connected again."""
    with signal_tasks.bridge.disconnected(handlers.reserve_stock):
        without = stack.send(signals.order_placed)
    with_all = stack.send(signals.order_placed)

    stack.settle()

    assert [run.handler for run in stack.runs(without)] == ["tell_warehouse"]
    assert len(stack.runs(with_all)) == 2


# -- what arrives


def test_everything_arrives_as_it_was_sent(stack: Stack) -> None:
    """Values of all types that travel come out with the same types and contents."""
    event_id = stack.send(signals.catalogue_read, **goods.EVERYTHING)

    (run,) = stack.await_runs(event_id)

    assert run.facts["values"] == describe(goods.EVERYTHING)


def test_nesting_beyond_the_limit_is_refused_at_the_send(stack: Stack) -> None:
    """Six hundred lists in each other raise at the send, and nothing is published."""
    nested: list[object] = []
    for _ in range(600):
        nested = [nested]

    with (
        publications(stack.app) as published,
        pytest.raises(EncodeError, match=r"kwargs\['nested'\].*too deep"),
    ):
        stack.send_only(signals.catalogue_read, nested=nested)

    assert published == []


def test_unregistered_type_is_refused_at_the_send(stack: Stack) -> None:
    """A type that nobody registered raises at the send, with place, type and mend."""
    with pytest.raises(EncodeError, match=r"register_type\(Coupon\b") as caught:
        stack.send_only(signals.catalogue_read, basket={"coupons": [Coupon()]})

    assert caught.value.path == "kwargs['basket']['coupons'][0]"
    assert caught.value.receiver == "tests.integration.shop.handlers.index_catalogue"


def test_log_does_not_show_what_was_sent(stack: Stack) -> None:
    """Neither a run nor a retry nor a failure writes a payload to the worker's log."""
    secret = "the customer's secret"
    stack.send(signals.card_declined, secret, note=secret)
    stack.send(signals.printer_jammed, secret, note=secret)
    event_id = stack.send(signals.door_opened, secret, note=secret)

    stack.await_run(event_id, "greet")

    stack.worker.await_log(r"print_label\[.*raised unexpected")
    assert secret not in stack.worker.log


# -- Celery's options


def test_failed_handler_is_tried_again_after_a_while(stack: Stack) -> None:
    """A handler that raises runs again for the same event, a second later."""
    event_id = stack.send(signals.card_declined)

    first, second = stack.await_runs(event_id, 2)

    assert (first.attempt, second.attempt) == (1, 2)
    assert first.facts["task_id"] == second.facts["task_id"]
    assert second.facts["at"] - first.facts["at"] >= 1


def test_handler_that_keeps_failing_ends_as_a_failed_task(stack: Stack) -> None:
    """After max_retries the task has failed, and the log tells of the handler's error."""
    event_id = stack.send(signals.printer_jammed)

    runs = stack.await_runs(event_id, 3)

    task_id = runs[0].facts["task_id"]
    stack.worker.await_log(rf"print_label\[{task_id}\] raised unexpected: RuntimeError")
    assert [run.attempt for run in runs] == [1, 2, 3]
    assert AsyncResult(task_id, app=stack.celery_app).state == states.FAILURE


def test_countdown_delays_the_handler(stack: Stack) -> None:
    """A countdown lets that many seconds pass between the send and the run."""
    event_id = stack.send(signals.reminder_due)

    (run,) = stack.await_runs(event_id)

    assert run.facts["seconds"] >= 0.6


def test_expired_event_does_not_run(stack: Stack) -> None:
    """An event that the worker comes to after it has expired is thrown away."""
    lines = len(stack.worker.lines)
    event_id = stack.send(signals.offer_made)

    stack.worker.await_log(r"Discarding revoked task: .*advertise", since=lines)

    assert stack.runs(event_id) == []


def test_queue_is_where_the_message_goes(stack: Stack) -> None:
    """A receiver with a queue of its own runs from there, the signal's others do not."""
    event_id = stack.send(signals.report_wanted, parts=())

    run = stack.await_run(event_id, "write_report")

    assert run.facts["queue"] == REPORTS_QUEUE


def test_priority_travels_with_the_message(stack: Stack) -> None:
    """A receiver's priority is the message's."""
    event_id = stack.send(signals.report_wanted, parts=())

    run = stack.await_run(event_id, "sum_up")

    assert run.facts["priority"] == 7


def test_result_is_kept_where_it_is_asked_for(stack: Stack) -> None:
    """With ignore_result=False the result backend has what the handler returned."""
    event_id = stack.send(signals.report_wanted, parts=(1, 2, 39))

    run = stack.await_run(event_id, "sum_up")

    result = AsyncResult(run.facts["task_id"], app=stack.celery_app)
    assert result.get(timeout=20) == 42


# -- signals that handlers send


def test_signal_sent_by_a_handler_is_one_hop_away(stack: Stack) -> None:
    """A handler's own signals reach their handlers, which know how far they have come."""
    event_id = register_customer(stack, "Grace")

    first = stack.await_run(event_id, "open_account")
    second = stack.await_effect(event_id, "count_visitors")

    assert (first.facts["hops"], second.facts["hops"]) == (0, 1)
    assert second.event_id != event_id


def test_loop_of_handlers_stops_at_the_limit(stack: Stack) -> None:
    """Handlers that send each other's signals stop at the limit, and the log says so."""
    lines = len(stack.worker.lines)
    event_id = stack.send(signals.echo_heard, "cave")

    stop = stack.worker.await_log(r"event not sent: .* hops from .*", since=lines)
    stack.settle()

    runs = stack.effects(event_id, "shout", "shout_back")
    assert [run.facts["hops"] for run in runs] == list(range(9))
    assert "echo-heard -> echo-answered -> echo-heard" in stop[0]
    assert "SIGNAL_TASKS_MAX_HOPS" in stop[0]
