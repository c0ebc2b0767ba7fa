"""The short way into Redis: messages as kombu writes them, and one command for all.

In: recipes, and what differs in each message. Out: entries of the lists that workers
read. How an entry looks is learned from the installed kombu, which publishes two
messages of each receiver into a list that nobody reads. The first one is cut into what
stays and what differs. If the second one then comes out the same as kombu's, character
by character, this way is open; else kombu publishes.
"""

from __future__ import annotations

import json
import os
import re
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import repeat
from json.encoder import encode_basestring_ascii as quoted
from operator import itemgetter
from threading import Lock
from typing import Any, Final
from uuid import uuid4

from ..envelope import Envelope, Envelopes
from .broker_errors import cause_of, is_of_the_broker
from .line import Line
from .recipes import (
    ARGSREPR,
    EVENT_ID,
    MARKS,
    PARENT_ID,
    ROOT_ID,
    TASK_ID,
    TEXT,
    Parentage,
    Recipe,
    argsrepr,
)
from .redis_wire import converse, is_reply, write_push

TAG: Final = "<tag of the delivery>"
BODY: Final = "<body>"
NAME: Final = "<name of the receiver>"

_MARKS: Final[dict[str, str]] = dict(zip(MARKS, MARKS, strict=True))

#: With characters that JSON, base64 or Python's formatting treat in ways of their own.
_AWKWARD: Final[dict[str, str]] = {
    mark: mark + "\"'\\/%s%(a)s{b}\x00\x7f\t\n\u00e9\u2028\U0001f600" for mark in MARKS
}


@dataclass(frozen=True, slots=True)
class Template:
    """An entry of a list, with gaps; many receivers have the same."""

    key: str
    """The list's."""

    pieces: tuple[bytes, ...]
    gaps: tuple[str, ...]
    """What stands after each piece but the last, in order: marks, and those above."""

    around: tuple[str, str]
    """What stands in a body before and after the envelope's text."""

    _constant: Mapping[str, Iterable[bytes]] = field(init=False, compare=False)
    _in_order: Callable[[Mapping[str, Iterable[bytes]]], Sequence[Iterable[bytes]]] = (
        field(init=False, compare=False)
    )

    def __post_init__(self) -> None:
        """Have the columns of what is the same in all entries."""
        constant = {f"{at}": repeat(piece) for at, piece in enumerate(self.pieces)}
        pairs = zip(constant, (*self.gaps, ""), strict=True)
        order = [name for pair in pairs for name in pair][:-1]
        object.__setattr__(self, "_constant", constant)
        object.__setattr__(self, "_in_order", itemgetter(*order))

    def entries(
        self,
        envelopes: Sequence[Envelope],
        task_ids: Iterable[str],
        parentage: Parentage,
    ) -> Iterator[bytes]:
        """Return the entries for *envelopes*, each made when it is asked for.

        Args:
            envelopes: Of one event or several, for receivers with this template.
            task_ids: The identifier of each.
            parentage: That of all of them.
        """
        tag = os.urandom(16).hex()
        ids = [f'"{one}"'.encode() for one in task_ids]
        parent_id, root_id = parentage
        columns: dict[str, Iterable[bytes]] = {
            TASK_ID: ids,
            PARENT_ID: repeat(_bytes(parent_id)),
            ROOT_ID: repeat(_bytes(root_id)) if root_id else ids,
            TAG: [f'"{tag}-{number}"'.encode() for number in range(len(ids))],
            **_columns(envelopes, self.around),
        }
        return self.filled(columns)

    def filled(self, columns: Mapping[str, Iterable[bytes]]) -> Iterator[bytes]:
        """Put entries together, as many as there are values in the shortest column."""
        rows = zip(*self._in_order({**self._constant, **columns}), strict=False)
        return map(b"".join, rows)


def _columns(
    envelopes: Sequence[Envelope], around: tuple[str, str]
) -> dict[str, Iterable[bytes]]:
    """Return the columns that say what is in *envelopes*."""
    if isinstance(envelopes, Envelopes):
        event, receivers = envelopes, envelopes.receivers
        event_ids: Iterable[bytes] = repeat(_bytes(event.id))
        argsreprs: Iterable[bytes] = repeat(_argsrepr(event.id, event.signal))
        texts = bodies(around, repeat(event.shared), event.escaped)
        names = _names(receivers)
    else:
        ids, signals, receivers, _, _, shared, own, *_ = zip(*envelopes, strict=True)
        events = dict(zip(ids, signals, strict=True))
        known = {one: (_bytes(one), _argsrepr(one, events[one])) for one in events}
        event_ids, argsreprs = zip(*[known[one] for one in ids], strict=True)
        texts = bodies(around, shared, [quoted(one)[1:-1] for one in own])
        names = list(map(_bytes, receivers))
    return {
        EVENT_ID: event_ids,
        ARGSREPR: argsreprs,
        NAME: names,
        BODY: texts,
    }


@lru_cache(maxsize=1024)  # there are as many as signals
def _names(receivers: tuple[str, ...]) -> Sequence[bytes]:
    return list(map(_bytes, receivers))


