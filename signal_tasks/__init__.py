"""Run blinker and Flask signal receivers in Celery workers."""

from .bridge import Bridge, async_receiver, register_type
from .event import Event, current_event
from .exceptions import (
    ArgumentsError,
    ConfigurationError,
    DecodeError,
    DispatchError,
    EncodeError,
    HopLimitError,
    MalformedEnvelopeError,
    PublishError,
    RefusedError,
    RegistrationError,
    SignalTasksError,
    SignatureError,
    UnknownReceiverError,
    UnsupportedVersionError,
)
from .flask import SignalTasks
from .signals import dispatch_failed, envelope_refused, event_published

__all__ = [
    "ArgumentsError",
    "Bridge",
    "ConfigurationError",
    "DecodeError",
    "DispatchError",
    "EncodeError",
    "Event",
    "HopLimitError",
    "MalformedEnvelopeError",
    "PublishError",
    "RefusedError",
    "RegistrationError",
    "SignalTasks",
    "SignalTasksError",
    "SignatureError",
    "UnknownReceiverError",
    "UnsupportedVersionError",
    "async_receiver",
    "current_event",
    "dispatch_failed",
    "envelope_refused",
    "event_published",
    "register_type",
]
