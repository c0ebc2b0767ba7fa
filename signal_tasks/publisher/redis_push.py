"""The short way into Redis: messages as kombu writes them, and one command for all.

In: recipes, and what differs in each message. Out: entries of the lists that workers
read. How an entry looks is learned from the installed kombu, which publishes two
messages of each receiver into a list that nobody reads. The first one is cut into what
stays and what differs. If the second one then comes out the same as kombu's, character
by character, this way is open; else kombu publishes.
"""

from __future__ import annotations

import json
import re
from binascii import b2a_base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from threading import Lock
from typing import Any, Final
from uuid import uuid4

from .line import Line
from .recipes import MARKS, TEXT, Recipe

TAG: Final = "<tag of the delivery>"
BODY: Final = "<body>"

#: Where the part of an envelope's text begins that is not the same for all receivers.
_OWN_PART: Final = ',"receiver":'

_MARKS: Final[dict[str, str]] = dict(zip(MARKS, MARKS, strict=True))

#: With characters that JSON, base64 or Python's formatting treat in ways of their own.
_AWKWARD: Final[dict[str, str]] = {
    mark: mark + "\"'\\/%s%(a)s{b}\x00\x7f\t\n\u00e9\u2028\U0001f600" for mark in MARKS
}


@dataclass(frozen=True, slots=True)
class Template:
    """An entry of a list, with gaps."""

    key: str
    """The list's."""

    text: str
    gaps: Callable[[Mapping[str, str]], Sequence[str]]
    """Picks what stands in each gap, in order, by a mark, :data:`BODY` or :data:`TAG`."""

    def fill(self, fillings: Mapping[str, str]) -> bytes:
        """Return an entry, with the values that *fillings* has as JSON for the gaps."""
        return (self.text % self.gaps(fillings)).encode()


class Bodies:
    """Bodies as kombu writes them into entries: in base64.

    The texts of an event begin alike, and that part is encoded once.
    """

    def __init__(self) -> None:
        self._start: tuple[str, str] | None = None
        self._encoded = ""
        self._rest = ""

    def as_json(self, recipe: Recipe, text: str) -> str:
        """Return the body of a message with the envelope *text*, as a JSON string."""
        before, after = recipe.body
        shared, separator, own = text.rpartition(_OWN_PART)
        start = before, shared
        if start != self._start:
            self._begin(start)
        rest = f"{self._rest}{json.dumps(separator + own)[1:]}{after}"
        return f'"{self._encoded}{_base64(rest)}"'

    def _begin(self, start: tuple[str, str]) -> None:
        head = f"{start[0]}{json.dumps(start[1])[:-1]}"
        whole = len(head) - len(head) % 3  # base64 takes three characters at a time
        self._start = start
        self._encoded, self._rest = _base64(head[:whole]), head[whole:]


def _base64(text: str) -> str:
    return b2a_base64(text.encode(), newline=False).decode()


class Templates:
    """The templates of one process."""

    def __init__(self) -> None:
        self._known: dict[Recipe, Template | None] = {}
        self._lock = Lock()

    def of(self, line: Line, recipes: Sequence[Recipe]) -> list[Template | None]:
        """Return the template of each of *recipes*; None where kombu has to write.

        Raises:
            Exception: What kombu or Redis raises, where some have yet to be learned.
        """
        known = self._known
        unknown = [recipe for recipe in recipes if recipe not in known]
        # Whoever comes while another one learns does not wait for that.
        if unknown and self._lock.acquire(blocking=False):
            try:
                known.update(zip(unknown, _learned(line, unknown), strict=True))
            finally:
                self._lock.release()
        return [known.get(recipe) for recipe in recipes]


