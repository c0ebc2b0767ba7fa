"""The commands behind ``flask signal-tasks``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from flask.cli import AppGroup, ScriptInfo, pass_script_info

from ..dev.console import Console, wants_colour
from ..dev.stack import StackSettings
from ..dev.supervisor import Supervisor
from ..dev.watching import watch_code
from ..exceptions import ConfigurationError
from ..flask.host import FlaskHost, host_of
from .doctor import doctor
from .inspection import explain, list_signals
from .relay import relay
from .store import dead, store

group = AppGroup("signal-tasks", help="Signal handlers that run in Celery workers.")
group.add_command(list_signals)
group.add_command(explain)
group.add_command(doctor)
group.add_command(store)
group.add_command(dead)
group.add_command(relay)

_EMBEDDED = "embedded"
_FOLDER = click.Path(file_okay=False, path_type=Path)


@group.command("dev")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where the web server is."
)
@click.option(
    "--port",
    default=5000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Its port; 0 finds a free one.",
)
@click.option(
    "--broker",
    metavar="URL",
    help="A running broker to use. Default: the one that the app is configured for. "
    f"Without either, or with '{_EMBEDDED}', a broker is started.",
)
@click.option(
    "--data-dir", type=_FOLDER, help="Keep a started broker's messages in this folder."
)
@click.option(
    "--concurrency",
    default=2,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many tasks run at a time.",
)
@click.option(
    "--grace",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds that running tasks may take to finish.",
)
@click.option(
    "--reload/--no-reload", default=True, help="Pick up changed code, or do not."
)
@click.option(
    "--watch",
    "watched",
    multiple=True,
    type=_FOLDER,
    help="Watch the code in this folder too, besides the current one.",
)
@pass_script_info
def dev(
    info: ScriptInfo,
    *,
    host: str,
    port: int,
    broker: str | None,
    data_dir: Path | None,
    concurrency: int,
    grace: float,
    reload: bool,
    watched: tuple[Path, ...],
) -> None:
    """Run broker, worker and web server in this terminal.

    The worker restarts when the code changes. Ctrl-C ends the web server, then the
    worker when its running tasks have finished, then the broker; a second Ctrl-C
    does not wait for the tasks.
    """
    console = Console(sys.stdout, is_coloured=wants_colour(sys.stdout))
    try:
        settings = StackSettings(
            app=info.app_import_path,
            host=host,
            port=port,
            broker_url=_broker_url(host_of(info.load_app()), broker),
            data_dir=data_dir,
            concurrency=concurrency,
            is_debug=reload,
            grace_seconds=grace,
        )
        watch = watch_code([Path(), *watched]) if reload else None
        exit_code = Supervisor(settings, console, watch=watch).run()
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(exit_code)


def _broker_url(app: FlaskHost, asked: str | None) -> str | None:
    """Return the URL of the broker to use; None to start one."""
    if asked == _EMBEDDED:
        return None
    # Celery itself lets the variable CELERY_BROKER_URL win over the configuration.
    return asked or app.celery_app.conf.broker_url or None
