"""The development session: one terminal, one Ctrl-C, code that is picked up."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from .processes import Child, Children
from .stack import Stack, StackSettings
from .watching import Changes, Watch, watching

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

    from .console import Console


class Supervisor:
    """Runs a stack until somebody asks for its end.

    Everything that happens comes as an event into one queue, and one loop decides.
    With a watch, a changed file restarts the worker, and whatever ends by itself is
    started again after the next change; without, it ends the session.

    Args:
        settings: What to run.
        console: Where the processes' output and our own words go.
        watch: Notices changed code; None restarts nothing.
        start: Starts the stack among the children that it is given.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        settings: StackSettings,
        console: Console,
        *,
        watch: Watch | None,
        start: Callable[[StackSettings, Children], Stack] = Stack.start,
    ) -> None:
        self._start = start
        self._settings = settings
        self._console = console
        self._watch = watch
        self._events: SimpleQueue[Child | Changes | signal.Signals] = SimpleQueue()
        self._is_asked = False
        self._hurry = threading.Event()

    def run(self) -> int:
        """Run the session and return its exit code.

        Must be called in the main thread, for it handles the signals SIGINT (twice
        for "at once"), SIGTERM and SIGHUP meanwhile.

        Raises:
            ConfigurationError: Nothing was started, because it could not run.
        """
        with (
            self._handling_signals(),
            Children(on_line=self._console.line, on_exit=self._events.put) as children,
            self._watching(),
        ):
            stack = self._start(self._settings, children)
            self._introduce(stack)
            exit_code = self._attend(stack)
            self._end(stack)
        self._say("everything has ended.")
        return exit_code

    def _introduce(self, stack: Stack) -> None:
        broker = stack.broker
        self._say(f"web     {stack.url}")
        self._say(f"worker  {self._settings.concurrency} tasks at a time")
        self._say(f"broker  {broker.kind} at {broker.masked_url}")
        if self._watch is not None:
            self._say("Changed code is picked up by itself.")
        self._say("Ctrl-C ends everything.")

    def _attend(self, stack: Stack) -> int:
        while True:
            match self._events.get():
                case signal.Signals():
                    return 0
                case Child() as child:
                    if self._is_the_end(stack, child):
                        return 1
                case changes:
                    self._renew(stack, changes)

    def _is_the_end(self, stack: Stack, child: Child) -> bool:
        if child.pid not in {stack.web_pid, stack.worker_pid, stack.broker.pid}:
            return False
        if child.is_asked_to_end:
            stack.start_worker()
            return False

        self._say(f"the {child.name} process ended by itself, {_how(child)}.")
        if self._watch is None or child.pid == stack.broker.pid:
            return True
        self._say("It is started again when the code changes.")
        return False

    def _renew(self, stack: Stack, changes: Changes) -> None:
        names = ", ".join(sorted({Path(path).name for path in changes}))
        if stack.web.exit_code is not None:
            self._say(f"{names} changed: the web server is started again.")
            stack.start_web()

        if stack.worker.exit_code is not None:
            self._say(f"{names} changed: the worker is started again.")
            stack.start_worker()
        elif not stack.worker.is_asked_to_end:
            self._say(f"{names} changed: the worker restarts after its running tasks.")
            stack.worker.ask_to_end()
            # The loop must stay free to hear a Ctrl-C meanwhile.
            threading.Thread(
                target=stack.worker.stop, args=(self._hurry,), daemon=True
            ).start()

    def _end(self, stack: Stack) -> None:
        self._say(
            f"ending. Running tasks may take {self._settings.grace_seconds:g} s to "
            "finish; Ctrl-C again ends them at once."
        )
        self._is_asked = True
        stack.stop(self._hurry)

    @contextmanager
    def _handling_signals(self) -> Generator[None]:
        # Whoever started us with nohup wants us to outlive the terminal.
        ends = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            ends.append(signal.SIGHUP)
        previous = {end: signal.signal(end, self._on_signal) for end in ends}
        try:
            yield
        finally:
            for end, handler in previous.items():
                signal.signal(end, handler)

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        # A closing terminal sends SIGHUP twice, which is no sign of impatience.
        if self._is_asked and signum == signal.SIGINT:
            self._hurry.set()
        self._is_asked = True
        self._events.put(signal.Signals(signum))

    @contextmanager
    def _watching(self) -> Generator[None]:
        if self._watch is None:
            yield
            return
        with watching(
            self._watch, on_change=self._events.put, on_error=self._on_watch_error
        ):
            yield

    def _on_watch_error(self, error: Exception) -> None:
        self._say(f"changed code is not noticed any more ({error}): start me again.")

    def _say(self, text: str) -> None:
        self._console.line("dev", text)


def _how(child: Child) -> str:
    code = child.exit_code
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"with exit code {code}"
