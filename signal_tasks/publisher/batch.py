"""The messages of one publish, and what becomes of each.

In: envelopes, and lines to the broker. Out: Celery's messages, acknowledged.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from amqp.exceptions import MessageNacked
from celery import Celery

from ..envelope import EVENT_HEADER, Envelope, Envelopes
from ..exceptions import SignalTasksError
from ..registry import Registry
from .broker_errors import cause_of
from .formats import Formats, Push
from .line import Clock, Line
from .lines import Lines
from .recipes import Parentage, Recipe, argsrepr
from .redis_push import Pushed, push


class Batch:
    """Publishes envelopes, and keeps apart what fails for one and what fails for all.

    A message is known by the place of its envelope.

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
        self._envelopes = envelopes
        self.size = len(envelopes)
        self._task_ids = _ids(self.size)
        self._left: Sequence[int] = range(self.size)
        self._sent: set[int] = set()
        self._suspects: Sequence[int] = ()
        self._one_by_one = False
        self._errors: tuple[type[Exception], ...] = ()
        self._left_out: list[int] = []
        self.unmade: dict[str, Exception] = {}
        """Receivers that Celery makes no message for, and why."""
        self.refused: dict[str, Exception] = {}
        """Receivers whose queue or message the broker refuses, and why."""

    @property
    def left(self) -> tuple[str, ...]:
        """The receivers whose messages have not left."""
        return tuple(self._envelopes[one].receiver for one in self._left)

    @property
    def events(self) -> frozenset[tuple[str, str]]:
        """The event and the receiver of each message that has not left."""
        held_back = [self._envelopes[one] for one in (*self._left_out, *self._left)]
        return frozenset((envelope.id, envelope.receiver) for envelope in held_back)

    def run_eagerly(self) -> None:
        """Let Celery run the tasks here and now, which needs no broker."""
        for place in self._left:
            try:
                self._apply_async(place)
            except SignalTasksError:
                raise
            except Exception as error:  # noqa: BLE001  # the handler's own, or an option
                self._leave_out(place, error)
        self._left = ()

    def publish(
        self, lines: Lines, formats: Formats, deadline: float, clock: Clock
    ) -> None:
        """Publish all of them, as far as the broker lets us.

        What is still :attr:`left` when this raises may be on its way all the same.

        Raises:
            Exception: One of ``lines.errors``: the broker fails altogether.
        """
        self._errors = lines.errors
        is_second = False
        while self._left:
            line = lines.take(deadline)
            if is_second:
                line.forget_declarations()
            try:
                self._publish_over(line, formats, deadline, clock)
            except lines.errors as error:
                is_about_one = lines.is_about_one(error)
                if is_about_one:
                    lines.discard(line)
                else:
                    lines.discard_older(line)
                if is_about_one and self._is_unclear(cause_of(error)):
                    # All of them once more would be one more copy of those it has.
                    self._one_by_one = True
                elif is_second or clock() >= deadline:
                    if not is_about_one:
                        raise
                    self._refuse(cause_of(error), formats)
                is_second = True
            except BaseException:
                lines.discard(line)
                raise
            else:
                lines.give_back(line)

    def _publish_over(
        self, line: Line, formats: Formats, deadline: float, clock: Clock
    ) -> None:
        batch = self._next(formats)
        self._suspects = batch
        self._sent = set()
        form = formats.of(line, self._receivers_at(batch))
        try:
            if form.pushes:
                self._push(line, form.pushes, batch, deadline, clock)
            if len(self._sent) < len(batch):
                self._publish_by_kombu(line, form.recipes, batch, deadline, clock)
            if line.has_confirms:
                self._await_confirms(line, batch, deadline, clock)
            if formats.refused:
                formats.refused.difference_update(self._receivers_at(batch))
        finally:
            self._left = self._unsent(line)

    def _next(self, formats: Formats) -> Sequence[int]:
        """Return what is to be published together."""
        if self._one_by_one:
            return self._left[:1]
        if not formats.refused:
            return self._left
        # The same may happen again, and nobody then knows which of the others have left.
        sound = [
            place
            for place in self._left
            if self._envelopes[place].receiver not in formats.refused
        ]
        return sound or self._left[:1]

    def _receivers_at(self, places: Sequence[int]) -> tuple[str, ...]:
        envelopes = self._envelopes
        if isinstance(envelopes, Envelopes) and len(places) == self.size:
            return envelopes.receivers
        return tuple([envelopes[place].receiver for place in places])

    def _unsent(self, line: Line) -> Sequence[int]:
        """Return the places of what the broker does not have for certain."""
        if len(self._sent) == len(self._left) and not line.has_confirms:
            return ()
        return [
            place
            for place in self._left
            if place not in self._sent or not line.has(self._task_ids[place])
        ]

    def _await_confirms(
        self, line: Line, batch: Sequence[int], deadline: float, clock: Clock
    ) -> None:
        self._suspects = batch
        line.settle(deadline, clock)
        self._suspects = [one for one in batch if self._task_ids[one] in line.refused]
        if self._suspects:
            raise MessageNacked

    def _push(
        self,
        line: Line,
        pushes: Sequence[Push],
        batch: Sequence[int],
        deadline: float,
        clock: Clock,
    ) -> None:
        """Push what can be pushed at once into Redis."""
        parentage = Parentage.now(self._celery_app)
        lists: list[Pushed] = []
        for one in pushes:
            line.declare(one.queues)
            places, envelopes, task_ids = one.places, self._envelopes, self._task_ids
            if len(places) < self.size:
                places = [batch[place] for place in places]
                envelopes = [self._envelopes[place] for place in places]
                task_ids = [self._task_ids[place] for place in places]
            entries = one.template.entries(envelopes, task_ids, parentage)
            lists.append(Pushed(one.template.key, places, entries))
        refused = push(line.redis, lists, lambda: line.patience(deadline - clock()))
        for pushed in lists:
            if pushed not in refused:
                self._sent.update(pushed.places)
        for pushed, error in refused.items():
            self._suspects = pushed.places
            raise error

    def _publish_by_kombu(
        self,
        line: Line,
        recipes: Sequence[Recipe | None],
        batch: Sequence[int],
        deadline: float,
        clock: Clock,
    ) -> None:
        """Let Celery or kombu publish what is not sent yet."""
        if None in recipes:  # Celery may declare queues
            line.check()
        self._declare(line, recipes, batch)
        parentage = Parentage.now(self._celery_app)
        made: list[int] = []
        with line.batching(len(batch)) as is_batched:
            for place, recipe in zip(batch, recipes, strict=True):
                if place in self._sent or place in self._left_out:
                    continue
                made.append(place)
                # What the broker says now may be about any before.
                is_told_later = line.has_confirms or is_batched
                self._suspects = made if is_told_later else [place]
                options = line.options(self._task_ids[place], deadline - clock())
                if not self._is_made(place, recipe, line, options, parentage):
                    made.remove(place)
                elif not is_batched:
                    self._sent.add(place)
        self._sent.update(made)

    def _declare(
        self, line: Line, recipes: Sequence[Recipe | None], batch: Sequence[int]
    ) -> None:
        """Have the queues declared before the first message leaves.

        A broker that refuses one may end the channel, and does not say then which
        messages it has.
        """
        for place, recipe in zip(batch, recipes, strict=True):
            if recipe is None or place in self._sent:
                continue
            self._suspects = [place]
            try:
                line.declare(recipe.declare)
            except Exception as error:  # noqa: BLE001  # an option may be wrong
                self._leave_out_or_raise(place, error)

    def _is_made(
        self,
        place: int,
        recipe: Recipe | None,
        line: Line,
        options: dict[str, Any],
        parentage: Parentage,
    ) -> bool:
        """Publish the message, or note why it cannot be made."""
        try:
            if recipe is None:
                self._apply_async(place, producer=line.producer, **options)
            else:
                envelope = self._envelopes[place]
                recipe.publish(
                    line.producer,
                    recipe.body_for(envelope.text),
                    parentage.values(envelope, self._task_ids[place]),
                    options,
                )
        except Exception as error:  # noqa: BLE001  # an option may be wrong
            self._leave_out_or_raise(place, error)
            return False
        return True

    def _apply_async(self, place: int, **options: object) -> None:
        """Let Celery make and publish the message."""
        envelope = self._envelopes[place]
        task: Any = self._celery_app.tasks[envelope.receiver]
        chosen = dict(self._registry.get(envelope.receiver).message_options)
        headers = {**chosen.pop("headers", {}), EVENT_HEADER: envelope.id}
        # The user may want messages that no queue gets to be lost.
        if getattr(task, "mandatory", None) is not None:
            options["mandatory"] = task.mandatory
        task.apply_async(
            args=(envelope.text,),
            task_id=self._task_ids[place],
            headers=headers,
            argsrepr=argsrepr(envelope.id, envelope.signal),
            retry=False,
            **chosen,
            **options,
        )

    def _leave_out_or_raise(self, place: int, error: Exception) -> None:
        """Note why the message cannot be made, or raise what the broker says."""
        # A publish error is an OSError, too, and may be that of another signal's receivers.
        is_ours = isinstance(error, SignalTasksError)
        if isinstance(error, self._errors) and not is_ours:
            raise error
        self._leave_out(place, error)

    def _leave_out(self, place: int, error: Exception) -> None:
        self.unmade[self._envelopes[place].receiver] = error
        self._forget(place)

    def _forget(self, place: int) -> None:
        self._left_out.append(place)
        self._left = [one for one in self._left if one != place]

    def _is_unclear(self, error: Exception) -> bool:
        """Tell whether *error* may be about any of several messages."""
        is_about_all = isinstance(error, MessageNacked)
        return len(self._unsent_suspects()) > 1 and not is_about_all

    def _refuse(self, error: Exception, formats: Formats) -> None:
        """Leave out what *error* is about."""
        for place in self._unsent_suspects():
            receiver = self._envelopes[place].receiver
            self.refused[receiver] = error
            if not isinstance(error, MessageNacked):
                formats.refused.add(receiver)
            self._forget(place)

    def _unsent_suspects(self) -> list[int]:
        return [one for one in self._suspects if one in self._left]


def _ids(count: int) -> list[str]:
    """Return so many UUIDs of the fourth version, which differ in their last digits."""
    digits = os.urandom(16).hex()
    start = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-"
    # The first bit is left out, so that there are always enough to come.
    first = int(digits[20:], 16) >> 1
    return [f"{start}{number:012x}" for number in range(first, first + count)]
