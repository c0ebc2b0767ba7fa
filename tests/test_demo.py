"""The demo's pages, and its handlers called as the plain functions that they are."""

from __future__ import annotations

import email
import email.policy
import re
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from blinker import Signal
from flask import Flask, got_request_exception, template_rendered
from flask.testing import FlaskClient
from sqlalchemy import func, select

from examples import demo
from examples.demo import cache, handlers, once, picks
from examples.demo.models import (
    Activity,
    Change,
    Count,
    HandlerRun,
    TemplateRender,
    User,
    db,
)
from examples.demo.signals import (
    data_changed,
    profile_changed,
    user_action,
    user_registered,
)
from examples.demo.storage import outbox

ADA = {"name": "Ada", "email": "ada@example.org", "password": "lovelace1815"}

Post = Callable[..., int]
Listen = Callable[[Signal], list[dict[str, object]]]


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that the app is told to keep its files in."""
    monkeypatch.setenv("DEMO_INSTANCE", str(tmp_path / "instance"))
    monkeypatch.delenv("SECRET_KEY", raising=False)
    return tmp_path / "instance"


@pytest.fixture
def app(instance: Path) -> Iterator[Flask]:
    """Return the app, with its async receivers disconnected: no broker is needed."""
    app = demo.create_app()
    app.config["DEMO_SMTP_SECONDS"] = 0
    with demo.signal_tasks.bridge.disconnected():
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a visitor."""
    return app.test_client()


@pytest.fixture
def post(client: FlaskClient) -> Post:
    """Return a way to post a form as a browser does, with the page's token."""

    def post(path: str, form_page: str = "/login", **form: str) -> int:
        token = re.search(r'name="csrf" value="([^"]+)"', client.get(form_page).text)
        assert token is not None
        return client.post(path, data={"csrf": token[1], **form}).status_code

    return post


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Return a way to hear a signal as a plain receiver does."""
    connected: list[tuple[Signal, Callable[..., None]]] = []

    def listen(signal: Signal) -> list[dict[str, object]]:
        heard: list[dict[str, object]] = []

        def receiver(sender: object, **sent: object) -> None:
            heard.append({"sender": sender, **sent})

        signal.connect(receiver)
        connected.append((signal, receiver))
        return heard

    yield listen
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def context(app: Flask) -> Iterator[None]:
    """Stand inside the app, as a handler does in the worker."""
    with app.app_context():
        yield


@pytest.mark.parametrize("path", ["/", "/register", "/login", "/records", "/live/"])
def test_pages_are_open_to_everybody(client: FlaskClient, path: str) -> None:
    """A visitor who is not logged in sees the public pages."""
    response = client.get(path)

    assert response.status_code == 200


def test_pages_load_nothing_from_elsewhere(client: FlaskClient) -> None:
    """Every answer forbids the browser to load from other hosts."""
    response = client.get("/")

    assert response.headers["Content-Security-Policy"] == "default-src 'self'"
    assert "http" not in response.text


def test_registration_stores_no_password(app: Flask, post: Post) -> None:
    """A registered user is stored with a hash that verifies the password."""
    post("/register", **ADA)

    with app.app_context():
        user = db.session.scalars(select(User)).one()
        assert ADA["password"] not in user.password_hash
        assert user.has_password(ADA["password"])


def test_registration_says_who(app: Flask, post: Post, listen: Listen) -> None:
    """Registering sends user_registered from the app itself, with the user."""
    heard = listen(user_registered)

    post("/register", **ADA)

    (event,) = heard
    assert event["sender"] is app
    assert isinstance(event["user"], User)


def test_registration_logs_in(client: FlaskClient, post: Post) -> None:
    """Who has registered sees their profile at once."""
    post("/register", **ADA)

    assert ADA["email"] in client.get("/profile").text


@pytest.mark.parametrize(
    ("form", "message"),
    [
        pytest.param({"name": "  "}, "your name", id="no name"),
        pytest.param({"email": "ada"}, "does not look like", id="no address"),
        pytest.param({"password": "short"}, "at least 8", id="short password"),
    ],
)
def test_bad_registration_is_explained(
    client: FlaskClient, post: Post, form: dict[str, str], message: str
) -> None:
    """A form that cannot be accepted brings the visitor back with a reason."""
    post("/register", **(ADA | form))

    assert message in client.get("/register").text


def test_address_registers_once(app: Flask, client: FlaskClient, post: Post) -> None:
    """A second registration with an address is refused."""
    post("/register", **ADA)
    post("/register", **ADA)

    assert "Somebody has registered" in client.get("/register").text
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(User)) == 1


@pytest.mark.parametrize("path", ["/register", "/login", "/logout", "/live/register"])
def test_post_without_token_is_refused(client: FlaskClient, path: str) -> None:
    """A form without the visitor's token, as another site would post, does nothing."""
    response = client.post(path, data=ADA)

    assert response.status_code == 400


