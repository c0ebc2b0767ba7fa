"""The program under test, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from blinker import Signal
from sqlalchemy import Engine, NullPool, create_engine

from signal_tasks.bridge import default_bridge
from tests.faults import program
from tests.faults.counting import Counts, count
from tests.faults.program import Base, create_app
from tests.in_memory import PATIENCE_SECONDS, Broker, celery_settings


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Return a database with the program's tables."""
    engine = create_engine(
        f"sqlite:///{tmp_path / 'program.sqlite3'}", poolclass=NullPool
    )
    Base.metadata.create_all(engine)
    return engine


@pytest.mark.parametrize(("delivery", "phantom"), [("direct", 4), ("commit", 0)])
def test_orders_are_booked(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, delivery: str, phantom: int
) -> None:
    """Of ten orders one raises and one is rolled back; what that means is the delivery's."""
    settings = {
        "SECRET_KEY": "a key",
        "SQLALCHEMY_DATABASE_URI": engine.url.render_as_string(hide_password=False),
        "DELIVERY": delivery,
        "ONCE": False,
        "SERVES": delivery == "direct",
        "SIGNAL_TASKS_PUBLISH_TIMEOUT": PATIENCE_SECONDS,
        "CELERY": celery_settings(),
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"FAULTS_{name}", json.dumps(value))
    # Each of the tests has an app, and no test is to hear another one's orders.
    monkeypatch.setattr(program, "order_placed", Signal())
    app = create_app()
    client = app.test_client()

    # The demo's receivers hear every app's signals.
    with default_bridge.disconnected():
        answers = [client.post(f"/orders/{number}") for number in range(1, 21)]
    Broker(app.extensions["celery"]).run()

    assert [answer.status_code for answer in answers].count(500) == 2
    assert all(answer.get_json()["seconds"] > 0 for answer in answers[:4])
    assert count(engine) == Counts(
        committed=16, lost=0, buried=0, doubled=0, phantom=phantom, unfinished=0
    )
