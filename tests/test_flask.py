"""The Flask extension: which app an event belongs to, and where its handlers run."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest
from blinker import Signal
from celery import Celery, Task
from celery.signals import import_modules
from flask import (
    Flask,
    appcontext_popped,
    appcontext_pushed,
    current_app,
    g,
    request,
    request_finished,
)

from signal_tasks import (
    Bridge,
    ConfigurationError,
    DecodeError,
    DispatchError,
    EncodeError,
    PublishError,
    RefusedError,
    SignalTasks,
    SignatureError,
    async_receiver,
    dispatch_failed,
    envelope_refused,
    event_published,
)
from signal_tasks.bridge import default_bridge
from signal_tasks.envelope import Seal
from tests.in_memory import (
    KEY,
    Broker,
    broker_of,
    celery_settings,
    new_app,
    new_celery_app,
)


def note_app(sender: object, **extra: object) -> tuple[object, object]:
    """Return what a handler sees of its app: as the sender and as the current one."""
    return sender, current_app._get_current_object()


def fail(*_: object, **__: object) -> Any:
    """Fail as a user's function may."""
    raise ZeroDivisionError


def test_handler_runs_in_the_apps_context(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """In the worker the handler has the app's context, and the app is the sender."""
    flask_bridge.async_receiver(signal, name="note")(note_app)

    signal.send(app)

    assert broker_of(app).run() == [(app, app)]


def test_factory_sets_up_each_app(signal: Signal) -> None:
    """One extension object, made before any app, serves each app that a factory makes."""
    signal_tasks = SignalTasks(bridge=Bridge())

    def create_app(name: str) -> Flask:
        app = Flask(name)
        app.config.from_mapping(SECRET_KEY=KEY, CELERY=celery_settings())
        signal_tasks.init_app(app)
        return app

    apps = [create_app("shop"), create_app("bank")]
    signal_tasks.bridge.async_receiver(signal, name="note")(note_app)

    for app in apps:
        signal.send(app)

    assert [broker_of(app).run() for app in apps] == [[(app, app)] for app in apps]


def test_constructor_sets_up_the_app() -> None:
    """SignalTasks(app) is enough, and its state stands in the app's extensions."""
    app = Flask("shop")
    app.config["CELERY"] = celery_settings()

    SignalTasks(app, bridge=Bridge())

    assert app.extensions["signal_tasks"].application is app


def test_default_bridge_serves_apps_by_default() -> None:
    """The bare decorator's receivers are those of every app without a bridge of its own."""
    assert SignalTasks().bridge is default_bridge


def test_app_is_set_up_once(app: Flask) -> None:
    """A second set-up of the same app is a mistake, and the error says which."""
    with pytest.raises(ConfigurationError, match="not to both"):
        SignalTasks(app)


@pytest.mark.parametrize("when", ["before", "after"])
def test_receivers_may_come_before_and_after(signal: Signal, when: str) -> None:
    """Receivers decorated before and after init_app are tasks of the app."""
    bridge = Bridge()
    if when == "before":
        bridge.async_receiver(signal, name="note")(note_app)
    app = new_app(bridge)
    if when == "after":
        bridge.async_receiver(signal, name="note")(note_app)

    signal.send(app)

    assert broker_of(app).run() == [(app, app)]


def test_celery_app_of_the_user_is_reused(signal: Signal) -> None:
    """An app that has a Celery app keeps it."""
    app, celery_app, bridge = Flask("shop"), new_celery_app(), Bridge()
    app.extensions["celery"] = celery_app
    bridge.async_receiver(signal, name="note")(note_app)

    SignalTasks(app, bridge=bridge)
    signal.send(app)

    assert app.extensions["celery"] is celery_app
    assert Broker(celery_app).run() == [(app, app)]


def test_celery_app_may_be_replaced_later(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """Events go to the Celery app that the app has when they are sent."""
    flask_bridge.async_receiver(signal, name="note")(note_app)
    former = broker_of(app)
    signal.send(app)
    app.extensions["celery"] = new_celery_app()

    signal.send(app)
    signal.send(app)

    assert len(former.take()) == 1
    assert broker_of(app).run() == [(app, app)] * 2


def test_receiver_declared_after_a_replacement_is_served(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """Receivers that come after another Celery app are tasks of that one."""
    app.extensions["celery"] = new_celery_app()
    flask_bridge.async_receiver(signal, name="note")(note_app)

    signal.send(app)

    assert broker_of(app).run() == [(app, app)]


def test_worker_of_a_replacement_is_served(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """A worker of the later Celery app gets the tasks, though nothing was sent there."""
    flask_bridge.async_receiver(signal, name="note")(note_app)
    app.extensions["celery"] = celery_app = new_celery_app()

    import_modules.send(sender=celery_app)

    assert "note" in celery_app.tasks


def test_created_celery_app_is_as_flask_documents_it(app: Flask) -> None:
    """The Celery app made for an app runs other tasks inside the app's context, too."""
    celery_app = app.extensions["celery"]

    @celery_app.task(shared=False)
    def plain_task() -> object:
        return current_app._get_current_object()

    assert celery_app.main == "shop"
    assert plain_task.apply().get() is app


def test_settings_for_celery_are_the_apps() -> None:
    """app.config["CELERY"] has the last word; ours are only what suits receivers."""
    settings = celery_settings(task_ignore_result=False, task_default_priority=3)
    app = new_app(Bridge(), CELERY=settings)

    conf = app.extensions["celery"].conf

    assert (conf.task_ignore_result, conf.task_default_priority) == (False, 3)
    assert conf.broker_connection_retry_on_startup is True


def test_app_without_celery_settings_has_celerys_own() -> None:
    """An app that says nothing about Celery gets Celery's defaults."""
    app = Flask("shop")

    SignalTasks(app, bridge=Bridge())

    assert app.extensions["celery"].conf.task_ignore_result is True


def two_apps(bridge: Bridge) -> list[Flask]:
    """Make two apps of the same import name and the same key, as a test suite may."""
    return [new_app(bridge), new_app(bridge)]


def test_event_reaches_its_senders_celery_app(signal: Signal) -> None:
    """What an app sends is run by that app's worker, whichever app is current."""
    bridge = Bridge()
    bridge.async_receiver(signal, name="note")(note_app)
    mine, other = two_apps(bridge)

    with other.app_context():
        signal.send(mine)

    assert broker_of(other).take() == []
    assert broker_of(mine).run() == [(mine, mine)]


def test_event_reaches_the_current_apps_celery_app(signal: Signal) -> None:
    """What is sent inside an app's context is run by that app's worker."""
    bridge = Bridge()
    bridge.async_receiver(signal, name="note")(note_app)
    mine, other = two_apps(bridge)

    with other.app_context(), mine.app_context():
        signal.send("web")

    assert broker_of(other).take() == []
    assert broker_of(mine).run() == [("web", mine)]


def test_proxy_of_the_app_is_the_app(signal: Signal) -> None:
    """A signal sent by current_app arrives as the app, from the app's own worker."""
    bridge = Bridge()
    bridge.async_receiver(signal, name="note")(note_app)
    mine, other = two_apps(bridge)

    with mine.app_context():
        signal.send(current_app, app=current_app)

    assert broker_of(other).take() == []
    assert broker_of(mine).run() == [(mine, mine)]


def test_only_app_gets_what_nobody_sends(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """With one app, an event from outside any context is that app's."""
    flask_bridge.async_receiver(signal, name="note")(note_app)

    signal.send()

    assert broker_of(app).run() == [(None, app)]


@pytest.mark.parametrize("kind", ["foreign app", "foreign context"])
def test_event_of_no_app_of_ours_is_logged(
    signal: Signal, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """An event of an app without the extension never fails in that app's request."""
    bridge = Bridge()
    bridge.async_receiver(signal, name="note")(note_app)
    apps = two_apps(bridge)
    foreign = Flask("foreign")

    if kind == "foreign app":
        with apps[0].app_context():
            signal.send(foreign)
    else:
        with foreign.app_context():
            signal.send("web")

    assert [broker_of(app).take() for app in apps] == [[], []]
    (record,) = caplog.records
    assert "belongs to an app that has no SignalTasks" in record.message


def test_strangers_are_told_of_once(
    signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    """Another app in the process does not fill the log with each of its requests."""
    bridge = Bridge()
    bridge.async_receiver(signal, name="note")(note_app)
    app = new_app(bridge)
    foreign = Flask("foreign")

    signal.send(foreign)
    signal.send(foreign)

    assert len(caplog.records) == 1
    assert broker_of(app).take() == []


def test_event_of_an_unclear_app_raises_in_testing(signal: Signal) -> None:
    """Outside any context, nothing tells two apps apart, and the developer hears so."""
    bridge = Bridge()
    bridge.async_receiver(signal, name="note")(note_app)
    apps = two_apps(bridge)

    with pytest.raises(ConfigurationError, match="there are 2 apps"):
        signal.send()

    assert [broker_of(app).take() for app in apps] == [[], []]


def test_event_of_an_unclear_app_is_logged_in_production(
    signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    """In production the same is an error in the log."""
    bridge = Bridge()
    bridge.async_receiver(signal, name="note")(note_app)
    apps = two_apps(bridge)
    for app in apps:
        app.config["SIGNAL_TASKS_ON_ERROR"] = "log"

    signal.send()

    (record,) = caplog.records
    assert "nothing tells to which it belongs" in record.message
    assert [broker_of(app).take() for app in apps] == [[], []]


def test_unsigned_envelopes_are_warned_of_once(
    signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    """An app without a SECRET_KEY hears what that means, and not at every event."""
    bridge = Bridge()
    bridge.async_receiver(signal, name="note")(note_app)
    app = new_app(bridge, SECRET_KEY=None)

    signal.send(app)
    signal.send(app)

    warnings = [one.message for one in caplog.records if "not signed" in one.message]
    assert len(warnings) == 1


def test_receivers_of_one_app_leave_other_apps_alone(signal: Signal) -> None:
    """A bridge of its own gives an app receivers that no other app has."""
    mine, other = Bridge(), Bridge()
    my_app, other_app = new_app(mine), new_app(other)
    mine.async_receiver(signal, name="note", sender=my_app)(note_app)

    signal.send(my_app)
    signal.send(other_app)

    assert broker_of(other_app).take() == []
    assert broker_of(my_app).run() == [(my_app, my_app)]


def test_request_signals_reach_the_worker(app: Flask, flask_bridge: Bridge) -> None:
    """A receiver of Flask's own signal gets it for each request of its app."""
    flask_bridge.async_receiver(
        request_finished,
        sender=app,
        name="log",
        extract=lambda _app, response: {"status": response.status_code},
    )(lambda sender, status: (sender, status))

    app.test_client().get("/nowhere")

    assert broker_of(app).run() == [(app, 404)]


def test_handler_may_use_g(app: Flask, flask_bridge: Bridge, signal: Signal) -> None:
    """Each run has an app context of its own, with nothing in it from before."""

    def use_g(_sender: object) -> bool:
        was_used = hasattr(g, "used")
        g.used = True
        return was_used

    flask_bridge.async_receiver(signal, name="use")(use_g)

    signal.send()
    signal.send()

    assert broker_of(app).run() == [False, False]


@pytest.fixture
def docs_app(flask_bridge: Bridge) -> Flask:
    """Return an app whose Celery app is made by the recipe in Flask's documentation."""
    app = Flask("shop")
    app.config.from_mapping(TESTING=True, SECRET_KEY=KEY)

    class FlaskTask(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask, set_as_current=False)
    celery_app.config_from_object(celery_settings())
    app.extensions["celery"] = celery_app
    SignalTasks(app, bridge=flask_bridge)
    return app


@pytest.mark.parametrize("kind", ["app", "docs_app"])
@pytest.mark.parametrize("pushed_or_popped", [appcontext_pushed, appcontext_popped])
def test_contexts_of_the_worker_cause_no_storm(
    request: pytest.FixtureRequest,
    flask_bridge: Bridge,
    pushed_or_popped: Signal,
    kind: str,
) -> None:
    """The app contexts that a worker pushes and pops around a handler are its own."""
    app = request.getfixturevalue(kind)
    flask_bridge.async_receiver(pushed_or_popped, sender=app, name="note")(note_app)
    with app.app_context():
        pass

    results = broker_of(app).run()

    assert results == [(app, app)]
    assert broker_of(app).take() == []


def test_context_that_a_handler_pushes_is_an_event(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """What the handler itself does is dispatched as everywhere else."""

    def push(_sender: object) -> None:
        with app.app_context():
            """Push a context, as the user's own code."""

    flask_bridge.async_receiver(signal, name="push")(push)
    flask_bridge.async_receiver(appcontext_pushed, sender=app, name="note")(note_app)
    signal.send()

    broker_of(app).run()

    assert broker_of(app).names() == ["note"]


def test_handlers_loop_ends_at_the_limit(signal: Signal) -> None:
    """Handlers that keep each other busy stop at SIGNAL_TASKS_MAX_HOPS."""
    bridge = Bridge()
    app = new_app(bridge, SIGNAL_TASKS_MAX_HOPS=3, SIGNAL_TASKS_ON_ERROR="log")
    bridge.async_receiver(signal, name="again")(lambda _: signal.send())
    errors: list[Exception] = []

    def note(_sender: object, details: Any) -> None:
        errors.append(details.error)

    signal.send()
    with dispatch_failed.connected_to(note, sender=app):
        runs = 0
        while broker_of(app).run():
            runs += 1

    assert runs == 4
    assert [type(error).__name__ for error in errors] == ["HopLimitError"]


@pytest.mark.parametrize(
    ("config", "raises"),
    [
        ({}, False),
        ({"TESTING": True}, True),
        ({"DEBUG": True}, True),
        ({"SIGNAL_TASKS_ON_ERROR": "raise"}, True),
        ({"SIGNAL_TASKS_ON_ERROR": "log", "DEBUG": True, "TESTING": True}, False),
        ({"SIGNAL_TASKS_ON_ERROR": None, "TESTING": True}, True),
    ],
    ids=str,
)
def test_failed_send_raises_where_somebody_watches(
    signal: Signal, config: dict[str, object], *, raises: bool
) -> None:
    """In debug and testing a failed send raises, in production it is logged."""
    bridge = Bridge()
    app = new_app(bridge, **{"TESTING": False, **config})
    bridge.async_receiver(signal, name="note", extract=fail)(note_app)
    failures: list[object] = []

    def send() -> None:
        try:
            signal.send(app)
        except DispatchError as error:
            failures.append(error)

    send()

    assert bool(failures) is raises


def test_debug_may_be_switched_on_later(app: Flask, flask_bridge: Bridge) -> None:
    """Whether a send raises is asked when it fails, not when the app is set up."""
    host = app.extensions["signal_tasks"]
    app.testing = False
    before = host.raises

    app.debug = True

    assert (before, host.raises) == (False, True)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("SIGNAL_TASKS_ON_ERROR", "ignore"),
        ("SIGNAL_TASKS_ON_ERROR", False),
        ("SIGNAL_TASKS_MAX_HOPS", "many"),
        ("SIGNAL_TASKS_MAX_HOPS", -1),
        ("SIGNAL_TASKS_MAX_HOPS", None),
        ("SIGNAL_TASKS_PUBLISH_TIMEOUT", "soon"),
        ("SIGNAL_TASKS_PUBLISH_TIMEOUT", 0),
        ("SIGNAL_TASKS_PUBLISH_TIMEOUT", float("nan")),
        ("SIGNAL_TASKS_PUBLISH_TIMEOUT", float("inf")),
        ("SECRET_KEY_FALLBACKS", "old key"),
        ("SECRET_KEY_FALLBACKS", b"former key"),
        ("SECRET_KEY_FALLBACKS", [17]),
        ("SECRET_KEY_FALLBACKS", 17),
    ],
)
def test_wrong_setting_ends_the_start(setting: str, value: object) -> None:
    """A setting that makes no sense is named when the app is set up."""
    with pytest.raises(ConfigurationError, match=setting):
        new_app(Bridge(), **{setting: value})


@pytest.mark.parametrize(
    ("setting", "value"),
    [("SIGNAL_TASKS_MAX_HOPS", "0"), ("SIGNAL_TASKS_PUBLISH_TIMEOUT", "0.25")],
)
def test_numbers_may_come_from_the_environment(setting: str, value: str) -> None:
    """A number written as text, as environment variables are, will do."""
    assert new_app(Bridge(), **{setting: value})


def test_broker_that_is_missing_is_named(signal: Signal) -> None:
    """Without a broker the first send says where it looked and what to do."""
    bridge = Bridge()
    settings = celery_settings(broker_url="redis://127.0.0.1:1/0")
    app = new_app(bridge, CELERY=settings, SIGNAL_TASKS_PUBLISH_TIMEOUT=0.2)
    bridge.async_receiver(signal, name="note")(note_app)

    with pytest.raises(PublishError, match=r"127\.0\.0\.1:1.*flask signal-tasks dev"):
        signal.send(app)


def run_with(app: Flask, key: object, *fallbacks: object) -> list[object]:
    """Run what is in the queue with other keys than it was sent with."""
    app.config.update(SECRET_KEY=key, SECRET_KEY_FALLBACKS=list(fallbacks) or None)
    return broker_of(app).run()


@pytest.mark.parametrize(
    "keys",
    [(KEY,), (KEY.encode(),), ("new", KEY), ("new", "older", KEY.encode())],
    ids=["same", "same in bytes", "fallback", "second fallback"],
)
def test_worker_with_the_key_runs_what_it_signed(
    app: Flask, flask_bridge: Bridge, signal: Signal, keys: tuple[object, ...]
) -> None:
    """SECRET_KEY and SECRET_KEY_FALLBACKS verify."""
    flask_bridge.async_receiver(signal, name="note")(note_app)
    signal.send(app)

    assert run_with(app, *keys) == [(app, app)]


@pytest.mark.parametrize("key", ["another", None, ""], ids=["another", "none", "empty"])
def test_worker_without_the_key_refuses(
    app: Flask, flask_bridge: Bridge, signal: Signal, key: object
) -> None:
    """A worker with another key, or with none, runs nothing."""
    ran: list[object] = []
    flask_bridge.async_receiver(signal, name="note")(ran.append)
    refusals: list[RefusedError] = []

    def note(_sender: object, details: Any) -> None:
        refusals.append(details.error)

    signal.send(app)
    with envelope_refused.connected_to(note, sender=app):
        run_with(app, key)

    assert [type(error) for error in refusals] == [SignatureError]
    assert ran == []


def test_worker_with_a_key_refuses_what_nobody_signed(signal: Signal) -> None:
    """A sender without a key cannot make a worker that has one run anything."""
    bridge = Bridge()
    app = new_app(bridge, SECRET_KEY=None)
    ran: list[object] = []
    bridge.async_receiver(signal, name="note")(ran.append)
    signal.send(app)

    run_with(app, KEY)

    assert ran == []


def test_apps_without_keys_do_not_sign(signal: Signal) -> None:
    """An app that has no secret key works, for a first try."""
    bridge = Bridge()
    app = new_app(bridge, SECRET_KEY=None)
    bridge.async_receiver(signal, name="note")(note_app)

    signal.send(app)

    assert broker_of(app).run() == [(app, app)]


def test_new_key_signs_from_the_next_event_on(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """A key that is changed while the app runs signs what is sent then."""
    flask_bridge.async_receiver(signal, name="note")(note_app)
    signal.send(app)
    app.config.update(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[KEY])
    signal.send(app)

    results = run_with(app, "new")

    assert results[1:] == [(app, app)]
    assert results[0] != (app, app)


def test_no_thread_signs_without_the_key(app: Flask) -> None:
    """All threads that are the first to need the seal get the one with the key."""
    host = app.extensions["signal_tasks"]
    start = threading.Barrier(8)

    def sealed() -> str:
        start.wait(5)
        (envelope,) = host.seal.seal(
            id="e1",
            signal="s",
            sent_at=datetime.now(UTC),
            trail=(),
            payload={},
            context={},
            receivers=["note"],
        )
        return envelope.text

    with ThreadPoolExecutor(8) as executor:
        texts = [task.result() for task in [executor.submit(sealed) for _ in range(8)]]

    assert all(Seal([KEY]).open(text) for text in texts)


def test_other_sender_needs_a_type_that_travels(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """A sender that is no app and of no known type is an error that says so."""
    flask_bridge.async_receiver(signal, name="note")(note_app)

    with app.app_context(), pytest.raises(EncodeError, match="the Flask app"):
        signal.send(object())


def test_app_travels_as_a_value(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """The app comes back as the worker's app wherever it stands, subclasses too."""
    flask_bridge.async_receiver(signal, name="see")(lambda _sender, apps: apps)

    signal.send(app, apps=[app])

    assert broker_of(app).run() == [[app]]


def test_app_of_a_subclass_travels(signal: Signal) -> None:
    """An app whose class is the user's own is an app as any."""

    class Shop(Flask):
        pass

    bridge = Bridge()
    app = Shop("shop")
    app.config.from_mapping(TESTING=True, CELERY=celery_settings())
    SignalTasks(app, bridge=bridge)
    bridge.async_receiver(signal, name="note")(note_app)

    signal.send(app)

    assert broker_of(app).run() == [(app, app)]


def test_app_that_does_not_run_the_handler_is_refused(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """Another app than the worker's does not come back as if it were the worker's."""
    flask_bridge.async_receiver(signal, name="see")(lambda _sender, other: other)
    refusals: list[RefusedError] = []

    def note(_sender: object, details: Any) -> None:
        refusals.append(details.error)

    signal.send(app, other=Flask("bank"))
    with envelope_refused.connected_to(note, sender=app):
        broker_of(app).run()

    assert [type(error) for error in refusals] == [DecodeError]


def test_app_started_as_a_program_is_the_workers_app(
    signal: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What python app.py sends as __main__ arrives at the worker as the app of app.py."""
    bridge = Bridge()
    main = ModuleType("__main__")
    main.__file__ = "/srv/shop/app.py"
    monkeypatch.setitem(sys.modules, "__main__", main)
    app = new_app(bridge, "__main__")
    bridge.async_receiver(signal, name="note")(note_app)
    signal.send(app)

    app.import_name = "app"

    assert broker_of(app).run() == [(app, app)]


def test_lifecycle_signals_are_the_apps(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """Lifecycle signals are sent by the app, so that one can listen to one app's."""
    flask_bridge.async_receiver(signal, name="note")(note_app)
    heard: list[object] = []

    def note(sender: object, **_: object) -> None:
        heard.append(sender)

    with event_published.connected_to(note, sender=app):
        signal.send(app)

    assert heard == [app]


def test_bare_decorator_serves_the_apps_of_the_default_bridge(signal: Signal) -> None:
    """@async_receiver and SignalTasks(app) are all that an app needs."""
    async_receiver(signal, name="tests.bare")(note_app)
    app = new_app(default_bridge)

    try:
        signal.send(app)
        results = broker_of(app).run()
    finally:
        default_bridge.disconnect("tests.bare")

    assert results == [(app, app)]


def test_dropped_app_is_collected(signal: Signal) -> None:
    """The bridge keeps no app alive, for test suites make many."""
    bridge = Bridge()
    bridge.async_receiver(signal, name="note")(note_app)
    app = Flask("shop")
    # Where a failed send is logged, a thread looks for what waits, and has the app so long.
    app.config["SIGNAL_TASKS_ON_ERROR"] = "raise"
    app.extensions["celery"] = new_celery_app()
    SignalTasks(app, bridge=bridge)
    signal.send(app)
    broker_of(app).run()
    alive = weakref.ref(app)

    del app
    gc.collect()

    assert alive() is None


def test_app_that_is_gone_is_not_in_the_way(signal: Signal) -> None:
    """An event is the one app's that is left, whoever sends it."""
    bridge = Bridge()
    bridge.async_receiver(signal, name="note")(note_app)
    gone, left = new_app(bridge), new_app(bridge)
    del gone
    gc.collect()

    signal.send("web")

    assert broker_of(left).names() == ["note"]


@pytest.mark.parametrize("missing", [True, False], ids=["request", "something else"])
def test_handler_that_misses_its_request_gets_a_hint(
    app: Flask, flask_bridge: Bridge, signal: Signal, *, missing: bool
) -> None:
    """Whoever swaps the decorator alone learns from the traceback what else to write."""

    @flask_bridge.async_receiver(signal, name="note", max_retries=0)
    def note(_sender: object) -> object:
        if missing:
            return request.path
        raise RuntimeError

    signal.send(app)
    (result,) = broker_of(app).run()

    assert ("context=('request', 'session')" in str(result)) is missing


def test_rehearsal_for_a_stranger_sends_nothing(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """An event that belongs to no app of ours would go nowhere, and the rehearsal too."""
    flask_bridge.async_receiver(signal, name="note")(note_app)

    assert flask_bridge.rehearse(signal, Flask("foreign"), {}) == ([], [])
    assert broker_of(app).take() == []


def test_buffered_event_of_an_app_leaves_in_a_while(
    app: Flask, flask_bridge: Bridge, signal: Signal
) -> None:
    """Each app has a buffer of its own, which publishes to the app's own broker."""
    flask_bridge.async_receiver(signal, name="bill", delivery="buffered")(note_app)

    signal.send(app)
    app.extensions["signal_tasks"].buffer.flush()

    assert broker_of(app).names() == ["bill"]


def test_app_is_warmed_up(bridge: Bridge) -> None:
    """The extension connects an app to its broker, and puts nothing there."""
    app = new_app(bridge)

    SignalTasks(bridge=bridge).warm_up(app)

    assert broker_of(app).take() == []


def test_app_without_signal_tasks_is_not_warmed_up() -> None:
    """To warm up an app that is not served is a mistake that is told."""
    with pytest.raises(ConfigurationError, match="has no SignalTasks"):
        SignalTasks().warm_up(Flask("bare"))