def bodies(
    around: tuple[str, str], shared: Iterable[str], escaped: Iterable[str]
) -> Iterator[bytes]:
    """Make bodies as kombu writes them into entries: in base64, as JSON strings.

    Args:
        around: What stands before and after the text of an envelope.
        shared: How each one's text begins; for those of an event that is encoded once.
        escaped: The rest of each one's text, as it stands inside a JSON string.
    """
    before, after = around
    encoded_start, encoded, left = None, b"", ""
    for start, rest in zip(shared, escaped, strict=False):
        if start is not encoded_start:
            head = f"{before}{quoted(start)[:-1]}"
            whole = len(head) - len(head) % 3  # base64 takes three characters at a time
            encoded = b2a_base64(head[:whole].encode(), newline=False)
            encoded_start, left = start, head[whole:]
        tail = f'{left}{rest}"{after}'.encode()
        yield b'"%b%b"' % (encoded, b2a_base64(tail, newline=False))


def _argsrepr(event_id: str, signal: str) -> bytes:
    return quoted(argsrepr(event_id, signal)).encode()


def _bytes(value: str | None) -> bytes:
    """Return *value* as JSON."""
    return b"null" if value is None else quoted(value).encode()


class Templates:
    """The templates of one process."""

    def __init__(self) -> None:
        self._known: dict[Recipe, Template | None] = {}
        self._lock = Lock()

    def of(self, line: Line, recipes: Iterable[Recipe | None]) -> list[Template | None]:
        """Return the template of each of *recipes*; None where kombu has to write.

        Raises:
            Exception: What kombu or Redis raises, where some have yet to be learned.
        """
        wanted = list(recipes)
        unknown = [one for one in wanted if one is not None and one not in self._known]
        # Whoever comes while another one learns does not wait for that.
        if unknown and self._lock.acquire(blocking=False):
            try:
                self._known |= zip(unknown, _learned(line, unknown), strict=True)
            except Exception as error:
                cause = cause_of(error)
                if not is_reply(cause) or is_of_the_broker(cause):
                    raise
                # Redis lets us push, but not look at what kombu has pushed.
                self._known |= dict.fromkeys(unknown)
            finally:
                self._lock.release()
        return [None if one is None else self._known.get(one) for one in wanted]

    def has_all(self, recipes: Iterable[Recipe | None]) -> bool:
        """Tell whether it is known of each of *recipes* what its template is, if any."""
        return all(one is None or one in self._known for one in recipes)


@dataclass(frozen=True, slots=True, eq=False)
class Pushed:
    """Entries for one list."""

    key: str
    """The list's."""

    places: Sequence[int]
    """Of which envelopes they are."""

    entries: Iterable[bytes]


def push(
    connection: Any, lists: Sequence[Pushed], seconds_left: Callable[[], float | None]
) -> dict[Pushed, Exception]:
    """Append entries to their lists, those of each list at once.

    Args:
        connection: Of redis-py.
        lists: The entries.
        seconds_left: Asked before each reply how long to wait for it; None stands for as
            long as *connection* does.

    Returns:
        The lists that took nothing, and why.
    """
    parts: list[bytes] = []
    for one in lists:
        write_push(parts, one.key, len(one.places), one.entries)
    replies = converse(connection, parts, len(lists), seconds_left)
    return {
        one: reply
        for one, reply in zip(lists, replies, strict=True)
        if isinstance(reply, Exception)
    }


def _learned(line: Line, recipes: Sequence[Recipe]) -> list[Template | None]:
    key = f"signal_tasks.learning.{uuid4().hex}"
    prefix: str = line.channel.global_keyprefix
    probes = [recipe for recipe in recipes if _is_simple(recipe)]
    try:
        with line.batching(2 * len(probes)):
            for recipe in probes:
                for values in (_MARKS, _AWKWARD):
                    replace(recipe, routing_key=key).publish(
                        line.producer, recipe.body_for(values[TEXT]), values, {}
                    )
        written = _command(line.redis, "LRANGE", prefix + key, 0, -1)[::-1]
    finally:
        _command(line.redis, "DEL", prefix + key)
    pairs = dict(
        zip(probes, zip(written[::2], written[1::2], strict=False), strict=False)
    )
    return [
        _template(recipe, prefix, key, *pairs[recipe]) if recipe in pairs else None
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
    recipe: Recipe, prefix: str, key: str, written: bytes, proof: bytes
) -> Template | None:
    """Cut *written*, and return that if *proof* can be put together from it."""
    try:
        entry, awkward = json.loads(written), json.loads(proof)
        body, tag = entry["body"], entry["properties"]["delivery_tag"]
        gaps = {json.dumps(mark): mark for mark in MARKS}
        gaps |= {json.dumps(body): BODY, json.dumps(tag): TAG}
        gaps |= {json.dumps(recipe.headers["task"]): NAME}
        pieces = re.split(f"({'|'.join(map(re.escape, gaps))})", written.decode())
        own, ours = json.dumps(key), json.dumps(recipe.routing_key)
        template = Template(
            key=prefix + recipe.routing_key,
            pieces=tuple(one.replace(own, ours).encode() for one in pieces[::2]),
            gaps=tuple(gaps[one] for one in pieces[1::2]),
            around=recipe.body,
        )
        columns: dict[str, Iterable[bytes]] = {
            **{mark: [_bytes(value)] for mark, value in _AWKWARD.items()},
            BODY: bodies(recipe.body, [_AWKWARD[TEXT]], [""]),
            TAG: [_bytes(awkward["properties"]["delivery_tag"])],
            NAME: [_bytes(recipe.headers["task"])],
        }
        (again,) = template.filled(columns)
    except (ValueError, KeyError, TypeError):
        return None
    is_proven = again == proof.replace(own.encode(), ours.encode())
    return template if is_proven else None
