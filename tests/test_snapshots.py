"""What arrives of responses, templates, exceptions and Flask's containers."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import (
    Flask,
    Response,
    abort,
    before_render_template,
    flash,
    got_request_exception,
    jsonify,
    make_response,
    message_flashed,
    redirect,
    render_template,
    render_template_string,
    request_finished,
    request_tearing_down,
    send_file,
    stream_template_string,
    template_rendered,
)
from jinja2 import DictLoader, Template
from markupsafe import Markup
from werkzeug.datastructures import ImmutableMultiDict, MultiDict
from werkzeug.sansio.response import Response as BareResponse

from signal_tasks import (
    Bridge,
    DispatchError,
    EncodeError,
    ExceptionSnapshot,
    NotSentError,
    ResponseSnapshot,
    TemplateSnapshot,
)
from signal_tasks.codec import Codec
from signal_tasks.flask.snapshots import portioned_context, register_snapshots
from signal_tasks.portions import Portion
from tests.exactness import exactly, travel
from tests.in_worker import run_worker

SECRET = "4111-1111-1111-1111"


class Connection:
    """Something that no message carries."""


class ShopResponse(Response):
    """An app's own response class."""


class UnspeakableError(Exception):
    """An exception that fails when it is shown."""

    def __str__(self) -> str:
        raise ZeroDivisionError(SECRET)


class ShopError(Exception):
    """An exception of the user's."""


class SoldOutError(ShopError):
    """One that derives from it."""


@pytest.fixture
def codec() -> Codec:
    """Return a codec that carries snapshots."""
    codec = Codec()
    register_snapshots(codec)
    return codec


class Visit:
    """Visits an app, and gives what a handler of a signal gets by that."""

    def __init__(self, app: Flask, bridge: Bridge) -> None:
        self.app = app
        self.bridge = bridge
        self.response: Any = None
        """What the visitor got."""

    def __call__(
        self,
        signal: Any,
        view: Callable[[], Any],
        *,
        method: str = "GET",
        **options: Any,
    ) -> Any:
        """Return the keyword arguments of the handler of *signal*."""
        calls: list[dict[str, Any]] = []
        self.bridge.async_receiver(signal, name="note", **options)(
            lambda _, **kwargs: calls.append(kwargs)
        )
        self.app.add_url_rule("/", endpoint="view", view_func=view)
        self.response = self.app.test_client().open("/", method=method, buffered=True)
        run_worker(self.app)
        [kwargs] = calls
        return kwargs


@pytest.fixture
def received(app: Flask, flask_bridge: Bridge) -> Iterator[Visit]:
    """Return what visits the app and gives what a handler gets."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    yield Visit(app, flask_bridge)
    # Flask's signals are those of all apps.
    flask_bridge.disconnect(*(receiver.name for receiver in flask_bridge.registry))


def shown(response: Any) -> tuple[object, ...]:
    """Return what handlers usually read of a response."""
    return (
        *(response.status, response.status_code, response.mimetype),
        *(response.content_type, response.content_length, response.is_json),
        *(response.location, response.headers.get("X-Shop"), response.is_streamed),
    )


def answer_json() -> Response:
    """Answer with JSON."""
    return jsonify(title="A book")


def answer_with_headers() -> Response:
    """Answer with headers, and cookies."""
    response = make_response("größe", 202, {"X-Shop": "north", "X-Many": "1"})
    response.headers.add("X-Many", "2")
    response.set_cookie("token", SECRET)
    return response


def answer_file() -> Response:
    """Answer with a file, which the server passes through."""
    return send_file(Path(__file__), mimetype="text/x-python")


def answer_stream() -> Response:
    """Answer with what is made while it is sent."""
    return Response(iter(["a", "b", "c"]), mimetype="text/csv")


def answer_stream_of_known_length() -> Response:
    """Answer with a stream that says how long it is."""
    return Response(iter(["a", "b"]), headers={"Content-Length": "2"})


def answer_parts() -> Response:
    """Answer in several parts."""
    return Response(["größe", b"..."])


def answer_own_class() -> Response:
    """Answer with a response of the app's own class."""
    return ShopResponse("shop", status="299 Fine")


