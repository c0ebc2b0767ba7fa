"""Capturing contexts where a signal is sent, and restoring them around a handler."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest

from signal_tasks import ConfigurationError, DecodeError, EncodeError, RegistrationError
from signal_tasks.codec import Codec
from signal_tasks.contexts import Context, Contexts, as_a_whole, wanted_contexts
from signal_tasks.typing import Keys

SECRET = "4111-1111-1111-1111"


class Diary:
    """Notes what is entered and left."""

    def __init__(self) -> None:
        self.lines: list[object] = []

    def context(
        self,
        name: str,
        *,
        capture: Callable[[Keys], object] = lambda keys: keys,
        needs: tuple[str, ...] = (),
    ) -> Context:
        """Make a context that notes what it restores."""

        @contextmanager
        def restore(captured: object) -> Generator[None]:
            self.lines.append((name, captured))
            yield
            self.lines.append(f"left {name}")

        return Context(name=name, capture=capture, restore=restore, needs=needs)


@pytest.fixture
def contexts() -> Contexts:
    """Return contexts without any."""
    return Contexts(Codec())


@pytest.fixture
def diary() -> Diary:
    """Return a diary."""
    return Diary()


def fail(_: object) -> Any:
    """Fail as a user's function may."""
    raise LookupError(SECRET)


def refuse(_: object) -> Any:
    """Refuse as one of ours does."""
    raise ConfigurationError("the app has no such thing. Set it up.")


def test_captured_values_come_back(contexts: Contexts, diary: Diary) -> None:
    """What a context captures travels with its types, and is restored from that."""
    contexts.add(diary.context("tenant", capture=lambda _: ("north", {1})))

    with contexts.restored(contexts.capture((("tenant", None),))):
        diary.lines.append("handled")

    assert diary.lines == [("tenant", ("north", {1})), "handled", "left tenant"]


def test_capture_gets_the_keys(contexts: Contexts, diary: Diary) -> None:
    """A context is told which keys the receiver names."""
    contexts.add(diary.context("tenant"))

    captured = contexts.capture((("tenant", ("id", "name")),))

    assert captured == {"tenant": {"~tuple": ["id", "name"]}}


def test_only_what_is_asked_for_is_captured(contexts: Contexts, diary: Diary) -> None:
    """A context that no receiver asks for is not even looked at."""
    contexts.add(diary.context("tenant", capture=fail))

    assert contexts.capture(()) == {}


def test_only_what_was_captured_is_restored(contexts: Contexts, diary: Diary) -> None:
    """A context that was not asked for is not entered."""
    contexts.add(diary.context("tenant"))
    contexts.add(diary.context("shop"))

    with contexts.restored({"shop": None}):
        entered = diary.lines[:]

    assert entered == [("shop", None)]


def test_contexts_are_restored_in_the_order_of_registration(
    contexts: Contexts, diary: Diary
) -> None:
    """The order in which a receiver asks for them is of no account."""
    contexts.add(diary.context("outer"))
    contexts.add(diary.context("inner"))

    with contexts.restored(contexts.capture((("inner", None), ("outer", None)))):
        pass

    assert diary.lines == [
        *(("outer", None), ("inner", None)),
        *("left inner", "left outer"),
    ]


