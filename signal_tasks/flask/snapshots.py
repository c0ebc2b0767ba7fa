"""Frozen copies of what cannot travel: responses, templates, exceptions.

A snapshot answers like the original as far as that is safe, and says so where it cannot.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from jinja2 import Template
from markupsafe import Markup
from werkzeug.datastructures import Headers, ImmutableMultiDict, MultiDict
from werkzeug.sansio.response import Response as BareResponse
from werkzeug.wrappers import Response

from ..codec import Codec
from ..exceptions import NotSentError
from ..forms import traceback_text_of
from ..portions import PICK_IT, ChecksHeaders, Portion, portion_of
from ..typing import named_items

_WITHHELD_HEADERS = frozenset({"set-cookie"})


def register_snapshots(codec: Codec) -> None:
    """Let *codec* carry what Flask's own signals are sent with."""
    codec.register(
        BareResponse, _encode_response, _decode_response, "response", subclasses=True
    )
    codec.register(
        Template, _encode_template, _decode_template, "template", subclasses=True
    )
    codec.register(
        TemplateSnapshot, _encode_template, _decode_template, "template-copy"
    )
    codec.register(
        BaseException,
        _encode_exception,
        _decode_exception,
        "exception",
        subclasses=True,
    )
    codec.register(Portion, _encode_portion, _decode_portion, "portion")
    codec.register(Markup, str, Markup, "markup")
    codec.register(MultiDict, _pairs, MultiDict, "multidict")
    codec.register(
        ImmutableMultiDict, _pairs, ImmutableMultiDict, "immutable-multidict"
    )


class ResponseSnapshot(BareResponse):
    """What a response said: its status and headers, and its body where that was asked.

    Everything that Werkzeug reads from headers is there: ``content_length``,
    ``mimetype``, ``location``, ``cache_control`` and so on. ``Set-Cookie`` stays behind.
    """

    headers: Headers
    is_streamed: bool
    """Whether the original made its body while it was being sent."""

    _left_out: list[str]
    _body: bytes | None = None

    @classmethod
    def of(cls, response: BareResponse, *, body: bool = False) -> Self:
        """Copy *response* without consuming it; a snapshot is its own copy.

        Call it in ``extract=`` to send the body too, which otherwise stays behind.

        Args:
            response: Any response of Flask or Werkzeug.
            body: Whether to take the body along.

        Raises:
            ValueError: The body is asked for, and it is streamed.
            NotSentError: The body of a snapshot is asked for, and it did not travel.
        """
        if isinstance(response, cls):
            if body:
                response.get_data()
            return response
        headers = [
            (name, value)
            for name, value in response.headers
            if name.lower() not in _WITHHELD_HEADERS
        ]
        length = _length(response)
        if length and "Content-Length" not in response.headers:
            headers.append(("Content-Length", str(length)))
        return cls.from_parts(
            status=response.status,
            headers=headers,
            left_out=sorted(_WITHHELD_HEADERS & set(response.headers.keys(lower=True))),
            is_streamed=bool(getattr(response, "is_streamed", False)),
            body=_body_of(response) if body else None,
        )

    @classmethod
    def from_parts(
        cls,
        *,
        status: str,
        headers: list[tuple[str, str]],
        left_out: list[str],
        is_streamed: bool,
        body: bytes | None,
    ) -> Self:
        """Make a snapshot of what :meth:`parts` gave."""
        copy = cls(status=status)
        copy.headers = _ResponseHeaders(headers, left_out)
        copy._left_out = left_out
        copy.is_streamed = is_streamed
        copy._body = body
        return copy

    def parts(self) -> dict[str, object]:
        """Return what travels of it."""
        return {
            "status": self.status,
            "headers": [list(header) for header in self.headers],
            "left_out": sorted(self._left_out),
            "is_streamed": self.is_streamed,
            "body": self._body,
        }

    def get_data(self, as_text: bool = False) -> bytes | str:
        """Return the body, where it was sent.

        Raises:
            NotSentError: It was not.
        """
        if self._body is None:
            raise NotSentError(
                "the body of the response did not travel. Ask for it where the signal is "
                "sent: extract=lambda sender, response, **extra: {'response': "
                "ResponseSnapshot.of(response, body=True)}."
            )
        return self._body.decode() if as_text else self._body

    def get_json(self, force: bool = False, silent: bool = False) -> Any:
        """Return what the body says as JSON, where it was sent; None if it is no JSON."""
        if not (force or self.is_json):
            return None
        try:
            return json.loads(self.get_data())
        except ValueError:
            if not silent:
                raise
            return None

    def calculate_content_length(self) -> int | None:
        """Return the length of the body, as far as it was known without making it."""
        return self.content_length

    data = property(get_data)
    json = property(get_json)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"a ResponseSnapshot has no {name}: only the status and headers of a response "
            "travel. Pick what you need of it with extract=."
        )


