"""The delivery ``request``: what a request sends leaves together, when it is over.

In: envelopes, one event after the other. Out: all of them, in order, to a publisher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..envelope import Envelope
from ..host import Publisher


class Gathering:
    """Puts envelopes where those of the request are gathered.

    Args:
        publisher: Gets them where there is no request to gather them.
        basket: Returns the list of the request that runs now; None where none does.
    """

    def __init__(
        self, publisher: Publisher, basket: Callable[[], list[Envelope] | None]
    ) -> None:
        self._publisher = publisher
        self._basket = basket

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Gather *envelopes*, or publish them where there is no request."""
        basket = self._basket()
        if basket is None:
            self._publisher.publish(envelopes)
        else:
            basket.extend(envelopes)
