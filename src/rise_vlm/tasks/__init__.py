"""Tasks by name. A new task is one file here and one line in ``TASKS``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rise_vlm.errors import UserError, nearest
from rise_vlm.tasks import counting, detection, grounding, structure, transformation
from rise_vlm.tasks.base import Task
from rise_vlm.tasks.classification import Classification
from rise_vlm.tasks.counting import Counting
from rise_vlm.tasks.detection import Detection
from rise_vlm.tasks.distribution import Distribution
from rise_vlm.tasks.grounding import Grounding
from rise_vlm.tasks.structure import Structure
from rise_vlm.tasks.transformation import Transformation

if TYPE_CHECKING:
    from rise_vlm.data.card import Card

TASKS: dict[str, type[Task]] = {
    "classification": Classification,
    "detection": Detection,
    "distribution": Distribution,
    "grounding": Grounding,
    "counting": Counting,
    "structure": Structure,
    "transformation": Transformation,
}

SCORES: dict[str, tuple[str, ...]] = {
    "distribution": ("jsd", "official"),
    "detection": detection.SCORES,
    "grounding": grounding.SCORES,
    "counting": counting.SCORES,
    "structure": structure.SCORES,
    "transformation": transformation.SCORES,
}
"""The scores of the tasks that have several, the default first."""


GRADED: dict[str, dict[str, str | None]] = {
    "classification": {"top1": None},
    "counting": {"accuracy": "number"},
    "structure": {"accuracy": "exact"},
    "transformation": {"partial": "partial", "exact_set": "exact"},
}
"""Metrics that are the mean of one of a task's scores (None: of its only one): what a floor scores is known in them."""


def scores_of(task: str) -> tuple[str, ...]:
    """The names of a task's scores; empty where it has one only."""
    return SCORES.get(task, ())


def same_as_score(task: str) -> tuple[str, ...]:
    """The metrics that are the mean of a task's default score, under another name."""
    default = (scores_of(task) or (None,))[0]
    return tuple(metric for metric, kind in GRADED.get(task, {}).items() if kind in (None, default))


def make_task(card: Card, **options: Any) -> Task:
    """The task of a data set's card. ``options`` go to the task's constructor, such as ``score="official"`` for
    distribution. Raises UserError; it names the card's key, its file is the caller's to name.
    """
    if card.task not in TASKS:
        raise UserError(f"unknown task '{card.task}'; known: {', '.join(TASKS)}.{nearest(card.task, TASKS)}")
    task = TASKS[card.task](card.classes, card.question, card.synonyms, **options)
    return task.called(card.named_by, card.language)


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of a metric is the better one; each task names its metrics for which it is not."""
    return not any(metric in task.lower_is_better for task in TASKS.values())