def test_contexts_of_a_framework_come_before_those_that_were_there(
    contexts: Contexts, diary: Diary
) -> None:
    """A context registered before the app is set up finds the app's restored."""
    contexts.add(diary.context("tenant"))
    contexts.add_first([diary.context("session"), diary.context("request")])
    contexts.add_first([diary.context("session"), diary.context("request")])

    wanted = (("tenant", None), ("request", None), ("session", None))
    with contexts.restored(contexts.capture(wanted)):
        entered = [name for name, _ in diary.lines]  # type: ignore[misc, has-type]

    assert entered == ["session", "request", "tenant"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_context_of_the_user_replaces_one_of_ours(
    contexts: Contexts, diary: Diary, when: str
) -> None:
    """Whether it is registered before or after ours, the user's of the same name wins."""
    user = diary.context("user", capture=lambda _: "theirs")
    if when == "before":
        contexts.add(user)
    contexts.add_first([diary.context("user", capture=lambda _: "ours")])
    if when == "after":
        contexts.add(user)

    assert contexts.capture((("user", None),)) == {"user": "theirs"}


def test_needed_contexts_come_along(contexts: Contexts, diary: Diary) -> None:
    """What a context cannot be restored without is captured too, as a whole."""
    contexts.add(diary.context("session", needs=("request",)))
    contexts.add(diary.context("request", capture=lambda keys: [keys]))

    assert contexts.capture((("session", ("id",)),)) == {
        "session": {"~tuple": ["id"]},
        "request": [None],
    }


def test_needed_context_keeps_the_keys_that_were_named(
    contexts: Contexts, diary: Diary
) -> None:
    """To need a context does not widen what the receiver asked of it."""
    contexts.add(diary.context("session", needs=("request",)))
    contexts.add(diary.context("request", capture=list))

    wanted = (("session", None), ("request", ("form",)))
    assert contexts.capture(wanted)["request"] == ["form"]


@pytest.mark.parametrize(
    ("names", "there_are"), [((), "none"), (("g", "user"), "g, user")]
)
def test_unknown_context_is_an_error_where_it_is_sent(
    contexts: Contexts, diary: Diary, names: tuple[str, ...], there_are: str
) -> None:
    """The error names the context, those that there are, and how to add one."""
    for name in names:
        contexts.add(diary.context(name))

    with pytest.raises(
        EncodeError, match=f"there are {there_are}. Register it"
    ) as caught:
        contexts.capture((("sesion", None),))

    assert caught.value.path == "context['sesion']"


def test_capture_that_fails_is_named(contexts: Contexts, diary: Diary) -> None:
    """What a user's capture raises is the cause of an error that shows none of it."""
    contexts.add(diary.context("tenant", capture=fail))

    with pytest.raises(EncodeError, match="raised LookupError") as caught:
        contexts.capture((("tenant", None),))

    assert caught.value.path == "context['tenant']"
    assert isinstance(caught.value.__cause__, LookupError)
    assert SECRET not in str(caught.value)


def test_error_of_ours_is_told_in_its_words(contexts: Contexts, diary: Diary) -> None:
    """An error that says what to do is not hidden behind another."""
    contexts.add(diary.context("user", capture=refuse))

    with pytest.raises(EncodeError, match="no such thing"):
        contexts.capture((("user", None),))


def test_context_without_keys_is_captured_as_a_whole(
    contexts: Contexts, diary: Diary
) -> None:
    """Where there is nothing to choose from, naming keys is an error, not ignored."""
    contexts.add(diary.context("tenant", capture=as_a_whole(lambda: "north")))

    assert contexts.capture((("tenant", None),)) == {"tenant": "north"}
    with pytest.raises(EncodeError, match="has no keys to choose from"):
        contexts.capture((("tenant", ("id",)),))


def test_captured_value_has_to_travel(contexts: Contexts, diary: Diary) -> None:
    """What a capture returns is encoded like any value, and its place is named."""
    contexts.add(diary.context("tenant", capture=lambda _: [object()]))

    with pytest.raises(EncodeError, match=r"context\['tenant'\]\[0\]"):
        contexts.capture((("tenant", None),))


def test_context_that_a_worker_lacks_is_refused(
    contexts: Contexts, diary: Diary
) -> None:
    """A handler never runs without a context that its receiver asked for."""
    contexts.add(diary.context("tenant"))

    with pytest.raises(DecodeError, match="in this worker") as caught:
        ExitStack().enter_context(contexts.restored({"tenant": None, "shop": None}))

    assert caught.value.path == "context['shop']"
    assert diary.lines == []


def test_context_that_cannot_be_decoded_is_refused(
    contexts: Contexts, diary: Diary
) -> None:
    """A tag that this worker does not know is an error that names the context."""
    contexts.add(diary.context("tenant"))

    with pytest.raises(DecodeError, match=r"context\['tenant'\]"):
        ExitStack().enter_context(contexts.restored({"tenant": {"~gone": 1}}))


def test_restore_that_fails_leaves_what_was_entered(
    contexts: Contexts, diary: Diary
) -> None:
    """The error goes on as it is, after the outer contexts were left."""
    contexts.add(
        Context(name="outer", capture=lambda _: 1, restore=leaving(diary.lines))
    )
    contexts.add(Context(name="inner", capture=lambda _: 1, restore=fail))

    with pytest.raises(LookupError):
        ExitStack().enter_context(
            contexts.restored(contexts.capture((("outer", None), ("inner", None))))
        )

    assert diary.lines == ["left"]


def leaving(lines: list[object]) -> Callable[[object], AbstractContextManager[None]]:
    """Return a way to restore that notes being left, also by an error."""

    @contextmanager
    def restore(_: object) -> Generator[None]:
        try:
            yield
        finally:
            lines.append("left")

    return restore


@pytest.mark.parametrize(
    ("context", "wanted"),
    [
        ((), ()),
        ({}, ()),
        (("request", "g"), (("request", None), ("g", None))),
        (["g"], (("g", None),)),
        ({"g": True, "session": ["id"]}, (("g", None), ("session", ("id",)))),
        ({"session": ()}, (("session", ()),)),
    ],
    ids=["none", "no keys", "names", "list", "keys", "no key"],
)
def test_option_is_names_or_keys(context: object, wanted: object) -> None:
    """The option takes a sequence of names, or which keys of each."""
    assert wanted_contexts(context) == wanted


@pytest.mark.parametrize(
    "context",
    [
        *("request", 7, None, True, ("request", 7), {"request": "form"}, {7: True}),
        *({"g": False}, {"g": None}, {"g": (7,)}),
    ],
    ids=repr,
)
def test_anything_else_is_refused_at_once(context: object) -> None:
    """A text, which is a sequence of letters, is the usual mistake."""
    with pytest.raises(RegistrationError, match="context= takes"):
        wanted_contexts(context)
