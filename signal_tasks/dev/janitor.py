"""The process that ends the others when the one that started them was killed.

Our children live in sessions of their own, so that a terminal's Ctrl-C does not reach
them before we decide about it. The price is that nothing would end them after a
``kill -9`` of ours, and no server knows an option to end with its parent. This file is
therefore run as a script with a pipe as its standard input: the kernel closes the pipe
when the other end dies, however it dies.

It needs nothing but the standard library, so it starts within a few milliseconds and
stays small. In come lines ``watch PID`` and ``forget PID``; on their end it ends what is
still watched, the last one first.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

GRACE_SECONDS = 5.0
"""How long a process may take to end by itself before its group is killed.

A Celery worker takes all of it, for it cannot write its farewell any more.
"""


def read_watched(lines: Iterable[str]) -> list[int]:
    """Return the processes still watched when *lines* end, in the order they came."""
    watched: list[int] = []
    for line in lines:
        verb, pid = line.split()
        if verb == "watch":
            watched.append(int(pid))
        else:
            watched.remove(int(pid))
    return watched


def end_group(leader: int, *, grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask *leader* to end, wait for it, then kill what is left of its group."""
    with suppress(ProcessLookupError):
        os.kill(leader, signal.SIGTERM)

    deadline = time.monotonic() + grace_seconds
    while _exists(leader) and time.monotonic() < deadline:
        time.sleep(0.05)

    # macOS answers with a PermissionError where only zombies are left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    for left_over in reversed(read_watched(sys.stdin)):
        end_group(left_over)
