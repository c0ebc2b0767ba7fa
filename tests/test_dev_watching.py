"""Tests of the notice that code has changed, with real files."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from signal_tasks.dev.watching import Changes, watch_code, watching
from signal_tasks.exceptions import ConfigurationError


def test_changed_code_is_noticed_and_other_files_are_not(tmp_path: Path) -> None:
    """A written Python file is a change; data and byte code beside it are none."""
    changes: SimpleQueue[Changes] = SimpleQueue()
    beat = tmp_path / "beat.py"

    with watching(watch_code([tmp_path]), on_change=changes.put, on_error=pytest.fail):
        while changes.empty():  # the watch may need longer to begin than we do
            (tmp_path / "data.sqlite").touch()
            (tmp_path / "beat.pyc").touch()
            beat.write_text("x = 1\n")
            time.sleep(0.1)

    assert changes.get() == {str(beat)}


def test_missing_watcher_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without watchfiles the error names the extra and the way without it."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)

    with pytest.raises(ConfigurationError) as caught:
        watch_code([Path()])

    assert "pip install 'signal-tasks[dev]'" in str(caught.value)
    assert "--no-reload" in str(caught.value)


def test_watch_that_breaks_is_reported(tmp_path: Path) -> None:
    """An error of the watch, such as a folder that is gone, reaches the listener."""
    errors: SimpleQueue[Exception] = SimpleQueue()
    watch = watch_code([tmp_path / "gone"])

    with watching(watch, on_change=pytest.fail, on_error=errors.put):
        error = errors.get(timeout=20)

    assert isinstance(error, FileNotFoundError)


def test_watch_ends_with_its_block() -> None:
    """The thread that follows a watch is gone after the block."""

    def watch(stop: threading.Event) -> Iterator[Changes]:
        yield frozenset({"a.py"})
        stop.wait()

    changes: SimpleQueue[Changes] = SimpleQueue()
    before = threading.active_count()

    with watching(watch, on_change=changes.put, on_error=pytest.fail):
        assert changes.get(timeout=20) == {"a.py"}

    assert threading.active_count() == before
