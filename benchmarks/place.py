"""Where the servers of a benchmark are, for its own process and its workers."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

_VARIABLE = "SIGNAL_TASKS_BENCHMARK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The servers, and a folder to write to."""

    redis_url: str = field(repr=False)

    directory: Path
    """Is removed when the benchmark has ended."""

    run: str = "run"
    """What the names of its queues have in common, and those of other runs have not."""

    amqp_url: str | None = field(default=None, repr=False)
    """RabbitMQ; None where there is none."""

    postgresql_url: str | None = field(default=None, repr=False)
    """A database of the benchmark's own; None where there is none."""

    handler_counts: tuple[int, ...] = (1, 4, 10, 100)
    """How many handlers the signals have."""

    def environment(self) -> dict[str, str]:
        """Return our environment, and in it what :meth:`from_environment` reads."""
        facts = {**asdict(self), "directory": str(self.directory)}
        return {**os.environ, _VARIABLE: json.dumps(facts)}

    @classmethod
    def from_environment(cls) -> Self:
        """Return the place of the benchmark that started this process."""
        facts = json.loads(os.environ[_VARIABLE])
        return cls(
            **{
                **facts,
                "directory": Path(facts["directory"]),
                "handler_counts": tuple(facts["handler_counts"]),
            }
        )
