"""The command for a process of its own that publishes what is in the outbox."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import click
from flask.cli import ScriptInfo, pass_script_info

from ..exceptions import PublishError
from ..relay.relay import BATCH_SIZE
from .store import keeping

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@click.command("relay")
@click.option("--once", "is_once", is_flag=True, help="End when nothing is due.")
@click.option(
    "--batch",
    "batch_size",
    default=BATCH_SIZE,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many messages leave at a time.",
)
@pass_script_info
def relay(info: ScriptInfo, *, is_once: bool, batch_size: int) -> None:
    """Publish what is in the outbox, now and whenever something comes.

    Several may run at once. SIGTERM and Ctrl-C end it after the batch at hand.
    """
    # It says when it waits for the broker or the store, where nobody else has said how.
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    with keeping(info) as host, _ending() as stop:
        relaying = host.relaying(batch_size=batch_size)
        click.echo(f"Publishing what is in the outbox at {relaying.address}.")
        work = relaying.run_once if is_once else relaying.run
        try:
            # Not in this thread: what a signal interrupts may hold the lock of `stop`.
            with ThreadPoolExecutor(1) as executor:
                executor.submit(work, stop).result()
        except PublishError as error:
            raise click.ClickException(
                f"{relaying.published} published, the others stay: {error}"
            ) from error
        click.echo(f"{relaying.published} published.")


@contextmanager
def _ending() -> Generator[threading.Event]:
    """Give an event that is set when somebody wants this process to end."""
    stop = threading.Event()

    def end(_number: int, _frame: object) -> None:
        stop.set()

    former = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