class _ResponseHeaders(ChecksHeaders, Headers):
    """The headers of the response that travelled."""

    mend = "Cookies are credentials; pick what you need of them with extract=."

    def __init__(
        self, headers: list[tuple[str, str]], left_out: Collection[str]
    ) -> None:
        super().__init__(headers)
        self.left_out = frozenset(left_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSnapshot:
    """Which template was meant; it cannot be rendered."""

    name: str | None
    filename: str | None

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"a TemplateSnapshot has no {name}: only the name and file of a template "
            "travel. To render it, call flask.render_template(template.name, ...)."
        )

    def __repr__(self) -> str:
        return f"<TemplateSnapshot {self.name!r}>"


class ExceptionSnapshot(Exception):  # noqa: N818  # it stands for any exception
    """An exception whose class is not registered; it can be raised and caught as this."""

    def __init__(self, *, type_name: str, message: str, traceback_text: str) -> None:
        super().__init__(message)
        self.type_name = type_name
        """Full name of its class."""
        self.message = message
        self.traceback_text = traceback_text
        """The traceback as Python prints it, with those of its causes."""
        # Whoever prints the exception, as a handler that logs it does, prints this too.
        self.add_note(f"As it was raised:\n{traceback_text}")

    def __reduce__(self) -> tuple[object, ...]:
        # Celery pickles what a handler raises, on its way to another process.
        return _decode_exception, (_encode_exception(self),)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"an ExceptionSnapshot has no {name}: only the type, message and traceback of "
            "an exception travel. Register its class with register_type()."
        )

    def __repr__(self) -> str:
        return f"<ExceptionSnapshot of {self.type_name}>"


def _length(response: BareResponse) -> int | None:
    """Return the length of the body in bytes, as far as it is known without making it."""
    length = response.headers.get("Content-Length", type=int)
    if length is not None or not isinstance(response, Response):
        return length
    return response.calculate_content_length() if response.is_sequence else None


def _body_of(response: BareResponse) -> bytes:
    if isinstance(response, Response) and response.is_sequence:
        return response.get_data()
    raise ValueError(
        "the body is streamed, so reading it here would take it from the client"
    )


def _encode_response(response: BareResponse) -> dict[str, object]:
    copy = response
    if not isinstance(copy, ResponseSnapshot):
        copy = ResponseSnapshot.of(response)
    return copy.parts()


def _decode_response(parts: Mapping[str, Any]) -> ResponseSnapshot:
    return ResponseSnapshot.from_parts(**parts)


def _encode_template(template: Template | TemplateSnapshot) -> list[str | None]:
    return [template.name, template.filename]


def _decode_template(parts: list[str | None]) -> TemplateSnapshot:
    name, filename = parts
    return TemplateSnapshot(name=name, filename=filename)


def _encode_exception(error: BaseException) -> dict[str, str]:
    if isinstance(error, ExceptionSnapshot):
        return {
            "type_name": error.type_name,
            "message": error.message,
            "traceback_text": error.traceback_text,
        }
    return {
        "type_name": f"{type(error).__module__}.{type(error).__qualname__}",
        "message": _message_of(error),
        "traceback_text": traceback_text_of(error),
    }


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001  # it may be anything, in the user's code
        return f"<its __str__ raised {type(failure).__name__}>"


def _decode_exception(parts: Mapping[str, str]) -> ExceptionSnapshot:
    return ExceptionSnapshot(**parts)


def _encode_portion(portion: Portion) -> dict[str, object]:
    return {
        "sent": dict(portion),
        "left_out": sorted(portion.left_out, key=str),
        "what": portion.what,
    }


def _decode_portion(parts: Mapping[str, Any]) -> Portion:
    return Portion(parts, what=parts["what"], mend=PICK_IT)


def _pairs(items: MultiDict[Any, Any]) -> list[tuple[Any, Any]]:
    return list(items.items(multi=True))


def portioned_context(
    codec: Codec, kwargs: Mapping[str, object]
) -> Mapping[str, object]:
    """Return *kwargs* of Flask's template signals with the part of the context that travels."""
    given = kwargs.get("context")
    context = given if isinstance(given, Portion) else named_items(given)
    if context is None:
        return kwargs
    portion = portion_of(context, None, codec)
    return {**kwargs, "context": Portion(portion, what="the template's context")}
