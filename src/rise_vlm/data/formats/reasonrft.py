"""Reason-RFT and Visual-RFT JSON: ``id, image, problem`` and ``solution`` or ``answer``, in training data also ``cot``.

Files called like the released ones tell their task and split (``released``). The solution is bare or in ``<answer>``.
Boxes are taken as pixels of the picture. ``image`` is one name or a list. A ``cot`` whose own ``<answer>`` is another
than the record's is no reason for it. Left out: boxes in records of several images.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rise_vlm.data.checking import BadRow, Problem
from rise_vlm.data.formats.answers import (
    SUFFIXES,
    alike,
    annotation_of,
    as_given,
    from_text,
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
from rise_vlm.data.formats.base import Entry, Found, Options, Skip, Target
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import Images, annotation_files
from rise_vlm.data.formats.reading import text_of
from rise_vlm.data.formats.released import FAMILIES, file_name, of_task, tasks_among
from rise_vlm.data.formats.writing import write_json_list
from rise_vlm.errors import UserError

FILE = "{split}.json"
IMAGES = "images/{split}/{name}"
SHARES_IMAGES = True

GEOMATH = "geomath"
"""By this word in an id the official RL code tells structure, and fails without it (read, never run: its grpo.py,
lines 156-162 and 203). Ids that lack it are written with it before them, which is taken off again."""

CONTRADICTS = "a rationale whose own <answer> is not its record's, which is kept without it"
NO_TEXT = "a cot that is no text; its record is kept without a rationale"

_ANSWERED = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL)
_THINK = re.compile("</?think>")


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
            yield from _row((file, number), row, split, images, options)
        except BadRow as bad:
            yield bad.at(file, number, id_of(row))


def _row(
    place: tuple[str, int], row: dict[str, Any], split: str | None, images: Images, options: Options
) -> Iterator[Found]:
    """The item of a row, and what of its rationale is left out. Raises BadRow."""
    problem = text_of(row.get("problem"))
    item = shown_first(item_of(place, row, split, images, options.task), [problem])
    id_ = item.id.removeprefix(f"{GEOMATH}#") if options.task == "structure" else item.id
    question = problem.replace("<image>", "").strip()
    if not question:
        raise BadRow("row", "the row has no problem", id_)
    thought, answer = _solution(row, options.task, id_)
    rationale, fault = _reason(row.get("cot"), answer, options.task)
    yield replace(
        item,
        id=id_,
        annotation=annotation_of(row, answer, options.task),
        question=question,
        rationale=rationale or thought,
        is_box=options.task in ("grounding", "detection"),
    )
    if fault:
        yield Skip(fault, id_)


def _solution(row: dict[str, Any], task: str, id_: str) -> tuple[str | None, str]:
    """The rationale, if any, and the answer that the row states, as ``solution`` or ``answer`` or both. Raises BadRow
    where it has neither, or where they differ: nothing tells which is true.
    """
    stated = [str(row[key]) for key in ("solution", "answer") if row.get(key) is not None]
    told = [reasoned(text) for text in stated if text.strip()] or [reasoned(text) for text in stated[:1]]
    if not told:
        raise BadRow("row", "the row has no solution", id_)
    (thought, solution), (other, answer) = told[0], told[-1]
    if solution != answer and not alike(from_text(solution, task), from_text(answer, task), task):
        raise BadRow("annotation", f"the solution is '{solution[:60]}' and the answer '{answer[:60]}'", id_)
    return thought or other, solution


def _reason(cot: Any, answer: str, task: str) -> tuple[str | None, str]:
    """The rationale that ``cot`` holds, without an answer, and why it is left out if it is."""
    if not isinstance(cot, str):
        return None, "" if cot is None else NO_TEXT
    if not all(_says(answer, said, task) for said in _ANSWERED.findall(cot)):
        return None, CONTRADICTS
    told = _ANSWERED.sub("", cot)
    return thought_in(told) or _THINK.sub("", told).strip() or None, ""


def _says(answer: str, said: str, task: str) -> bool:
    """Whether ``said`` is the ``answer``; what cannot be read is not. Raises BadRow where the answer cannot be."""
    truth = from_text(answer, task)
    try:
        return alike(truth, from_text(said, task), task)
    except BadRow:
        return False


def file_of(split: str, task: str) -> str:
    """The file of a split, called as the release calls it where it has the task."""
    return file_name(task, split) if task in FAMILIES else FILE.format(split=split)


def write_file(entries: Iterable[Entry], path: Path, target: Target) -> None:
    """Write a JSON list of rows."""
    write_json_list(path, (_written(entry, target) for entry in entries))


def _written(entry: Entry, target: Target) -> dict[str, Any]:
    image = [entry.image, *entry.more] if entry.more else entry.image
    id_ = as_given(entry.id)
    id_ = f"{GEOMATH}#{id_}" if target.task == "structure" and GEOMATH not in id_ else id_
    row = {"id": id_, "image": image, "problem": entry.question or target.question}
    row |= {"cot": entry.rationale} if entry.rationale else {}
    answer = to_text(entry, target)
    row |= {"answer": answer, "solution": answer}  # the released files have the first, the RL code asks for both
    return row | states_of(entry, target)
