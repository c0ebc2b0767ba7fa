"""Receivers that listen to one sender alone."""

from __future__ import annotations

from typing import Any

from flask import Flask, render_template_string
from flask.signals import template_rendered
from jinja2 import Template

from signal_tasks import async_receiver
from tests.integration.book import observe
from tests.integration.picked.app import app

other_app = Flask("other")


@app.route("/page")
def page() -> str:
    """Render two templates, of which only one is this app's."""
    with other_app.app_context():
        render_template_string("{{ title }}", title="Of another app")
    return render_template_string("<h1>{{ title }}</h1>", title="Signal example")


def log_template_renders(
    sender: Flask, template: Template, context: dict[str, Any], **extra: Any
) -> None:
    """Say what is rendered."""
    observe("template", sender.name, template.name, context["title"])


template_rendered.connect(log_template_renders, app)


def pick_title(
    sender: Flask, template: Template, context: dict[str, Any], **extra: Any
) -> dict[str, Any]:
    """Pick what travels: neither a template nor the request in its context does."""
    return {"template": template.name, "title": context["title"]}


def log_template_renders_later(sender: Flask, template: str | None, title: str) -> None:
    """Say what was rendered."""
    observe("template", sender.name, template, title)


async_receiver(template_rendered, sender=app, extract=pick_title)(
    log_template_renders_later
)
