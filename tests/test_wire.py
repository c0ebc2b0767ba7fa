"""Envelopes of every released wire version stay readable; each has a file in wire/.

A file holds the texts as they were written then and is never changed. Whoever changes
how envelopes are written makes a new version, and a new file beside the old ones.
"""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from math import inf, nan
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from jinja2 import Template
from markupsafe import Markup
from werkzeug.datastructures import ImmutableMultiDict, MultiDict

from signal_tasks import (
    Bridge,
    ExceptionSnapshot,
    ResponseSnapshot,
    SignalTasks,
    TemplateSnapshot,
)
from signal_tasks.codec import Codec
from signal_tasks.envelope import VERSION, Seal
from signal_tasks.portions import Portion
from signal_tasks.tags import BUILT_IN_TAGS
from tests.exactness import exactly

WIRE = Path(__file__).with_name("wire")
KEY = "the key of the golden files"


class Colour(Enum):
    RED = 1


class Rights(Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Order:
    number: int
    total: Decimal


VALUES = {
    "nothing": None,
    "truth": True,
    "whole": -7,
    "large": 2**70,
    "real": 0.1,
    "negative zero": -0.0,
    "infinite": inf,
    "not a number": nan,
    "text": "Grüße",
    "lone surrogate": "\ud800x",
    "bytes": b"\x00\xff",
    "list": [1, [2]],
    "tuple": (1, (2,)),
    "set": {1},
    "frozenset": frozenset({"a"}),
    "odd keys": {1: "one", (2, 3): "two"},
    "look-alike": {"~tuple": [1]},
    "transport's look-alike": {"__type__": "datetime", "__value__": "x"},
    "naive": datetime(2026, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001
    "utc": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "zoned": datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Vienna")),
    "offset": datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2), "named")),
    "date": date(2026, 1, 2),
    "time": time(1, 2, 3),
    "timedelta": timedelta(days=-1, microseconds=1),
    "timezone": timezone(timedelta(minutes=90)),
    "zone": ZoneInfo("Europe/Vienna"),
    "decimal": Decimal("1.10"),
    "uuid": UUID(int=5),
    "posix path": PurePosixPath("/a/b"),
    "windows path": PureWindowsPath("c:/a"),
    "enum": Colour.RED,
    "flag": Rights.READ | Rights.WRITE,
    "named tuple": Point(1, 2),
    "dataclass": Order(1, Decimal(2)),
}


def golden(version: int, name: str) -> str:
    """Return a text of the golden file of *version*."""
    texts: dict[str, str] = json.loads((WIRE / f"v{version}.json").read_text())
    return texts[name]


def codec() -> Codec:
    """Return a codec that knows the types of this module by lasting names."""
    known = Codec()
    for cls in (Colour, Rights, Point, Order):
        known.register(cls, tag=f"golden.{cls.__name__}")
    return known


def sealed(payload: object) -> str:
    """Write an envelope with *payload* the way that it is written today."""
    (envelope,) = Seal([KEY]).seal(
        id="0123456789abcdef",
        signal="order-placed",
        sent_at=datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
        trail=("cart-filled",),
        payload={"sender": None, "kwargs": payload},
        context={"tenant": "acme"},
        receivers=["shop.bill"],
    )
    return envelope.text


@pytest.mark.parametrize("version", [1])
def test_values_of_each_version_are_read(version: int) -> None:
    """What was sent in any version that may be in a queue comes out as it went in."""
    envelope = Seal([KEY]).open(golden(version, "values"))

    kwargs = codec().decode(envelope.payload["kwargs"], path="kwargs")

    assert exactly(kwargs) == exactly(VALUES)


@pytest.mark.parametrize("version", [1])
def test_facts_of_each_version_are_read(version: int) -> None:
    """The facts around the payload come out as they went in."""
    envelope = Seal([KEY]).open(golden(version, "values"))

    assert (envelope.id, envelope.signal) == ("0123456789abcdef", "order-placed")
    assert envelope.receiver == "shop.bill"
    assert envelope.sent_at == datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    assert envelope.trail == ("cart-filled",)
    assert envelope.context == {"tenant": "acme"}


@pytest.mark.parametrize("version", [1])
def test_flask_objects_of_each_version_are_read(version: int) -> None:
    """What Flask's own signals carry comes out of any version."""
    app, bridge = Flask("golden"), Bridge()
    SignalTasks(app, bridge=bridge)
    envelope = Seal([KEY]).open(golden(version, "flask"))

    with app.app_context():
        kwargs = bridge.codec.decode(envelope.payload["kwargs"], path="kwargs")

    assert isinstance(kwargs, dict)
    assert kwargs["app"] is app
    assert kwargs["response"].status_code == 201
    assert kwargs["response"].headers["X-Kind"] == "golden"
    assert kwargs["template"] == TemplateSnapshot(name=None, filename="<template>")
    assert kwargs["error"].type_name == "builtins.ValueError"
    assert kwargs["error"].message == "golden"
    assert kwargs["form"] == ImmutableMultiDict([("a", "1"), ("a", "2")])
    assert exactly(kwargs["markup"]) == exactly(Markup("<b>"))
    assert dict(kwargs["portion"]) == {"title": "T"}
    assert kwargs["portion"].left_out == {"request"}


def test_values_are_written_as_the_golden_file_of_this_version() -> None:
    """Whoever changes how envelopes are written has to make a new version of it."""
    payload = codec().encode(VALUES, path="kwargs")

    assert sealed(payload) == golden(VERSION, "values")


def test_flask_objects_are_written_as_the_golden_file_of_this_version() -> None:
    """The same holds for the snapshots of Flask's objects."""
    app, bridge = Flask("golden"), Bridge()
    SignalTasks(app, bridge=bridge)
    response = app.response_class("body", 201, {"X-Kind": "golden"})
    values = {
        "app": app,
        "response": ResponseSnapshot.of(response, body=True),
        "template": Template(""),
        "error": ExceptionSnapshot(
            type_name="builtins.ValueError", message="golden", traceback_text="..."
        ),
        "form": ImmutableMultiDict([("a", "1"), ("a", "2")]),
        "files": MultiDict([("b", "1")]),
        "markup": Markup("<b>"),
        "portion": Portion({"sent": {"title": "T"}, "left_out": ["request"]}, what="x"),
    }

    payload = bridge.codec.encode(values, path="kwargs")

    assert sealed(payload) == golden(VERSION, "flask")


def test_every_built_in_tag_is_in_the_golden_file_of_this_version() -> None:
    """No tag is added to a version without being kept readable."""
    text = golden(VERSION, "values")
    of_this_system = {"PosixPath", "WindowsPath"}

    missing = {tag.name for tag in BUILT_IN_TAGS if f'"~{tag.name}"' not in text}

    assert missing <= of_this_system
