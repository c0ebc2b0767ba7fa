"""Messages that are made by a recipe, beside those that Celery makes."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from blinker import NamedSignal, Signal
from celery import Celery, Task, signals
from kombu import Message

from signal_tasks import Bridge
from signal_tasks.publisher.recipes import Recipes
from tests.in_memory import KEY, Broker, celery_settings, new_celery_app

DIFFERENT = {"id", "root_id", "argsrepr", "signal_tasks_event", "correlation_id"}
DIFFERENT |= {"delivery_tag", "expires", "eta", "x-death"}


_seen: list[str] = []


# Of the module, for Celery forgets those that come after one that has been collected.
def see(sender: str, **_: object) -> None:
    """Note of which task Celery publishes a message."""
    _seen.append(sender)


@contextmanager
def watched() -> Generator[list[str]]:
    """Watch Celery make messages, so that it has to make them; note their names."""
    _seen.clear()
    signals.before_task_publish.connect(see)
    try:
        yield _seen
    finally:
        signals.before_task_publish.disconnect(see)


SPARED = {"argsrepr", "kwargsrepr"}
"""Properties that Celery leaves to kombu beside the headers of the same names."""


def common(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what should be the same in two messages of a receiver."""
    return {name: value for name, value in values.items() if name not in DIFFERENT}


def needed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return those properties that should be the same, and that anybody reads."""
    names = common(properties).keys() - SPARED
    return {name: properties[name] for name in names}


def one_each(celery_app: Celery, **options: object) -> tuple[Message, Message]:
    """Return a message that we have made, and one that Celery has."""
    bridge, signal = (
        Bridge(celery_app, secret_key=KEY, on_error="raise"),
        NamedSignal("news"),
    )
    bridge.async_receiver(signal, name="bill", **options)(print)
    signal.send("shop", total=3)
    with watched():
        signal.send("shop", total=3)
    ours, celerys = Broker(celery_app).take()
    return ours, celerys


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="none"),
        pytest.param({"priority": 5}, id="priority"),
        pytest.param({"headers": {"tenant": "a"}}, id="headers"),
        pytest.param({"shadow": "other"}, id="shadow"),
        pytest.param({"time_limit": 9, "soft_time_limit": 5}, id="time-limits"),
        pytest.param({"link": {"task": "then"}}, id="link"),
        pytest.param({"compression": "zlib"}, id="compression"),
        pytest.param({"countdown": 5}, id="countdown"),
        pytest.param({"expires": 500}, id="expires"),
        pytest.param({"ignore_result": False}, id="with-result"),
        pytest.param({"delivery_mode": 1}, id="delivery-mode"),
    ],
)
def test_message_is_as_celery_makes_it(options: dict[str, Any]) -> None:
    """But for identifiers, a message by recipe is the one that Celery makes."""
    ours, celerys = one_each(new_celery_app(), **options)

    assert ours.headers.keys() == celerys.headers.keys()
    assert common(ours.headers) == common(celerys.headers)
    assert ours.properties.keys() - SPARED == celerys.properties.keys() - SPARED
    assert needed(ours.properties) == needed(celerys.properties)
    assert (ours.content_type, ours.content_encoding) == (
        celerys.content_type,
        celerys.content_encoding,
    )
    assert ours.payload[1:] == celerys.payload[1:]
    assert ours.headers["root_id"] == ours.headers["id"]


def test_message_has_its_ids_at_each_place() -> None:
    """A message by recipe is one message, and says of which event it is."""
    message, celerys = one_each(new_celery_app())

    task_id, event_id = message.headers["id"], message.headers["signal_tasks_event"]
    assert message.properties["correlation_id"] == task_id
    assert message.headers["argsrepr"] == f"(<event {event_id} of news>,)"
    assert task_id != celerys.headers["id"]


@pytest.fixture
def bridge(celery_app: Celery, signal: Signal) -> Bridge:
    """Return a bridge with one receiver."""
    bridge = Bridge(celery_app, secret_key=KEY, on_error="raise")
    bridge.async_receiver(signal, name="bill")(print)
    return bridge


@pytest.fixture
def celery_app() -> Celery:
    """Return a Celery app."""
    return new_celery_app()


def recipe_of(bridge: Bridge, celery_app: Celery) -> object:
    """Return the recipe of the one receiver."""
    recipes = Recipes(celery_app, bridge.registry)
    return recipes.apply and recipes.of("bill", celery_app.tasks["bill"])


def test_recipe_is_learned_once(bridge: Bridge, celery_app: Celery) -> None:
    """Celery is asked once what a receiver's messages look like."""
    recipes = Recipes(celery_app, bridge.registry)

    first = recipes.of("bill", celery_app.tasks["bill"])

    assert first is not None
    assert recipes.of("bill", celery_app.tasks["bill"]) is first


def test_recipe_that_another_thread_has_just_learned_will_do(
    bridge: Bridge, celery_app: Celery
) -> None:
    """Of many threads that need a recipe at once, one learns it for all of them."""
    recipes = Recipes(celery_app, bridge.registry)
    task = celery_app.tasks["bill"]

    with ThreadPoolExecutor(8) as executor, recipes._lock:
        waiting = [executor.submit(recipes.of, "bill", task) for _ in range(8)]
        all(iter(executor._work_queue.qsize, 0))
        recipes._lock.release()
        found = {future.result() for future in waiting}
        recipes._lock.acquire()

    assert len(found) == 1