def push(
    connection: Any, entries: Mapping[str, Sequence[bytes]], seconds: float | None
) -> dict[str, Exception]:
    """Append *entries* to their lists, those of each list at once.

    Args:
        connection: Of redis-py.
        entries: By the lists' keys.
        seconds: How long to wait for a reply, if not as long as *connection* does.

    Returns:
        The keys of the lists that took nothing, and why.
    """
    # One write, where redis-py would make many.
    connection.send_packed_command([_packed(entries)], check_health=False)
    options = {} if seconds is None else {"timeout": seconds}
    refused: dict[str, Exception] = {}
    for key in entries:
        try:
            connection.read_response(**options)
        except Exception as error:
            if not connection.is_connected:
                raise
            refused[key] = error
    return refused


def _packed(entries: Mapping[str, Sequence[bytes]]) -> bytes:
    """Return the commands as Redis's protocol has them, each list's own.

    redis-py's function for it takes more time than all else that a large batch needs.
    """
    parts: list[bytes] = []
    for key, added in entries.items():
        name = key.encode()
        words = len(added) + 2
        parts.append(b"*%d\r\n$5\r\nLPUSH\r\n$%d\r\n%b" % (words, len(name), name))
        for entry in added:
            parts += (b"\r\n$%d\r\n" % len(entry), entry)
        parts.append(b"\r\n")
    return b"".join(parts)


def _learned(line: Line, recipes: Sequence[Recipe]) -> list[Template | None]:
    key = f"signal_tasks.learning.{uuid4().hex}"
    probes = [recipe for recipe in recipes if _is_simple(recipe)]
    try:
        with line.batching(2 * len(probes)):
            for recipe in probes:
                for values in (_MARKS, _AWKWARD):
                    replace(recipe, routing_key=key).publish(
                        line.producer, recipe.body_for(values[TEXT]), values, {}
                    )
        written = _command(line.redis, "LRANGE", key, 0, -1)[::-1]
    finally:
        _command(line.redis, "DEL", key)
    pairs = dict(
        zip(probes, zip(written[::2], written[1::2], strict=False), strict=False)
    )
    return [
        _template(recipe, key, *pairs[recipe]) if recipe in pairs else None
        for recipe in recipes
    ]


def _command(connection: Any, *words: object) -> Any:
    connection.send_command(*words, check_health=False)
    return connection.read_response()


def _is_simple(recipe: Recipe) -> bool:
    """Tell whether its messages go to the one list that has the queue's name, and stay."""
    return (
        not recipe.exchange
        and not recipe.properties.get("priority")
        and not any(_expires(queue) for queue in recipe.declare)
    )


def _expires(queue: Any) -> bool:
    return queue.expires is not None or "x-expires" in (queue.queue_arguments or {})


def _template(
    recipe: Recipe, key: str, written: bytes, proof: bytes
) -> Template | None:
    """Cut *written*, and return that if *proof* can be put together from it."""
    try:
        entry, awkward = json.loads(written), json.loads(proof)
        body, tag = entry["body"], entry["properties"]["delivery_tag"]
        gaps = {json.dumps(mark): mark for mark in MARKS}
        gaps |= {json.dumps(body): BODY, json.dumps(tag): TAG}
        pieces = re.split(f"({'|'.join(map(re.escape, gaps))})", written.decode())
        text = "".join(
            "%s" if piece in gaps else piece.replace("%", "%%") for piece in pieces
        )
        template = Template(
            key=recipe.routing_key,
            text=text.replace(json.dumps(key), json.dumps(recipe.routing_key)),
            gaps=itemgetter(*(gaps[piece] for piece in pieces if piece in gaps)),
        )
        fillings = {mark: json.dumps(value) for mark, value in _AWKWARD.items()}
        fillings[BODY] = Bodies().as_json(recipe, _AWKWARD[TEXT])
        fillings[TAG] = json.dumps(awkward["properties"]["delivery_tag"])
        again = template.fill(fillings)
    except (ValueError, KeyError, TypeError):
        return None
    is_proven = again == proof.replace(
        json.dumps(key).encode(), json.dumps(recipe.routing_key).encode()
    )
    return template if is_proven else None