def answer_error() -> Response:
    """Answer that there is nothing."""
    abort(404)


def answer_redirect() -> Response:
    """Lead elsewhere."""
    return redirect("/elsewhere")


def answer_nothing() -> Response:
    """Answer without a body."""
    return Response(status=204)


ANSWERS = [
    *(answer_json, answer_with_headers, answer_file, answer_stream),
    *(answer_stream_of_known_length, answer_own_class, answer_error),
    *(answer_redirect, answer_nothing),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
def test_response_reads_as_it_did(
    app: Flask, received: Visit, answer: Callable[[], Response], method: str
) -> None:
    """Status, headers and length of any response arrive, and the client gets it all."""
    here: list[object] = []
    note = lambda _, response: here.append(shown(response))  # noqa: E731

    with request_finished.connected_to(note, app):
        there = received(request_finished, answer, method=method)["response"]

    assert [shown(there)] == here
    assert isinstance(there, ResponseSnapshot)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (answer_stream, b"abc"),
        (answer_stream_of_known_length, b"ab"),
        (answer_file, Path(__file__).read_bytes()),
        (answer_parts, "größe...".encode()),
        (lambda: Response(stream_template_string("{{ 1 + 1 }}")), b"2"),
    ],
    ids=["stream", "known length", "file", "parts", "template"],
)
def test_response_is_not_consumed(received: Visit, answer: Any, body: bytes) -> None:
    """What is made while it is sent still reaches the client."""
    received(request_finished, answer)

    assert received.response.data == body


def test_length_of_a_body_in_parts_is_known(received: Visit) -> None:
    """A length that no header tells is counted, where that needs no sending."""
    response = received(request_finished, answer_parts)["response"]

    assert response.content_length == response.calculate_content_length() == 10


def test_length_of_a_stream_is_not_known(received: Visit) -> None:
    """What is not made yet has no length."""
    response = received(request_finished, answer_stream)["response"]

    assert (response.is_streamed, response.calculate_content_length()) == (True, None)


def test_header_may_be_there_several_times(received: Visit) -> None:
    """Repeated headers arrive in order."""
    headers = received(request_finished, answer_with_headers)["response"].headers

    assert headers.getlist("x-many") == headers.get_all("X-Many") == ["1", "2"]


@pytest.mark.parametrize(
    "look",
    [
        lambda headers: headers["Set-Cookie"],
        lambda headers: headers.get("set-cookie"),
        lambda headers: headers.getlist("Set-Cookie"),
        lambda headers: headers.get_all("Set-Cookie"),
        lambda headers: "Set-Cookie" in headers,
    ],
    ids=["item", "get", "getlist", "get_all", "in"],
)
def test_cookies_of_a_response_are_withheld(received: Visit, look: Any) -> None:
    """Set-Cookie does not travel, and asking for it is an error that says so."""
    headers = received(request_finished, answer_with_headers)["response"].headers

    assert SECRET not in str(headers)
    with pytest.raises(NotSentError, match="the headers had 'set-cookie'") as caught:
        look(headers)
    assert "extract=" in str(caught.value)
    assert "context=" not in str(caught.value)


def test_response_without_cookies_has_none(received: Visit) -> None:
    """Where no cookie was set, there is simply no such header."""
    headers = received(request_finished, answer_json)["response"].headers

    assert headers.get("Set-Cookie") is None


@pytest.mark.parametrize(
    "look",
    [
        lambda response: response.data,
        lambda response: response.get_data(),
        lambda response: response.get_data(as_text=True),
        lambda response: response.json,
        lambda response: response.get_json(silent=True),
        lambda response: response.get_json(force=True),
    ],
    ids=["data", "get_data", "as text", "json", "silent", "force"],
)
def test_body_stays_behind(received: Visit, look: Any) -> None:
    """Asking for the body is an error that shows the extract to write."""
    response = received(request_finished, answer_json)["response"]

    with pytest.raises(
        NotSentError, match=r"ResponseSnapshot\.of\(response, body=True"
    ):
        look(response)


