"""A page of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import NoReturn

from flask import (
    Response,
    flash,
    jsonify,
    redirect,
    render_template,
    request,
    send_file,
    session,
    stream_template_string,
    url_for,
)
from flask_login import login_user
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from signal_tasks import register_type
from tests.integration.signals_app.app import User, app
from tests.integration.signals_app.tour import FILE, LINES


@register_type
class OrderRefusedError(Exception):
    """An exception that is registered."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@app.route("/")
def plain() -> str:
    """Say something."""
    return "plain"


@app.route("/items/<int:number>")
def item(number: int) -> str:
    """Render a template."""
    return render_template("item.html", title=f"Item {number}", price=7.5)


@app.route("/stream")
def stream() -> Response:
    """Make the response while it is sent."""
    return Response(iter(LINES), mimetype="text/plain")


@app.route("/streamed-template")
def streamed_template() -> Iterator[str]:
    """Render a template while it is sent."""
    source = "{% for line in lines %}{{ line }}{% endfor %}"
    return stream_template_string(source, lines=LINES, title="Lines")


@app.route("/broken")
def broken() -> NoReturn:
    """Fail, for a reason."""
    raise RuntimeError("on purpose") from LookupError("no such order")


@app.route("/refused")
def refused() -> NoReturn:
    """Fail with an exception that is registered."""
    raise OrderRefusedError(42)


@app.errorhandler(404)
def not_found(error: NotFound) -> tuple[str, int]:
    """Handle an error."""
    return "not found", 404


@app.route("/old")
def old() -> AnyResponse:
    """Lead somewhere else."""
    return redirect(url_for("item", number=7))


@app.route("/orders", methods=["POST"])
def order() -> tuple[str, int]:
    """Read a form."""
    return f"ordered {request.form['what']}", 201


@app.route("/api/orders", methods=["POST"])
def order_by_json() -> Response:
    """Read and write JSON."""
    return jsonify(ordered=request.get_json()["what"])


@app.route("/file")
def file() -> Response:
    """Send a file."""
    return send_file(BytesIO(FILE), download_name="data.bin", as_attachment=True)


@app.route("/flash")
def flash_message() -> str:
    """Keep a message for the next page."""
    flash("Saved", "success")
    return "flashed"


@app.route("/login", methods=["POST"])
def login() -> str:
    """Log somebody in."""
    session["user_id"] = "ada"
    session["secret"] = "of the session"
    login_user(User("7"))
    return "logged in"
