"""ms-swift JSON lines: ``messages``, ``images`` and ``objects`` with ``ref``, ``bbox`` and ``bbox_type``.

``real`` boxes are pixels, ``norm1`` boxes shares of the image. The marks ``<ref-object>`` and ``<bbox>`` in the texts
stand for the objects in turn. Left out: points, several images, and the older form in which objects are a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rise_vlm.data.checking import BadRow, Problem
from rise_vlm.data.formats.answers import asked_and_told, item_of, reply, rows_of, thought_in, turns
from rise_vlm.data.formats.base import Box, Entry, Found, Options, Target, by_class
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import Images
from rise_vlm.data.formats.reading import four_numbers, object_of
from rise_vlm.data.formats.writing import tidy, write_json_list

FILE = "{split}.jsonl"
IMAGES = "images/{split}/{name}"
SHARES_IMAGES = True
UNITS: dict[Any, float | None] = {None: None, "real": None, "norm1": 1}


def sees(glimpse: Glimpse) -> str | None:
    """Rows with messages and objects."""
    return "JSON rows with messages and objects" if {"messages", "objects"} <= glimpse.row.keys() else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every row."""
    images = Images.of(source, options.images)
    for found in rows_of(source, "swift"):
        if isinstance(found, Problem):
            yield found
            continue
        file, number, row, split = found
        try:
            yield from _row((file, number), row, split, images, options)
        except BadRow as bad:
            yield bad.at(file, number)


def _row(
    place: tuple[str, int], row: dict[str, Any], split: str | None, images: Images, options: Options
) -> Iterator[Found]:
    item = item_of(place, row, split, images)
    objects = object_of(row.get("objects"))
    refs, boxes = objects.get("ref", []), objects.get("bbox")
    if not isinstance(refs, list) or not isinstance(boxes, list) or not all(isinstance(ref, str) for ref in refs):
        raise BadRow("annotation", "objects must hold the lists ref and bbox", item.id)
    type_ = objects.get("bbox_type")
    if not isinstance(type_, str | None) or type_ not in UNITS:
        raise BadRow("annotation", f"the bbox_type {type_!r} is neither real nor norm1"[:100], item.id)
    question, told, _ = asked_and_told(turns(row))
    marks = iter(refs)
    question = re.sub(r"<ref-object>", lambda _: next(marks, ""), question).replace("<bbox>", "")
    if len(refs) not in (len(boxes), 1, 0) or (not refs and options.task == "detection" and boxes):
        raise BadRow("annotation", f"{len(refs)} refs do not name {len(boxes)} boxes", item.id)
    names = refs if len(refs) == len(boxes) else (refs or [""]) * len(boxes)
    found = []
    for name, box in zip(names, boxes, strict=True):
        if isinstance(box, list) and len(box) == 2:
            found.append(Box(name.strip(), None, skip="a point, which is no box"))
        else:
            corners = four_numbers(box)
            found.append(
                Box(name.strip(), corners, "" if corners else f"the bbox is not of four numbers: {box!r}"[:120])
            )
    rationale = thought_in(told)
    item = replace(item, unit=UNITS[type_], question=question.strip() or None, rationale=rationale)
    yield from by_class(item, found, options)


def write_file(entries: Iterable[Entry], path: Path, target: Target) -> None:
    """Write JSON lines with real boxes."""
    write_json_list(path, (_written(entry, target) for entry in entries))


def _written(entry: Entry, target: Target) -> dict[str, Any]:
    found = entry.boxes()
    refs = [] if target.task == "grounding" else [label for label, _, _ in found]
    marks = "<bbox>" if target.task == "grounding" else ", ".join("<ref-object><bbox>" for _ in found) or "none"
    asked = {"role": "user", "content": f"<image>{entry.question or target.question}"}
    boxes = [[tidy(value) for value in corners] for _, corners, _ in found]
    return {
        "id": entry.id,
        "messages": [asked, {"role": "assistant", "content": reply(entry, marks)}],
        "images": [entry.image],
        "objects": {"ref": refs, "bbox": boxes, "bbox_type": "real"},
    }