def with_body(_: object, response: Any) -> dict[str, object]:
    """Pick the response with its body."""
    return {"response": ResponseSnapshot.of(response, body=True)}


def test_body_travels_where_it_is_asked_for(received: Visit) -> None:
    """With the body, data, text and JSON read as they did."""
    response = received(request_finished, answer_json, extract=with_body)["response"]

    assert response.data == response.get_data() == b'{"title":"A book"}\n'
    assert response.get_data(as_text=True) == '{"title":"A book"}\n'
    assert response.json == response.get_json() == {"title": "A book"}


def test_body_that_is_no_json_is_read_as_flask_does(received: Visit) -> None:
    """By its type it has no JSON; by force it fails, unless it is to be silent."""
    view = lambda: "no JSON"  # noqa: E731
    response = received(request_finished, view, extract=with_body)["response"]

    assert response.get_json() is None
    assert response.get_json(force=True, silent=True) is None
    with pytest.raises(ValueError, match="Expecting value"):
        response.get_json(force=True)


@pytest.mark.parametrize("answer", [answer_stream, answer_file])
def test_body_of_a_stream_cannot_be_had(app: Flask, answer: Any) -> None:
    """Reading it would take it from the client, so that is refused."""
    with app.test_request_context():
        response = answer()

        with pytest.raises(ValueError, match="from the client"):
            ResponseSnapshot.of(response, body=True)
        response.close()


def test_error_in_extract_is_the_receivers(received: Visit) -> None:
    """An extract that fails is an error that names the receiver."""
    received.app.config["PROPAGATE_EXCEPTIONS"] = True

    with pytest.raises(DispatchError, match="note: its extract raised ValueError"):
        received(request_finished, answer_stream, extract=with_body)


def test_response_without_a_server_travels() -> None:
    """A bare response of Werkzeug has status and headers, and no body to be had."""
    snapshot = ResponseSnapshot.of(BareResponse(status=201, headers={"X-A": "1"}))

    assert (snapshot.status, snapshot.headers["X-A"]) == ("201 CREATED", "1")
    assert (snapshot.content_length, snapshot.is_streamed) == (None, False)


@pytest.mark.parametrize("body", [True, False])
def test_snapshot_is_sent_on(codec: Codec, body: bool) -> None:
    """A handler that sends its response again sends all that it has of it."""
    response = Response('{"a": 1}', mimetype="application/json")
    response.set_cookie("token", SECRET)
    first = travel(codec, ResponseSnapshot.of(response, body=body))

    second: Any = travel(codec, first)

    assert shown(second) == shown(first)
    assert second.parts() == first.parts()  # type: ignore[attr-defined]
    with pytest.raises(NotSentError):
        second.headers.get("Set-Cookie")


def test_snapshot_of_a_snapshot_is_itself(codec: Codec) -> None:
    """The same extract may run where the response is and where its snapshot is."""
    bare: Any = travel(codec, Response("a book"))
    full: Any = travel(codec, ResponseSnapshot.of(Response("a book"), body=True))

    assert ResponseSnapshot.of(bare) is bare
    assert ResponseSnapshot.of(full, body=True).data == b"a book"
    with pytest.raises(NotSentError, match="body of the response"):
        ResponseSnapshot.of(bare, body=True)


def test_what_a_snapshot_of_a_response_lacks_is_an_error(codec: Codec) -> None:
    """Everything else says that only status and headers travel."""
    snapshot: Any = travel(codec, Response("a book"))

    assert repr(snapshot) == "<ResponseSnapshot [200 OK]>"
    with pytest.raises(AttributeError, match="ResponseSnapshot has no response"):
        _ = snapshot.response


