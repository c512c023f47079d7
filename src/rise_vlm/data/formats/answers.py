"""Answers as text, for the formats that hold conversations: annotation to text and back, by task.

Boxes are absolute pixels of the upright picture, detections a JSON list of ``{"label", "box"}``, a distribution
``joy: 0.6, fear: 0.4`` or a JSON object, functions as the task writes them (with both states, where they are known, in
the row's key ``states``). An answer may stand in ``<answer>`` and after ``<think>``. Left out: the frame of a model
family, which only ``policy`` knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from rise_vlm.data.checking import BadRow, Problem
from rise_vlm.data.formats.base import Entry, Found, Item, Note, Target
from rise_vlm.data.formats.places import DESCRIPTION, Images, annotation_files
from rise_vlm.data.formats.reading import four_numbers, number, parse_json, read_rows, text_of
from rise_vlm.data.formats.writing import tidy
from rise_vlm.errors import DataError
from rise_vlm.tasks.base import normal_name
from rise_vlm.tasks.quantity import read_quantity
from rise_vlm.tasks.structure import Structure, choice_of, number_of
from rise_vlm.tasks.transformation import Transformation, calls_of, read_calls, write

BOX_KEYS = ("box", "bbox", "bbox_2d", "Position")
SUFFIXES = (".json", ".jsonl")

_MARK = re.compile("<(?:image|img)>")
_THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)

Row = tuple[str, int, dict[str, Any], str | None]


def rows_of(source: Path, format: str) -> Iterator[Row | Problem]:
    """File, number, row and split of every row of a JSON list or JSON lines file, or of those in a folder."""
    yield from rows_in(annotation_files(source, format, SUFFIXES))


def rows_in(files: Iterable[tuple[Path, str, str | None]]) -> Iterator[Row | Problem]:
    """File, number, row and split of every row of files, given with their names and splits."""
    for path, name, split in files:
        if path.name == DESCRIPTION:
            continue
        for row, values in read_rows(path):
            if isinstance(values, dict):
                yield name, row, values, split
            else:
                bad = values if isinstance(values, BadRow) else BadRow("row", "a row must be an object with keys")
                yield bad.at(name, row)


def told_apart(found: Iterable[Found]) -> Iterator[Found]:
    """What was found, ids unique over files: each file may number its rows for itself, as the tests of one scene by
    three cameras do. A row that says the same as that of its id in another file stays a duplicate.
    """
    first: dict[str, tuple[str, int]] = {}
    noted = False
    for each in found:
        if isinstance(each, Item):
            says = hash((str(each.image), *map(str, each.more), each.question, repr(each.annotation)))
            file, other = first.setdefault(each.id, (each.file, says))
            if file != each.file and other != says:
                if not noted:
                    yield Note(f"{each.file} and {file} have rows of the same id; the later have their file before it")
                noted = True
                each = replace(each, id=f"{each.file}#{each.id}")
        yield each


def as_given(id_: str) -> str:
    """An id as its file had it, where ``told_apart`` has put the file before it."""
    return re.sub(r"^.*\.jsonl?#", "", id_)


def images_of(row: dict[str, Any], images: Images, id_: str | None, near: Sequence[str] = ()) -> list[Path]:
    """The images that a row names in ``image`` or ``images``: one, a list, or a list of objects with ``path``. Raises
    BadRow where there is none.
    """
    named = row.get("image") if row.get("images") is None else row["images"]
    named = named if isinstance(named, list) else [named]
    names = [text_of(one.get("path") if isinstance(one, dict) else one) for one in named]
    if not names:
        raise BadRow("row", "the row has 0 images", id_)
    if not all(names):
        raise BadRow("missing image", "the row names no image", id_)
    return [images.find(name.removeprefix("file://"), near, id_) for name in names]


def id_of(row: dict[str, Any]) -> str | None:
    """The id that a row states, None where it states none."""
    given = row.get("id")
    return str(given) if isinstance(given, int | str) and not isinstance(given, bool) and given != "" else None


def item_of(place: tuple[str, int], row: dict[str, Any], split: str | None, images: Images, task: str = "") -> Item:
    """The row as an item with images and id, without annotation. Raises BadRow where it has several images, unless it
    is of a ``task`` whose answers are no boxes, which are of one picture.
    """
    id_ = id_of(row)
    path, *more = images_of(row, images, id_, (PurePosixPath(place[0]).stem, split or ""))
    if more and task in ("", "grounding", "detection"):
        raise BadRow("row", f"the row has {1 + len(more)} images; boxes are of one", id_)
    group = images.group(path)
    further = tuple(images.group(path) for path in more)
    return Item(*place, id_ or f"{group}#{place[1]}", group, path, None, split, more=tuple(more), further=further)


def annotation_of(row: dict[str, Any], text: str, task: str) -> Any:
    """The annotation that ``text`` writes, with the states that the row of a transformation may hold. Raises BadRow."""
    states = row.get("states")
    annotation = from_text(text, task)
    if task != "transformation" or states is None:
        return annotation
    if not isinstance(states, dict) or states.keys() != {"objects", "final"}:
        raise BadRow("annotation", "the states of a transformation must be an object with 'objects' and 'final'")
    return {"functions": annotation} | states


def turns(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Role (system, user, assistant) and text of every message. Raises BadRow."""
    messages = row.get("messages", row.get("conversations"))
    if not isinstance(messages, list) or not messages:
        raise BadRow("row", "the row has no messages")
    found: list[tuple[str, str]] = []
    for message in messages:
        role = text_of(message.get("role", message.get("from"))) if isinstance(message, dict) else ""
        content = message.get("content", message.get("value")) if role else None
        if isinstance(content, list):
            parts = [_part(part) for part in content if isinstance(part, dict)]
            content = "\n".join(part for part in parts if part)
        if not isinstance(content, str):
            raise BadRow("row", "a message has no role or no text")
        found.append(({"human": "user", "gpt": "assistant"}.get(role, role), content))
    return found


