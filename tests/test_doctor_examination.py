"""The examination of an app, all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from blinker import Signal
from flask import Flask

from signal_tasks import Bridge
from signal_tasks.doctor.examination import (
    Section,
    examine,
    expected_by,
    planned_worker,
)
from signal_tasks.doctor.findings import Finding, Status
from signal_tasks.doctor.workers import check_waits
from tests.in_memory import celery_settings, new_app

OK, NOTE, WARNING, WRONG = Status.OK, Status.NOTE, Status.WARNING, Status.WRONG
SKIPPED = Status.SKIPPED

# Nobody listens there.
CLOSED = "redis://127.0.0.1:1/0"


def app_with(bridge: Bridge, folder: Path, **celery: object) -> Flask:
    """Return an app with a store of its own and settings for Celery."""
    return new_app(
        bridge,
        SIGNAL_TASKS_STORE_URL=f"sqlite:///{folder / 'store.sqlite3'}",
        CELERY=celery_settings(**celery),
    )


def examined(app: Flask) -> dict[str, Section]:
    """Return what is found out about *app*, by subject."""
    with app.app_context():
        sections = list(examine(app.extensions["signal_tasks"], seconds=0.5))
    return {section.subject: section for section in sections}


def of(section: Section, check: str) -> list[Finding]:
    """Return what one *check* found."""
    return [one for one in section.findings if one.check == check]


def test_every_subject_is_looked_at(
    flask_bridge: Bridge, signal: Signal, tmp_path: Path
) -> None:
    """Settings, broker, workers and store, in that order."""
    flask_bridge.async_receiver(signal, name="bill")(print)

    sections = examined(app_with(flask_bridge, tmp_path))

    assert list(sections) == ["settings", "broker", "workers", "store"]
    assert sections["settings"].wrong() == set()
    assert sections["broker"].wrong() == {"broker-version"}
    assert sections["workers"].wrong() == {"workers-answer"}
    assert sections["store"].wrong() == set()


def test_workers_are_not_asked_by_a_broker_that_is_not_there(
    flask_bridge: Bridge, tmp_path: Path
) -> None:
    """Who cannot be asked is not called absent."""
    sections = examined(app_with(flask_bridge, tmp_path, broker_url=CLOSED))

    assert sections["broker"].wrong() == {"broker-reachable"}
    [finding] = sections["workers"].findings
    assert (finding.check, finding.status) == ("workers-answer", SKIPPED)


def test_app_without_receivers_is_told(flask_bridge: Bridge, tmp_path: Path) -> None:
    """Its modules may not have been imported."""
    sections = examined(app_with(flask_bridge, tmp_path))

    [finding] = of(sections["settings"], "receivers")
    assert finding.status is NOTE


def test_receiver_without_a_queue_is_wrong(
    flask_bridge: Bridge, signal: Signal, tmp_path: Path
) -> None:
    """Celery would refuse to send to it."""
    app = app_with(flask_bridge, tmp_path, task_create_missing_queues=False)
    flask_bridge.async_receiver(signal, name="bill", queue="nowhere")(print)

    sections = examined(app)

    [finding] = of(sections["settings"], "receivers")
    assert (finding.status, finding.about) == (WRONG, ("bill",))
    assert sections["workers"].wrong() == {"workers-answer"}


def test_transient_messages_are_found(
    flask_bridge: Bridge, signal: Signal, tmp_path: Path
) -> None:
    """Of those receivers that ask for them."""
    flask_bridge.async_receiver(signal, name="bill", delivery_mode=1)(print)
    flask_bridge.async_receiver(signal, name="thank")(print)

    sections = examined(app_with(flask_bridge, tmp_path))

    [finding] = of(sections["settings"], "persistent-messages")
    assert (finding.status, finding.about) == (WARNING, ("bill",))


def test_receivers_deliveries_are_known(
    flask_bridge: Bridge, signal: Signal, tmp_path: Path
) -> None:
    """Who is delivered by outbox needs a relay, and who is to run once, a session."""
    app = app_with(flask_bridge, tmp_path)
    flask_bridge.async_receiver(signal, name="bill", delivery="outbox")(print)
    flask_bridge.async_receiver(signal, name="thank", once=True)(print)
    flask_bridge.async_receiver(signal, name="greet")(print)

    sections = examined(app)

    [relay] = of(sections["store"], "relay-alive")
    assert (relay.status, relay.about) == (WRONG, ("bill",))
    sessions = of(sections["store"], "session-database")
    assert [one.about for one in sessions] == [("thank",), ("bill",)]


def test_app_whose_default_is_the_outbox_needs_a_relay(
    flask_bridge: Bridge, signal: Signal, tmp_path: Path
) -> None:
    """A receiver that names no delivery has that of the app."""
    app = app_with(flask_bridge, tmp_path)
    app.config["SIGNAL_TASKS_DELIVERY"] = "outbox"
    flask_bridge.async_receiver(signal, name="bill")(print)

    [relay] = of(examined(app)["store"], "relay-alive")

    assert relay.about == ("bill",)


@pytest.mark.parametrize(
    ("celery", "receiver", "statuses"),
    [
        ({}, {}, [OK, OK]),
        ({}, {"countdown": 2000}, [OK, OK]),
        ({"visibility_timeout": 60}, {"countdown": 60}, [WRONG, WRONG]),
        ({"visibility_timeout": 400}, {"time_limit": 300}, [OK, OK]),
        ({"visibility_timeout": 400}, {"time_limit": 400}, [OK, WRONG]),
    ],
    ids=["defaults", "countdown", "hasty", "limit", "slow"],
)
def test_worker_that_would_start_now_is_compared_with_its_broker(
    flask_bridge: Bridge,
    celery: dict[str, object],
    receiver: dict[str, Any],
    statuses: list[Status],
) -> None:
    """Our defaults fit each receiver; what the user sets may not."""
    settings = celery_settings(broker_url=CLOSED, broker_transport_options=celery)
    host = new_app(flask_bridge, CELERY=settings).extensions["signal_tasks"]
    flask_bridge.async_receiver(Signal(), name="bill", **receiver)(print)

    expected = expected_by(host)
    findings = check_waits([planned_worker(host, expected)], expected, driver="redis")

    assert [one.status for one in findings] == statuses
