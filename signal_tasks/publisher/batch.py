"""The messages of one publish, and what becomes of each.

In: envelopes, and lines to the broker. Out: Celery's messages, acknowledged.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from amqp.exceptions import MessageNacked
from celery import Celery

from ..envelope import EVENT_HEADER, Envelope
from ..exceptions import SignalTasksError
from ..registry import Registry
from .broker_errors import cause_of
from .line import Clock, Line
from .lines import Lines
from .recipes import ARGSREPR, EVENT_ID, PARENT_ID, ROOT_ID, TASK_ID, Recipe, Recipes
from .redis_push import BODY, TAG, Bodies, Templates, push


class Message:
    """An envelope on its way."""

    __slots__ = ("envelope", "is_published", "recipe", "task_id")

    def __init__(self, envelope: Envelope, task_id: str) -> None:
        self.envelope = envelope
        self.task_id = task_id
        self.recipe: Recipe | None = None
        self.is_published = False


class Formats:
    """What one process has learned of how messages are written.

    Args:
        celery_app: Has a task for each receiver.
        registry: Knows the receivers' message options.
    """

    def __init__(self, celery_app: Celery, registry: Registry) -> None:
        self._celery_app = celery_app
        self._registry = registry
        self.recipes = Recipes(celery_app, registry)
        self.templates = Templates()

    def prepare(self, line: Line) -> None:
        """Learn how the messages of all receivers are written, over *line*."""
        if not self.recipes.apply:
            return
        tasks = self._celery_app.tasks
        names = [receiver.name for receiver in self._registry]
        found = [self.recipes.of(name, tasks[name]) for name in names]
        recipes = [recipe for recipe in found if recipe is not None]
        for recipe in recipes:
            line.declare(recipe.declare)
        if line.redis is not None:
            self.templates.of(line, recipes)


class Batch:
    """Publishes envelopes, and keeps apart what fails for one and what fails for all.

    Args:
        celery_app: Has a task for each receiver.
        registry: Knows the receivers' message options.
        envelopes: Leave in this order.
    """

    def __init__(
        self, celery_app: Celery, registry: Registry, envelopes: Sequence[Envelope]
    ) -> None:
        self._celery_app = celery_app
        self._registry = registry
        self._messages = list(map(Message, envelopes, _ids(len(envelopes))))
        self._suspects: Sequence[Message] = ()
        self._one_by_one = False
        self._errors: tuple[type[Exception], ...] = ()
        self._left_out: list[Message] = []
        self.size = len(envelopes)
        self.unmade: dict[str, Exception] = {}
        """Receivers that Celery makes no message for, and why."""
        self.refused: dict[str, Exception] = {}
        """Receivers whose queue or message the broker refuses, and why."""

    @property
    def left(self) -> tuple[str, ...]:
        """The receivers whose messages have not left."""
        return tuple(message.envelope.receiver for message in self._messages)

    @property
    def events(self) -> frozenset[tuple[str, str]]:
        """The event and the receiver of each message that has not left."""
        return frozenset(
            (message.envelope.id, message.envelope.receiver)
            for message in (*self._left_out, *self._messages)
        )

    def run_eagerly(self) -> None:
        """Let Celery run the tasks here and now, which needs no broker."""
        for message in tuple(self._messages):
            try:
                self._apply_async(message)
            except SignalTasksError:
                raise
            except Exception as error:  # noqa: BLE001  # the handler's own, or an option
                self._leave_out(message, error)
        self._messages = []

    def publish(
        self, lines: Lines, formats: Formats, deadline: float, clock: Clock
    ) -> None:
        """Publish all of them, as far as the broker lets us.

        What is still :attr:`left` when this raises may be on its way all the same.

        Raises:
            Exception: One of ``lines.errors``: the broker fails altogether.
        """
        self._errors = lines.errors
        self._find_recipes(formats.recipes)
        is_second = False
        while self._messages:
            line = lines.take(deadline)
            if is_second:
                line.forget_declarations()
            try:
                self._publish_over(line, formats.templates, deadline, clock)
            except lines.errors as error:
                is_about_one = lines.is_about_one(error)
                if is_about_one:
                    lines.discard(line)
                else:
                    lines.discard_older(line)
                if is_second or clock() >= deadline:
                    if not is_about_one:
                        raise
                    self._refuse(cause_of(error))
                is_second = True
            except BaseException:
                lines.discard(line)
                raise
            else:
                lines.give_back(line)

    def _find_recipes(self, recipes: Recipes) -> None:
        if recipes.apply:
            tasks = self._celery_app.tasks
            for message in self._messages:
                name = message.envelope.receiver
                message.recipe = recipes.of(name, tasks[name])

    def _publish_over(
        self, line: Line, templates: Templates, deadline: float, clock: Clock
    ) -> None:
        batch = self._messages[:1] if self._one_by_one else self._messages[:]
        for message in batch:
            message.is_published = False
        try:
            left: Sequence[Message] = batch
            if line.redis is not None:
                left = self._push(line, templates, batch, deadline - clock())
            if left:
                self._publish_by_kombu(line, left, deadline, clock)
            self._suspects = batch
            line.settle(deadline, clock)
            self._suspects = [one for one in batch if one.task_id in line.refused]
            if self._suspects:
                raise MessageNacked
        finally:
            self._messages = [
                one
                for one in self._messages
                if not one.is_published or not line.has(one.task_id)
            ]

    def _push(
        self,
        line: Line,
        templates: Templates,
        batch: Sequence[Message],
        seconds: float,
    ) -> Sequence[Message]:
        """Push what can be pushed at once into Redis, and return the rest."""
        made = [message for message in batch if message.recipe is not None]
        if not made:
            return batch
        self._suspects = made
        recipes = [message.recipe for message in made if message.recipe is not None]
        entries: dict[str, list[bytes]] = {}
        pushed: dict[str, list[Message]] = {}
        values = _Values(self._celery_app)
        bodies = Bodies()
        tag = os.urandom(16).hex()
        for number, (message, recipe, template) in enumerate(
            zip(made, recipes, templates.of(line, recipes), strict=True)
        ):
            if template is None:
                continue
            if template.key not in entries:
                line.declare(recipe.declare)
                entries[template.key], pushed[template.key] = [], []
            fillings = values.as_json(message)
            fillings[TAG] = f'"{tag}-{number}"'
            fillings[BODY] = bodies.as_json(recipe, message.envelope.text)
            entries[template.key].append(template.fill(fillings))
            pushed[template.key].append(message)
        if not entries:
            return batch
        refused = push(line.redis, entries, line.patience(seconds))
        for key, messages in pushed.items():
            if key not in refused:
                for message in messages:
                    message.is_published = True
        for key, error in refused.items():
            self._suspects = pushed[key]
            raise error
        return [message for message in batch if not message.is_published]

    def _publish_by_kombu(
        self, line: Line, batch: Sequence[Message], deadline: float, clock: Clock
    ) -> None:
        line.check()
        values = _Values(self._celery_app)
        sent: list[Message] = []
        with line.batching(len(batch)) as is_batched:
            for index, message in enumerate(batch):
                # What the broker says now may be about any before.
                first = 0 if line.has_confirms or is_batched else index
                self._suspects = batch[first : index + 1]
                options = line.options(message.task_id, deadline - clock())
                self._make(message, line, options, values)
                if is_batched:
                    message.is_published = False
                    sent.append(message)
            self._suspects = batch
        for message in sent:
            message.is_published = message not in self._left_out

    def _make(
        self, message: Message, line: Line, options: dict[str, Any], values: _Values
    ) -> None:
        """Publish the message, or note why it cannot be made."""
        try:
            if message.recipe is None:
                self._apply_async(message, producer=line.producer, **options)
            else:
                line.declare(message.recipe.declare)
                message.recipe.publish(
                    line.producer,
                    message.recipe.body_for(message.envelope.text),
                    values.of(message),
                    options,
                )
            message.is_published = True
        # A publish error is an OSError, too, and may be that of another signal's receivers.
        except SignalTasksError as error:
            self._leave_out(message, error)
        except self._errors:
            raise
        except Exception as error:  # noqa: BLE001  # an option may be wrong
            self._leave_out(message, error)

    def _apply_async(self, message: Message, **options: object) -> None:
        """Let Celery make and publish the message."""
        envelope = message.envelope
        task: Any = self._celery_app.tasks[envelope.receiver]
        chosen = dict(self._registry.get(envelope.receiver).message_options)
        headers = {**chosen.pop("headers", {}), EVENT_HEADER: envelope.id}
        # The user may want messages that no queue gets to be lost.
        if getattr(task, "mandatory", None) is not None:
            options["mandatory"] = task.mandatory
        task.apply_async(
            args=(envelope.text,),
            task_id=message.task_id,
            headers=headers,
            argsrepr=_argsrepr(envelope),
            retry=False,
            **chosen,
            **options,
        )

    def _leave_out(self, message: Message, error: Exception) -> None:
        self.unmade[message.envelope.receiver] = error
        self._left_out.append(message)
        self._messages.remove(message)

    def _refuse(self, error: Exception) -> None:
        """Leave out the message that *error* is about, once that is clear."""
        suspects = [one for one in self._suspects if one in self._messages]
        if len(suspects) > 1 and not isinstance(error, MessageNacked):
            self._one_by_one = True
            return
        for message in suspects:
            self.refused[message.envelope.receiver] = error
            self._left_out.append(message)
            self._messages.remove(message)


class _Values:
    """What stands in messages where their recipes have marks."""

    def __init__(self, celery_app: Celery) -> None:
        parent: Any = celery_app.current_worker_task
        self._parent_id = parent and parent.request.id
        self._root_id = parent and (parent.request.root_id or parent.request.id)
        self._event_id = ""
        self._common: dict[str, str | None] = {}
        self._as_json: dict[str, str] = {}

    def of(self, message: Message) -> dict[str, str | None]:
        """Return what stands in *message*."""
        if message.envelope.id != self._event_id:
            self._turn_to(message.envelope)
        task_id = message.task_id
        root_id = self._root_id or task_id
        return {**self._common, TASK_ID: task_id, ROOT_ID: root_id}

    def as_json(self, message: Message) -> dict[str, str]:
        """Return the same as JSON, in a dict that holds until the next call."""
        if message.envelope.id != self._event_id:
            self._turn_to(message.envelope)
        values = self._as_json
        values[TASK_ID] = task_id = f'"{message.task_id}"'
        values[ROOT_ID] = json.dumps(self._root_id) if self._root_id else task_id
        return values

    def _turn_to(self, envelope: Envelope) -> None:
        """Have at hand what is the same for all messages of an event."""
        self._event_id = envelope.id
        self._common = {
            EVENT_ID: envelope.id,
            ARGSREPR: _argsrepr(envelope),
            PARENT_ID: self._parent_id,
        }
        self._as_json = {
            mark: json.dumps(value) for mark, value in self._common.items()
        }


def _argsrepr(envelope: Envelope) -> str:
    return f"(<event {envelope.id} of {envelope.signal}>,)"


def _ids(count: int) -> list[str]:
    """Return so many UUIDs of the fourth version, which differ in their last digits."""
    digits = os.urandom(16).hex()
    start = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-"
    # The first bit is left out, so that there are always enough to come.
    first = int(digits[20:], 16) >> 1
    return [f"{start}{number:012x}" for number in range(first, first + count)]
