"""How errors name types and places."""

import decimal

import pytest

from signal_tasks.faults import field_step, is_showable, key_step, type_name

NAMES = ["a", "_", "order", "line-2", "line_2", "2026", "größe", "k" * 40]
DATA = ["", "-", "a b", "ann@example.org", "a.b", "a'b", "k" * 41, "\ud800", 5, None]


@pytest.mark.parametrize("key", NAMES)
def test_names_are_shown(key: str) -> None:
    """A key that reads like a name is part of the path."""
    assert is_showable(key)
    assert key_step(key, 3) == f"[{key!r}]"
    assert field_step(key, 3) == f".{key}"


@pytest.mark.parametrize("key", DATA, ids=ascii)
def test_data_is_told_by_its_position(key: object) -> None:
    """A key that may be somebody's data does not show."""
    assert not is_showable(key)
    assert key_step(key, 3) == "[<key 3>]"
    assert field_step(key, 3) == ".<field 3>"


def test_types_are_named_in_full() -> None:
    """A type's name is what one would import, a built-in type's just its own."""
    assert type_name(decimal.Decimal) == "decimal.Decimal"
    assert type_name(int) == "int"
    assert type_name(type(lambda: None)) == "function"
