"""Receivers by name: the names they get, and who may have them."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from blinker import ANY, Namespace, Signal

from signal_tasks import RegistrationError, UnknownReceiverError
from signal_tasks.registry import (
    Receiver,
    Registry,
    place_of,
    signal_name,
    unused_name,
)

MODULE = __name__


def handle(sender: object, **extra: object) -> None:
    """Stand for a user's handler."""


class Mailer:
    """Something with methods, importable by its module-level instance."""

    def welcome(self, sender: object, **extra: object) -> None:
        """Stand for a method used as a handler."""

    def __call__(self, sender: object, **extra: object) -> None:
        """Stand for an object used as a handler."""


mailer = Mailer()


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return something that looks like *function*, as a decorator does."""
    return functools.wraps(function)(lambda _sender: None)


def make_receiver(
    handler: Callable[..., Any] = handle, *, name: str = "shop.bill"
) -> Receiver:
    """Make a receiver of *handler*."""
    return Receiver(
        name=name,
        handler=handler,
        signals=(Signal(),),
        sender=ANY,
        place=place_of(handler),
    )


@pytest.fixture
def registry() -> Registry:
    """Return an empty registry."""
    return Registry()


def test_receiver_is_found_by_its_name(registry: Registry) -> None:
    """A registered receiver is got by its name."""
    receiver = make_receiver()

    registry.add(receiver)

    assert registry.get("shop.bill") is receiver


def test_unknown_name_is_an_error_that_names_it(registry: Registry) -> None:
    """A name that nobody registered is a LookupError with the name and the mend."""
    with pytest.raises(UnknownReceiverError, match="Deploy the code") as caught:
        registry.get("shop.gone")

    assert caught.value.receiver == "shop.gone"
    assert "shop.gone" in str(caught.value)


def test_registry_lists_its_receivers(registry: Registry) -> None:
    """Iterating gives the receivers in the order in which they came."""
    receivers = [make_receiver(name=name) for name in ("b", "a", "c")]
    for receiver in receivers:
        registry.add(receiver)

    assert list(registry) == receivers


def test_receiver_may_be_added_while_others_are_listed(registry: Registry) -> None:
    """Whoever lists receivers sees those of the moment at which they began."""
    registry.add(make_receiver(name="a"))

    for _ in registry:
        registry.add(make_receiver(name="b"))

    assert [one.name for one in registry] == ["a", "b"]


def test_taken_name_is_refused_with_both_places(registry: Registry) -> None:
    """Two handlers cannot have one name; the error says where they both are."""
    registry.add(make_receiver(handle))

    with pytest.raises(RegistrationError) as caught:
        registry.add(make_receiver(Mailer.welcome))

    assert place_of(handle) in str(caught.value)
    assert place_of(Mailer.welcome) in str(caught.value)
    assert "name='...'" in str(caught.value)


def test_refused_receiver_changes_nothing(registry: Registry) -> None:
    """The first handler of a name stays the one that has it."""
    first = make_receiver(handle)
    registry.add(first)

    with pytest.raises(RegistrationError):
        registry.add(make_receiver(Mailer.welcome))

    assert registry.get("shop.bill") is first


def test_same_handler_cannot_have_a_name_twice(registry: Registry) -> None:
    """A further decoration of the same function under the same name is no reload."""
    registry.add(make_receiver(handle))

    with pytest.raises(RegistrationError):
        registry.add(make_receiver(handle))


def test_handler_of_a_factory_that_runs_twice_is_refused(registry: Registry) -> None:
    """The second app of a factory with handlers inside needs a bridge of its own."""
    registry.add(make_receiver(local_function()))

    with pytest.raises(RegistrationError, match="a Bridge of its own"):
        registry.add(make_receiver(local_function()))


def test_methods_of_two_objects_cannot_have_one_name(registry: Registry) -> None:
    """The second object's method does not silently take the place of the first's."""
    registry.add(make_receiver(Mailer().welcome))

    with pytest.raises(RegistrationError):
        registry.add(make_receiver(Mailer().welcome))


def test_two_wraps_of_a_function_cannot_have_one_name(registry: Registry) -> None:
    """Neither does a second wrapper of one function replace the first."""
    registry.add(make_receiver(traced(handle)))

    with pytest.raises(RegistrationError):
        registry.add(make_receiver(traced(handle)))


@pytest.mark.parametrize(
    "source",
    [
        "def handle(sender, **extra): ...",
        "class Mailer:\n def send(self, sender): ...\n\nhandle = Mailer().send",
    ],
    ids=["function", "method"],
)
def test_reloaded_handler_replaces_itself(
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
) -> None:
    """After a module's reload its handlers are the new ones, under the same names."""
    (tmp_path / "reloaded_shop.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("reloaded_shop")
    former = make_receiver(module.handle)
    registry.add(former)

    importlib.reload(module)
    reloaded = make_receiver(module.handle)
    replaced = registry.add(reloaded)
    del sys.modules["reloaded_shop"]

    assert replaced is former
    assert registry.get("shop.bill") is reloaded


def test_first_receiver_of_a_name_replaces_nobody(registry: Registry) -> None:
    """Adding under a free name replaces no receiver."""
    assert registry.add(make_receiver()) is None


def test_receivers_are_found_by_their_handler(registry: Registry) -> None:
    """A handler that was decorated twice has two receivers."""
    ours = [make_receiver(handle, name=name) for name in ("a", "b")]
    for receiver in (*ours, make_receiver(Mailer.welcome, name="c")):
        registry.add(receiver)

    assert registry.of(handle) == tuple(ours)


def test_method_is_found_though_it_is_made_anew(registry: Registry) -> None:
    """Each access to a method makes a new object, and it is the same handler."""
    registry.add(make_receiver(mailer.welcome))

    assert len(registry.of(mailer.welcome)) == 1
    assert registry.of(Mailer().welcome) == ()


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (handle, "handle"),
        (mailer.welcome, "Mailer.welcome"),
        (traced(handle), "handle"),
        (Mailer, "Mailer"),
    ],
    ids=["function", "method", "wrapped", "class"],
)
def test_name_is_module_and_qualname(
    registry: Registry, handler: Callable[..., Any], name: str
) -> None:
    """A handler that can be imported is called as it would be imported."""
    assert unused_name(registry, handler, Signal()) == f"{MODULE}.{name}"


