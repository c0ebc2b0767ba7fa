"""Run blinker and Flask signal receivers in Celery workers."""

from .bridge import Bridge, async_receiver, context, register_type
from .event import Event, current_event
from .exceptions import (
    ArgumentsError,
    ConfigurationError,
    DecodeError,
    DispatchError,
    EncodeError,
    HopLimitError,
    MalformedEnvelopeError,
    MissingReferenceError,
    NotSentError,
    PublishError,
    ReadOnlySessionError,
    RefusedError,
    RegistrationError,
    SignalTasksError,
    SignatureError,
    StillMissingError,
    StoreError,
    UnknownReceiverError,
    UnsupportedVersionError,
)
from .flask import SignalTasks
from .g_context import RestoredContextWarning
from .references import Tombstone
from .send_async import in_thread
from .signals import (
    dead_letter_kept,
    dispatch_failed,
    envelope_refused,
    event_discarded,
    event_published,
    handler_finished,
)
from .snapshots import ExceptionSnapshot, ResponseSnapshot, TemplateSnapshot

__all__ = [
    "ArgumentsError",
    "Bridge",
    "ConfigurationError",
    "DecodeError",
    "DispatchError",
    "EncodeError",
    "Event",
    "ExceptionSnapshot",
    "HopLimitError",
    "MalformedEnvelopeError",
    "MissingReferenceError",
    "NotSentError",
    "PublishError",
    "ReadOnlySessionError",
    "RefusedError",
    "RegistrationError",
    "ResponseSnapshot",
    "RestoredContextWarning",
    "SignalTasks",
    "SignalTasksError",
    "SignatureError",
    "StillMissingError",
    "StoreError",
    "TemplateSnapshot",
    "Tombstone",
    "UnknownReceiverError",
    "UnsupportedVersionError",
    "async_receiver",
    "context",
    "current_event",
    "dead_letter_kept",
    "dispatch_failed",
    "envelope_refused",
    "event_discarded",
    "event_published",
    "handler_finished",
    "in_thread",
    "register_type",
]
