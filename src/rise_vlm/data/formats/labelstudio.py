"""Label Studio JSON: a list of tasks, each with ``data``, ``annotations`` of people and ``predictions`` of models.

Rectangles are percents of the image. Of a task's annotations that nobody cancelled the one marked ``ground_truth``
counts, else the first; a task without any gives its first prediction. Boxes are results of type ``rectanglelabels``, or
go around ``polygonlabels`` and ``ellipselabels``; a class is one of type ``choices``, a probability one of type
``number`` whose name is the class, a rationale one of type ``textarea``. Pictures are found by the last part of their
address, upload prefix or not, in ``--images``. A dataset is written as annotations; a model's answers are written as
predictions with score, model version and the rationale as a text result. Left out: brushes and key points, regions of
video, and the labelling configuration except for a note of it in docs/formats.md.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Box, Entry, Found, Item, Options, Skip, Target, by_class
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import IMAGE_SUFFIXES, SPLIT_NAMES, Images, annotation_files
from rise_vlm.data.formats.reading import (
    four_numbers,
    hull,
    is_number,
    list_of,
    object_of,
    read_json,
    size_of,
    text_of,
)
from rise_vlm.data.formats.writing import write_json_list
from rise_vlm.errors import DataError

FILE = "tasks_{split}.json"
IMAGES = "images/{split}/{name}"
SHARES_IMAGES = True
TAKES_PREFIX = True
RATIONALE, QUESTION = "rationale", "question"
SHAPES = ("rectangle", "polygon", "ellipse", "brush", "keypoint", "bitmask", "vector")
"""Kinds of regions; the type of a result is one of them, or one with ``labels`` at the end."""
SIDES = {"rectangle": ("x", "y", "width", "height"), "ellipse": ("x", "y", "radiusX", "radiusY")}
DIFFERS = "another annotation of a task, which differs from the one that counts"


def sees(glimpse: Glimpse) -> str | None:
    """A list of tasks."""
    row = glimpse.row
    if isinstance(row.get("data"), dict) and ("annotations" in row or "predictions" in row):
        return "a JSON list of tasks with data and annotations"
    return None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every task."""
    images = Images.of(source, options.images, source.parent / "images")
    for path, name, split in annotation_files(source, "labelstudio", [".json"]):
        tasks = read_json(path)
        if not isinstance(tasks, list):
            raise DataError(f"{path} is no Label Studio file: it must hold a list of tasks.")
        for row, task in enumerate(tasks, start=1):
            try:
                yield from _task(name, row, task, split, images, options)
            except BadRow as bad:
                yield bad.at(name, row)


def _task(file: str, row: int, task: Any, split: str | None, images: Images, options: Options) -> Iterator[Found]:
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        raise BadRow("row", "a task must be an object with data, as the export 'JSON' has it (not JSON-MIN)")
    named = [key for key in ("image", "img", *data) if text_of(data.get(key))]
    pictures = (data[key] for key in named if key in ("image", "img") or _is_picture(data[key]))
    address = next(pictures, None)
    if address is None:
        raise BadRow("missing image", "the task's data names no image")
    path = _picture(address, images, split)
    told, key = _annotations(task)
    if not told:
        yield Skip("a task that nobody annotated")
        return
    results = [result for result in told[0]["result"] if isinstance(result, dict)]
    if key != "predictions":
        yield from (Skip(DIFFERS, address) for other in told[1:] if _content(other) != _content(told[0]))
    score = told[0]["score"] if is_number(told[0].get("score")) else None
    model = text_of(told[0].get("model_version")) or None
    group = images.group(path)
    rationale = "\n".join(_texts(result) for result in results if _type(result) == "textarea").strip()
    item = Item(
        file,
        row,
        text_of(data.get("id")) or group,
        group,
        path,
        None,
        SPLIT_NAMES.get(text_of(data.get("split")).casefold(), split),
        question=text_of(data.get(QUESTION)) or None,
        stated_size=_size(results),
        unit=100,
        rationale=rationale or None,
        meta={key: value for key, value in (("score", score), ("model", model)) if value is not None},
    )
    yield from _annotated(item, results, options)


