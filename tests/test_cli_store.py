"""The commands ``store`` and ``dead``, run as ``flask signal-tasks`` runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from blinker import Signal
from click.testing import Result
from flask import Flask

from signal_tasks import Bridge, current_event
from signal_tasks.cli.group import group
from signal_tasks.dead_letters import DeadLetter, DeadLetterFilter
from signal_tasks.store import Store, StoredDeadLetters
from tests.in_memory import broker_of, new_app

SECRET = "4111-1111-1111-1111"
PASSWORD = "hunter2"
EVERY = DeadLetterFilter()
DIED_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

LETTER = DeadLetter(
    receiver="shop.bill",
    signal="order-placed",
    event_id="e1",
    reason="OSError",
    error=f"card {SECRET} refused",
    attempts=4,
    text=f'{{"payload": "{SECRET}"}}',
    died_at=DIED_AT,
)

STRANGER = replace(
    LETTER,
    receiver="shop.handlers.gone",
    signal=None,
    event_id=None,
    reason="UnknownReceiverError",
    attempts=0,
)


@pytest.fixture
def app(flask_bridge: Bridge, tmp_path: Path) -> Flask:
    """Return an app with the commands, and a store of its own."""
    url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    app = new_app(flask_bridge, SIGNAL_TASKS_STORE_URL=url)
    app.cli.add_command(group)
    return app


@pytest.fixture
def letters(app: Flask) -> StoredDeadLetters:
    """Return the dead letters of *app*."""
    letters: StoredDeadLetters = app.extensions["signal_tasks"].dead_letters
    return letters


def run(app: Flask, *arguments: str) -> Result:
    """Run a command of *app*."""
    return app.test_cli_runner().invoke(args=["signal-tasks", *arguments])


def bury_one(app: Flask, bridge: Bridge, handler: Callable[..., object]) -> Signal:
    """Let the one event of a signal die in *handler*, the receiver ``bill``."""
    signal = Signal()
    bridge.async_receiver(signal, name="bill", max_retries=0)(handler)
    signal.send(app, card=SECRET)
    broker_of(app).run()
    return signal


def app_without_broker(bridge: Bridge, folder: Path) -> Flask:
    """Return an app with the commands, a store of its own, and a broker that is down."""
    app = new_app(
        bridge,
        SIGNAL_TASKS_STORE_URL=f"sqlite:///{folder / 'store.sqlite3'}",
        CELERY={"broker_url": f"redis://:{PASSWORD}@127.0.0.1:1/0"},
    )
    app.cli.add_command(group)
    return app


class Mended:
    """A handler that fails until it is mended."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.is_mended = False

    def __call__(self, sender: object, card: str) -> str:
        self.ids.append(current_event.id)
        if not self.is_mended:
            raise OSError(card)
        return card


# -- store create


def test_create_says_where_the_tables_are(app: Flask, tmp_path: Path) -> None:
    """The command may be repeated, and names the place."""
    run(app, "store", "create")

    result = run(app, "store", "create")

    assert result.output == f"The tables are in sqlite:///{tmp_path}/store.sqlite3.\n"
    assert (tmp_path / "store.sqlite3").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("store", "create"),
        ("dead", "list"),
        ("dead", "show", "1"),
        ("dead", "replay", "--all"),
        ("dead", "purge", "--all"),
    ],
    ids=" ".join,
)
def test_store_that_cannot_be_reached_is_one_line(
    flask_bridge: Bridge, command: tuple[str, ...]
) -> None:
    """A store that is not there is an error in words, without its password."""
    url = f"postgresql+psycopg://postgres:{PASSWORD}@127.0.0.1:1/shop"
    app = new_app(flask_bridge, SIGNAL_TASKS_STORE_URL=url)
    app.cli.add_command(group)

    result = run(app, *command)

    assert result.exit_code == 1
    assert result.output.startswith(
        "Error: the store at postgresql+psycopg://postgres:"
    )
    assert result.output.count("\n") == 1
    assert PASSWORD not in result.output


def test_store_whose_setting_went_bad_is_one_line(
    flask_bridge: Bridge,
) -> None:
    """A setting that is no URL is an error in words, too."""
    app = new_app(flask_bridge)
    app.config["SIGNAL_TASKS_STORE_URL"] = PASSWORD
    app.cli.add_command(group)

    result = run(app, "dead", "list")

    assert result.output.startswith("Error: the store's URL (SIGNAL_TASKS_STORE_URL)")
    assert PASSWORD not in result.output


