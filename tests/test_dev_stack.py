"""Tests of what a stack asks for and of what it says when that is not to be had."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from signal_tasks.dev.processes import Child, Children, Command
from signal_tasks.dev.servers import Broker
from signal_tasks.dev.stack import Stack, StackSettings, running_stack
from signal_tasks.exceptions import ConfigurationError


class RecordingChildren(Children):
    """Children of which only the commands are real."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: dict[str, Command] = {}

    def start(self, command: Command) -> Child:
        """Keep *command* and run something short in its place."""
        self.commands[command.name] = command
        return super().start(Command(name=command.name, arguments=["true"]))


def commands_of(**settings: Any) -> dict[str, Command]:
    """Return the commands of a stack with *settings* and a broker that is given."""
    with RecordingChildren() as children:
        broker = Broker(url="redis://:hunter2@localhost:6380/0", kind="given")
        Stack(StackSettings(**settings), children, broker=broker, port=5001)
        return children.commands


def environment_of(command: Command) -> Mapping[str, str]:
    """Return the environment that *command* sets."""
    assert command.environment is not None
    return command.environment


@pytest.mark.parametrize("name", ["worker", "web"])
def test_processes_learn_the_broker_and_the_app(name: str) -> None:
    """Both processes find the broker's URL and the app in their environment."""
    command = commands_of(app="shop:create_app", environment={"SHOP": "1"})[name]

    environment = environment_of(command)
    assert environment["CELERY_BROKER_URL"] == "redis://:hunter2@localhost:6380/0"
    assert environment["FLASK_APP"] == "shop:create_app"
    assert environment["SHOP"] == "1"
    assert environment["PYTHONUNBUFFERED"] == "1"
    assert "hunter2" not in " ".join(command.arguments)


def test_app_that_is_not_named_is_left_to_flask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without an app the processes search as the flask command does."""
    monkeypatch.delenv("FLASK_APP", raising=False)

    command = commands_of()["worker"]

    assert "FLASK_APP" not in environment_of(command)


def test_termination_stays_a_warm_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A REMAP_SIGTERM around us does not turn our SIGTERM into a cold shutdown."""
    monkeypatch.setenv("REMAP_SIGTERM", "SIGQUIT")

    command = commands_of()["worker"]

    assert environment_of(command)["REMAP_SIGTERM"] == ""


@pytest.mark.parametrize(
    ("is_debug", "option", "debug"),
    [(True, "--reload", "1"), (False, "--no-reload", None)],
    ids=["debug", "plain"],
)
def test_debug_mode_reloads_the_web_server(
    monkeypatch: pytest.MonkeyPatch, is_debug: bool, option: str, debug: str | None
) -> None:
    """Flask's own reloader runs in debug mode and not otherwise."""
    monkeypatch.delenv("FLASK_DEBUG", raising=False)

    command = commands_of(is_debug=is_debug)["web"]

    assert option in command.arguments
    assert environment_of(command).get("FLASK_DEBUG") == debug


def test_options_reach_the_processes(tmp_path: Path) -> None:
    """Concurrency, grace, host, port and folder are in the commands."""
    commands = commands_of(
        host="127.0.0.2", concurrency=3, grace_seconds=4.5, cwd=tmp_path
    )

    worker, web = commands["worker"], commands["web"]
    assert worker.arguments[worker.arguments.index("--concurrency") + 1] == "3"
    assert worker.grace_seconds == 4.5
    assert web.arguments[-4:] == ["--host", "127.0.0.2", "--port", "5001"]
    assert worker.cwd == web.cwd == tmp_path


@pytest.mark.parametrize(
    ("host", "url"),
    [("localhost", "http://localhost:5001"), ("::1", "http://[::1]:5001")],
)
def test_url_is_one_that_a_browser_reads(host: str, url: str) -> None:
    """An address of IPv6 stands in brackets."""
    with RecordingChildren() as children:
        broker = Broker(url="redis://localhost", kind="given")

        stack = Stack(StackSettings(host=host), children, broker=broker, port=5001)

    assert stack.url == url


def test_taken_port_is_refused_before_anything_starts() -> None:
    """The error names the address and the option."""
    with socket.create_server(("127.0.0.1", 0)) as listener, Children() as children:
        port = listener.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}") as caught:
            Stack.start(StackSettings(port=port), children)

    assert "--port" in str(caught.value)


class Idle(Stack):
    """A stack whose processes do nothing, for as long as they are let."""

    def start_worker(self) -> Child:
        return self._children.start(self.idle("worker"))

    def start_web(self) -> Child:
        return self._children.start(self.idle("web"))

    @staticmethod
    def idle(name: str) -> Command:
        code = "import time; print('hm', flush=True); time.sleep(60)"
        return Command(name=name, arguments=[sys.executable, "-c", code])


def test_process_that_never_answers_is_an_error() -> None:
    """Waiting ends at its limit, and the error quotes the process."""
    with Children() as children:
        broker = Broker(url="redis://localhost", kind="given")
        stack = Idle(StackSettings(), children, broker=broker, port=1)
        while not stack.web.last_lines:
            time.sleep(0.01)

        with pytest.raises(
            ConfigurationError, match="web process did not answer"
        ) as caught:
            stack.await_ready(0.2)

    assert str(caught.value).endswith("It wrote last:\n  hm")


def test_stack_of_an_app_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A web server that ends is an error that holds its last words."""
    settings = StackSettings(app="no_such_app", port=0, cwd=tmp_path)

    with (
        ExitStack() as stack,
        pytest.raises(ConfigurationError, match=r"exit code [12]") as caught,
    ):
        stack.enter_context(running_stack(settings))

    assert "no_such_app" in str(caught.value)
