"""The Celery app of the Flask app that FLASK_APP names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
from celery import Celery
from celery.app.utils import find_app

from signal_tasks import ConfigurationError

APP = """
from flask import Flask
from signal_tasks import Bridge, SignalTasks

def create_app():
    app = Flask("shop")
    app.config["CELERY"] = {"broker_url": "memory://"}
    SignalTasks(app, bridge=Bridge())
    return app
"""


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Return the module as a new process has it, in an empty folder without FLASK_APP."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("FLASK_APP", raising=False)
    for name in ("signal_tasks.worker", "served_shop", "app"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("signal_tasks.worker")


def test_importing_the_module_loads_no_app(worker: ModuleType) -> None:
    """The Flask app is loaded when the Celery app is asked for."""
    assert "celery" not in vars(worker)


def test_flask_app_names_the_app(
    worker: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """FLASK_APP means here what it means to the flask command."""
    (tmp_path / "served_shop.py").write_text(APP)
    monkeypatch.setenv("FLASK_APP", "served_shop:create_app")

    celery_app = worker.celery

    assert isinstance(celery_app, Celery)
    assert celery_app.main == "shop"


def test_app_is_loaded_once(
    worker: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Asking again gives the same Celery app."""
    (tmp_path / "served_shop.py").write_text(APP)
    monkeypatch.setenv("FLASK_APP", "served_shop")

    assert worker.celery is worker.celery


def test_app_is_found_in_the_current_folder(worker: ModuleType, tmp_path: Path) -> None:
    """Without FLASK_APP the app is in app.py, as for the flask command."""
    (tmp_path / "app.py").write_text(APP)

    assert worker.celery.main == "shop"


def test_celery_finds_the_app(
    worker: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Celery's -A signal_tasks.worker finds the Celery app."""
    (tmp_path / "served_shop.py").write_text(APP)
    monkeypatch.setenv("FLASK_APP", "served_shop")

    found = find_app("signal_tasks.worker")

    assert found is worker.celery


def test_app_without_the_extension_is_refused(
    worker: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An app that has no SignalTasks is named, with the mend."""
    source = "from flask import Flask\napp = Flask('bare')\n"
    (tmp_path / "served_shop.py").write_text(source)
    monkeypatch.setenv("FLASK_APP", "served_shop")

    with pytest.raises(ConfigurationError, match=r"bare has no SignalTasks: call"):
        worker.load_celery_app()


def test_other_attributes_are_missing(worker: ModuleType) -> None:
    """The module has what it has, and no more."""
    with pytest.raises(AttributeError, match="'app'"):
        _ = worker.app
