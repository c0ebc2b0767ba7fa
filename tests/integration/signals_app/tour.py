"""What somebody visits who opens every page, and what they get there."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Final

from tests.integration.visits import Visit

FILE: Final = bytes(range(256)) * 1000
LINES: Final = tuple(f"line {number}\n" for number in range(2000))

VISITS: Sequence[Visit] = (
    Visit(name="a plain page"),
    Visit(name="a login", path="/login", method="POST", form={}),
    Visit(name="a template", path="/items/7?size=large&size=wide"),
    Visit(name="a stream", path="/stream"),
    Visit(name="a streamed template", path="/streamed-template"),
    Visit(name="an error", path="/broken"),
    Visit(name="a registered error", path="/refused"),
    Visit(name="a handled error", path="/nowhere"),
    Visit(name="only the headers", path="/items/7", method="HEAD"),
    Visit(name="a redirect", path="/old"),
    Visit(name="a form", path="/orders", method="POST", form={"what": "tea & cake"}),
    Visit(name="JSON", path="/api/orders", method="POST", json={"what": "tea"}),
    Visit(name="a file", path="/file"),
    Visit(name="a message", path="/flash"),
    Visit(
        name="credentials",
        headers={
            "Authorization": "Basic " + b64encode(b"ada:secret").decode(),
            "Accept-Language": "de-CH, de;q=0.9",
        },
    ),
)