def test_login_says_whether_it_worked(post: Post, listen: Listen) -> None:
    """Logging out, in with a wrong password, and in again are three actions."""
    post("/register", **ADA)
    heard = listen(user_action)

    post("/logout")
    post("/login", email=ADA["email"], password="wrong")
    post("/login", email=ADA["email"], password=ADA["password"])

    assert [event["action"] for event in heard] == ["logout", "login failed", "login"]


def test_user_without_password_cannot_log_in(app: Flask, post: Post) -> None:
    """The made-up people of the live page have no password that could be guessed."""
    with app.app_context():
        db.session.add(User(name="Alan", email="alan@example.org", password_hash=""))
        db.session.commit()

    post("/login", email="alan@example.org", password="")

    assert post("/profile/edit", name="Alan", about="") == 302
    with app.app_context():
        assert db.session.scalars(select(User)).one().about == ""


@pytest.mark.parametrize("path", ["/profile", "/profile/edit"])
def test_profile_asks_to_log_in(client: FlaskClient, path: str) -> None:
    """Who is not logged in is sent to the login page."""
    response = client.get(path)

    assert response.status_code == 302
    assert response.location == "/login"


def test_viewing_the_profile_is_an_action(
    client: FlaskClient, post: Post, listen: Listen
) -> None:
    """A look at one's profile is told by user_action."""
    post("/register", **ADA)
    heard = listen(user_action)

    client.get("/profile")

    assert [event["action"] for event in heard] == ["view profile"]


def test_changed_profile_is_told(
    app: Flask, client: FlaskClient, post: Post, listen: Listen
) -> None:
    """Saving the profile sends profile_changed, with whose it is."""
    post("/register", **ADA)
    heard = listen(profile_changed)

    post("/profile/edit", "/profile/edit", name="Ada L.", about="Notes")

    assert heard == [{"sender": app, "user_id": 1}]
    assert "Ada L." in client.get("/profile").text


def test_profile_needs_a_name(client: FlaskClient, post: Post, listen: Listen) -> None:
    """A profile without a name is not saved."""
    post("/register", **ADA)
    heard = listen(profile_changed)

    post("/profile/edit", "/profile/edit", name=" ", about="Notes")

    assert heard == []
    assert "your name" in client.get("/profile/edit").text


def test_change_is_told_with_old_and_new(post: Post, listen: Listen) -> None:
    """A committed change is sent with the table, the row, who did it, and both values."""
    post("/register", **ADA)
    heard = listen(data_changed)

    post("/profile/edit", "/profile/edit", name="Ada L.", about="")

    assert heard == [
        {
            "sender": "user",
            "row_id": 1,
            "actor_id": 1,
            "columns": {"name": ("Ada", "Ada L.")},
        }
    ]


def test_password_hash_is_not_told(post: Post, listen: Listen) -> None:
    """Of a secret column the audit learns only that it changed."""
    heard = listen(data_changed)

    post("/register", **ADA)

    (event,) = heard
    columns = event["columns"]
    assert isinstance(columns, dict)
    assert columns["password_hash"] == ("***", "***")


def test_rolled_back_change_is_not_told(
    app: Flask, context: None, listen: Listen
) -> None:
    """What was flushed and then rolled back never happened."""
    heard = listen(data_changed)
    db.session.add(User(name="Alan", email="alan@example.org"))
    db.session.flush()

    db.session.rollback()
    db.session.commit()

    assert heard == []


def test_error_page_fails(client: FlaskClient, listen: Listen) -> None:
    """The error page raises: visitors see a page about it, receivers the exception."""
    heard = listen(got_request_exception)

    response = client.get("/error")

    assert response.status_code == 500
    assert "on purpose" in response.text
    assert type(heard[0]["exception"]).__name__ == "DeliberateError"


def test_missing_page_looks_like_the_others(client: FlaskClient) -> None:
    """An unknown address is answered with the demo's own page."""
    response = client.get("/nowhere")

    assert response.status_code == 404
    assert "signal_tasks" in response.text


def test_what_visitors_wrote_is_escaped(client: FlaskClient, post: Post) -> None:
    """A name that looks like markup is shown as text."""
    post("/register", **(ADA | {"name": "<b>Ada</b>"}))

    page = client.get("/profile").text

    assert "&lt;b&gt;Ada&lt;/b&gt;" in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("path", "is_page"),
    [("/", True), ("/nowhere", True), ("/live/feed", False), ("/static/x", False)],
)
def test_polling_is_no_page_view(app: Flask, path: str, is_page: bool) -> None:
    """The live page's own requests and the style sheet reach no handler."""
    with app.test_request_context(path):
        assert picks.is_page(app) is is_page


