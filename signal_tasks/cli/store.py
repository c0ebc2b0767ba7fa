"""The commands for what is kept: ``flask signal-tasks store`` and ``dead``."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from threading import Event
from typing import TYPE_CHECKING, Any

import click
from flask.cli import ScriptInfo, pass_script_info

from ..dead_letters import DeadLetterFilter
from ..exceptions import (
    ConfigurationError,
    PublishError,
    StoreError,
)
from ..flask.host import FlaskHost
from ..terminal import printable
from .inspection import looking_at

if TYPE_CHECKING:
    # It imports SQLAlchemy, and every `flask` command imports this module.
    from ..store import StoredLetter

store = click.Group("store", help="The database for what the bridge keeps.")
dead = click.Group("dead", help="Dead letters: what no worker runs until replayed.")

_NUMBER = click.IntRange(1, 2**31 - 1)
_HOURS = click.FloatRange(0, 1_000_000)

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_all = click.option("--all", "is_all", is_flag=True, help="All there are.")


@store.command("create")
@pass_script_info
def create(info: ScriptInfo) -> None:
    """Make the store's tables, where they are not there yet."""
    with keeping(info) as host:
        host.store.create()
        click.echo(f"The tables are in {host.store.address}.")


@contextmanager
def keeping(info: ScriptInfo) -> Generator[FlaskHost]:
    """Enter the app's context; what is wrong with its store is said in one line."""
    with looking_at(info) as host:
        try:
            yield host
        except (StoreError, ConfigurationError) as error:
            raise click.ClickException(str(error)) from error


