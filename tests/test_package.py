"""What ``import signal_tasks`` gives, and what it does not do."""

from __future__ import annotations

import subprocess
import sys

import pytest

import signal_tasks

OBSERVED_IMPORT = """
import os, socket, sys, threading

before = set(threading.enumerate())
seen = []
watched = {"socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen"}
sys.addaudithook(lambda event, args: event in watched and seen.append(event))
environment = dict(os.environ)

import signal_tasks
import signal_tasks.worker

assert not seen, seen
assert "sqlalchemy" not in sys.modules  # it takes longer to import than we do
assert set(threading.enumerate()) == before
assert dict(os.environ) == environment

import celery._state, logging
assert celery._state.default_app is None
assert not celery._state._apps
assert not logging.getLogger("signal_tasks").handlers

from celery.signals import import_modules, task_unknown
assert not import_modules.receivers
assert not task_unknown.receivers
"""


def test_public_names_are_sorted() -> None:
    """The list of public names is in order, so that each has one place."""
    assert signal_tasks.__all__ == sorted(signal_tasks.__all__)


@pytest.mark.parametrize("name", signal_tasks.__all__)
def test_public_name_is_there(name: str) -> None:
    """Each public name can be imported."""
    assert getattr(signal_tasks, name) is not None


@pytest.mark.parametrize("name", signal_tasks.__all__)
def test_public_name_is_documented(name: str) -> None:
    """Each public name says what it is for."""
    assert getattr(signal_tasks, name).__doc__


def test_every_error_is_public() -> None:
    """Whoever catches one of our errors can import its class from the package."""
    errors = {
        name
        for name, one in vars(signal_tasks.exceptions).items()
        if isinstance(one, type) and issubclass(one, signal_tasks.SignalTasksError)
    }

    assert errors <= set(signal_tasks.__all__)


def test_import_does_nothing_observable() -> None:
    """No thread, connection, process, setting or Celery app comes of an import."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OBSERVED_IMPORT],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
