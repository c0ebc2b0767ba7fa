"""The errors that the bridge raises.

::

    SignalTasksError
    +-- RegistrationError (ValueError)       a receiver or a type cannot be registered
    +-- ConfigurationError (RuntimeError)    the application is not set up for the bridge
    +-- DispatchError                        an event could not leave
    |   +-- EncodeError (TypeError)          a value cannot travel
    |   +-- HopLimitError (RecursionError)   handlers kept sending signals to each other
    |   +-- PublishError (ConnectionError)   the broker did not take it
    |   +-- BufferFullError                  too many events wait in memory
    +-- RefusedError                         an envelope that this worker will not run
    |   +-- MalformedEnvelopeError (ValueError)
    |   +-- UnsupportedVersionError (ValueError)
    |   +-- UnreadableMessageError (ValueError)
    |   +-- SignatureError (ValueError)
    |   +-- UnknownReceiverError (LookupError)
    |   +-- DecodeError (ValueError)
    |   +-- ArgumentsError (TypeError)
    |   +-- MissingReferenceError (LookupError)
    |   +-- TooManyDeliveriesError           its runs do not come to an end
    |   +-- CommittedError                   its handler has done its work, and failed after
    +-- StillMissingError (LookupError)      not in the database yet; tried again
    +-- StillClaimedError                    not to be handled now; tried again
    +-- LostClaimError                       somebody else has handled the event
    +-- OutOfMemoryError                     a handler had too little memory
    +-- StoreError                           the store's database did not do it
    +-- NotSentError (LookupError)           a handler asks for what did not travel
    +-- ReadOnlySessionError (TypeError)     a handler writes to a restored session

No message ever holds a value that somebody sent: payloads are people's data.
"""

from __future__ import annotations

from collections.abc import Collection


class SignalTasksError(Exception):
    """Root of every error that the bridge raises on purpose.

    It can be pickled with all its facts, for Celery takes errors from one process to
    another that way.
    """

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self.args), self.__dict__


class RegistrationError(SignalTasksError, ValueError):
    """A receiver or a type cannot be registered as asked."""


class ConfigurationError(SignalTasksError, RuntimeError):
    """The application lacks something that the bridge needs."""


class DispatchError(SignalTasksError):
    """An event could not be turned into messages and handed to the broker.

    Args:
        message: What happened and what to do next.
        receiver: Name of the receiver concerned; None when it is not one alone.
    """

    def __init__(self, message: str, *, receiver: str | None = None) -> None:
        super().__init__(message)
        self.receiver = receiver

    def __str__(self) -> str:
        message = super().__str__()
        return f"receiver {self.receiver}: {message}" if self.receiver else message


class EncodeError(DispatchError, TypeError):
    """A value cannot travel: no tag is registered for its type, or it is too deep.

    Args:
        path: Where the value stands, such as ``kwargs['order'].items[2]``.
        type_name: The full name of its type.
        reason: What is wrong and how to mend it.
        receiver: Name of the receiver that it was meant for, where known.
    """

    def __init__(
        self, *, path: str, type_name: str, reason: str, receiver: str | None = None
    ) -> None:
        super().__init__(
            f"cannot encode {path} ({type_name}): {reason}", receiver=receiver
        )
        self.path = path
        self.type_name = type_name
        self.reason = reason


class HopLimitError(DispatchError, RecursionError):
    """Handlers sent signals that ran handlers that sent signals, past the limit.

    Args:
        trail: The signals' names on the way here, the oldest first.
    """

    def __init__(self, trail: tuple[str, ...]) -> None:
        super().__init__(
            f"not dispatched, for it is {len(trail) - 1} hops from the first signal: "
            f"{' -> '.join(trail)}. Break the loop in the handlers of these signals, "
            "or raise the limit: SIGNAL_TASKS_MAX_HOPS, or Bridge(max_hops=...)."
        )
        self.trail = trail


class PublishError(DispatchError, ConnectionError):
    """Messages did not leave: the broker did not take them, or they cannot be made.

    After a timeout the broker may have taken a message all the same, so whoever
    publishes again has to publish the same envelopes, with the same event id.

    Args:
        message: What happened and what to do next.
        receivers: Names of the receivers whose messages did not leave.
        unsent: Those of them that the broker did not take, and may take later.
        events: The identifier and the receiver of each message that did not leave;
            where left out, none has left for any of *receivers*.
        is_outage: Whether the broker failed; else it works, and wants none of these.
    """

    def __init__(
        self,
        message: str,
        *,
        receivers: tuple[str, ...],
        unsent: tuple[str, ...] = (),
        events: Collection[tuple[str, str]] | None = None,
        is_outage: bool = True,
    ) -> None:
        super().__init__(message)
        self.receivers = receivers
        self.unsent = unsent
        self.events = events
        self.is_outage = is_outage

    def holds_back(self, event_id: str, receiver: str) -> bool:
        """Tell whether the message of an event for *receiver* did not leave."""
        if self.events is None:
            return receiver in self.receivers
        return (event_id, receiver) in self.events

    def leaves_unsent(self, event_id: str, receiver: str) -> bool:
        """Tell whether it did not leave, and is worth sending again later."""
        return receiver in self.unsent and self.holds_back(event_id, receiver)


class BufferFullError(DispatchError):
    """An event was dropped, for too many wait in memory to be published.

    Args:
        size: How many events may wait.
    """

    def __init__(self, size: int) -> None:
        super().__init__(
            f"dropped, for {size} events wait to be published already. Is the broker "
            "slow? Raise SIGNAL_TASKS_BUFFER_SIZE, or set SIGNAL_TASKS_BUFFER_FULL to "
            "'direct' to publish in the request instead."
        )
        self.size = size


