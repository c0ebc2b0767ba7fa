"""The Flask extension: it makes a host of an app, and lets what Flask sends travel."""

from __future__ import annotations

from functools import partial

from celery import Celery
from flask import Flask, current_app
from flask.signals import before_render_template, template_rendered
from werkzeug.local import LocalProxy

from ..bridge import Bridge, default_bridge
from ..exceptions import ConfigurationError
from ..references import SessionSource, check_session
from ..registry import module_name
from ..tasks.receiver_task import BaseTask, ReceiverTask
from .extension_contexts import extension_contexts
from .g_context import g_context
from .host import EXTENSION, FlaskHost, host_of, object_behind
from .request_context import config_of, request_context
from .session_context import session_context
from .snapshots import portioned_context, register_snapshots


class SignalTasks:
    """The Flask extension: handlers of the app's signals run in its Celery workers.

    Give it the app, or call :meth:`init_app` in an app factory; one object serves
    several apps. Receivers may be decorated before and after.

    Configuration, in ``app.config``:

    - ``CELERY``: a dict of Celery's settings, such as ``broker_url``. Read when there is
      no ``app.extensions["celery"]`` yet.
    - ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS`` sign and verify what travels.
    - ``SIGNAL_TASKS_ON_ERROR``: ``"raise"`` or ``"log"``, what a send that fails does;
      by default it raises in debug and testing.
    - ``SIGNAL_TASKS_PUBLISH_TIMEOUT``: seconds that a publish may take (0.5).
    - ``SIGNAL_TASKS_MAX_HOPS``: how far handlers' signals may lead (8).
    - ``SIGNAL_TASKS_MAX_DELIVERIES``: how often a broker may hand out a message again
      before it is a dead letter (5).
    - ``SIGNAL_TASKS_DELIVERY``: how receivers that name no delivery get their events.
    - ``SIGNAL_TASKS_HEADERS``: names of the headers that travel with a request.
    - ``SIGNAL_TASKS_STORE_URL``: the database for what is kept, as SQLAlchemy writes
      it; by default that of Flask-SQLAlchemy, else a SQLite file in the instance folder.
    - ``SIGNAL_TASKS_WARM_UP``: whether a process connects to its broker beside its first
      request (True).

    Args:
        app: The app to set up at once.
        bridge: Which receivers it gets; by default those of the bare ``async_receiver``.
        session: The SQLAlchemy session that handlers use, for apps without
            Flask-SQLAlchemy: a ``scoped_session``, or a callable that returns the
            current one. It is closed when the handler has run.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        bridge: Bridge | None = None,
        session: SessionSource | None = None,
    ) -> None:
        self.bridge = default_bridge if bridge is None else bridge
        check_session(session)
        self._session = session
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Serve *app*.

        Its state stands in ``app.extensions["signal_tasks"]``.

        Raises:
            ConfigurationError: *app* has the extension already, or a setting is wrong.

        .. versionadded:: 0.1
        """
        if EXTENSION in app.extensions:
            raise ConfigurationError(
                f"the app {app.name} has SignalTasks already. Give it to the constructor "
                "or to init_app(), not to both."
            )
        self.bridge.codec.register(
            Flask, _app_name, _app_here, tag="flask", subclasses=True
        )
        self.bridge.codec.unwrap(LocalProxy, object_behind)
        register_snapshots(self.bridge.codec)
        for signal in (template_rendered, before_render_template):
            self.bridge.adapt(signal, partial(portioned_context, self.bridge.codec))
        codec = self.bridge.codec
        user, locale = extension_contexts()
        # The order of restoring: the request context takes the session that is there,
        # and Flask-Babel writes into g.
        self.bridge.contexts.add_first(
            (
                session_context(codec),
                user,
                request_context(codec),
                g_context(codec),
                locale,
            )
        )
        if "celery" not in app.extensions:
            app.extensions["celery"] = create_celery_app(app)
        host = FlaskHost(app, self.bridge, self._session)
        host.check_settings()
        host.publish_after_requests()
        host.warm_up_beside_first_request()
        app.extensions[EXTENSION] = host
        self.bridge.attach(host)

    def warm_up(self, app: Flask) -> None:
        """Connect *app* to its broker now, and not beside its first request.

        Importing, connecting and learning take a process up to a fifth of a second. A
        thread does that during the first request, so call this where that one is to
        send at once: in each process that serves requests, after the fork, where the
        web server forks. A broker that is not there is logged, and is no error.

        Raises:
            ConfigurationError: *app* has no SignalTasks.

        .. versionadded:: 0.1
        """
        host_of(app).publisher.warm_up()


def create_celery_app(app: Flask) -> Celery:
    """Make a Celery app for *app* as Flask's documentation does.

    Its tasks, also those that are no receivers, run inside the app's context.
    """

    class FlaskTask(BaseTask):
        def __call__(self, *args: object, **kwargs: object) -> object:
            # A handler gets a context of its own, when its envelope has been opened.
            if isinstance(self, ReceiverTask):
                return self.run(*args, **kwargs)
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app: Celery = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(
        {
            "broker_connection_retry_on_startup": True,
            "task_ignore_result": True,
            **config_of(app).get("CELERY", {}),
        }
    )
    celery_app.set_default()
    return celery_app


def _app_name(app: Flask) -> str:
    return module_name(app.import_name)


def _app_here(import_name: object) -> Flask:
    """Return the app that runs the handler, which is the one that sent the event."""
    app = object_behind(current_app)
    if isinstance(app, Flask) and _app_name(app) == import_name:
        return app
    raise LookupError("the app of that name does not run this handler")