def test_template_is_named(app: Flask, received: Visit) -> None:
    """A handler reads which template was rendered."""
    app.jinja_env.loader = DictLoader({"shelf.html": "{{ title }}"})
    view = lambda: render_template("shelf.html", title="T")  # noqa: E731

    kwargs = received(template_rendered, view)

    assert kwargs["template"].name == "shelf.html"
    assert kwargs["context"]["title"] == "T"


@pytest.mark.parametrize("signal", [template_rendered, before_render_template])
def test_template_context_keeps_what_travels(received: Visit, signal: Any) -> None:
    """Names whose values travel arrive, and the others are known to be left out."""
    view = lambda: render_template_string(  # noqa: E731
        "{{ title }}", title=Markup("<b>T</b>"), db=Connection(), items=[1, {2}]
    )

    context = received(signal, view)["context"]

    assert exactly(context["title"]) == exactly(Markup("<b>T</b>"))
    assert context["items"] == [1, {2}]
    assert context.get("none") is None
    for name in ("db", "g", "request"):
        with pytest.raises(
            NotSentError, match=f"template's context had '{name}'"
        ) as caught:
            _ = context[name]
        assert "extract=" in str(caught.value)
        assert "context=" not in str(caught.value)


def test_context_that_is_sent_on_keeps_the_names_of_what_it_lacks() -> None:
    """A handler that sends its context again does not hide what it never had."""
    sent = Portion({"sent": {"title": "T"}, "left_out": ["db"]}, what="x")

    again: Any = portioned_context(Codec(), {"context": sent})["context"]

    assert (again, again.left_out) == ({"title": "T"}, {"db"})


@pytest.mark.parametrize(
    "kwargs", [{}, {"context": None}, {"context": {1: 2}}, {"context": "text"}]
)
def test_what_is_no_context_is_left_as_it_is(kwargs: dict[str, object]) -> None:
    """Somebody else's use of Flask's signals is not touched."""
    assert portioned_context(Codec(), kwargs) is kwargs


def test_portion_travels(codec: Codec) -> None:
    """A part of a mapping arrives as that, with the names of the rest."""
    sent = Portion({"sent": {"a": {1}}, "left_out": ["b", 2]}, what="the context")

    arrived: Any = travel(codec, sent)

    assert (arrived, arrived.left_out, arrived.what) == (sent, {"b", 2}, sent.what)


def test_snapshot_of_a_template_is_only_its_name(codec: Codec) -> None:
    """It cannot be rendered, says what to do instead, and may be sent on."""
    first: Any = travel(codec, Template("{{ title }}"))

    second: Any = travel(codec, TemplateSnapshot(name="a.html", filename="/a.html"))

    assert (first.name, first.filename) == (None, "<template>")
    assert second == TemplateSnapshot(name="a.html", filename="/a.html")
    assert repr(second) == "<TemplateSnapshot 'a.html'>"
    with pytest.raises(AttributeError, match=r"call flask\.render_template"):
        second.render(title="T")


def raise_chain() -> Response:
    """Fail because of something else, with something else before."""
    try:
        {}["book"]
    except KeyError as error:
        raise SoldOutError("no books", 3) from error


def test_exception_is_known_by_type_message_and_traceback(received: Visit) -> None:
    """A handler reads all that a log would show."""
    error = received(got_request_exception, raise_chain)["exception"]

    assert error.type_name == f"{__name__}.SoldOutError"
    assert error.message == str(error) == "('no books', 3)"
    assert "KeyError: 'book'" in error.traceback_text
    assert "direct cause of the following exception" in error.traceback_text
    assert 'raise SoldOutError("no books", 3) from error' in error.traceback_text
    assert repr(error) == f"<ExceptionSnapshot of {__name__}.SoldOutError>"


def test_tearing_down_tells_of_the_exception(received: Visit) -> None:
    """The teardown signals bring what ended the request, or None."""
    exc = received(request_tearing_down, raise_chain)["exc"]

    assert exc.type_name == f"{__name__}.SoldOutError"


