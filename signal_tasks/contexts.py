"""What the worker restores around a handler: named contexts, captured where it was sent.

Out: the contexts that a receiver asks for become encoded values of the envelope. In:
those values become context managers, entered in the order in which their contexts were
registered, whatever the order in which a receiver asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from .codec import Codec
from .exceptions import (
    ConfigurationError,
    DecodeError,
    EncodeError,
    RegistrationError,
    SignalTasksError,
)
from .references import current_lookup
from .typing import JSONValue, Keys, Wanted, named_items, names_in


class Capture(Protocol):
    """Reads a context where the signal is sent."""

    def __call__(self, keys: Keys, /) -> object:
        """Return something that travels, from which ``restore`` makes the context."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A part of the sender's surroundings that a worker can restore."""

    name: str
    capture: Capture
    restore: Callable[[Any], AbstractContextManager[object]]

    needs: tuple[str, ...] = ()
    """Contexts that have to be restored with it."""


def as_a_whole(capture: Callable[[], object]) -> Capture:
    """Let *capture*, which knows no keys, read a context."""

    def capture_all(keys: Keys) -> object:
        if keys is not None:
            raise ConfigurationError(
                "it has no keys to choose from. Ask for it as a whole: by its name, or "
                "with True instead of keys."
            )
        return capture()

    return capture_all


class Contexts:
    """The contexts of one bridge, in the order in which they are restored.

    Those of a framework come first, so that those of the user's find it restored.

    Args:
        codec: Encodes what they capture.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._contexts: dict[str, Context] = {}

    def add(self, context: Context) -> None:
        """Let receivers ask for *context*; a later one of its name replaces it."""
        self._contexts = {**self._contexts, context.name: context}

    def add_first(self, contexts: Iterable[Context]) -> None:
        """Let receivers ask for *contexts*, which are restored in order, before others.

        One that is there already stays.
        """
        first = {context.name: context for context in contexts}
        self._contexts = {**first, **self._contexts}

    def capture(self, wanted: Wanted) -> dict[str, JSONValue]:
        """Capture and encode the contexts in *wanted*.

        Raises:
            EncodeError: One is unknown, cannot be captured here or cannot travel.
        """
        complete = dict(wanted)
        for name, _ in wanted:
            for needed in self._known_here(name).needs:
                complete.setdefault(needed, None)
        return {name: self._captured(name, keys) for name, keys in complete.items()}

    def restored(
        self, encoded: Mapping[str, JSONValue]
    ) -> AbstractContextManager[None]:
        """Enter the contexts in *encoded* while the block runs.

        Raises:
            DecodeError: One is unknown here, or cannot be decoded.
        """
        return self._entered(encoded) if encoded else nullcontext()

    @contextmanager
    def _entered(self, encoded: Mapping[str, JSONValue]) -> Generator[None]:
        for name in encoded:
            if name not in self._contexts:
                raise DecodeError(
                    path=_path(name),
                    tag=None,
                    reason="no such context is registered in this worker. Register it "
                    "there too, with signal_tasks.context(name, capture, restore).",
                )
        captured = {
            name: self._codec.decode(encoded[name], path=_path(name))
            for name in self._contexts
            if name in encoded
        }
        with ExitStack() as stack:
            # Where something is missing, no handler will run that could tell.
            if current_lookup().is_complete:
                for name, value in captured.items():
                    stack.enter_context(self._contexts[name].restore(value))
            yield

    def _known_here(self, name: str) -> Context:
        context = self._contexts.get(name)
        if context is None:
            raise EncodeError(
                path=_path(name),
                type_name="unknown",
                reason="no such context is registered; there are "
                f"{', '.join(self._contexts) or 'none'}. Register it with "
                "signal_tasks.context(name, capture, restore).",
            )
        return context

    def _captured(self, name: str, keys: Keys) -> JSONValue:
        try:
            captured = self._known_here(name).capture(keys)
        except Exception as error:
            reason = (
                str(error)
                if isinstance(error, SignalTasksError)
                else f"capturing it raised {type(error).__name__}. Is the signal sent "
                "inside such a context? See the cause of this error."
            )
            raise EncodeError(
                path=_path(name), type_name="unknown", reason=reason
            ) from error
        return self._codec.encode(captured, path=_path(name))


def wanted_contexts(context: object) -> Wanted:
    """Read the ``context`` option of a receiver.

    Raises:
        RegistrationError: It is neither names nor a mapping of names to keys.
    """
    names = names_in(context)
    if names is not None:
        return tuple((name, None) for name in names)
    items = named_items(context)
    if items is not None:
        return tuple((name, _keys(keys)) for name, keys in items.items())
    raise RegistrationError(
        "context= takes names, such as ('request', 'session'), or a dict that says "
        "which keys of each, such as {'session': ('user_id',)}."
    )


def _keys(keys: object) -> Keys:
    names = names_in(keys)
    if names is None and keys is not True:
        raise RegistrationError(
            "context= takes a tuple of keys for each context, or True for all of them."
        )
    return names


def _path(name: str) -> str:
    return f"context[{name!r}]"
