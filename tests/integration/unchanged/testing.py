"""A test case of unittest, for code that sends a signal: run it with unittest."""

from __future__ import annotations

import unittest
from typing import Any

from blinker import signal
from flask import Flask

from tests.integration.book import observe
from tests.integration.unchanged.app import app, connect_twice

user_created = signal("unchanged-user-created")


@app.route("/create_user")
def create_user() -> str:
    """Create somebody, and send the signal."""
    user_created.send(app, username="testuser")
    return "created"


def remember(sender: Flask, username: str, **extra: Any) -> None:
    """Remember somebody new."""
    observe("testing", username)


connect_twice(user_created, remember)


class TestSignals(unittest.TestCase):
    """What a reader of the tutorial may write."""

    def test_user_created_signal(self) -> None:
        """A receiver of the test hears the signal, beside all others."""
        received: list[str] = []

        def receiver(sender: Flask, username: str, **extra: Any) -> None:
            received.append(username)

        user_created.connect(receiver)
        app.test_client().get("/create_user")
        user_created.disconnect(receiver)

        self.assertEqual(received, ["testuser"])  # noqa: PT009  # it is unittest
