"""What an app's settings say, and what is wrong with the others."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from signal_tasks import Bridge, ConfigurationError, SignalTasks
from signal_tasks.delivery.deliveries import BufferSettings
from signal_tasks.flask.settings import Settings


def settings(**config: object) -> Settings:
    """Return the settings of an app so configured."""
    app = Flask("shop")
    app.config.from_mapping(config)
    return Settings(app)


def test_everything_has_a_default() -> None:
    """An app that sets nothing has what the reference says."""
    defaults = settings()

    assert not defaults.raises
    assert defaults.max_hops == 8
    assert defaults.publish_timeout_seconds == 0.5
    assert defaults.delivery == "direct"
    assert defaults.buffer == BufferSettings(size=10_000, when_full="direct")
    assert not defaults.drops_on_exception
    assert defaults.resubmit_after_seconds == 300
    assert defaults.max_deliveries == 5
    assert defaults.keep_keys_days == 7
    assert defaults.has_relay_in_worker
    assert defaults.warms_up


@pytest.mark.parametrize(
    ("setting", "value", "name", "read"),
    [
        ("SIGNAL_TASKS_DELIVERY", "outbox", "delivery", "outbox"),
        ("SIGNAL_TASKS_ON_EXCEPTION", "drop", "drops_on_exception", True),
        ("SIGNAL_TASKS_ON_EXCEPTION", "publish", "drops_on_exception", False),
        ("SIGNAL_TASKS_RESUBMIT_AFTER", "2.5", "resubmit_after_seconds", 2.5),
        ("SIGNAL_TASKS_MAX_DELIVERIES", 9, "max_deliveries", 9),
        ("SIGNAL_TASKS_KEEP_KEYS", 0.5, "keep_keys_days", 0.5),
        ("SIGNAL_TASKS_RELAY_IN_WORKER", False, "has_relay_in_worker", False),
        ("SIGNAL_TASKS_RELAY_IN_WORKER", True, "has_relay_in_worker", True),
        ("SIGNAL_TASKS_WARM_UP", False, "warms_up", False),
        ("SIGNAL_TASKS_WARM_UP", True, "warms_up", True),
    ],
)
def test_setting_is_read(setting: str, value: object, name: str, read: object) -> None:
    """What is configured counts."""
    assert getattr(settings(**{setting: value}), name) == read


def test_buffer_has_two_settings() -> None:
    """How much may wait, and what happens to the rest."""
    both: dict[str, Any] = {
        "SIGNAL_TASKS_BUFFER_SIZE": 3,
        "SIGNAL_TASKS_BUFFER_FULL": "drop",
    }

    assert settings(**both).buffer == BufferSettings(size=3, when_full="drop")


@pytest.mark.parametrize(
    ("setting", "value", "mend"),
    [
        ("SIGNAL_TASKS_DELIVERY", "later", "'direct' or 'request' or"),
        ("SIGNAL_TASKS_ON_EXCEPTION", True, "'publish' or 'drop'"),
        ("SIGNAL_TASKS_BUFFER_SIZE", 0, "a number of at least 1"),
        ("SIGNAL_TASKS_BUFFER_FULL", "wait", "'direct' or 'drop'"),
        ("SIGNAL_TASKS_RESUBMIT_AFTER", "soon", "a number of at least 0.1"),
        ("SIGNAL_TASKS_MAX_DELIVERIES", 0, "a number of at least 1"),
        ("SIGNAL_TASKS_KEEP_KEYS", -1, "a number of at least 0.001"),
        ("SIGNAL_TASKS_RELAY_IN_WORKER", "no", "True or False"),
        ("SIGNAL_TASKS_WARM_UP", 1, "True or False"),
    ],
)
def test_wrong_setting_ends_the_start(setting: str, value: object, mend: str) -> None:
    """A wrong setting is found while the app is set up, and says what to write."""
    app = Flask("shop")
    app.config[setting] = value

    with pytest.raises(ConfigurationError, match=f"{setting} is .*{mend}"):
        SignalTasks(app, bridge=Bridge())
