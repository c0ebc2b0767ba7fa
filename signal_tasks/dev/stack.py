"""The broker, the worker and the web server of one Flask app, run side by side."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from kombu import Connection
from kombu.pidbox import Mailbox

from signal_tasks.exceptions import ConfigurationError

from .broker import start_broker
from .processes import Child, Children, Command, OnLine, ignore_line
from .servers import Broker, free_port

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """What to run, and how.

    .. versionadded:: 0.1
    """

    app: str | None = None
    """The Flask app, written as for ``flask --app``. None leaves it to ``FLASK_APP``
    and to Flask's own search."""

    host: str = "127.0.0.1"

    port: int = 5000
    """Where the web server listens; 0 finds a free port."""

    broker_url: str | None = None
    """A broker that runs already; None starts one."""

    data_dir: Path | None = None
    """Where a started broker keeps its messages when it ends; None keeps none."""

    concurrency: int = 2
    """How many tasks the worker runs at a time."""

    is_debug: bool = False
    """Whether Flask runs in debug mode and the web server reloads changed code. The
    process that serves is then a child of :attr:`Stack.web_pid`."""

    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables on top of our own, for the worker and the web server."""

    cwd: Path | None = None
    """Where the worker and the web server run; None is where we do."""

    grace_seconds: float = 30.0
    """How long running tasks may take to finish when the worker has to end."""


class Stack:
    """A running broker, worker and web server.

    Args:
        settings: What was asked for.
        children: Where the processes are started.
        broker: Answers already.
        port: Where the web server is to listen.

    .. versionadded:: 0.1
    """

    def __init__(
        self, settings: StackSettings, children: Children, *, broker: Broker, port: int
    ) -> None:
        self.broker = broker
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.url = f"http://{host}:{port}"
        self._settings = settings
        self._children = children
        self._port = port
        self._node = f"dev-{os.getpid()}-{port}@{socket.gethostname()}"
        self.worker = self.start_worker()
        self.web = self.start_web()

    @classmethod
    def start(cls, settings: StackSettings, children: Children) -> Self:
        """Start everything among *children*, the broker first.

        Raises:
            ConfigurationError: The port is taken, or there is no broker.
        """
        port = _port_for_web(settings)
        broker = start_broker(children, settings.broker_url, data_dir=settings.data_dir)
        return cls(settings, children, broker=broker, port=port)

    @property
    def web_pid(self) -> int:
        """The web server's process."""
        return self.web.pid

    @property
    def worker_pid(self) -> int:
        """The worker's main process; tasks run in children of it."""
        return self.worker.pid

    def start_worker(self) -> Child:
        """Start the worker, in place of one that has ended."""
        self.worker = self._children.start(
            Command(
                name="worker",
                arguments=[
                    *(sys.executable, "-m", "celery", "--quiet"),
                    *("-A", "signal_tasks.worker", "worker", "--loglevel", "INFO"),
                    *("--concurrency", str(self._settings.concurrency)),
                    *("--hostname", self._node),
                    # Asking other workers costs a second at each start.
                    *("--without-gossip", "--without-mingle"),
                ],
                environment=self._environment(),
                cwd=self._settings.cwd,
                grace_seconds=self._settings.grace_seconds,
                # Celery's cold shutdown gives back what it has only reserved.
                cold_signal=signal.SIGQUIT,
            )
        )
        return self.worker

    def start_web(self) -> Child:
        """Start the web server, in place of one that has ended."""
        reload = "--reload" if self._settings.is_debug else "--no-reload"
        self.web = self._children.start(
            Command(
                name="web",
                arguments=[
                    *(sys.executable, "-m", "flask", "run", reload),
                    *("--host", self._settings.host, "--port", str(self._port)),
                ],
                environment=self._environment(),
                cwd=self._settings.cwd,
            )
        )
        return self.web

    def await_ready(self, timeout_seconds: float) -> None:
        """Wait until the web server listens and the worker takes tasks.

        Raises:
            ConfigurationError: One of them ended, or it took longer.
        """
        deadline = time.monotonic() + timeout_seconds
        self._await(self.web, self._web_listens, deadline)
        self._await(self.worker, self._worker_answers, deadline)

    def stop(self, hurry: threading.Event | None = None) -> None:
        """End the web server, then the worker; the broker ends with the children.

        Args:
            hurry: Ends the worker without its running tasks once it is set.
        """
        self.web.stop(hurry)
        self.worker.stop(hurry)

    def _environment(self) -> Mapping[str, str]:
        ours = {
            "CELERY_BROKER_URL": self.broker.url,
            "PYTHONUNBUFFERED": "1",
            # Celery would take our SIGTERM for a cold shutdown if this said SIGQUIT.
            "REMAP_SIGTERM": "",
        }
        if self._settings.app is not None:
            ours["FLASK_APP"] = self._settings.app
        if self._settings.is_debug:
            ours["FLASK_DEBUG"] = "1"
        return {**os.environ, **self._settings.environment, **ours}

    def _await(
        self, child: Child, is_ready: Callable[[], bool], deadline: float
    ) -> None:
        while not is_ready():
            if child.exit_code is not None:
                child.stop()
                raise _not_ready(child, f"ended with exit code {child.exit_code}")
            if time.monotonic() > deadline:
                raise _not_ready(child, "did not answer in time")
            time.sleep(0.05)

    def _web_listens(self) -> bool:
        try:
            socket.create_connection((self._settings.host, self._port), 1).close()
        except OSError:
            return False
        return True

    def _worker_answers(self) -> bool:
        """Ask the worker over the broker, as ``celery inspect ping`` does."""
        with Connection(self.broker.url) as connection:
            mailbox = Mailbox("celery", type="fanout", connection=connection)
            return bool(mailbox.call([self._node], "ping", timeout=1))


@contextmanager
def running_stack(
    settings: StackSettings,
    *,
    on_line: OnLine = ignore_line,
    ready_seconds: float = 60.0,
) -> Generator[Stack]:
    """Give a stack that is ready, and end it with the ``with`` block.

    The web server ends first, then the worker, once its running tasks have finished,
    then the broker.

    Args:
        settings: What to run.
        on_line: Is given the name of a process and a line of its output, in a thread.
        ready_seconds: How long it may take until everything is ready.

    Raises:
        ConfigurationError: Something cannot be started; the end of its output says why.

    .. versionadded:: 0.1
    """
    with Children(on_line=on_line) as children:
        stack = Stack.start(settings, children)
        stack.await_ready(ready_seconds)
        yield stack


def _port_for_web(settings: StackSettings) -> int:
    try:
        return free_port(settings.host, settings.port)
    except OSError as error:
        raise ConfigurationError(
            f"the web server cannot listen on {settings.host}:{settings.port} "
            f"({error.strerror}). End what listens there, or choose another --port."
        ) from error


def _not_ready(child: Child, what: str) -> ConfigurationError:
    output: Sequence[str] = child.last_lines
    return ConfigurationError(
        f"the {child.name} process {what}. It wrote last:\n  " + "\n  ".join(output)
    )