# -- dead list


def test_list_is_a_table(app: Flask, letters: StoredDeadLetters) -> None:
    """Each letter is a line, with its columns under their heads."""
    letters.keep(LETTER)
    letters.keep(STRANGER)

    result = run(app, "dead", "list")

    assert result.output.splitlines() == [
        "number  died (UTC)           error                 attempts  signal        receiver",
        "1       2026-01-02 03:04:05  OSError               4         order-placed  shop.bill",
        "2       2026-01-02 03:04:05  UnknownReceiverError  0         (unreadable)  shop.handlers.gone",
    ]


def test_list_of_none_says_so(app: Flask) -> None:
    """An empty table is a sentence."""
    assert run(app, "dead", "list").output == "There are no such dead letters.\n"


def test_list_of_none_is_an_empty_array(app: Flask) -> None:
    """For programs there is always JSON."""
    assert json.loads(run(app, "dead", "list", "--json").output) == []


def test_list_prints_json(app: Flask, letters: StoredDeadLetters) -> None:
    """Each letter is an object, with the facts that hold nothing of what was sent."""
    letters.keep(LETTER)

    result = run(app, "dead", "list", "--json")

    assert json.loads(result.output) == [
        {
            "id": 1,
            "receiver": "shop.bill",
            "signal": "order-placed",
            "event_id": "e1",
            "reason": "OSError",
            "attempts": 4,
            "died_at": "2026-01-02T03:04:05.678901+00:00",
        }
    ]


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("list", "--json"),
        ("replay", "--all"),
        ("purge", "--all"),
    ],
    ids=" ".join,
)
def test_what_was_sent_is_not_printed(
    app: Flask, letters: StoredDeadLetters, command: tuple[str, ...]
) -> None:
    """Envelope and error's text are for ``show`` alone."""
    letters.keep(LETTER)

    result = run(app, "dead", *command)

    assert SECRET not in result.output


def test_list_moves_no_cursor(app: Flask, letters: StoredDeadLetters) -> None:
    """Names that somebody made up are printed on their line, whatever is in them."""
    letters.keep(replace(LETTER, receiver="\x1b[2Jboo\nnext", signal="\u202e"))

    _, line = run(app, "dead", "list").output.splitlines()

    assert line.endswith(r"\u202e  \x1b[2Jboo\nnext")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--receiver", "shop.bill"), [1]),
        (("--signal", "order-placed"), [1]),
        (("--error", "UnknownReceiverError"), [2]),
        (("--older", "1"), [1]),
        (("--older", "0"), [1, 2]),
        (("--older", "0.0001", "--receiver", "shop.bill"), [1]),
        (("2",), [2]),
        (("1", "2", "3"), [1, 2]),
        (("--receiver", ""), []),
    ],
    ids=str,
)
def test_list_is_filtered(
    app: Flask, letters: StoredDeadLetters, options: tuple[str, ...], found: list[int]
) -> None:
    """Options and numbers narrow the list down."""
    letters.keep(LETTER)
    letters.keep(replace(STRANGER, died_at=datetime.now(UTC) - timedelta(minutes=5)))

    result = run(app, "dead", "list", "--json", *options)

    assert [one["id"] for one in json.loads(result.output)] == found


@pytest.mark.parametrize(
    "arguments",
    [("0",), ("99999999999",), ("x",), ("--older", "nan"), ("--older", "inf")],
    ids=" ".join,
)
def test_impossible_filter_is_a_usage_error(
    app: Flask, arguments: tuple[str, ...]
) -> None:
    """A number out of its range is told of before the store is asked."""
    result = run(app, "dead", "list", *arguments)

    assert result.exit_code == 2
    assert "Error: Invalid value" in result.output


# -- dead show


def test_show_prints_a_letter_whole(app: Flask, letters: StoredDeadLetters) -> None:
    """One letter is shown with its error's text and its envelope."""
    letters.keep(replace(LETTER, error="one\nand \x1b[2J"))

    result = run(app, "dead", "show", "1")

    assert result.output == (
        "id        1\n"
        "receiver  shop.bill\n"
        "signal    order-placed\n"
        "event_id  e1\n"
        "reason    OSError\n"
        "attempts  4\n"
        "died_at   2026-01-02T03:04:05.678901+00:00\n"
        "error     one\\nand \\x1b[2J\n"
        f"text      {LETTER.text}\n"
    )


