"""Run a command, and run it again when Python files change: reload.py FOLDER... -- COMMAND.

The command is always asked to end by SIGTERM, and then has all the time it wants: a
Celery worker finishes its tasks. (watchfiles' own command line would kill it after
five seconds when the container stops.) A command that ends by itself, because of a
mistake in the code for instance, is run again after the next change.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from threading import Event

from watchfiles import PythonFilter, watch


def main(folders: list[str], command: list[str]) -> None:
    """Keep *command* running until this process is told to end."""
    is_over = Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    signal.signal(signal.SIGINT, lambda *_: is_over.set())
    changes = watch(*folders, watch_filter=PythonFilter(), stop_event=is_over)
    while not is_over.is_set():
        with subprocess.Popen(command) as process:  # noqa: S603  (it is our purpose)
            next(changes, None)
            process.terminate()


if __name__ == "__main__":
    dashes = sys.argv.index("--")
    main(sys.argv[1:dashes], sys.argv[dashes + 1 :])
