"""The bridge's errors, as values that travel."""

from __future__ import annotations

import pickle

import pytest

from signal_tasks.exceptions import (
    DecodeError,
    EncodeError,
    HopLimitError,
    PublishError,
    SignalTasksError,
    UnknownReceiverError,
    UnsupportedVersionError,
)


@pytest.mark.parametrize(
    "error",
    [
        SignalTasksError("what happened"),
        EncodeError(path="kwargs['x']", type_name="X", reason="why", receiver="shop.x"),
        HopLimitError(("one", "two")),
        PublishError("what happened", receivers=("shop.x",)),
        UnsupportedVersionError(2, supported=(1,)),
        UnknownReceiverError("what happened", receiver="shop.x"),
        DecodeError(path="kwargs['x']", tag=None, reason="why"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_keeps_its_facts_when_pickled(error: SignalTasksError) -> None:
    """An error that Celery takes to another process says there what it said here."""
    restored = pickle.loads(pickle.dumps(error))

    assert type(restored) is type(error)
    assert str(restored) == str(error)
    assert vars(restored) == vars(error)
