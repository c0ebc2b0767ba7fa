"""Values that each process has for itself."""

from __future__ import annotations

import os

from signal_tasks.per_process import PerProcess


def test_value_is_made_once() -> None:
    """A process that asks again gets the same."""
    values = PerProcess(object)

    assert values.own is values.own


def test_threads_that_are_first_share_a_value() -> None:
    """What one thread has begun to use is not replaced by another one's."""
    others: list[object] = []

    def make() -> object:
        if not others:
            others.append(None)
            others.append(values.own)
        return object()

    values = PerProcess(make)

    assert values.own is others[1]


def test_forked_child_has_its_own() -> None:
    """What the parent has is not the child's."""
    values: PerProcess[list[int]] = PerProcess(list)
    values.own.append(1)
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(writing, str(values.own).encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reading, 100) == b"[]"
    os.close(reading)
    os.close(writing)