def test_template_audit_gets_kinds_and_no_values(
    client: FlaskClient, post: Post, listen: Listen
) -> None:
    """What travels about a template names its context and describes it, no more."""
    post("/register", **ADA)
    heard = listen(template_rendered)
    client.get("/")

    (event,) = heard
    picked = picks.rendering(event.pop("sender"), **event)

    assert picked == {
        "template": "home.html",
        "context": {"members": "list of 1", "user": "User", "csrf_token": "str of 22"},
    }


def test_recipient_is_picked_from_the_user(app: Flask) -> None:
    """Of a user travels what the letter needs."""
    user = User(id=7, name="Ada", email="ada@example.org", password_hash="secret")

    picked = picks.recipient(app, user=user)

    assert picked == {"user_id": 7, "name": "Ada", "email": "ada@example.org"}


def test_failure_is_picked_without_its_message(app: Flask) -> None:
    """Of an exception travels its type; its message might quote a visitor."""
    with app.test_request_context("/error"):
        picked = picks.failure(app, exception=ValueError("Ada's secret"))

    assert picked == {"user_id": None, "path": "/error", "error": "ValueError"}


def test_visit_is_picked_with_its_duration(client: FlaskClient, app: Flask) -> None:
    """Of a request travels who asked for what, the status and the time it took."""
    with client:
        response = client.get("/")
        picked = picks.visit(app, response=app.make_response(("", response.status)))

    assert picked.pop("milliseconds") >= 0  # type: ignore[operator]
    assert picked == {"user_id": None, "method": "GET", "path": "/", "status": 200}


def test_letter_is_written(app: Flask, context: None) -> None:
    """The welcome e-mail is a file in the outbox that mail programs can read."""
    handlers.send_welcome_email(app, user_id=7, name="Ada", email="ada@example.org")

    raw = (outbox() / "welcome-7.eml").read_bytes()
    letter = email.message_from_bytes(raw, policy=email.policy.default)
    assert letter["To"] == "Ada <ada@example.org>"
    assert "Dear Ada" in letter.as_string()


def test_request_is_logged(app: Flask, context: None) -> None:
    """A request becomes a line of the activity log."""
    handlers.log_request(
        app, user_id=7, method="GET", path="/", status=200, milliseconds=1.5
    )

    line = db.session.scalars(select(Activity)).one()
    assert (line.user_id, line.what, line.detail) == (7, "GET /", "200 in 1.5 ms")


def test_action_is_logged(app: Flask, context: None) -> None:
    """An action becomes a line of the activity log."""
    handlers.log_action(app, action="login", user_id=7)

    assert db.session.scalars(select(Activity.what)).one() == "login"


def test_failure_is_logged(app: Flask, context: None) -> None:
    """A failed request becomes a line of the activity log."""
    handlers.log_failure(app, user_id=None, path="/error", error="DeliberateError")

    line = db.session.scalars(select(Activity)).one()
    assert (line.what, line.detail) == ("failed /error", "DeliberateError")


def test_template_is_recorded(app: Flask, context: None) -> None:
    """A rendered template is recorded with the kinds of its values."""
    handlers.audit_template(app, template="home.html", context={"user": "User"})

    render = db.session.scalars(select(TemplateRender)).one()
    assert (render.template, render.context) == ("home.html", {"user": "User"})


def test_profile_change_is_dated(app: Flask, context: None) -> None:
    """A changed profile gets the time of the change."""
    before = datetime.now(UTC).replace(tzinfo=None)
    db.session.add(User(id=7, name="Ada", email="ada@example.org", password_hash=""))
    db.session.commit()

    handlers.touch_profile(app, user_id=7)

    modified_at = db.session.scalars(select(User.modified_at)).one()
    assert modified_at is not None
    assert modified_at >= before


def test_change_by_a_handler_is_told(app: Flask, context: None, listen: Listen) -> None:
    """What a handler changes is audited too, as done by no visitor."""
    db.session.add(User(id=7, name="Ada", email="ada@example.org", password_hash=""))
    db.session.commit()
    heard = listen(data_changed)

    handlers.touch_profile(app, user_id=7)

    (event,) = heard
    assert (event["row_id"], event["actor_id"]) == (7, None)


def test_change_is_recorded(context: None) -> None:
    """Each changed column becomes a line of the audit."""
    handlers.audit_change(
        "user", row_id=7, actor_id=8, columns={"name": ("Ada", "Ada L.")}
    )

    change = db.session.scalars(select(Change)).one()
    assert (change.table, change.row_id, change.actor_id) == ("user", 7, 8)
    assert (change.column, change.old, change.new) == ("name", "Ada", "Ada L.")


