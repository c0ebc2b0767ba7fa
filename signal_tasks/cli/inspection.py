"""The commands that only look: ``flask signal-tasks list`` and ``explain``."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

import click
from blinker import Signal
from flask import Flask
from flask.cli import ScriptInfo, pass_script_info

from ..bridge import Bridge
from ..envelope import Envelope
from ..event import quiet
from ..exceptions import ConfigurationError
from ..flask.host import FlaskHost, host_of
from ..inspection import (
    ReceiverFacts,
    SignalFacts,
    notables_of,
    receiver_facts,
    signals_named,
    signals_of,
)
from ..registry import signal_name
from ..signals import DispatchFailed

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("list")
@_as_json
@pass_script_info
def list_signals(info: ScriptInfo, *, as_json: bool) -> None:
    """List the signals that have async receivers, and those."""
    with looking_at(info) as host:
        facts = signals_of(host.bridge, host.celery_app)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in facts], indent=2))
        return
    if not facts:
        click.echo(
            "No signal has an async receiver. Decorate one: @async_receiver(signal)."
        )
    for signal in facts:
        _print_signal(signal)


@click.command("explain")
@click.argument("signal")
@click.option(
    *("-k", "--kwarg", "pairs"),
    multiple=True,
    metavar="KEY=VALUE",
    help="A keyword argument to send; VALUE is JSON, or else a string.",
)
@click.option(
    "--sender", help="A string to send from. Default: the app.", metavar="TEXT"
)
@click.option("--path", help="Send inside a request for this path.")
@_as_json
@pass_script_info
def explain(
    info: ScriptInfo,
    signal: str,
    *,
    pairs: tuple[str, ...],
    sender: str | None,
    path: str | None,
    as_json: bool,
) -> None:
    """Show what sending SIGNAL would put on which queue, and send nothing.

    Signals of Flask itself get sample arguments where you give none.
    """
    with looking_at(info) as host:
        kwargs = _samples(host.application, signal) | dict(map(_pair, pairs))
        envelopes, failures = _rehearse(host, signal, sender, kwargs, path)
        if as_json:
            click.echo(json.dumps(_preview(host, envelopes, failures), indent=2))
        else:
            _print_preview(host, envelopes, failures)
    if failures:
        raise click.exceptions.Exit(1)


@contextmanager
def looking_at(info: ScriptInfo) -> Generator[FlaskHost]:
    """Enter the app's context, which here is nobody's event."""
    app = info.load_app()
    try:
        host = host_of(app)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
    with quiet(), app.app_context():
        yield host


def _rehearse(
    host: FlaskHost,
    name: str,
    sender: str | None,
    kwargs: Mapping[str, object],
    path: str | None,
) -> tuple[list[Envelope], list[DispatchFailed]]:
    app = host.application
    envelopes: list[Envelope] = []
    failures: list[DispatchFailed] = []
    with app.test_request_context(path) if path else nullcontext():
        for signal in _signals(host.bridge, name):
            sealed, failed = host.bridge.rehearse(signal, sender or app, kwargs)
            envelopes += sealed
            failures += failed
    return envelopes, failures


def _signals(bridge: Bridge, name: str) -> tuple[Signal, ...]:
    signals = signals_named(bridge, name)
    if not signals:
        names = [signal_name(one) for item in bridge.registry for one in item.signals]
        close = get_close_matches(name, names, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise click.ClickException(
            f"no signal called {name} has an async receiver. {hint}`flask signal-tasks "
            "list` shows those that have."
        )
    return signals


def _pair(text: str) -> tuple[str, object]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE.", param_hint="-k")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _samples(app: Flask, signal: str) -> dict[str, object]:
    """Return something to send Flask's own signals with."""
    template = app.jinja_env.from_string("")
    error = ValueError("an example")
    samples: dict[str, dict[str, object]] = {
        "request-finished": {"response": app.response_class("an example")},
        "got-request-exception": {"exception": error},
        "request-tearing-down": {"exc": None},
        "appcontext-tearing-down": {"exc": None},
        "template-rendered": {"template": template, "context": {}},
        "before-render-template": {"template": template, "context": {}},
        "message-flashed": {"message": "an example", "category": "message"},
    }
    return samples.get(signal, {})


def _preview(
    host: FlaskHost, envelopes: Sequence[Envelope], failures: Sequence[DispatchFailed]
) -> dict[str, Any]:
    return {
        "envelopes": [
            {
                **asdict(_receiver(host, one)),
                "bytes": len(one.text.encode()),
                "notable": [asdict(notable) for notable in notables_of(one)],
                "text": one.text,
            }
            for one in envelopes
        ],
        "failures": [
            {"receivers": one.receivers, "error": str(one.error)} for one in failures
        ],
    }


def _receiver(host: FlaskHost, envelope: Envelope) -> ReceiverFacts:
    receiver = host.bridge.registry.get(envelope.receiver)
    return receiver_facts(host.celery_app, receiver)


def _print_preview(
    host: FlaskHost, envelopes: Sequence[Envelope], failures: Sequence[DispatchFailed]
) -> None:
    for failure in failures:
        click.secho(f"not sent to {', '.join(failure.receivers)}", fg="red")
        click.echo(f"  {failure.error}")
    for envelope in envelopes:
        facts = _receiver(host, envelope)
        click.secho(facts.name, bold=True)
        click.echo(f"  queue      {facts.queue}")
        click.echo(f"  size       {len(envelope.text.encode())} bytes")
        for notable in notables_of(envelope):
            click.echo(f"  {notable.kind:10} {notable.path}: {notable.what}")
        click.echo(f"  envelope   {envelope.text}")
    if not envelopes and not failures:
        click.echo("Nothing would be sent: no receiver's sender and condition match.")


def _print_signal(signal: SignalFacts) -> None:
    click.secho(signal.name, bold=True, nl=False)
    first_line = signal.documentation.partition("\n")[0]
    click.echo(f"  {first_line}" if first_line else "")
    for receiver in signal.receivers:
        click.echo(f"  {receiver.name}")
        for line in _receiver_lines(receiver):
            click.echo(f"    {line}")


def _receiver_lines(receiver: ReceiverFacts) -> Iterator[str]:
    yield f"queue {receiver.queue}, sender {receiver.sender}"
    if receiver.policies:
        yield ", ".join(receiver.policies)
    yield receiver.place