def test_show_leaves_out_what_is_not_known(
    app: Flask, letters: StoredDeadLetters
) -> None:
    """An unreadable envelope has no signal and no event."""
    letters.keep(STRANGER)

    assert "signal\nevent_id\n" in run(app, "dead", "show", "1").output


def test_show_prints_json(app: Flask, letters: StoredDeadLetters) -> None:
    """A program gets the envelope to the letter."""
    letters.keep(LETTER)

    shown: dict[str, Any] = json.loads(run(app, "dead", "show", "1", "--json").output)

    assert (shown["text"], shown["error"]) == (LETTER.text, LETTER.error)
    assert shown["event_id"] == "e1"


def test_show_of_none_is_an_error(app: Flask) -> None:
    """A number that nobody has is told of."""
    result = run(app, "dead", "show", "7")

    assert (result.exit_code, result.output) == (
        1,
        "Error: there is no dead letter 7.\n",
    )


# -- dead replay


def test_replayed_event_runs_with_its_own_identifier(
    app: Flask, flask_bridge: Bridge, letters: StoredDeadLetters
) -> None:
    """A handler that was mended runs for the very event that died."""
    handler = Mended()
    bury_one(app, flask_bridge, handler)
    handler.is_mended = True

    result = run(app, "dead", "replay", "--all")

    assert result.output == "1 published again.\n"
    assert broker_of(app).run() == [SECRET]
    first, second = handler.ids
    assert first == second
    assert letters.find(EVERY) == []


def test_replay_may_be_repeated(app: Flask, flask_bridge: Bridge) -> None:
    """What has left does not leave again."""
    bury_one(app, flask_bridge, Mended())
    run(app, "dead", "replay", "--all")

    result = run(app, "dead", "replay", "--all")

    assert result.output == "0 published again.\n"
    assert len(broker_of(app).take()) == 1


