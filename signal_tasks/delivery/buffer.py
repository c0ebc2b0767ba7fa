"""The delivery ``buffered``: a thread of the process publishes, some events at a time.

In: events, which wait in memory: envelopes, or what makes them. Out: their envelopes, in
order, to a publisher. What waits when the process is killed is lost; at an orderly end
it is published.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from ..envelope import Envelope
from ..exceptions import BufferFullError
from ..host import Publisher
from ..per_process import PerProcess
from .announcing import BATCH_SIZE, events_of, failure_of, tell_failure

_logger = logging.getLogger(__name__)

WhenFull = Literal["direct", "drop"]

# How long the thread lets events come together: they cost less the more leave at once,
# and a thread that wakes for each takes the interpreter from the requests.
_LINGER_SECONDS = 0.01

# To wake a thread that sleeps costs a send ten times what all the rest does. So it
# looks again by itself, until nothing has come for this long.
_AWAKE_SECONDS = 1.0

# After how long one that sleeps asks whether its buffer is still there.
_SLEEP_SECONDS = 1.0


class _Waiting:
    """What waits in one process, and the thread that publishes it."""

    __slots__ = ("events", "is_awake", "publishing", "starting", "thread", "wake")

    def __init__(self) -> None:
        self.events: deque[Callable[[], Sequence[Envelope]]] = deque()
        self.wake = threading.Event()
        self.is_awake = False
        """Whether the thread will look by itself at what there is."""
        self.publishing = threading.Lock()
        self.starting = threading.Lock()
        self.thread: threading.Thread | None = None


class Buffer:
    """Keeps events in memory for a thread to publish.

    Args:
        publisher: Gets their envelopes, in the thread; it raises nothing.
        direct: Gets those that find the buffer full, where *when_full* is ``direct``.
        application: Whose events they are.
        size: How many events may wait.
        when_full: What happens to others: published at once, or dropped and reported.
    """

    def __init__(
        self,
        publisher: Publisher,
        *,
        direct: Publisher,
        application: object,
        size: int,
        when_full: WhenFull,
    ) -> None:
        self._publisher = publisher
        self._direct = direct
        self._application = application
        self._size = size
        self._when_full = when_full
        # What a forked child inherits, its parent publishes.
        self._waiting = PerProcess(_Waiting)
        # Through a reference that keeps nothing alive, for apps come and go in tests.
        atexit.register(_flush, weakref.ref(self))

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Let *envelopes* wait for the thread.

        Raises:
            SignalTasksError: The buffer is full, and publishing them at once failed.
        """
        self.put(lambda: envelopes)

    def put(self, make: Callable[[], Sequence[Envelope]]) -> None:
        """Let an event wait for the thread, in which *make* makes its envelopes.

        Args:
            make: Raises nothing.

        Raises:
            SignalTasksError: The buffer is full, and publishing it at once failed.
        """
        waiting = self._waiting.own
        if len(waiting.events) >= self._size:
            self._overflow(make())
            return
        waiting.events.append(make)
        if not waiting.is_awake:
            waiting.wake.set()
            if waiting.thread is None:
                self._start(waiting)

    def flush(self) -> None:
        """Publish what waits, in the calling thread."""
        waiting = self._waiting.own
        with waiting.publishing:
            while batch := _take(waiting.events):
                self._publisher.publish(batch)

    def _overflow(self, envelopes: Sequence[Envelope]) -> None:
        if self._when_full == "direct":
            self._direct.publish(envelopes)
            return
        error = BufferFullError(self._size)
        for event in events_of(envelopes):
            tell_failure(self._application, failure_of(event, error))

    def _start(self, waiting: _Waiting) -> None:
        with waiting.starting:
            if waiting.thread is None:  # pragma: no branch  # two threads may be first
                waiting.thread = self._started(waiting)

    def _started(self, waiting: _Waiting) -> threading.Thread | None:
        """Return a thread; where none can be had, publish what waits."""
        arguments = weakref.ref(self), waiting
        thread = threading.Thread(target=_work, args=arguments, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there are too many, or the interpreter is about to end
            self.flush()
            return None
        return thread


def _take(events: deque[Callable[[], Sequence[Envelope]]]) -> Sequence[Envelope]:
    """Return envelopes of some events; a publisher makes less of one that is alone."""
    batch: list[Envelope] = []
    while events and len(batch) < BATCH_SIZE:
        envelopes = events.popleft()()
        if not (batch or events):
            return envelopes
        batch += envelopes
    return batch


def _work(reference: weakref.ref[Buffer], waiting: _Waiting) -> None:
    """Publish what comes, as long as there is a buffer that it may come to."""
    while reference() is not None:
        if waiting.wake.wait(timeout=_SLEEP_SECONDS):
            waiting.is_awake = True
            waiting.wake.clear()
            _look_again_and_again(reference, waiting)


def _look_again_and_again(reference: weakref.ref[Buffer], waiting: _Waiting) -> None:
    """Publish what comes, until nothing has come for a while."""
    last = time.monotonic()
    while reference() is not None and time.monotonic() < last + _AWAKE_SECONDS:
        time.sleep(_LINGER_SECONDS)
        if waiting.events:
            last = time.monotonic()
            _flush(reference)
    waiting.is_awake = False
    # What came meanwhile has not set it.
    if waiting.events:
        waiting.wake.set()


def _flush(reference: weakref.ref[Buffer]) -> None:
    buffer = reference()
    if buffer is None:
        return
    try:
        buffer.flush()
    except Exception:
        _logger.exception("buffered events are lost. The traceback says by what.")