def asked_and_told(said: Sequence[tuple[str, str]]) -> tuple[str, str, int]:
    """Of ``turns``: the first question, without image marks, the first reply, and the number of turns after it. Raises
    BadRow.
    """
    said = [turn for turn in said if turn[0] != "system"]
    if [role for role, _ in said[:2]] != ["user", "assistant"]:
        raise BadRow("row", "the messages do not begin with a user's and an assistant's")
    return _MARK.sub("", said[0][1]).strip(), said[1][1], (len(said) - 2) // 2


def shown_first(item: Item, texts: Sequence[str]) -> Item:
    """The item with the images of the first of ``texts`` alone, by the marks in them, which stand for the images in
    order. Without any mark it has all. Raises BadRow where there are more marks than images, or fewer.
    """
    marks = [len(_MARK.findall(text)) for text in texts]
    images = 1 + len(item.more)
    if sum(marks) not in (0, images):
        raise BadRow("row", f"the text has {sum(marks)} marks <image>, and the row {images} of images", item.id)
    if sum(marks) and not marks[0]:
        raise BadRow("row", "the first question has no mark <image>, though a later one has", item.id)
    later = slice(marks[0] - 1 if sum(marks) else None)
    return replace(item, more=item.more[later], further=item.further[later])


def _part(part: dict[str, Any]) -> str:
    """A part of a message as text."""
    return "<image>" if part.get("type") == "image" else text_of(part.get("text"))


def reasoned(text: str) -> tuple[str | None, str]:
    """The rationale in ``<think>``, if any, and the answer: what is in ``<answer>``, else what follows. Raises BadRow
    where there are several answers, one behind or inside another: nothing tells which is true.
    """
    if (several := text.count("<answer>")) > 1:
        raise BadRow("annotation", f"there are {several} answers in <answer>; one is needed")
    thought = _THOUGHT.search(text)
    answer = re.search(r"<answer>(.*?)</answer>", text, re.DOTALL)
    rest = text[thought.end() :] if thought else text
    return thought_in(text), (answer[1] if answer else rest).strip()


def thought_in(text: str) -> str | None:
    """The rationale in ``<think>``, if any."""
    thought = _THOUGHT.search(text)
    return (thought[1].strip() or None) if thought else None


