"""What is asked of pictures: a dataset's card, or a task file of a few lines.

A question may hold ``{name}`` (the file's name without suffix), ``{folder}`` (its folder's name) and ``{classes}``.
Left out: anything about the pictures themselves.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from rise_vlm.data import Card
from rise_vlm.data.card import CARD, explain
from rise_vlm.data.record import MAX_QUESTION
from rise_vlm.errors import DataError, UserError
from rise_vlm.tasks import make_task
from rise_vlm.tasks.base import Task


def task_of(path: Path, question: str | None) -> tuple[Task, str | None]:
    """The task that a dataset or a short YAML file (``task``, ``classes``, ``question``) names, and the question.

    Raises:
        UserError: no such file, an unknown key, a wrong value, or a task without the question it needs.
    """
    if path.is_dir() or path.name == CARD:
        card = Card.read(path if path.is_dir() else path.parent)
    else:
        card = _read(path)
    try:
        task = make_task(card)
    except UserError as error:
        raise UserError(f"--task {path}: {error}") from None
    asked = question or card.question
    where = "--question" if question else f"the question in {path}"
    if asked is None and task.default_question is None:
        place = path / CARD if path.is_dir() else path
        raise UserError(f"{task.name} needs a question: add --question 'Where is the king?', or 'question' to {place}.")
    if asked and "{class}" in asked:
        raise UserError(f"{where} holds {{class}}; a question may hold {{name}}, {{folder}} and {{classes}}.")
    if asked:
        asked = asked.replace("{classes}", ", ".join(task.classes))
    if asked and len(asked) > MAX_QUESTION:
        raise UserError(f"{where} has {len(asked)} characters; at most {MAX_QUESTION} are asked. Shorten it.")
    return task, asked


def fill(question: str, image: Path) -> str:
    """The question for one picture. Raises DataError where its names make it too long."""
    filled = question.replace("{name}", image.stem)
    if "{folder}" in filled:
        filled = filled.replace("{folder}", image.absolute().parent.name)
    if len(filled) > MAX_QUESTION:
        raise DataError(f"{image}: with its names filled in, the question is longer than {MAX_QUESTION} characters.")
    return filled


def _read(path: Path) -> Card:
    if not path.is_file():
        what = "is no file" if path.exists() else "cannot be read: there is no such file"
        raise UserError(f"--task {path} {what}. Name a dataset, or a YAML file such as 'task: detection'.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--task {path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        told = " ".join(str(error).split())[:300]
        raise UserError(f"--task {path} is not readable YAML: {told}") from None
    if not isinstance(values, dict):
        raise UserError(f"--task {path} must hold keys and values, such as 'task: classification'.")
    try:
        return Card(**{"name": path.stem, **{str(key): value for key, value in values.items()}})
    except ValidationError as error:
        first = error.errors()[0]
        plain = isinstance(first["input"], bool | int | float) and first["loc"][0] in ("classes", "synonyms")
        hint = " Put it in quotes." if plain and len(first["loc"]) > 1 else ""
        raise UserError(f"--task {path}: {explain(error, Card)}{hint}") from None
