"""Messages with images, as ShareGPT, LLaMA-Factory and TRL have them: ``messages`` or ``conversations``, ``images``.

The first question and the first reply make a record; the reply holds the answer, in ``<answer>`` and after ``<think>``
if it reasons. Boxes are taken as pixels of the picture. Left out: later turns, system messages, and boxes in records of
several images.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rise_vlm.data.checking import BadRow, Problem
from rise_vlm.data.formats.answers import (
    annotation_of,
    as_given,
    asked_and_told,
    id_of,
    item_of,
    reasoned,
    reply,
    rows_of,
    shown_first,
    states_of,
    to_text,
    told_apart,
    turns,
)
from rise_vlm.data.formats.base import Entry, Found, Options, Skip, Target
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import DESCRIPTION, Images
from rise_vlm.data.formats.reading import read_json
from rise_vlm.data.formats.writing import write_json, write_json_list

FILE = "{split}.json"
IMAGES = "images/{split}/{name}"
SHARES_IMAGES = True
COLUMNS: dict[str, Any] = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages", "images": "images"},
    "tags": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    },
}
"""What LLaMA-Factory has to be told of such a file: its defaults are other names."""


def sees(glimpse: Glimpse) -> str | None:
    """Rows with messages and no objects."""
    row = glimpse.row
    return "JSON rows with messages" if {"messages", "conversations"} & row.keys() and "objects" not in row else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every row."""
    yield from told_apart(_read(source, options))


def _read(source: Path, options: Options) -> Iterator[Found]:
    images = Images.of(source, options.images)
    for found in rows_of(source, "sharegpt"):
        if isinstance(found, Problem):
            yield found
            continue
        file, number, row, split = found
        try:
            said = turns(row)
            question, told, later = asked_and_told(said)
            asked = [text for role, text in said if role == "user"]
            item = shown_first(item_of((file, number), row, split, images, options.task), asked)
            rationale, answer = reasoned(told)
            boxed = options.task in ("grounding", "detection")
            annotation = annotation_of(row, answer, options.task)
            yield replace(item, annotation=annotation, question=question or None, rationale=rationale, is_box=boxed)
            for _ in range(later):
                yield Skip("a later turn of a conversation")
        except BadRow as bad:
            yield bad.at(file, number, id_of(row))


def write_file(entries: Iterable[Entry], path: Path, target: Target) -> None:
    """Write a JSON list of rows in LLaMA-Factory's form, and describe it in ``dataset_info.json`` beside it."""
    write_json_list(path, (_written(entry, target) for entry in entries))
    described = path.with_name(DESCRIPTION)
    known = read_json(described) if described.is_file() else {}
    name = re.sub(r"[^\w-]+", "_", f"{target.name}_{path.stem}")
    write_json(described, known | {name: {"file_name": path.name, **COLUMNS}}, indent=2)


def row_of(name: str, question: str, answer: str, images: list[str]) -> dict[str, Any]:
    """A row: the pictures' marks before the question, without a blank between, as chat templates have them."""
    asked = {"role": "user", "content": "<image>" * len(images) + _plain(question)}
    return {"id": name, "messages": [asked, {"role": "assistant", "content": _plain(answer)}], "images": images}


def _plain(text: str) -> str:
    """The text without a mark: LLaMA-Factory refuses a row with more of them than pictures."""
    return re.sub(r"<(image|video|audio)>", r"< \1>", text)


def _written(entry: Entry, target: Target) -> dict[str, Any]:
    question = f"\n{entry.question or target.question}"
    images = [entry.image, *entry.more]
    return row_of(as_given(entry.id), question, reply(entry, to_text(entry, target)), images) | states_of(entry, target)