def from_text(text: str, task: str) -> Any:
    """The annotation that ``text`` writes. Raises BadRow."""
    text = re.sub(r"^```(json)?\s*|\s*```$", "", text.strip())
    if not text:
        raise BadRow("annotation", "the answer is empty")
    if task == "classification":
        return text
    if task == "structure":
        return choice_of(text) or text
    if task == "transformation":
        return _functions(text)
    if task == "counting":
        return _whole(text)
    if task == "distribution" and not text.startswith("{"):
        return _listed(text)
    try:
        value = parse_json(text, "the answer")
    except DataError as error:
        raise BadRow("annotation", str(error)) from error
    if task == "distribution":
        if not isinstance(value, dict):
            raise BadRow("annotation", "the answer is no distribution")
        return value
    if task == "detection":
        if not isinstance(value, list):
            raise BadRow("annotation", "the answer is no list of labelled boxes")
        return [_thing(each) for each in value]
    return _region(value)


def alike(one: Any, other: Any, task: str) -> bool:
    """Whether two annotations, as ``from_text`` reads them, say the same: by the task's own comparison."""
    if one == other:
        return True
    if task == "classification":
        return normal_name(one) == normal_name(other)
    if task == "structure":
        readable = all(choice_of(each) or number_of(each) is not None for each in (one, other))
        return readable and max(Structure().right(one, other), Structure().right(other, one)) == 1
    if task == "transformation":
        return Transformation(score="exact").score(one, other) >= 1 - 1e-9
    if task == "distribution":
        return {name: share for name, share in one.items() if share} == {
            n: share for n, share in other.items() if share
        }
    if task == "detection":
        ranked = [sorted((normal_name(thing["label"]), thing["box"]) for thing in things) for things in (one, other)]
        return ranked[0] == ranked[1]
    return False


def _functions(text: str) -> str:
    try:
        return write(read_calls(text))
    except ValueError as error:
        raise BadRow("annotation", f"the answer is no list of functions: {error}") from error


def _whole(text: str) -> int:
    """The number as an answer of a model is read."""
    value, problem = read_quantity(text)
    if value is None:
        raise BadRow("annotation", f"the answer is no number: {problem}")
    if not isinstance(value, int):
        raise BadRow("annotation", f"the answer is no whole number: {text[:40]}")
    return value


def _listed(text: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.rpartition(":")
        try:
            shares[name.strip()] = number(share)
        except ValueError as error:
            raise BadRow("annotation", f"the answer is no distribution: {error}") from error
    return shares


def _thing(value: Any) -> dict[str, Any]:
    label = text_of(value.get("label")) if isinstance(value, dict) else ""
    if not label:
        raise BadRow("annotation", "a box of the answer has no label")
    return {"label": label, "box": _region(value)}


def _region(value: Any) -> list[float]:
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], int | float):
        value = value[0]
    if isinstance(value, dict):
        value = next((value[key] for key in BOX_KEYS if key in value), None)
    box = four_numbers(value)
    if box is None:
        raise BadRow("annotation", "the answer has no box of four numbers")
    return box


def to_text(entry: Entry, target: Target) -> str:
    """The annotation of an entry as an answer."""
    if target.task in ("classification", "structure", "counting"):
        return str(entry.annotation)
    if target.task == "transformation":
        return write(calls_of(entry.annotation))
    if target.task == "distribution":
        ranked = sorted(entry.annotation.items(), key=lambda pair: -pair[1])
        if any(re.search("[,:{]", name) for name in entry.annotation):
            return json.dumps(dict(ranked), ensure_ascii=False, allow_nan=False)
        return ", ".join(f"{name}: {tidy(share, 6):g}" for name, share in ranked if share)
    if target.task == "grounding":
        return str([tidy(value) for value in entry.annotation])
    things = [{"label": label, "box": [tidy(value) for value in corners]} for label, corners, _ in entry.boxes()]
    return json.dumps(things, ensure_ascii=False, allow_nan=False)


def states_of(entry: Entry, target: Target) -> dict[str, Any]:
    """What a row holds beside its answer: the states of a transformation that knows them."""
    known = target.task == "transformation" and isinstance(entry.annotation, dict) and "objects" in entry.annotation
    return {"states": {key: entry.annotation[key] for key in ("objects", "final")}} if known else {}


def reply(entry: Entry, answer: str) -> str:
    """The assistant's text: bare, or with the rationale before it."""
    return f"<think>{entry.rationale}</think><answer>{answer}</answer>" if entry.rationale else answer
