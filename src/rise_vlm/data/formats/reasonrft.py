"""Reason-RFT and Visual-RFT JSON: ``id, image, problem`` and ``solution`` or ``answer``, in training data also ``cot``.

Files called like the released ones tell their task and split (``released``). The solution is bare or in ``<answer>``.
Boxes are taken as pixels of the picture. ``image`` is one name or a list. Left out: boxes in records of several images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rise_vlm.data.checking import BadRow, Problem
from rise_vlm.data.formats.answers import (
    SUFFIXES,
    annotation_of,
    as_given,
    id_of,
    item_of,
    reasoned,
    rows_in,
    shown_first,
    states_of,
    thought_in,
    to_text,
    told_apart,
)
from rise_vlm.data.formats.base import Entry, Found, Item, Options, Target
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import Images, annotation_files
from rise_vlm.data.formats.reading import text_of
from rise_vlm.data.formats.released import FAMILIES, file_name, of_task, tasks_among
from rise_vlm.data.formats.writing import write_json_list
from rise_vlm.errors import UserError

FILE = "{split}.json"
IMAGES = "images/{split}/{name}"
SHARES_IMAGES = True


def sees(glimpse: Glimpse) -> str | None:
    """Rows with problem and solution."""
    row = glimpse.row
    return "JSON rows with problem and solution" if "problem" in row and {"solution", "answer"} & row.keys() else None


def task_for(source: Path) -> str | None:
    """The task that the names of released files tell. Raises UserError where they are of several."""
    files = annotation_files(source, "reasonrft", SUFFIXES)
    tasks = tasks_among(name for _, name, _ in files)
    if len(tasks) > 1:
        raise UserError(f"{source} holds files of {', '.join(tasks)}; name one of these with --task.")
    return tasks[0] if tasks else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every row; where files are called like the released ones, of those of the task."""
    yield from told_apart(_read(source, options))


def _read(source: Path, options: Options) -> Iterator[Found]:
    images = Images.of(source, options.images)
    files, left = of_task(annotation_files(source, "reasonrft", SUFFIXES), options.task)
    yield from left
    for found in rows_in(files):
        if isinstance(found, Problem):
            yield found
            continue
        file, number, row, split = found
        try:
            yield _item((file, number), row, split, images, options)
        except BadRow as bad:
            yield bad.at(file, number, id_of(row))


def _item(place: tuple[str, int], row: dict[str, Any], split: str | None, images: Images, options: Options) -> Item:
    problem = text_of(row.get("problem"))
    item = shown_first(item_of(place, row, split, images, options.task), [problem])
    solution = next((row[key] for key in ("solution", "answer") if row.get(key) is not None), None)
    question = problem.replace("<image>", "").strip()
    if not question or solution is None:
        raise BadRow("row", f"the row has no {'solution' if question else 'problem'}", item.id)
    thought, answer = reasoned(str(solution))
    cot = text_of(row.get("cot"))
    rationale = (thought_in(cot) or cot) if cot else thought
    return replace(
        item,
        annotation=annotation_of(row, answer, options.task),
        question=question,
        rationale=rationale or None,
        is_box=options.task in ("grounding", "detection"),
    )


def file_of(split: str, task: str) -> str:
    """The file of a split, called as the release calls it where it has the task."""
    return file_name(task, split) if task in FAMILIES else FILE.format(split=split)


def write_file(entries: Iterable[Entry], path: Path, target: Target) -> None:
    """Write a JSON list of rows."""
    write_json_list(path, (_written(entry, target) for entry in entries))


def _written(entry: Entry, target: Target) -> dict[str, Any]:
    image = [entry.image, *entry.more] if entry.more else entry.image
    row = {"id": as_given(entry.id), "image": image, "problem": entry.question or target.question}
    row |= {"cot": entry.rationale} if entry.rationale else {}
    answer = to_text(entry, target)
    row |= {"answer": answer, "solution": answer}  # the released files have the first, the RL code reads both
    return row | states_of(entry, target)
