"""How the messages of a batch are written: by whom, and from which template.

In: the receivers of a batch. Out: the recipe of each, and which of them the short way into
Redis is open to; learned once, and found again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery

from ..registry import Registry
from .line import Line
from .recipes import Recipe, Recipes
from .redis_push import Template, Templates

#: How many sets of receivers are known at once; there are as many as signals.
_KNOWN_AT_MOST: Final = 1024


@dataclass(frozen=True, slots=True)
class Push:
    """Messages of one template, which the short way into Redis is open to."""

    template: Template
    places: list[int]
    """Where they are among all of the batch."""

    queues: list[Any]
    """Those that have to be there."""


@dataclass(frozen=True, slots=True)
class Format:
    """How the messages for some receivers are written, in their order."""

    tasks: Sequence[Any]
    """The receivers' tasks, for which this holds."""

    recipes: Sequence[Recipe | None]
    pushes: Sequence[Push] = ()


class Formats:
    """What one process has learned of how messages are written.

    Args:
        celery_app: Has a task for each receiver.
        registry: Knows the receivers' message options.
    """

    def __init__(self, celery_app: Celery, registry: Registry) -> None:
        self._registry = registry
        self._tasks: Mapping[str, Any] = celery_app.tasks
        self._recipes = Recipes(celery_app, registry)
        self._templates = Templates()
        self._known: dict[tuple[str, ...], Format] = {}
        self.refused: set[str] = set()
        """Receivers whose last message the broker refused, perhaps with those around it."""

    def of(self, line: Line, names: tuple[str, ...]) -> Format:
        """Return how the messages for the receivers called *names* are written.

        Args:
            line: Where it is learned, and where they go.
            names: Of receivers, some perhaps several times.

        Raises:
            Exception: What kombu or Redis raises, where some have yet to be learned.
        """
        tasks = list(map(self._tasks.__getitem__, names))
        if not self._recipes.apply:
            return Format(tasks, [None] * len(tasks))
        known = self._known.get(names)
        if known is not None and known.tasks == tasks:
            return known
        recipes = list(map(self._recipes.of, names, tasks))
        if line.redis is None:
            return Format(tasks, recipes)
        found = Format(
            tasks, recipes, _pushes(recipes, self._templates.of(line, recipes))
        )
        if self._templates.has_all(recipes):
            if len(self._known) >= _KNOWN_AT_MOST:
                self._known.clear()
            self._known[names] = found
        return found

    def prepare(self, line: Line) -> None:
        """Learn how the messages of all receivers are written, over *line*."""
        names = tuple(receiver.name for receiver in self._registry)
        for recipe in self.of(line, names).recipes:
            if recipe is not None:
                line.declare(recipe.declare)


def _pushes(
    recipes: Iterable[Recipe | None], templates: Iterable[Template | None]
) -> list[Push]:
    """Put together the places of each template."""
    pushes: dict[Template, Push] = {}
    for place, (recipe, template) in enumerate(zip(recipes, templates, strict=True)):
        if recipe is not None and template is not None:
            push = pushes.setdefault(template, Push(template, [], []))
            push.places.append(place)
            push.queues.extend(one for one in recipe.declare if one not in push.queues)
    return list(pushes.values())