def _filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* the options that say which dead letters are meant."""

    @click.argument("ids", nargs=-1, type=_NUMBER, metavar="[NUMBER]...")
    @click.option("--receiver", metavar="NAME", help="Those for this receiver.")
    @click.option("--signal", metavar="NAME", help="Those of this signal.")
    @click.option(
        *("--error", "reason"),
        metavar="CLASS",
        help="Those with this error, such as ValueError.",
    )
    @click.option(
        "--older", type=_HOURS, metavar="HOURS", help="Those that died longer ago."
    )
    @wraps(command)
    def run(*, older: float | None, **options: Any) -> None:
        names = ("ids", "receiver", "signal", "reason")
        wanted = DeadLetterFilter(
            **{name: options.pop(name) for name in names}, died_before=_before(older)
        )
        info = click.get_current_context().ensure_object(ScriptInfo)
        with keeping(info) as host:
            command(host, wanted, **options)

    return run


@dead.command("list")
@_filtered
@_as_json
def list_letters(host: FlaskHost, wanted: DeadLetterFilter, *, as_json: bool) -> None:
    """List dead letters, the oldest first, without what was sent."""
    letters = host.dead_letters.find(wanted)
    if as_json:
        click.echo(json.dumps([_facts(stored) for stored in letters], indent=2))
    elif letters:
        heads = ("number", "died (UTC)", "error", "attempts", "signal", "receiver")
        _print_table([heads, *map(_row, letters)])
    else:
        click.echo("There are no such dead letters.")


@dead.command("show")
@click.argument("number", type=_NUMBER)
@_as_json
@pass_script_info
def show_letter(info: ScriptInfo, number: int, *, as_json: bool) -> None:
    """Show one dead letter whole, with what was sent."""
    with keeping(info) as host:
        letters = host.dead_letters.find(DeadLetterFilter(ids=[number]))
    if not letters:
        raise click.ClickException(f"there is no dead letter {number}.")
    (stored,) = letters
    letter = stored.letter
    facts = {**_facts(stored), "error": letter.error, "text": letter.text}
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, fact in facts.items():
        click.echo(f"{name:9} {'' if fact is None else printable(str(fact))}".rstrip())


@dead.command("replay")
@_filtered
@_all
@_as_json
def replay(
    host: FlaskHost, wanted: DeadLetterFilter, *, is_all: bool, as_json: bool
) -> None:
    """Publish dead letters again, by way of the outbox.

    Letters for receivers that this app does not have stay where they are.
    """
    _check_is_meant(wanted, is_all=is_all)
    outcome = _replayed(host, wanted)
    if as_json:
        click.echo(json.dumps(outcome.facts(), indent=2))
        if outcome.unknown or outcome.done or outcome.error:
            raise click.exceptions.Exit(1)
        return
    if outcome.error:
        raise click.ClickException(
            f"{len(outcome.replayed)} are in the outbox now, and not all have left: "
            f"{outcome.error} They leave later, by a relay or when you repeat this "
            "command."
        )
    click.echo(f"{len(outcome.replayed)} published again.")
    if outcome.done:
        click.echo(
            f"{len(outcome.done)} stay, for their handlers had committed their work "
            "when they failed, and once=True runs none again. See to the rest of it, and "
            "purge them: dead purge --error CommittedError.",
            err=True,
        )
    if outcome.unknown:
        names = ", ".join(sorted(set(map(printable, outcome.unknown.values()))))
        raise click.ClickException(
            f"{len(outcome.unknown)} stay, for this app has no receiver {names}. Replay "
            "them with the code that declares it, or purge them."
        )
    if outcome.done:
        raise click.exceptions.Exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replay:
    """What became of letters that were to be replayed."""

    replayed: list[int]
    unknown: dict[int, str]
    """The receiver of each that stays, for this app does not have it."""
    done: list[int]
    """Those that stay, for their handlers have done their work."""
    error: str | None
    """Why not all have left the outbox."""

    def facts(self) -> dict[str, object]:
        """Return it for programs."""
        unknown = [
            {"id": number, "receiver": name} for number, name in self.unknown.items()
        ]
        return {
            "replayed": self.replayed,
            "unknown": unknown,
            "done": self.done,
            "error": self.error,
        }


def _replayed(host: FlaskHost, wanted: DeadLetterFilter) -> _Replay:
    known = {receiver.name for receiver in host.registry}
    replayed: list[int] = []
    unknown: dict[int, str] = {}
    done: list[int] = []
    for number in host.dead_letters.numbers(wanted):
        for stored in host.dead_letters.find(DeadLetterFilter(ids=[number])):
            if stored.letter.receiver not in known:
                unknown[number] = stored.letter.receiver
            elif stored.letter.is_done:
                done.append(number)
            elif host.dead_letters.replay(number):
                replayed.append(number)
    failure: PublishError | None = None
    try:
        # Also what another replay has moved and not published, for it was killed.
        host.relaying().run_once(Event())
    except PublishError as error:
        failure = error
    return _Replay(
        replayed=replayed,
        unknown=unknown,
        done=done,
        error=None if failure is None else str(failure),
    )


@dead.command("purge")
@_filtered
@_all
@_as_json
def purge(
    host: FlaskHost, wanted: DeadLetterFilter, *, is_all: bool, as_json: bool
) -> None:
    """Forget dead letters, for good."""
    _check_is_meant(wanted, is_all=is_all)
    count = host.dead_letters.purge(wanted)
    click.echo(json.dumps({"purged": count}) if as_json else f"{count} forgotten.")


def _before(hours: float | None) -> datetime | None:
    if hours is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(hours=hours)
    except ValueError as error:
        raise click.BadParameter("it is no number.", param_hint="--older") from error


def _check_is_meant(wanted: DeadLetterFilter, *, is_all: bool) -> None:
    if wanted == DeadLetterFilter() and not is_all:
        raise click.UsageError("say which, by number or option, or --all.")


def _facts(stored: StoredLetter) -> dict[str, object]:
    """Return what may be shown to anybody; an error's text may quote what was sent."""
    facts = asdict(stored.letter)
    del facts["error"], facts["text"]
    return {"id": stored.id, **facts, "died_at": stored.letter.died_at.isoformat()}


def _row(stored: StoredLetter) -> Sequence[str]:
    letter = stored.letter
    return (
        str(stored.id),
        f"{letter.died_at:%Y-%m-%d %H:%M:%S}",
        printable(letter.reason),
        str(letter.attempts),
        printable(letter.signal or "(unreadable)"),
        printable(letter.receiver),
    )


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = map(str.ljust, row, widths)
        click.echo("  ".join(cells).rstrip())
