"""The tutorial's app, as it is when ``extract=`` picks what travels."""

from __future__ import annotations

from flask import Flask

from signal_tasks import SignalTasks

app = Flask("picked")
app.secret_key = "only the tutorial's"
SignalTasks(app)
