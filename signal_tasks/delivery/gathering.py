"""The delivery ``request``: what a request sends leaves together, when it is over.

In: envelopes, one event after the other. Out: all of them, in order, to a publisher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from ..envelope import Envelope
from ..host import Publisher
from .announcing import BATCH_SIZE

Basket: TypeAlias = list[Sequence[Envelope]]
"""What a request has gathered, by event."""


class Gathering:
    """Puts envelopes where those of the request are gathered.

    Args:
        publisher: Gets them where there is no request to gather them.
        basket: Returns that of the request that runs now; None where none does.
    """

    def __init__(
        self, publisher: Publisher, basket: Callable[[], Basket | None]
    ) -> None:
        self._publisher = publisher
        self._basket = basket

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Gather *envelopes*, or publish them where there is no request."""
        basket = self._basket()
        if basket is None:
            self._publisher.publish(envelopes)
        else:
            basket.append(envelopes)


def batches_of(basket: Iterable[Sequence[Envelope]]) -> Iterator[Sequence[Envelope]]:
    """Put events together, as many as leave at once.

    One that fills a batch is left as it is, for a publisher makes less of it then.
    """
    batch: list[Envelope] = []
    for envelopes in basket:
        if batch and len(batch) + len(envelopes) > BATCH_SIZE:
            yield batch
            batch = []
        if len(envelopes) < BATCH_SIZE:
            batch.extend(envelopes)
        else:
            yield envelopes
    if batch:
        yield batch