def test_registered_exception_comes_back_as_itself(
    received: Visit, flask_bridge: Bridge
) -> None:
    """A class that was registered can be raised again and caught by its name."""
    flask_bridge.register_type(SoldOutError)

    error = received(got_request_exception, raise_chain)["exception"]

    with pytest.raises(ShopError) as caught:
        raise error
    assert type(caught.value) is SoldOutError
    assert error.args == ("no books", 3)
    assert "KeyError: 'book'" in error.traceback_text


def test_snapshot_of_an_exception_can_be_raised(codec: Codec) -> None:
    """It is an exception, though not of its class."""
    arrived: Any = travel(codec, ShopError("closed"))

    with pytest.raises(ExceptionSnapshot, match="closed"):
        raise arrived


@pytest.mark.parametrize(
    ("error", "message", "text"),
    [
        (ExceptionGroup("many", [ValueError("a")]), "many (1 sub-exception)", "+---"),
        (
            UnspeakableError(),
            "<its __str__ raised ZeroDivisionError>",
            "UnspeakableError",
        ),
        (KeyboardInterrupt(), "", "KeyboardInterrupt"),
        (ValueError("\ud800"), "\ud800", "ValueError"),
        (OSError(2, "gone", "/f"), "[Errno 2] gone: '/f'", "FileNotFoundError"),
    ],
    ids=["group", "no text", "exit", "surrogate", "os"],
)
def test_exception_of_any_kind_travels(
    codec: Codec, error: BaseException, message: str, text: str
) -> None:
    """No exception keeps the signal that reports it from its receivers."""
    arrived: Any = travel(codec, error)

    assert arrived.message == message
    assert text in arrived.traceback_text
    assert SECRET not in arrived.traceback_text


@pytest.mark.parametrize(
    "carry",
    [travel, lambda _, error: pickle.loads(pickle.dumps(error))],
    ids=["sent on", "pickled"],
)
def test_snapshot_of_an_exception_may_go_on(codec: Codec, carry: Any) -> None:
    """It is sent on, or raised through Celery, with its facts and first traceback."""
    arrived: Any = travel(codec, ShopError("closed"))

    again = carry(codec, arrived)

    assert type(again) is ExceptionSnapshot
    assert (again.type_name, again.message, again.traceback_text, again.args) == (
        *(arrived.type_name, "closed", arrived.traceback_text, ("closed",)),
    )


def test_what_a_snapshot_of_an_exception_lacks_is_an_error(codec: Codec) -> None:
    """An attribute of the user's class is missing by name, with the mend."""
    arrived: Any = travel(codec, ShopError("closed"))

    with pytest.raises(AttributeError, match=r"has no code.*register_type"):
        _ = arrived.code


def test_flashed_message_may_be_markup(received: Visit) -> None:
    """Message and category of a flash arrive as they were."""

    def view() -> str:
        flash(Markup("<b>saved</b>"), "success")
        return ""

    kwargs = received(message_flashed, view)

    assert exactly(kwargs) == exactly(
        {"message": Markup("<b>saved</b>"), "category": "success"}
    )


@pytest.mark.parametrize("kind", [MultiDict, ImmutableMultiDict])
def test_multidict_keeps_types_and_order(codec: Codec, kind: type[Any]) -> None:
    """Each key keeps all its values, with their types."""
    sent = kind([("a", 1), ("b", (2,)), ("a", "3")])

    arrived: Any = travel(codec, sent)

    assert type(arrived) is kind
    assert exactly(list(arrived.items(multi=True))) == exactly(
        list(sent.items(multi=True))
    )


def test_class_that_derives_from_a_multidict_is_another_type(codec: Codec) -> None:
    """What a subclass adds would be lost, so it does not travel by that."""

    class Basket(MultiDict[str, str]):
        pass

    with pytest.raises(EncodeError, match=r"only .*MultiDict itself travels"):
        travel(codec, Basket())


def test_stream_is_left_to_the_client(codec: Codec) -> None:
    """Not one item of a generator is asked for."""

    def make() -> Iterator[bytes]:
        yield b""  # pragma: no cover  # which is the point

    arrived: Any = travel(codec, Response(make()))

    assert arrived.is_streamed
