"""What the configuration of this process promises, and where it contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from .findings import Finding, Status, listed

_PICKLE: Final = frozenset({"pickle", "application/x-python-serialize"})

_key = partial(Finding, check="secret-key")
_pickle = partial(Finding, check="pickle")
_eager = partial(Finding, check="eager")
_persistence = partial(Finding, check="persistent-messages")


def check_key(fingerprints: Sequence[str]) -> Iterator[Finding]:
    """Tell whether envelopes are signed."""
    if fingerprints:
        yield _key(status=Status.OK, found="envelopes are signed.")
    else:
        yield _key(
            status=Status.WRONG,
            found="there is no SECRET_KEY: whoever can write to the broker can run a "
            "handler.",
            mend="Set app.config['SECRET_KEY'], the same for web and worker.",
        )


def accepts_pickle(conf: Mapping[str, Any]) -> bool:
    """Tell whether Celery's settings *conf* let a message be unpickled."""
    accepted = conf.get("accept_content") or ()
    return not _PICKLE.isdisjoint(map(str, accepted))


def check_pickle(conf: Mapping[str, Any]) -> Iterator[Finding]:
    """Tell whether messages can run code by being read."""
    if accepts_pickle(conf):
        yield _pickle(
            status=Status.WRONG,
            found="accept_content has pickle: whoever can write to the broker can run any "
            "code in a worker.",
            mend="Set accept_content to ['json'] in app.config['CELERY'].",
        )
    else:
        yield _pickle(status=Status.OK, found="nothing is unpickled.")


def check_eager(conf: Mapping[str, Any]) -> Iterator[Finding]:
    """Tell whether handlers run where their signals are sent."""
    if conf.get("task_always_eager"):
        yield _eager(
            status=Status.WARNING,
            found="task_always_eager is on: handlers run inside send(), and no worker gets "
            "anything.",
            mend="Remove it outside tests.",
        )


def check_persistence(modes: Mapping[str, object]) -> Iterator[Finding]:
    """Tell which receivers ask for messages that RabbitMQ keeps in memory alone."""
    transient = sorted(
        name for name, mode in modes.items() if mode in (1, "1", "transient")
    )
    if transient:
        yield _persistence(
            status=Status.WARNING,
            found=f"messages for {listed(transient)} are not persistent: a restart of "
            "RabbitMQ loses them.",
            mend="Remove delivery_mode=1, or task_default_delivery_mode.",
            about=tuple(transient),
        )