class RefusedError(SignalTasksError):
    """An envelope that this worker will not run, now or when it is tried again.

    Args:
        message: What happened and what to do next.
        receiver: Name of the receiver that the envelope is for, where known.
    """

    def __init__(self, message: str, *, receiver: str | None = None) -> None:
        super().__init__(message)
        self.receiver = receiver

    is_verdict: bool = False
    """Whether a worker has refused an envelope with it; a handler may raise one too."""


class MalformedEnvelopeError(RefusedError, ValueError):
    """The message is no envelope of ours, or it is cut off or altered."""


class UnsupportedVersionError(RefusedError, ValueError):
    """The envelope was written in a wire version that this code does not read.

    Args:
        version: The version that the envelope names.
        supported: The versions that this code reads.
    """

    def __init__(self, version: int, *, supported: tuple[int, ...]) -> None:
        known = ", ".join(map(str, supported))
        super().__init__(
            f"the envelope has wire version {version}, and this worker reads {known}. "
            "Upgrade signal-tasks in the worker before you upgrade it in the senders."
        )
        self.version = version
        self.supported = supported


class UnreadableMessageError(RefusedError, ValueError):
    """Something in a queue is no message of Celery's, or its body cannot be read."""


class SignatureError(RefusedError, ValueError):
    """The envelope's signature does not verify with any key of this worker."""


class UnknownReceiverError(RefusedError, LookupError):
    """No handler is registered here under the name that the envelope asks for."""


class DecodeError(RefusedError, ValueError):
    """A payload cannot be turned back into what was sent.

    Args:
        path: Where the value stands, such as ``kwargs['order'].items[2]``.
        tag: Name of the tag concerned, where it is one.
        reason: What is wrong and how to mend it.
    """

    def __init__(self, *, path: str, tag: str | None, reason: str) -> None:
        of = f" (tag {tag!r})" if tag else ""
        super().__init__(f"cannot decode {path}{of}: {reason}")
        self.path = path
        self.tag = tag
        self.reason = reason


class ArgumentsError(RefusedError, TypeError):
    """The handler cannot be called with the arguments that the event carries."""


class MissingReferenceError(RefusedError, LookupError):
    """Something that the event refers to is gone from the database.

    Args:
        type_names: Full names of the classes of what is gone.
        receiver: Name of the receiver.
    """

    def __init__(self, type_names: tuple[str, ...], *, receiver: str) -> None:
        super().__init__(
            f"the database no longer has the {', '.join(type_names)} that the event "
            "refers to. If that is to be expected, say what to do: async_receiver(..., "
            "missing='discard'), 'none', 'retry' or 'tombstone'.",
            receiver=receiver,
        )
        self.type_names = type_names


class TooManyDeliveriesError(RefusedError):
    """The broker has handed a message out too often, and no run of it has ended.

    Args:
        count: How often it was handed out again.
        receiver: Name of the receiver.
    """

    def __init__(self, count: int, *, receiver: str) -> None:
        super().__init__(
            f"its message came back {count} times, as its runs did not end. Does the "
            "handler kill its process, or take all memory? If workers or brokers were "
            "restarted as often, replay it; or raise SIGNAL_TASKS_MAX_DELIVERIES.",
            receiver=receiver,
        )
        self.count = count


class StillMissingError(SignalTasksError, LookupError):
    """Something that the event refers to is not in the database yet; try again."""


class CommittedError(RefusedError):
    """A handler with ``once=True`` has committed its work and failed after that.

    Args:
        error_name: Name of the class of what it raised.
        receiver: Name of the receiver.
    """

    def __init__(self, error_name: str, *, receiver: str) -> None:
        super().__init__(
            f"the handler raised {error_name} after it had committed, so it is not run "
            "again: once=True takes the first commit for the work. Let the handler "
            "commit last, and do what may fail before.",
            receiver=receiver,
        )
        self.error_name = error_name


class StillClaimedError(SignalTasksError):
    """An event is not to be handled now, and may be later.

    Args:
        message: What happened.
        seconds: After how long it may be tried again.
    """

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class OutOfMemoryError(SignalTasksError):
    """A handler had too little memory; for Celery, in place of its ``MemoryError``.

    Args:
        receiver: Name of the receiver.
    """

    def __init__(self, *, receiver: str) -> None:
        super().__init__(f"the handler of {receiver} raised a MemoryError.")
        self.receiver = receiver


class LostClaimError(SignalTasksError):
    """Another worker has handled the event, so this one's work must not be committed.

    It comes out of the session's ``commit()`` in a handler with ``once=True``. Let it
    pass: the transaction is rolled back, and nothing was done twice.

    Args:
        receiver: Name of the receiver.
    """

    def __init__(self, *, receiver: str) -> None:
        super().__init__(
            f"not committed, for another worker has handled the event for {receiver}."
        )
        self.receiver = receiver


class StoreError(SignalTasksError):
    """The store's database cannot be reached, or did not do what it was asked."""


class NotSentError(SignalTasksError, LookupError):
    """A handler asks for something that was there and did not travel."""


class ReadOnlySessionError(SignalTasksError, TypeError):
    """A handler in a worker writes to the session, which would reach nobody."""


def _restored(
    cls: type[SignalTasksError], args: tuple[object, ...]
) -> SignalTasksError:
    """Make an error of what was pickled; its constructor would want its facts."""
    error = cls.__new__(cls)
    error.args = args
    return error
