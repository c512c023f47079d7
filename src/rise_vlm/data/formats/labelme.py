"""LabelMe JSON: one file per image with ``shapes``; beside the image, which ``imagePath`` names.

Rectangles, polygons, circles and masks become the box around them; flags that are true are the class of the image.
Left out: points, lines, groups, and the copy of the image that ``imageData`` may hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Box, Entry, Found, Item, Options, Target, by_class
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import Images, annotation_files
from rise_vlm.data.formats.reading import LARGEST_LABEL_FILE, hull, list_of, object_of, read_json, size_of, text_of
from rise_vlm.data.formats.writing import tidy, write_json
from rise_vlm.errors import DataError

IMAGES = "{split}/{name}"
SHAPES = ("rectangle", "polygon", "circle", "mask", "")


def sees(glimpse: Glimpse) -> str | None:
    """JSON with shapes and an image path."""
    there = {"shapes", "imagePath"} <= glimpse.keys and "text" not in glimpse.keys
    return "JSON with shapes and imagePath" if there else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every file."""
    images = Images.of(source, options.images)
    for path, name, split in annotation_files(source, "labelme", [".json"], by_name=False):
        try:
            yield from _file(path, name, split, images, options)
        except BadRow as bad:
            yield bad.at(name, None)
        except DataError as error:
            yield BadRow("row", str(error), name).at(name, None)


def _file(path: Path, name: str, split: str | None, images: Images, options: Options) -> Iterator[Found]:
    content = read_json(path, LARGEST_LABEL_FILE)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise BadRow("row", "the file is no LabelMe annotation: it has no list 'shapes'", name)
    image_name = PureWindowsPath(text_of(content.get("imagePath"))).name
    near = PurePosixPath(name).parent.parts
    beside = path.parent / image_name
    named = image_name and beside.is_file() and not images.named
    image = images.find(images.group(beside) if named else image_name, near, name) if image_name else None
    if image is None or not image.is_file():
        image = images.stem(path.stem, near, name)
    group = images.group(image)
    size = size_of(content.get("imageWidth"), content.get("imageHeight"))
    item = Item(name, None, group, group, image, None, split, stated_size=size)
    raised = [flag for flag, up in object_of(content.get("flags")).items() if up is True]
    boxes: list[Box] = []
    for shape in shapes:
        if isinstance(shape, dict) and text_of(shape.get("shape_type")) not in SHAPES:
            skip = f"a {shape.get('shape_type')}, which is no box"[:40]
            boxes.append(Box(text_of(shape.get("label")), None, skip=skip))
        else:
            boxes.append(_box(shape))
    if all(box.skip for box in boxes):
        flags = [Box(flag, None, skip="a flag of the whole image, which is no box") for flag in raised]
        boxes = flags if options.task == "classification" and flags else boxes + flags
    yield from by_class(item, boxes, options)


def _box(shape: Any) -> Box:
    label = text_of(shape.get("label")) if isinstance(shape, dict) else ""
    if not label:
        raise BadRow("annotation", "a shape has no label")
    points = list_of(shape.get("points"))
    corners = hull(points)
    if corners is None or len(points) < 2:
        return Box(label, None, f"the points of the {label} are no pairs of numbers")
    if shape.get("shape_type") == "circle":
        (x, y), (edge_x, edge_y) = points[0][:2], points[1][:2]
        radius = math.hypot(edge_x - x, edge_y - y)
        corners = [x - radius, y - radius, x + radius, y + radius]
    return Box(label, corners)


def write(entries: Iterable[Entry], out: Path, target: Target) -> None:
    """Write a file beside each image."""
    for entry in entries:
        shapes = [
            {
                "label": label,
                "points": [[tidy(x1), tidy(y1)], [tidy(x2), tidy(y2)]],
                "group_id": None,
                "shape_type": "rectangle",
                "flags": {},
            }
            for label, (x1, y1, x2, y2), _ in entry.boxes()
        ]
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": entry.name, "imageData": None}
        content |= {"imageHeight": entry.height, "imageWidth": entry.width}
        write_json(out / entry.split / f"{PurePosixPath(entry.name).stem}.json", content, indent=2)