def _annotated(item: Item, results: list[dict[str, Any]], options: Options) -> Iterator[Found]:
    if options.task == "distribution":
        asked = [result for result in results if _type(result) == "number"]
        numbers = {result.get("from_name"): _value(result).get("number") for result in asked}
        if not numbers or not all(isinstance(name, str) and is_number(value) for name, value in numbers.items()):
            raise BadRow("annotation", "the task has no numbers that are probabilities", item.id)
        yield replace(item, annotation={name: value for name, value in numbers.items() if value}, is_box=False)
        return
    chosen = [choice for result in results if _type(result) == "choices" for choice in _list(result, "choices")]
    if options.task == "classification" and chosen:
        yield replace(item, annotation=chosen[0]) if len(set(chosen)) == 1 else Skip("several classes in the image")
        return
    boxes = [_box(result) for result in results if _shape(result) in SHAPES]
    if not boxes:
        boxes = [Box(choice, None, skip="a class of the whole image, which is no box") for choice in chosen]
    if options.task == "detection":
        item = replace(item, meta={key: value for key, value in item.meta.items() if key != "score"})
    yield from by_class(item, boxes, options)


def _annotations(task: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """The annotations of a task that nobody cancelled, the one that counts first, and the key they stand under."""
    for key in ("annotations", "completions", "predictions"):
        found = [each for each in list_of(task.get(key)) if isinstance(each, dict) and not each.get("was_cancelled")]
        found = [each for each in found if isinstance(each.get("result"), list)]
        if found:
            return sorted(found, key=lambda each: each.get("ground_truth") is not True), key
    return [], ""


def _content(annotation: dict[str, Any]) -> list[str]:
    """What an annotation says, whoever said it and in whatever order."""
    results = [result for result in annotation["result"] if isinstance(result, dict)]
    return sorted(json.dumps([_type(result), result.get("value")], sort_keys=True) for result in results)


def _is_picture(address: str) -> bool:
    return PurePosixPath(address.split("?")[0]).suffix.casefold() in IMAGE_SUFFIXES


def _picture(address: str, images: Images, split: str | None) -> Path:
    """The image at ``address``: a path, ``/data/upload/1/0123abcd-name.jpg`` or ``/data/local-files/?d=name.jpg``."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise BadRow("missing image", f"'{address[:80]}' is no address: {error}") from error
    if parts.path.startswith("/data/"):
        inner = parse_qs(parts.query).get("d")
        address = inner[0].lstrip("/") if inner else unquote(parts.path).rpartition("/")[2]
    elif parts.scheme in ("http", "https"):
        address = unquote(address)
    near = [split] if split else []
    path = images.find(address, near)
    if not path.is_file():
        short = re.sub(r"^[0-9a-f]{8}-", "", path.name)
        path = images.find(short, near) if short != path.name else path
    return path


def _type(result: dict[str, Any]) -> str:
    return text_of(result.get("type"))


def _shape(result: dict[str, Any]) -> str:
    return _type(result).removesuffix("labels")


def _value(result: dict[str, Any]) -> dict[str, Any]:
    return object_of(result.get("value"))


def _list(result: dict[str, Any], key: str) -> list[str]:
    values = _value(result).get(key)
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _texts(result: dict[str, Any]) -> str:
    return text_of(_value(result).get("text")) or "\n".join(_list(result, "text"))


def _size(results: list[dict[str, Any]]) -> tuple[int, int] | None:
    sizes = (size_of(result.get("original_width"), result.get("original_height")) for result in results)
    return next((size for size in sizes if size), None)


def _box(result: dict[str, Any]) -> Box:
    value, shape = _value(result), _shape(result)
    label = next(iter(_list(result, _type(result))), "")
    if shape not in ("rectangle", "polygon", "ellipse"):
        return Box(label, None, skip=f"a {shape}, which is no box")
    if not label and _type(result) != shape:
        raise BadRow("annotation", f"a {shape} has no label")
    score = result.get("score") if is_number(result.get("score")) else None
    if shape == "polygon":
        corners = hull(value.get("points"))
        return Box(label, corners, "" if corners else f"the points of the {label} are no pairs of numbers", score=score)
    numbers = four_numbers([value.get(key) for key in SIDES[shape]])
    if numbers is None:
        return Box(label, None, f"the {shape} of the {label} is not of four numbers")
    angle = value.get("rotation") or 0
    size = size_of(result.get("original_width"), result.get("original_height")) if angle else (1, 1)
    if not is_number(angle) or size is None:
        return Box(label, None, f"the rotated {shape} of the {label} has no size or angle")
    around = _turned if shape == "rectangle" else _around
    return Box(label, around(numbers, math.radians(angle), size), score=score)


def _around(numbers: list[float], angle: float, size: tuple[int, int]) -> list[float]:
    """The box (percent) around an ellipse of a centre and two radii that is turned about its centre."""
    x, y, across, down = numbers
    cos, sin, ratio = math.cos(angle), math.sin(angle), size[0] / size[1]
    width, height = math.hypot(across * cos, down / ratio * sin), math.hypot(across * ratio * sin, down * cos)
    return [x - width, y - height, x + width, y + height]


def _turned(numbers: list[float], angle: float, size: tuple[int, int]) -> list[float]:
    """The box (percent) around a rectangle that is turned clockwise about its top left corner."""
    x, y, width, height = numbers
    cos, sin, ratio = math.cos(angle), math.sin(angle), size[0] / size[1]
    offsets = ((0, 0), (width, 0), (0, height), (width, height))
    points = [[x + dx * cos - dy / ratio * sin, y + dx * ratio * sin + dy * cos] for dx, dy in offsets]
    return hull(points) or []


def write_file(entries: Iterable[Entry], path: Path, target: Target) -> None:
    """Write tasks; their data hold image, id, split and question."""
    write_json_list(path, (_written(entry, target) for entry in entries))


def _written(entry: Entry, target: Target) -> dict[str, Any]:
    prefix = target.image_prefix  # before it a path is part of an address, so blanks and the like are spelt out
    image = prefix + quote(entry.image) if prefix else entry.image
    data = {"image": image, "id": entry.id, "split": entry.split}
    if entry.question:
        data[QUESTION] = entry.question
    results = list(_answers(entry, target))
    if entry.rationale:
        results.append(_result(entry, RATIONALE, "textarea", {"text": [entry.rationale]}))
    if entry.model is None and entry.score is None:
        return {"data": data, "annotations": [{"result": results}]}
    prediction: dict[str, Any] = {"model_version": entry.model or target.name, "result": results}
    return {"data": data, "predictions": [prediction | ({} if entry.score is None else {"score": entry.score})]}


def _answers(entry: Entry, target: Target) -> Iterator[dict[str, Any]]:
    if target.task == "classification":
        yield _result(entry, "class", "choices", {"choices": [entry.annotation]})
    elif target.task == "distribution":
        for name, share in entry.annotation.items():
            yield _result(entry, name, "number", {"number": share})
    else:
        for label, (x1, y1, x2, y2), score in entry.boxes():
            width, height = 100 / entry.width, 100 / entry.height
            value = {"x": x1 * width, "y": y1 * height, "width": (x2 - x1) * width, "height": (y2 - y1) * height}
            value = {key: round(share, 8) for key, share in value.items()} | {"rotation": 0, "rectanglelabels": [label]}
            yield _result(entry, "label", "rectanglelabels", value) | ({} if score is None else {"score": score})


def _result(entry: Entry, name: str, type_: str, value: dict[str, Any]) -> dict[str, Any]:
    size = {"original_width": entry.width, "original_height": entry.height, "image_rotation": 0}
    return {"from_name": name, "to_name": "image", "type": type_, **size, "value": value}
