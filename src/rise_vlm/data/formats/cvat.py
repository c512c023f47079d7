"""CVAT XML 1.1: ``<annotations>`` with an ``<image>`` each (for images) or a ``<track>`` each (for videos).

Boxes are pixels; polygons, masks and rotated boxes become the box around them. A ``<tag>`` is the class of its image.
The frames of a track are images called ``frame_000012`` or the like; what is outside is not there. Left out:
polylines, points, cuboids, skeletons and attributes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Box, Classes, Entry, Found, Item, Options, Target, by_class, imageless
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import SPLIT_NAMES, Images, annotation_files
from rise_vlm.data.formats.reading import hull, number, read_xml, size_of
from rise_vlm.data.formats.writing import element, tidy, write_xml_rows
from rise_vlm.errors import DataError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

FILE = "annotations.xml"
IMAGES = "images/{name}"
LARGEST = 1 << 30
CORNERS = ("xtl", "ytl", "xbr", "ybr")
KNOWN = ("box", "polygon", "mask")


def sees(glimpse: Glimpse) -> str | None:
    """XML that begins with <annotations>."""
    return "XML that begins with <annotations>" if glimpse.tag == "annotations" else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every image, or of every frame that a track shows."""
    images = Images.of(source, options.images, source.parent / "images")
    for path, name, split in annotation_files(source, "cvat", [".xml"]):
        try:
            root = read_xml(path, LARGEST)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        if root.tag != "annotations":
            raise DataError(f"{path} is no CVAT file: it begins with <{root.tag[:40]}>.")
        labels = [each.text.strip() for each in root.iterfind("meta//label/name") if each.text]
        yield Classes(tuple(dict.fromkeys(labels)))
        for row, image in enumerate(root.iterfind("image"), start=1):
            try:
                yield from _image(name, row, image, split, images, options)
            except BadRow as bad:
                yield bad.at(name, row)
        yield from _tracks(name, root, split, images, options)


def _image(file: str, row: int, image: Element, split: str | None, images: Images, options: Options) -> Iterator[Found]:
    name = image.get("name", "").strip()
    if not name:
        raise BadRow("row", "an image has no name")
    split = SPLIT_NAMES.get(image.get("subset", "").casefold(), split)
    path = images.find(name, [split] if split else [], name)
    group = images.group(path)
    item = Item(
        file, row, group, group, path, None, split, stated_size=size_of(image.get("width"), image.get("height"))
    )
    tags = [_box(tag, file) for tag in image.iterfind("tag")]
    boxes = [_box(shape, f"{file} image '{name}'") for shape in image if shape.tag != "tag"]
    if tags and (options.task == "classification" or not boxes):
        boxes = tags
    yield from by_class(item, boxes, options)


def _tracks(file: str, root: Element, split: str | None, images: Images, options: Options) -> Iterator[Found]:
    """The items of the frames of a video."""
    frames: dict[int, list[Box]] = {}
    untold = 0
    for track in root.iterfind("track"):
        for shape in track:
            if shape.get("outside") == "1":
                continue
            shape.set("label", track.get("label", ""))
            try:
                boxes = frames.setdefault(int(number(shape.get("frame", ""))), [])
            except ValueError as error:
                yield BadRow("annotation", f"a shape of a track: {error}").at(file, None)
                untold += 1
                continue
            try:
                boxes.append(_box(shape, file))
            except BadRow as error:
                boxes.append(Box("", None, f"a shape of a track: {error}"))
    yield from imageless(file, untold)
    size = size_of(root.findtext("meta//original_size/width"), root.findtext("meta//original_size/height"))
    for frame, boxes in sorted(frames.items()):
        try:
            path = images.stem(f"frame_{frame:06d}", [split] if split else [])
        except BadRow as bad:
            yield bad.at(f"{file} frame {frame}", None)
            continue
        group = images.group(path)
        yield from by_class(Item(file, None, group, group, path, None, split, stated_size=size), boxes, options)


def _box(shape: Element, place: str) -> Box:
    label = shape.get("label", "").strip()
    if shape.tag not in KNOWN:
        return Box(label, None, skip=f"a {shape.tag[:20]}, which is no box")
    if not label:
        raise BadRow("annotation", f"a {shape.tag} has no label")
    try:
        if shape.tag == "polygon":
            corners = _around(shape.get("points", ""))
        elif shape.tag == "mask":
            left, top, width, height = (number(shape.get(key, "")) for key in ("left", "top", "width", "height"))
            corners = [left, top, left + width, top + height]
        else:
            corners = [number(shape.get(corner, "")) for corner in CORNERS]
            angle = math.radians(number(shape.get("rotation", "0")))
            corners = _turned(corners, angle) if angle else corners
    except ValueError as error:
        return Box(label, None, f"the {shape.tag} of the {label} in {place}: {error}"[:200])
    return Box(label, corners)


def _around(points: str) -> list[float] | None:
    """The box around points ``x,y;x,y;...``."""
    pairs = [point.split(",") for point in points.split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("a point is no pair of numbers")
    return hull([[number(x), number(y)] for x, y in pairs])


def _turned(corners: list[float], angle: float) -> list[float]:
    """The box around a box that is turned about its centre."""
    x1, y1, x2, y2 = corners
    width, height, cos, sin = (x2 - x1) / 2, (y2 - y1) / 2, abs(math.cos(angle)), abs(math.sin(angle))
    reach = width * cos + height * sin, width * sin + height * cos
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return [x - reach[0], y - reach[1], x + reach[0], y + reach[1]]


def write_file(entries: Iterable[Entry], path: Path, target: Target) -> None:
    """Write one file for images; ``subset`` tells the split."""
    write_xml_rows(path, "annotations", _rows(entries, target))


def _rows(entries: Iterable[Entry], target: Target) -> Iterator[Element]:
    """The elements of the file: version, the task with its labels, every image."""
    meta, task, labels = element("meta"), element("task"), element("labels")
    for name in target.classes:
        label = element("label")
        label.append(element("name", name))
        labels.append(label)
    task.extend([element("name", target.name), element("mode", "annotation"), labels])
    meta.append(task)
    yield from (element("version", "1.1"), meta)
    for number_, entry in enumerate(entries):
        image = element("image", id=number_, name=entry.name, subset=entry.split)
        image.attrib |= {"width": str(entry.width), "height": str(entry.height)}
        if target.task == "classification":
            image.append(element("tag", label=entry.annotation, source="manual"))
        else:
            for label, corners, _ in entry.boxes():
                places = {corner: tidy(value) for corner, value in zip(CORNERS, corners, strict=True)}
                image.append(element("box", label=label, occluded=0, source="manual", **places, z_order=0))
        yield image