def local_function() -> Callable[..., Any]:
    """Return a function that no other process finds."""

    def local(sender: object) -> None:
        """Stand for a handler declared inside a function."""

    return local


def local_method() -> Callable[..., Any]:
    """Return a method of a class that no other process finds."""

    class Local:
        def method(self, sender: object) -> None:
            """Stand for a method of a local class."""

    return Local().method


NAMELESS = {
    "closure": local_function(),
    "local method": local_method(),
    "lambda": lambda sender: None,
    "partial": functools.partial(handle, extra=1),
    "object": mailer,
}


@pytest.mark.parametrize("kind", NAMELESS)
def test_handler_without_a_stable_name_needs_one(registry: Registry, kind: str) -> None:
    """What a worker would not find again by itself needs a name, says the error."""
    handler = NAMELESS[kind]

    with pytest.raises(RegistrationError, match=r"name='\.\.\.'") as caught:
        unused_name(registry, handler, Signal())

    assert place_of(handler) in str(caught.value)


def test_further_decoration_adds_the_signal(registry: Registry) -> None:
    """A second receiver of the same handler is called after its signal, too."""
    first = unused_name(registry, handle, Signal())
    registry.add(make_receiver(handle, name=first))

    second = unused_name(registry, handle, Namespace().signal("paid"))

    assert second == f"{first}:paid"


def test_other_handler_of_the_same_name_is_no_further_decoration(
    registry: Registry,
) -> None:
    """A different function of the same qualname gets the plain name, which is refused."""
    first = unused_name(registry, handle, Signal())
    registry.add(make_receiver(handle, name=first))

    assert unused_name(registry, traced(handle), Signal()) == first


def test_given_name_leaves_the_plain_one_free(registry: Registry) -> None:
    """A first decoration with a name of its own does not lengthen the second's."""
    registry.add(make_receiver(handle, name="welcome"))

    assert unused_name(registry, handle, Signal()) == f"{MODULE}.handle"


@pytest.mark.parametrize(
    ("spec", "file", "expected"),
    [
        (ModuleSpec("shop.app", None), "/srv/shop/app.py", "shop.app"),
        (ModuleSpec("shop.__main__", None), "/srv/shop/__main__.py", "shop.__main__"),
        (None, "/srv/shop/app.py", "app"),
        (None, None, "__main__"),
    ],
    ids=["python -m shop.app", "python -m shop", "python app.py", "prompt"],
)
def test_started_program_is_called_as_the_worker_imports_it(
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    spec: ModuleSpec | None,
    file: str | None,
    expected: str,
) -> None:
    """A handler in the program that was started has the name that a worker gives it."""
    main = ModuleType("__main__")
    main.__spec__ = spec
    main.__file__ = file
    monkeypatch.setitem(sys.modules, "__main__", main)
    program: dict[str, Any] = {"__name__": "__main__"}
    exec("def handle(sender): ...", program)

    name = unused_name(registry, program["handle"], Signal())

    assert name == f"{expected}.handle"


@pytest.mark.parametrize(
    ("signal", "name"),
    [(Namespace().signal("paid"), "paid"), (Signal("of a doc"), "anonymous")],
    ids=["named", "anonymous"],
)
def test_signal_has_a_name_for_people(signal: Signal, name: str) -> None:
    """A signal without a name is called anonymous."""
    assert signal_name(signal) == name


def test_place_is_file_and_line() -> None:
    """A function's place is where it stands in the source, below its decorators too."""
    line = handle.__code__.co_firstlineno

    assert place_of(traced(handle)) == f"{__file__}:{line}"


@pytest.mark.parametrize(
    ("handler", "place"),
    [
        (mailer, f"{MODULE}.Mailer"),
        (functools.partial(handle), "functools.partial"),
        (print, "builtins.builtin_function_or_method"),
    ],
    ids=["object", "partial", "builtin"],
)
def test_place_of_an_object_is_its_type(
    handler: Callable[..., Any], place: str
) -> None:
    """What has no code of its own is placed by its type."""
    assert place_of(handler) == place
