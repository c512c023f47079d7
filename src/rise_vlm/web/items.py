"""What there is to review: the records of a dataset, or the answers that ``rise annotate`` wrote.

Both become Items, the least certain first: answers that could not be read, then those marked for review, then by the
smaller of confidence and reconstruction (how well the rationale leads back to the answer); what says nothing of the
kind keeps its order. All items stand in memory, about 2 kB each. Left out: rows that are not records; they are counted
and told.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rise_vlm.console import say
from rise_vlm.data.card import CARD, Card, explain
from rise_vlm.data.checking import Problem
from rise_vlm.data.dataset import Dataset
from rise_vlm.data.images import read_size, safe_join
from rise_vlm.data.record import Record
from rise_vlm.data.rows import read_rows
from rise_vlm.errors import DataError, UserError
from rise_vlm.tasks import make_task
from rise_vlm.tasks.base import Task

HINTS = ("confidence", "reconstruction", "review", "leaks", "reason")
"""Keys of an answer, or of a record's ``meta``, that say how far to trust it."""


@dataclass(frozen=True)
class Item:
    """One thing to review. ``split`` is None where nobody has dealt splits yet; ``pictures`` are files."""

    record: Record
    split: str | None
    pictures: tuple[Path, ...]
    hints: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What the journal calls it."""
        return self.record.id if self.split is None else f"{self.split}/{self.record.id}"

    @property
    def digest(self) -> str:
        """Of what is reviewed, so that a decision is not applied to something else of the same id."""
        shown = [self.record.annotation, self.record.rationale, self.record.question]
        return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Batch:
    """All there is to review, in the order to show it. ``model`` is what answered, None for a dataset."""

    source: Path
    card: Card
    task: Task
    items: tuple[Item, ...]
    model: str | None = None

    @property
    def digest(self) -> str:
        """Of what is reviewed and in which order, so that a page left open is not taken for one of another batch."""
        items = [[item.key, item.digest] for item in self.items]
        shown = [str(self.source.absolute()), self.card.task, self.card.classes, items]
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16]


def load(source: Path, task_file: Path | None = None, splits: Sequence[str] = ()) -> Batch:
    """The items of a dataset's folder, or of a JSONL file of ``rise annotate``.

    Raises:
        UserError: neither of the two, a split that is not there, nothing to review, or no task for the answers.
    """
    if source.name == CARD and source.is_file():
        source = source.parent
    if source.is_dir():
        if task_file is not None:
            raise UserError(f"--task is for a file of answers; the dataset {source} states its own task.")
        batch = _dataset(source, splits)
    elif source.is_file():
        if splits:
            raise UserError(f"--split is for a dataset; {source} is a file.")
        batch = _answers(source, task_file)
    else:
        raise UserError(f"There is no dataset and no file {source}.")
    if not batch.items:
        raise UserError(f"{source} holds nothing to review.")
    return batch


def doubt(item: Item) -> tuple[bool, bool, float]:
    """A key that sorts the least certain first; a hint that is absent or of another form counts as certain."""
    known = [item.hints.get(name) for name in ("confidence", "reconstruction")]
    numbers = [float(value) for value in known if isinstance(value, int | float) and math.isfinite(value)]
    return item.record.annotation is not None, item.hints.get("review") is not True, min(numbers, default=1.0)


def _dataset(source: Path, splits: Sequence[str]) -> Batch:
    dataset = Dataset.open(source)
    found: list[Item] = []
    aside: Counter[str] = Counter()
    seen: set[str] = set()
    for split in splits or dataset.splits:
        for _, result in dataset.check(split):
            if isinstance(result, Problem) or result.id in seen:
                aside[split] += 1
                continue
            seen.add(result.id)
            pictures = tuple(safe_join(dataset.root, name) for name in result.images)
            hints = {key: result.meta[key] for key in HINTS if key in result.meta}
            found.append(Item(result, split, pictures, hints))
    if aside:
        told = ", ".join(f"{count} of {split}" for split, count in aside.items())
        say(f"{told} are bad rows or of an id used before and are not shown; 'rise data check {source}' names them.")
    return Batch(source, dataset.card, dataset.task, tuple(sorted(found, key=doubt)))


def _answers(source: Path, task_file: Path | None) -> Batch:
    aside = Counter[str]()
    rows = _rows(source, aside)
    first = next(rows, None)
    if first is None:
        raise UserError(f"{source} holds nothing to review.")
    card, task = _task_of(source, first["source"], task_file)
    found = {item.key: item for item in _items(source, chain([first], rows), task, aside)}
    if aside:
        told = "; ".join(f"{count} {what}" for what, count in aside.items())
        say(f"{source}: rows left aside: {told}.")
    model = first["source"].get("model")
    return Batch(source, card, task, tuple(sorted(found.values(), key=doubt)), str(model or "a model"))


def _rows(source: Path, aside: Counter[str]) -> Iterator[dict[str, Any]]:
    """The rows of a file of answers, one at a time, others counted. Raises UserError where the first is none."""
    none_yet = True
    for number, row, unreadable in read_rows(source):
        if unreadable is None and isinstance(row, dict) and isinstance(row.get("source"), dict):
            none_yet = False
            yield row
        elif none_yet:
            raise UserError(f"{source} row {number} is no answer of 'rise annotate', and {source} is no dataset.")
        else:
            aside["no answers of 'rise annotate'"] += 1


def _task_of(source: Path, made_by: Mapping[str, Any], task_file: Path | None) -> tuple[Card, Task]:
    """The task of the answers: of ``--task``, else of the rows where they say enough (they do not list classes)."""
    name, wanted = str(made_by.get("task")), made_by.get("classes")
    if task_file is None:
        if wanted:
            raise UserError(f"{source} does not list its classes: add --task, the file that 'rise annotate' was given.")
        card = Card(name=source.stem, task=name, question=str(made_by.get("question") or "") or None)
        return card, make_task(card)
    from rise_vlm.stages.task_file import task_of

    task, asked = task_of(task_file, None if wanted else made_by.get("question"))
    if task.name != name:
        raise UserError(f"--task {task_file} is for {task.name}, but {source} holds answers of {name}.")
    digest = hashlib.sha256(json.dumps(task.classes).encode()).hexdigest()[:12] if task.classes else ""
    if isinstance(wanted, str) and wanted != digest:
        raise UserError(f"--task {task_file} has other classes than those that {source} was made with.")
    synonyms = {key: list(words) for key, words in task.synonyms.items()}
    card = Card(name=source.stem, task=name, classes=list(task.classes), question=asked, synonyms=synonyms)
    return card, make_task(card)


def _items(source: Path, rows: Iterable[Mapping[str, Any]], task: Task, aside: Counter[str]) -> Iterator[Item]:
    usual = task.question or task.default_question
    for row in rows:
        name = row.get("image")
        picture = None if not isinstance(name, str) else _picture(source, name)
        if picture is None:
            aside["whose image is missing"] += 1
            continue
        try:
            width, height = _size(row, picture)
            question = row.get("question")
            record = Record(
                id=str(row.get("id") or name),
                images=(str(name),),
                annotation=row.get("annotation"),
                question=None if question in (usual, "") else question,
                rationale=row.get("rationale"),
                width=width,
                height=height,
            )
        except (ValidationError, DataError) as error:
            told = explain(error, Record) if isinstance(error, ValidationError) else str(error)
            aside[f"that cannot be used ({told})"] += 1
            continue
        yield Item(record, None, (picture,), {key: row[key] for key in HINTS if row.get(key) is not None})


def _picture(source: Path, name: str) -> Path | None:
    """The image file: as ``rise annotate`` was given it, else beside the answers."""
    for path in (Path(name), source.parent / name):
        try:
            if path.is_file():
                return path.absolute()
        except (OSError, ValueError):
            return None
    return None


def _size(row: Mapping[str, Any], picture: Path) -> tuple[int, int]:
    width, height = row.get("width"), row.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else read_size(picture).upright