def test_views_are_counted(app: Flask, context: None) -> None:
    """Each view adds one, from none."""
    handlers.count(app, kind="page", name="pages.home")
    handlers.count(app, kind="page", name="pages.home")

    assert db.session.scalars(select(Count.total)).one() == 2


def test_members_are_forgotten(client: FlaskClient, context: None, post: Post) -> None:
    """The cached list of members stays as it is until the handler drops it."""
    client.get("/")
    post("/register", **ADA)
    stale = client.get("/").text

    handlers.forget_members("user")

    assert "Ada" not in stale
    assert "Ada" in client.get("/").text


def test_cache_makes_what_it_lacks(context: None) -> None:
    """A cached value is made once, and again after it was dropped."""
    first = cache.get("letters", lambda: ["a"])
    second = cache.get("letters", lambda: ["b"])
    cache.forget("letters")
    third = cache.get("letters", lambda: ["c"])

    assert (first, second, third) == (["a"], ["a"], ["c"])


def test_handlers_called_directly_are_not_recorded(app: Flask, context: None) -> None:
    """Only runs in a worker are shown as such."""
    handlers.log_action(app, action="login", user_id=7)

    assert db.session.scalars(select(HandlerRun)).all() == []


def test_live_page_writes_the_letter_within_the_request(
    app: Flask, context: None, post: Post, listen: Listen
) -> None:
    """With the handler inside the request the letter is there when the answer comes."""
    heard = listen(user_registered)

    post("/live/register", where="request")

    assert [letter.name for letter in outbox().iterdir()] == ["welcome-1.eml"]
    assert heard == []


def test_live_page_leaves_the_letter_to_the_worker(
    app: Flask, context: None, post: Post, listen: Listen
) -> None:
    """With the handler in the worker the request sends the signal, and that is all."""
    heard = listen(user_registered)

    post("/live/register", where="worker")

    assert len(heard) == 1
    assert list(outbox().iterdir()) == []


def test_feed_has_the_runs_since_the_last_one_seen(
    client: FlaskClient, context: None
) -> None:
    """The live page is told of the runs that it has not seen yet."""
    facts = {"event_id": "e", "signal": "s", "sent_at": 0.0, "hops": 0, "attempt": 1}
    times = {"queued_ms": 1.0, "ran_ms": 2.0, "pid": 3, "parent_pid": 4}
    names = ("first", "second", "third")
    db.session.add_all(HandlerRun(handler=name, **facts, **times) for name in names)
    db.session.commit()

    feed = client.get("/live/feed?after=1").get_json()

    assert [run["handler"] for run in feed["runs"]] == ["second", "third"]


def run(**facts: object) -> once.Run:
    """Return a run of a handler in child 30 of the worker 20, but for *facts*."""
    known = {"id": 1, "event_id": "e", "signal": "s", "handler": "h", "sent_at": 0.0}
    times = {"hops": 0, "attempt": 1, "queued_ms": 1.0, "ran_ms": 2.0}
    place = {"error": None, "pid": 30, "parent_pid": 20}
    return once.Run(**(known | times | place | facts))


@pytest.mark.parametrize(
    ("place", "is_stray"),
    [
        pytest.param({}, False, id="in a child of the worker"),
        pytest.param({"pid": 20, "parent_pid": 1}, False, id="in the worker itself"),
        pytest.param({"pid": 10, "parent_pid": 20}, True, id="in the web process"),
        pytest.param({"parent_pid": 21}, True, id="in another worker"),
    ],
)
def test_run_outside_the_worker_is_noticed(
    place: dict[str, object], is_stray: bool
) -> None:
    """A handler that ran anywhere but in the worker is a fault."""
    faults = once.strayed([run(**place)], web_pid=10, worker_pid=20)

    assert bool(faults) is is_stray


def test_run_after_a_request_comes_first() -> None:
    """Of several runs the table shows the first that succeeded after a request."""
    runs = [run(id=1, hops=1), run(id=2, error="OSError"), run(id=3), run(id=4)]

    shown = once.first_runs(runs)

    assert shown == {("s", "h"): runs[2]}


def test_secret_key_is_made_once(instance: Path) -> None:
    """Web and worker find the same random key, which nobody else may read."""
    first, second = demo.create_app(), demo.create_app()

    assert first.config["SECRET_KEY"] == second.config["SECRET_KEY"]
    assert stat.S_IMODE((instance / "secret_key").stat().st_mode) == 0o600


def test_secret_key_may_be_given(
    instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key in the environment is the one, and is not written down."""
    monkeypatch.setenv("SECRET_KEY", "given")

    app = demo.create_app()

    assert app.config["SECRET_KEY"] == "given"
    assert not (instance / "secret_key").exists()
