"""The commands for what is kept: ``flask signal-tasks store`` and ``dead``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from typing import Any

import click
from flask.cli import ScriptInfo, pass_script_info

from .cli_inspection import looking_at
from .dead_letters import DeadLetter, DeadLetterFilter
from .envelope import Envelope
from .exceptions import PublishError, UnknownReceiverError
from .flask import FlaskHost
from .store import StoredLetter

store = click.Group("store", help="The database for what the bridge keeps.")
dead = click.Group("dead", help="Dead letters: what no worker runs until replayed.")


@store.command("create")
@pass_script_info
def create(info: ScriptInfo) -> None:
    """Make the store's tables, where they are not there yet."""
    with looking_at(info) as host:
        host.store.create()
        click.echo(f"The tables are in {host.store.address}.")


def _filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* the options that say which dead letters are meant."""

    @click.argument("ids", nargs=-1, type=int, metavar="[NUMBER]...")
    @click.option("--receiver", help="Those for this receiver.")
    @click.option("--signal", help="Those of this signal.")
    @click.option(
        "--error", "reason", help="Those with this error, such as ValueError."
    )
    @click.option("--older", type=float, metavar="HOURS", help="Those this old.")
    @wraps(command)
    def run(**options: Any) -> None:
        older = options.pop("older")
        before = None if older is None else datetime.now(UTC) - timedelta(hours=older)
        names = ("ids", "receiver", "signal", "reason")
        wanted = DeadLetterFilter(
            **{name: options.pop(name) for name in names}, died_before=before
        )
        info = click.get_current_context().ensure_object(ScriptInfo)
        with looking_at(info) as host:
            command(host, wanted, **options)

    return run


@dead.command("list")
@_filtered
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_letters(host: FlaskHost, wanted: DeadLetterFilter, *, as_json: bool) -> None:
    """List dead letters, the oldest first."""
    letters = host.dead_letters.find(wanted)
    if as_json:
        click.echo(json.dumps([_facts(stored) for stored in letters], indent=2))
        return
    for stored in letters:
        letter = stored.letter
        at = letter.died_at.isoformat(sep=" ", timespec="seconds")
        click.echo(
            f"{stored.id:6}  {at}  {letter.reason:24}  {letter.receiver}  "
            f"({letter.signal or 'unreadable'}, {letter.attempts} attempts)"
        )
    if not letters:
        click.echo("There are no such dead letters.")


@dead.command("show")
@click.argument("number", type=int)
@pass_script_info
def show_letter(info: ScriptInfo, number: int) -> None:
    """Show one dead letter whole, with what was sent."""
    with looking_at(info) as host:
        letters = host.dead_letters.find(DeadLetterFilter(ids=[number]))
        if not letters:
            raise click.ClickException(f"there is no dead letter {number}.")
        (stored,) = letters
        for name, fact in _facts(stored).items():
            click.echo(f"{name:9} {fact}")
        click.echo(f"envelope  {stored.letter.text}")


@dead.command("replay")
@_filtered
@click.option("--all", "is_all", is_flag=True, help="All there are.")
def replay(host: FlaskHost, wanted: DeadLetterFilter, *, is_all: bool) -> None:
    """Publish dead letters again; those that have left are forgotten."""
    _check_is_meant(wanted, is_all=is_all)
    try:
        count = host.dead_letters.replay(wanted, partial(_publish, host))
    except (PublishError, UnknownReceiverError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{count} published again.")


@dead.command("purge")
@_filtered
@click.option("--all", "is_all", is_flag=True, help="All there are.")
def purge(host: FlaskHost, wanted: DeadLetterFilter, *, is_all: bool) -> None:
    """Forget dead letters."""
    _check_is_meant(wanted, is_all=is_all)
    click.echo(f"{host.dead_letters.purge(wanted)} forgotten.")


def _check_is_meant(wanted: DeadLetterFilter, *, is_all: bool) -> None:
    if wanted == DeadLetterFilter() and not is_all:
        raise click.UsageError("say which, by number or option, or --all.")


def _publish(host: FlaskHost, letter: DeadLetter) -> None:
    envelope = Envelope(
        id=letter.event_id or "unknown",
        signal=letter.signal or "unknown",
        receiver=letter.receiver,
        sent_at=letter.died_at,
        payload={},
        text=letter.text,
    )
    host.publisher.publish([envelope])


def _facts(stored: StoredLetter) -> dict[str, object]:
    facts = asdict(stored.letter)
    del facts["text"]
    return {"id": stored.id, **facts, "died_at": stored.letter.died_at.isoformat()}