def test_task_that_was_replaced_has_another_recipe(
    bridge: Bridge, celery_app: Celery
) -> None:
    """When a module is reloaded its receivers' messages are learned anew."""
    recipes = Recipes(celery_app, bridge.registry)
    first = recipes.of("bill", celery_app.tasks["bill"])
    celery_app.tasks.pop("bill")

    @celery_app.task(name="bill", lazy=False, shared=False, ignore_result=True)
    def bill() -> None:
        """Stand for the reloaded handler."""

    assert recipes.of("bill", celery_app.tasks["bill"]) is not first


def test_whoever_watches_messages_sees_them(
    bridge: Bridge, celery_app: Celery, signal: Signal
) -> None:
    """Receivers of Celery's signals hear of each message, from Celery itself."""
    signal.send()

    with watched() as seen:
        signal.send()

    assert seen == ["bill"]


def test_learning_is_no_message(
    bridge: Bridge, celery_app: Celery, signal: Signal
) -> None:
    """What is asked of Celery to learn from it goes to no broker."""
    signal.send()

    assert len(Broker(celery_app).take()) == 1


class Counting(Task):
    """A user's own task class, which has a say in each message."""

    count = 0

    def apply_async(self, *args: Any, **options: Any) -> Any:
        Counting.count += 1
        headers = {**options.pop("headers"), "count": Counting.count}
        return super().apply_async(*args, headers=headers, **options)


class Shadowing(Task):
    """A user's own task class, which names each message."""

    def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str:
        return f"bill at {len(args)}"


@pytest.mark.parametrize(
    ("task_class", "header", "values"),
    [
        pytest.param(Counting, "count", [1, 2], id="apply_async"),
        pytest.param(Shadowing, "shadow", ["bill at 1"] * 2, id="shadow_name"),
    ],
)
def test_task_class_of_ones_own_makes_each_message(
    signal: Signal, task_class: type[Task], header: str, values: list[object]
) -> None:
    """Whose task class changes messages has all of them changed by it."""
    celery_app = Celery("tests", task_cls=task_class, set_as_current=False)
    celery_app.config_from_object(celery_settings())
    bridge = Bridge(celery_app, secret_key=KEY, on_error="raise")
    bridge.async_receiver(signal, name="bill")(print)

    signal.send()
    signal.send()

    messages = Broker(celery_app).take()
    assert [message.headers[header] for message in messages] == values


def test_replaced_method_is_called_for_each_message(
    bridge: Bridge,
    celery_app: Celery,
    signal: Signal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who replaces Celery's method at run time, as tracers do, sees each message."""
    signal.send()
    seen: list[str] = []
    original = Task.apply_async

    def traced(self: Task, *args: Any, **options: Any) -> Any:
        seen.append(self.name)
        return original(self, *args, **options)

    monkeypatch.setattr(Task, "apply_async", traced)
    signal.send()

    assert seen == ["bill"]


@pytest.mark.parametrize(
    ("routes", "has_recipe"),
    [
        pytest.param({"bill": {"queue": "money"}}, True, id="dict"),
        pytest.param([{"bill": {"queue": "money"}}], True, id="dicts"),
        pytest.param([lambda *_, **__: {"queue": "money"}], False, id="function"),
        pytest.param("shop.routes.choose", False, id="name"),
    ],
)
def test_route_that_is_found_each_time_has_no_recipe(
    bridge: Bridge, celery_app: Celery, routes: object, has_recipe: bool
) -> None:
    """Routes in a dict are the same for each message; those of a function may not be."""
    celery_app.conf.task_routes = routes

    assert (recipe_of(bridge, celery_app) is not None) == has_recipe


def test_option_that_makes_no_message_makes_no_recipe(
    celery_app: Celery, signal: Signal
) -> None:
    """What Celery makes nothing of is told when the message is sent, and not before."""
    bridge = Bridge(celery_app, secret_key=KEY, on_error="raise")
    bridge.async_receiver(signal, name="bill", link=object())(print)
    bridge.async_receiver(signal, name="pack", countdown="soon")(print)
    recipes = Recipes(celery_app, bridge.registry)

    assert recipes.of("pack", celery_app.tasks["pack"]) is None


def test_protocol_of_old_has_no_recipe(bridge: Bridge, celery_app: Celery) -> None:
    """Messages in Celery's first protocol are made by Celery."""
    celery_app.conf.task_protocol = 1

    assert recipe_of(bridge, celery_app) is None


def test_events_of_sent_tasks_are_left_to_celery(
    bridge: Bridge, celery_app: Celery
) -> None:
    """Where Celery is to tell monitors of each message, it publishes them."""
    celery_app.conf.task_send_sent_event = True

    assert recipe_of(bridge, celery_app) is None


def test_message_from_a_task_names_its_parent(
    bridge: Bridge, celery_app: Celery, signal: Signal
) -> None:
    """What a task sends belongs to the task's tree, as with Celery's own messages."""

    @celery_app.task(name="outer", lazy=False, shared=False)
    def outer() -> None:
        signal.send()

    celery_app.send_task("outer", task_id="the-outer-one")

    Broker(celery_app).run()
    with watched():
        celery_app.send_task("outer", task_id="the-outer-one")
        Broker(celery_app).run()

    (message,) = Broker(celery_app).take()
    assert message.headers["parent_id"] == "the-outer-one"
    assert message.headers["root_id"] == "the-outer-one"