def test_letter_that_somebody_else_replays_meanwhile_is_not_counted(
    app: Flask, flask_bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two replays at once, one tells of the letter."""
    bury_one(app, flask_bridge, Mended())
    monkeypatch.setattr(StoredDeadLetters, "replay", lambda _, number: False)

    result = run(app, "dead", "replay", "--all")

    assert result.output == "0 published again.\n"
    assert broker_of(app).take() == []


def test_event_that_dies_again_is_one_dead_letter_again(
    app: Flask, flask_bridge: Bridge, letters: StoredDeadLetters
) -> None:
    """A replay that mends nothing loses nothing."""
    bury_one(app, flask_bridge, Mended())
    (before,) = letters.find(EVERY)
    run(app, "dead", "replay", "--receiver", "bill")

    broker_of(app).run()

    (after,) = letters.find(EVERY)
    assert after.letter == replace(before.letter, died_at=after.letter.died_at)


def test_unreadable_envelope_is_replayed_as_it_came(
    app: Flask, flask_bridge: Bridge, letters: StoredDeadLetters
) -> None:
    """What this version cannot read is published all the same, for a worker that can."""
    flask_bridge.async_receiver(Signal(), name="bill")(print)
    letters.keep(replace(STRANGER, receiver="bill", text='{"v":2,"new":1}'))

    run(app, "dead", "replay", "--all")

    (message,) = broker_of(app).take()
    assert message.payload[0] == ['{"v":2,"new":1}']
    assert message.headers["signal_tasks_event"].startswith("letter-")


def test_replay_leaves_receivers_that_are_unknown_here(
    app: Flask, flask_bridge: Bridge, letters: StoredDeadLetters
) -> None:
    """Letters that nobody here could route stay, and keep no other from leaving."""
    letters.keep(STRANGER)
    letters.keep(replace(STRANGER, receiver="shop.\x1blost"))
    letters.keep(STRANGER)
    bury_one(app, flask_bridge, Mended())

    result = run(app, "dead", "replay", "--all")

    assert result.exit_code == 1
    assert result.output == (
        "1 published again.\n"
        "Error: 3 stay, for this app has no receiver shop.\\x1blost, "
        "shop.handlers.gone. Replay them with the code that declares it, or purge them.\n"
    )
    assert letters.numbers(EVERY) == [1, 2, 3]


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_replay_leaves_what_is_done(
    app: Flask,
    flask_bridge: Bridge,
    letters: StoredDeadLetters,
    options: tuple[str, ...],
) -> None:
    """A handler that had committed its work does not run once more."""
    flask_bridge.async_receiver(Signal(), name=LETTER.receiver)(print)
    letters.keep(replace(LETTER, reason="CommittedError"))

    result = run(app, "dead", "replay", "--all", *options)

    assert result.exit_code == 1
    assert (
        '"done": [\n    1\n  ]' in result.output or "1 stay, for their" in result.output
    )
    assert letters.numbers(EVERY) == [1]
    assert not letters.replay(1)


def test_replay_prints_json(
    app: Flask, flask_bridge: Bridge, letters: StoredDeadLetters
) -> None:
    """A program learns which letters have left, and which stay for want of what."""
    letters.keep(STRANGER)
    bury_one(app, flask_bridge, Mended())

    some = run(app, "dead", "replay", "--all", "--json")
    none = run(app, "dead", "replay", "--receiver", "bill", "--json")

    assert some.exit_code == 1
    assert json.loads(some.stdout) == {
        "replayed": [2],
        "unknown": [{"id": 1, "receiver": "shop.handlers.gone"}],
        "done": [],
        "error": None,
    }
    assert none.exit_code == 0
    assert json.loads(none.stdout) == {
        "replayed": [],
        "unknown": [],
        "done": [],
        "error": None,
    }


def test_replay_without_a_broker_forgets_nothing(
    flask_bridge: Bridge, tmp_path: Path
) -> None:
    """With a broker that is down the letters wait in the outbox until it is back."""
    app = app_without_broker(flask_bridge, tmp_path)
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    flask_bridge.async_receiver(Signal(), name="bill")(print)
    store.dead_letters.keep(replace(LETTER, receiver="bill"))
    store.dead_letters.keep(replace(LETTER, receiver="bill", event_id="e2"))

    result = run(app, "dead", "replay", "--all")

    assert result.exit_code == 1
    assert "Error: 2 are in the outbox now, and not all have left" in result.output
    assert PASSWORD not in result.output
    assert store.outbox.state().spooled == 2
    with_broker = new_app(
        flask_bridge, SIGNAL_TASKS_STORE_URL=app.config["SIGNAL_TASKS_STORE_URL"]
    )
    with_broker.cli.add_command(group)
    again = run(with_broker, "dead", "replay", "--all")
    assert again.output == "0 published again.\n"
    assert broker_of(with_broker).names() == ["bill", "bill"]
    assert store.outbox.state().spooled == 0


def test_replay_without_a_broker_prints_json(
    flask_bridge: Bridge, tmp_path: Path
) -> None:
    """A program learns what is in the outbox now, and why it is still there."""
    app = app_without_broker(flask_bridge, tmp_path)
    flask_bridge.async_receiver(Signal(), name="bill")(print)
    app.extensions["signal_tasks"].dead_letters.keep(replace(LETTER, receiver="bill"))

    result = run(app, "dead", "replay", "--all", "--json")

    assert result.exit_code == 1
    outcome = json.loads(result.stdout)
    assert outcome["replayed"] == [1]
    assert "the broker at redis://" in outcome["error"]
    assert PASSWORD not in result.output


# -- dead purge


def test_purged_letters_are_forgotten(app: Flask, letters: StoredDeadLetters) -> None:
    """The letters that fit are gone, the others stay."""
    letters.keep(LETTER)
    letters.keep(STRANGER)

    result = run(app, "dead", "purge", "--error", "OSError")

    assert result.output == "1 forgotten.\n"
    assert letters.numbers(EVERY) == [2]


def test_purge_prints_json(app: Flask, letters: StoredDeadLetters) -> None:
    """A program learns how many are gone."""
    letters.keep(LETTER)

    result = run(app, "dead", "purge", "--all", "--json")

    assert json.loads(result.stdout) == {"purged": 1}


@pytest.mark.parametrize("command", ["replay", "purge"])
def test_all_letters_are_meant_only_where_that_is_said(
    app: Flask, letters: StoredDeadLetters, command: str
) -> None:
    """A command without a filter changes nothing."""
    letters.keep(LETTER)

    result = run(app, "dead", command)

    assert result.exit_code == 2
    assert "say which, by number or option, or --all." in result.output
    assert letters.numbers(EVERY) == [1]


def test_app_without_the_extension_is_told_so() -> None:
    """An app that has no SignalTasks has no dead letters either."""
    app = Flask("shop")
    app.cli.add_command(group)

    result = run(app, "dead", "list")

    assert result.output.startswith("Error: the app shop has no SignalTasks")
