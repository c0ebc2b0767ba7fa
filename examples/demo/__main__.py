"""Start the demo: a broker, a worker and the web server, in this terminal."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from signal_tasks import ConfigurationError
from signal_tasks.dev.console import Console, wants_colour
from signal_tasks.dev.stack import StackSettings, running_stack
from signal_tasks.dev.supervisor import Supervisor
from signal_tasks.dev.watching import watch_code

from .once import drive

APP: Final = "examples.demo:create_app"
ROOT: Final = Path(__file__).parents[2]
WATCHED: Final = (ROOT / "examples", ROOT / "signal_tasks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the demo until it is interrupted, or drive it once.

    Returns:
        The exit code: with ``--once`` 0 if every handler ran in the worker, else 1.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.once:
            return once(options.instance, wait_seconds=options.wait)
        return serve(options.instance, port=options.port)
    except ConfigurationError as error:
        print(f"The demo cannot start: {error}", file=sys.stderr)
        return 1


def serve(instance: Path | None, *, port: int) -> int:
    """Run the demo, and pick up changed code, until Ctrl-C."""
    settings = StackSettings(
        app=APP,
        port=port,
        broker_url=os.environ.get("CELERY_BROKER_URL") or None,
        is_debug=True,
        environment={"DEMO_INSTANCE": str(instance.resolve())} if instance else {},
        cwd=ROOT,
    )
    console = Console(sys.stdout, is_coloured=wants_colour(sys.stdout))
    return Supervisor(settings, console, watch=watch_code(WATCHED)).run()


def once(instance: Path | None, *, wait_seconds: float) -> int:
    """Run the demo, visit it once, and leave nothing behind but a table."""
    # So that the folder is removed, and everything ended, on this signal as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with TemporaryDirectory(prefix="signal-tasks-demo-") as scratch:
        settings = StackSettings(
            app=APP,
            port=0,
            broker_url=os.environ.get("CELERY_BROKER_URL") or None,
            environment={"DEMO_INSTANCE": str((instance or Path(scratch)).resolve())},
            cwd=ROOT,
        )
        with running_stack(settings) as stack:
            all_ran = drive(
                stack.url, worker_pid=stack.worker_pid, wait_seconds=wait_seconds
            )
            if not all_ran:
                print("The worker wrote last:", file=sys.stderr)
                print(*stack.worker.last_lines, sep="\n", file=sys.stderr)
    return 0 if all_ran else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo", description=__doc__
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="visit every page once, on a free port, print which handlers ran, and exit",
    )
    parser.add_argument(
        "--instance",
        type=Path,
        metavar="DIR",
        help="keep database, outbox and key in DIR (with --once: a temporary folder)",
    )
    parser.add_argument("--port", type=int, default=5000, help="where to serve (5000)")
    parser.add_argument(
        "--wait",
        type=float,
        default=30,
        metavar="SECONDS",
        help="with --once: how long the handlers may take (30)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
