"""Tests of the commands as far as they start nothing; the sessions have their own."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest
from celery import Celery
from click.testing import Result
from flask import Flask

from signal_tasks import Bridge, SignalTasks
from signal_tasks.cli.group import group


@pytest.fixture
def app() -> Flask:
    """Return an app with the commands, configured for a broker that is not there."""
    app = Flask(__name__)
    broker_url = "redis://:hunter2@127.0.0.1:1/0"
    app.extensions["celery"] = Celery(broker=broker_url, set_as_current=False)
    SignalTasks(app, bridge=Bridge())
    app.cli.add_command(group)
    return app


@pytest.fixture
def taken_port() -> Iterator[str]:
    """Return a port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


def dev(app: Flask, *options: str) -> Result:
    """Run the command ``dev`` of *app*."""
    arguments = ["signal-tasks", "dev", "--port", "0", *options]
    return app.test_cli_runner().invoke(args=arguments)


def test_help_explains_the_session(app: Flask) -> None:
    """The help names what runs and how it ends."""
    result = dev(app, "--help")

    assert result.exit_code == 0
    assert "Run broker, worker and web server" in result.output
    assert "Ctrl-C" in result.output


def test_broker_of_the_app_is_the_default(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configured broker that is not there is an error, in one line of words."""
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)

    result = dev(app)

    assert result.exit_code == 1
    assert result.output.startswith(
        "Error: no connection to the broker at 127.0.0.1:1 "
    )
    assert "hunter2" not in result.output


def test_environment_wins_over_the_app(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable that Celery reads decides before the app's configuration."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:2/0")

    result = dev(app)

    assert "the broker at 127.0.0.1:2 " in result.output


def test_option_wins_over_everything(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker on the command line is the one that is used."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:2/0")

    result = dev(app, "--broker", "redis://127.0.0.1:3/0")

    assert "the broker at 127.0.0.1:3 " in result.output


def test_embedded_broker_needs_no_configured_one(app: Flask, taken_port: str) -> None:
    """With the word for it, the broker of the app is not even asked."""
    result = dev(app, "--broker", "embedded", "--port", taken_port)

    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{taken_port}" in result.output


def test_missing_watcher_is_a_short_error(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without watchfiles the command ends in one error that names the mend."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)

    result = dev(app, "--broker", "embedded")

    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "pip install 'signal-tasks[dev]'" in result.output


@pytest.mark.parametrize(
    "options",
    [("--concurrency", "0"), ("--grace", "-1"), ("--port", "70000")],
    ids=["no tasks", "negative grace", "no such port"],
)
def test_impossible_options_are_refused(app: Flask, options: tuple[str, str]) -> None:
    """A number out of its range is a usage error."""
    result = dev(app, *options)

    assert result.exit_code == 2
    assert options[0] in result.output
