"""The contenders, of which each is loaded when it is asked for.

A peer that is not installed, or a server that is not here, keeps its contender out and
nobody else's.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from ..place import Place
from .contender import Contender, MissingError

CONTENDERS: Mapping[str, str] = {
    "delay": "delay:Delay",
    "delay_ignore": "delay:DelayIgnore",
    "delay_backend": "delay:DelayBackend",
    "direct": "ours:Direct",
    "direct_public": "ours:DirectPublic",
    "request": "ours:Request",
    "commit": "transactional:Commit",
    "buffered": "ours:Buffered",
    "outbox_sqlite": "transactional:OutboxSQLite",
    "outbox_postgresql": "transactional:OutboxPostgreSQL",
    "rq": "rq_peer:Rq",
    "rq_many": "rq_peer:RqMany",
    "dramatiq": "dramatiq_peer:Dramatiq",
    "huey": "huey_peer:Huey",
    "taskiq": "taskiq_peer:Taskiq",
    "taskiq_gather": "taskiq_peer:TaskiqGather",
    "django": "django_peer:DjangoReceivers",
    "lpush": "lpush:Lpush",
    "delay_rabbit": "delay:DelayRabbit",
    "direct_rabbit": "ours:DirectRabbit",
}
"""Module and class of each, in the order in which tables show them."""


IDLE: Mapping[str, str] = {
    "bare_task": "idle:BareTask",
    "bare_task_late": "idle:BareTaskLate",
    "idle_receiver": "idle:IdleReceiver",
}
"""Those whose handlers do nothing."""


def load(name: str, place: Place) -> Contender:
    """Return the contender called *name*.

    Raises:
        MissingError: It cannot take part here.
    """
    module, _, class_name = {**CONTENDERS, **IDLE}[name].partition(":")
    try:
        found = importlib.import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as error:
        raise MissingError(f"{error.name} is not installed") from error
    contender: Contender = getattr(found, class_name)(place)
    return contender
