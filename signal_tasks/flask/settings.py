"""What a Flask app's ``SIGNAL_TASKS_*`` settings say, read anew at each use."""

from __future__ import annotations

from math import inf, nan
from typing import Final, Literal, TypeVar, get_args

from flask import Flask

from ..bridge import MAX_HOPS, PUBLISH_TIMEOUT_SECONDS, OnError
from ..delivery.buffer import WhenFull
from ..delivery.deliveries import BUFFER_SIZE, BufferSettings
from ..exceptions import ConfigurationError
from ..tasks.receiver_task import MAX_DELIVERIES
from ..typing import DELIVERIES, Delivery
from .request_context import allowed_headers, config_of

OnException = Literal["publish", "drop"]

ChoiceT = TypeVar("ChoiceT", bound=str)

RESUBMIT_AFTER_SECONDS: Final = 300
KEEP_KEYS_DAYS: Final = 7


class Settings:
    """The settings of *app*.

    Each raises ``ConfigurationError`` where it is wrong.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app

    def check(self) -> None:
        """Read each setting, so that a wrong one ends the start and not a request."""
        _ = self.raises, self.max_hops, self.publish_timeout_seconds
        _ = self.delivery, self.buffer, self.drops_on_exception
        _ = self.resubmit_after_seconds, self.max_deliveries, self.keep_keys_days
        _ = self.has_relay_in_worker, self.warms_up, allowed_headers(self._app)

    @property
    def raises(self) -> bool:
        """Whether a failed send raises; by default in debug and testing."""
        on_error: OnError | None = self._choice(
            "SIGNAL_TASKS_ON_ERROR",
            get_args(OnError),
            "to raise in debug and testing alone",
        )
        if on_error is None:
            return self._app.debug or self._app.testing
        return on_error == "raise"

    @property
    def max_hops(self) -> int:
        """How far handlers' signals may lead."""
        return int(self._number("SIGNAL_TASKS_MAX_HOPS", MAX_HOPS, least=0))

    @property
    def publish_timeout_seconds(self) -> float:
        """How long the broker may take."""
        return self._number(
            "SIGNAL_TASKS_PUBLISH_TIMEOUT", PUBLISH_TIMEOUT_SECONDS, least=0.001
        )

    @property
    def delivery(self) -> Delivery:
        """The delivery of receivers that name none."""
        delivery: Delivery | None = self._choice(
            "SIGNAL_TASKS_DELIVERY", DELIVERIES, "for 'direct'"
        )
        return delivery or "direct"

    @property
    def buffer(self) -> BufferSettings:
        """How many events may wait in memory, and what happens to others."""
        when_full: WhenFull | None = self._choice(
            "SIGNAL_TASKS_BUFFER_FULL", get_args(WhenFull), "for 'direct'"
        )
        return BufferSettings(
            size=int(self._number("SIGNAL_TASKS_BUFFER_SIZE", BUFFER_SIZE, least=1)),
            when_full=when_full or "direct",
        )

    @property
    def drops_on_exception(self) -> bool:
        """Whether a request that raises takes along what it has gathered."""
        on_exception: OnException | None = self._choice(
            "SIGNAL_TASKS_ON_EXCEPTION", get_args(OnException), "for 'publish'"
        )
        return on_exception == "drop"

    @property
    def resubmit_after_seconds(self) -> float:
        """After how long a row of the outbox is published again."""
        return self._number(
            "SIGNAL_TASKS_RESUBMIT_AFTER", RESUBMIT_AFTER_SECONDS, least=0.1
        )

    @property
    def max_deliveries(self) -> int:
        """How often a message may be handed out again before it is a dead letter."""
        return int(self._number("SIGNAL_TASKS_MAX_DELIVERIES", MAX_DELIVERIES, least=1))

    @property
    def keep_keys_days(self) -> float:
        """How long it is remembered which events were handled."""
        return self._number("SIGNAL_TASKS_KEEP_KEYS", KEEP_KEYS_DAYS, least=0.001)

    @property
    def has_relay_in_worker(self) -> bool:
        """Whether workers publish what is in the outbox."""
        return self._is_on("SIGNAL_TASKS_RELAY_IN_WORKER")

    @property
    def warms_up(self) -> bool:
        """Whether the first request of a process has it warmed up."""
        return self._is_on("SIGNAL_TASKS_WARM_UP")

    def _is_on(self, setting: str) -> bool:
        wanted = config_of(self._app).get(setting)
        if wanted is None or isinstance(wanted, bool):
            return wanted is not False
        raise ConfigurationError(
            f"{setting} is something else than True or False. Set it to one of them, or "
            "leave it out for True."
        )

    def _number(self, setting: str, default: float, *, least: float) -> float:
        try:
            number = float(config_of(self._app).get(setting, default))
        except (TypeError, ValueError):
            number = nan
        if least <= number < inf:
            return number
        raise ConfigurationError(
            f"{setting} is something else than a number of at least {least}. Set it to "
            f"one, or leave it out for {default}."
        )

    def _choice(
        self, setting: str, choices: tuple[ChoiceT, ...], otherwise: str
    ) -> ChoiceT | None:
        """Return what is chosen of *choices*; None where the setting is left out."""
        chosen = config_of(self._app).get(setting)
        if chosen is None:
            return None
        for choice in choices:
            if chosen == choice:
                return choice
        raise ConfigurationError(
            f"{setting} is something else than {' or '.join(map(repr, choices))}. Set it "
            f"to one of them, or leave it out {otherwise}."
        )
