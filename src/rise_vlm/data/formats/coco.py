"""COCO instances: one JSON file of images, annotations and categories; boxes are ``[x, y, width, height]``.

Categories go by name, since ids differ between files. Left out: masks, keypoints, captions; a crowd is skipped.
Rows are numbered as the annotations (or images) stand in their list, from 1.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Box, Found, Item, Options, by_class
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every image: by class for grounding, one per image for classification."""
    content = _load(source)
    names = _categories(source, content["categories"])
    known: set[Any] = set()
    for image in content["images"]:
        if isinstance(image, dict) and isinstance(image.get("id"), int | str):
            known.add(image["id"])
    boxes: dict[Any, list[Box]] = defaultdict(list)
    file = f"{source.name} annotations"
    for number, annotation in enumerate(content["annotations"], start=1):
        try:
            boxes[_image_id(annotation, known)].append(replace(_box(annotation, names), file=file, row=number))
        except BadRow as bad:
            yield bad.at(file, number)
    seen: set[Any] = set()
    for number, image in enumerate(content["images"], start=1):
        try:
            template = _image(source, number, image, seen, options)
        except BadRow as bad:
            yield bad.at(f"{source.name} images", number)
            continue
        yield from by_class(template, boxes[image["id"]], options)


def _load(source: Path) -> dict[str, list[Any]]:
    if not source.is_file():
        raise DataError(f"{source} is {'a folder' if source.is_dir() else 'missing'}; 'coco' reads one JSON file.")
    try:
        content = json.loads(source.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source} is no JSON: {error}.") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{source} is no COCO file of instances: it has no list '{key}'.")
    return content


def _categories(source: Path, categories: list[Any]) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for number, category in enumerate(categories, start=1):
        id_, name = (category.get("id"), category.get("name")) if isinstance(category, dict) else (None, None)
        if not isinstance(id_, int | str) or not isinstance(name, str) or not name.strip():
            raise DataError(f"{source} categories row {number} lacks an id or a name.")
        if id_ in names:
            raise DataError(f"{source} categories row {number}: the id {id_} was used before.")
        names[id_] = name.strip()
    return names


def _image_id(annotation: Any, known: set[Any]) -> Any:
    if not isinstance(annotation, dict):
        raise BadRow("row", "an annotation must be an object")
    id_ = annotation.get("image_id")
    if not isinstance(id_, int | str) or id_ not in known:
        raise BadRow("missing image", f"the annotation refers to the image {id_!r}, which is not listed")
    return id_


def _box(annotation: dict[str, Any], names: dict[Any, str]) -> Box:
    category = annotation.get("category_id")
    if not isinstance(category, int | str) or category not in names:
        raise BadRow("annotation", f"the category {category!r} is not listed")
    name = names[category]
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or any(type(number) not in (int, float) for number in box):
        return Box(name, None, f"the bbox of the {name} is not of four numbers: {box!r}"[:200])
    x, y, width, height = box
    if width <= 0 or height <= 0:
        return Box(name, None, f"the bbox {box} of the {name} has no area")
    return Box(name, [x, y, x + width, y + height], crowd=annotation.get("iscrowd") == 1)


def _image(source: Path, number: int, image: Any, seen: set[Any], options: Options) -> Item:
    if not isinstance(image, dict) or not isinstance(image.get("id"), int | str):
        raise BadRow("row", "an image must be an object with an id")
    name = image.get("file_name")
    if not isinstance(name, str) or not name:
        raise BadRow("row", f"the image {image['id']!r} has no file_name")
    if image["id"] in seen:
        raise BadRow("duplicate id", f"the image id {image['id']!r} was used before", name)
    seen.add(image["id"])
    try:
        path = safe_join(options.images or source.parent, name)
    except DataError as error:
        raise BadRow("path", str(error), name) from error
    width, height = image.get("width"), image.get("height")
    stated = (width, height) if isinstance(width, int) and isinstance(height, int) and width > 0 < height else None
    return Item(f"{source.name} images", number, name, name, path, None, None, stated_size=stated)
