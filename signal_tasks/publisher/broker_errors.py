"""What a broker's failure is about, and what to do about it."""

from __future__ import annotations

from typing import Final

from kombu import exceptions

#: What kombu may have made of another error; the second one came with kombu 5.7.
WRAPPERS: Final[tuple[type[Exception], ...]] = (
    exceptions.OperationalError,
    getattr(exceptions, "BatchPublishError", exceptions.OperationalError),
)

_DEFAULT: Final = (
    "Is it running, and is broker_url right? For development, `flask signal-tasks dev` "
    "brings its own."
)
_LOGIN: Final = "It refused the login: put the right user and password into broker_url."
_MEMORY: Final = (
    "It has no memory left for more messages. Start more workers, or give it more memory "
    "(Redis: maxmemory)."
)
_REPLICA: Final = (
    "It is a replica, which takes no writes. Let broker_url name the primary server, or "
    "use Sentinel."
)
_LOADING: Final = "It is busy, with loading its data or with a script, and soon back."
_DISK: Final = "It cannot write to its disk, and so takes no messages. See its log."
QUEUE_ADVICE: Final = (
    "It refused the queue or the message. Compare the queue that is there with what "
    "task_queues and the receiver's options make of it, and see the broker's log."
)

_ALARM: Final = (
    "It has blocked publishers, for its memory or its disk is full: see its log. Start more "
    "workers, or give it more of both."
)
_CROWDED: Final = (
    "It works, but too many threads send at once for this process. Give it fewer threads, "
    "or more time: SIGNAL_TASKS_PUBLISH_TIMEOUT."
)

#: By the class of the error, which need not be imported for that.
_ADVICE_BY_CLASS: Final = {
    "AuthenticationError": _LOGIN,
    "AuthorizationError": _LOGIN,
    "BlockedError": _ALARM,
    "CrowdedError": _CROWDED,
    "OutOfMemoryError": _MEMORY,
    "ReadOnlyError": _REPLICA,
    "BusyLoadingError": _LOADING,
    "MasterDownError": _REPLICA,
    "ClusterDownError": _DEFAULT,
}
#: By the first word of Redis's reply, for which redis-py has no class.
_ADVICE_BY_WORD: Final = {
    "OOM": _MEMORY,
    "BUSY": _LOADING,
    "MISCONF": _DISK,
    "NOREPLICAS": _REPLICA,
}


def cause_of(error: Exception) -> Exception:
    """Return what is behind *error*, which kombu may have made its own of."""
    if isinstance(error, WRAPPERS) and isinstance(error.__cause__, Exception):
        return error.__cause__
    return error


def is_of_the_broker(cause: Exception) -> bool:
    """Tell whether *cause*, the reply to a message, would be that to any other, too."""
    return _advice(cause) is not None


def advice_for(cause: Exception) -> str:
    """Return what to do about a broker that failed with *cause*."""
    if type(cause).__name__ == "AccessRefused":  # of RabbitMQ, also for a queue
        return _LOGIN
    return _advice(cause) or _DEFAULT


def _advice(cause: Exception) -> str | None:
    for base in type(cause).__mro__:
        if base.__name__ in _ADVICE_BY_CLASS:
            return _ADVICE_BY_CLASS[base.__name__]
    return _ADVICE_BY_WORD.get(str(cause).partition(" ")[0])
