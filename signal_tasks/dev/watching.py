"""The notice that the code has changed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from signal_tasks.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

Changes = frozenset[str]
"""The paths of the files that were changed together."""

Watch = Callable[[threading.Event], Iterator[Changes]]
"""Yields the changes as they come, until the event that it is given is set."""


def watch_code(folders: Iterable[Path]) -> Watch:
    """Return a watch over the Python files in *folders*, the virtual environment's not.

    Raises:
        ConfigurationError: The package that watches is not installed.
    """
    try:
        import watchfiles  # noqa: PLC0415  (of the extra "dev")
    except ImportError as error:
        raise ConfigurationError(
            "the code cannot be watched, for watchfiles is not installed. Install it "
            "with pip install 'signal-tasks[dev]', or use --no-reload."
        ) from error
    is_virtual = sys.prefix != sys.base_prefix
    code = watchfiles.PythonFilter(ignore_paths=[sys.prefix] if is_virtual else [])

    def watch(stop: threading.Event) -> Iterator[Changes]:
        for changes in watchfiles.watch(
            *folders, watch_filter=code, stop_event=stop, raise_interrupt=False
        ):
            yield frozenset(path for _, path in changes)

    return watch


@contextmanager
def watching(
    watch: Watch,
    *,
    on_change: Callable[[Changes], None],
    on_error: Callable[[Exception], None],
) -> Generator[None]:
    """Follow *watch* in a thread for as long as the ``with`` block lasts.

    Args:
        watch: What to follow.
        on_change: Is given each set of changes.
        on_error: Is told when the watch broke, after which nothing more is noticed.
    """
    stop = threading.Event()

    def follow() -> None:
        try:
            for changes in watch(stop):
                on_change(changes)
        except (OSError, RuntimeError) as error:  # such as too many watched files
            on_error(error)

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join()
