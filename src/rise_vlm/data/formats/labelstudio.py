"""Label Studio JSON: a list of tasks, each with ``data``, ``annotations`` of people and ``predictions`` of models.

Rectangles are percents of the image. Of a task's annotations the first that nobody cancelled counts; a task without
any gives its first prediction. Boxes are results of type ``rectanglelabels``, a class is one of type ``choices``, a
probability one of type ``number`` whose name is the class, a rationale one of type ``textarea``. Pictures are found by
the last part of their address, upload prefix or not, in ``--images``. A dataset is written as annotations; a model's
answers are written as predictions with score, model version and the rationale as a text result. Left out: other
result types, regions of video, and the labelling configuration except for a note of it in docs/formats.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Box, Entry, Found, Item, Options, Skip, Target, by_class
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import IMAGE_SUFFIXES, SPLIT_NAMES, Images, annotation_files
from rise_vlm.data.formats.reading import four_numbers, hull, is_number, list_of, read_json, size_of, text_of
from rise_vlm.data.formats.writing import write_json_list
from rise_vlm.errors import DataError

FILE = "tasks_{split}.json"
IMAGES = "images/{split}/{name}"
SHARES_IMAGES = True
RATIONALE, QUESTION = "rationale", "question"


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
        raise BadRow("row", "a task must be an object with data")
    named = [key for key in ("image", "img", *data) if text_of(data.get(key))]
    pictures = (data[key] for key in named if key in ("image", "img") or _is_picture(data[key]))
    address = next(pictures, None)
    if address is None:
        raise BadRow("missing image", "the task's data names no image")
    path = _picture(address, images, split)
    results, score, model = _results(task)
    if results is None:
        yield Skip("a task that nobody annotated")
        return
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
        numbers = {result.get("from_name"): result["value"].get("number") for result in asked}
        if not numbers or not all(isinstance(name, str) and is_number(value) for name, value in numbers.items()):
            raise BadRow("annotation", "the task has no numbers that are probabilities", item.id)
        yield replace(item, annotation={name: value for name, value in numbers.items() if value}, is_box=False)
        return
    chosen = [choice for result in results if _type(result) == "choices" for choice in _list(result, "choices")]
    if options.task == "classification" and chosen:
        yield replace(item, annotation=chosen[0]) if len(set(chosen)) == 1 else Skip("several classes in the image")
        return
    boxes = [_box(result) for result in results if _type(result) in ("rectanglelabels", "rectangle")]
    if options.task == "detection":
        item = replace(item, meta={key: value for key, value in item.meta.items() if key != "score"})
    yield from by_class(item, boxes, options)


def _results(task: dict[str, Any]) -> tuple[list[dict[str, Any]] | None, float | None, str | None]:
    """The results that count, with score and model version where a model gave them; None where there are none."""
    for key in ("annotations", "completions", "predictions"):
        for each in list_of(task.get(key)):
            if isinstance(each, dict) and not each.get("was_cancelled") and isinstance(each.get("result"), list):
                results = [result for result in each["result"] if isinstance(result, dict)]
                results = [result for result in results if isinstance(result.get("value"), dict)]
                score = each.get("score") if is_number(each.get("score")) else None
                return results, score, text_of(each.get("model_version")) or None
    return None, None, None


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
    near = [split] if split else []
    path = images.find(address, near)
    if not path.is_file():
        short = re.sub(r"^[0-9a-f]{8}-", "", path.name)
        path = images.find(short, near) if short != path.name else path
    return path


def _type(result: dict[str, Any]) -> str:
    return text_of(result.get("type"))


def _list(result: dict[str, Any], key: str) -> list[str]:
    values = result["value"].get(key)
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _texts(result: dict[str, Any]) -> str:
    return text_of(result["value"].get("text")) or "\n".join(_list(result, "text"))


def _size(results: list[dict[str, Any]]) -> tuple[int, int] | None:
    sizes = (size_of(result.get("original_width"), result.get("original_height")) for result in results)
    return next((size for size in sizes if size), None)


def _box(result: dict[str, Any]) -> Box:
    value = result["value"]
    label = next(iter(_list(result, "rectanglelabels")), "")
    if not label and _type(result) == "rectanglelabels":
        raise BadRow("annotation", "a rectangle has no label")
    numbers = four_numbers([value.get(key) for key in ("x", "y", "width", "height")])
    if numbers is None:
        return Box(label, None, f"the rectangle of the {label} is not of four numbers")
    x, y, width, height = numbers
    score = result.get("score") if is_number(result.get("score")) else None
    corners = [x, y, x + width, y + height]
    angle = value.get("rotation") or 0
    if angle:
        size = size_of(result.get("original_width"), result.get("original_height"))
        if not is_number(angle) or size is None:
            return Box(label, None, f"the rotated rectangle of the {label} has no size or angle")
        corners = _turned(numbers, math.radians(angle), size)
    return Box(label, corners, score=score)


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
    data = {"image": entry.image, "id": entry.id, "split": entry.split}
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
