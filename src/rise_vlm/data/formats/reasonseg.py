"""ReasonSeg, the data of LISA: JSON beside each image with ``text`` (questions) and ``shapes`` (polygons).

The polygons called ``target`` are one region; its box goes with every text. ``ignore`` and ``flag`` shapes are left
out, as LISA's own reader does; so is ``explanatory/train.json``, a list of explanations. Some files are in
Windows-1252. Written back, a region is its box as a polygon.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Entry, Found, Item, Options, Skip, Target
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import Images, annotation_files
from rise_vlm.data.formats.reading import hull, parse_json, read_text, text_of
from rise_vlm.data.formats.writing import tidy, write_json
from rise_vlm.errors import DataError

IMAGES = "{split}/{name}"


def sees(glimpse: Glimpse) -> str | None:
    """JSON with text and shapes."""
    keys = glimpse.keys_where(lambda path: path.stem.casefold() in glimpse.stems)
    return "JSON with text and shapes" if {"text", "shapes"} <= keys else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every text of every file."""
    images = Images.of(source, options.images)
    for path, name, split in annotation_files(source, "reasonseg", [".json"], by_name=False):
        try:
            content = parse_json(read_text(path, else_encoding="cp1252"), "the file")
            if isinstance(content, list) and "explanatory" in path.parent.name.casefold():
                yield Skip("a list of explanations, which annotates no image", name)
                continue
            yield from _file(path.stem, name, split, content, images)
        except BadRow as bad:
            yield bad.at(name, None)
        except DataError as error:
            yield BadRow("row", str(error), name).at(name, None)


def _file(stem: str, name: str, split: str | None, content: Any, images: Images) -> Iterator[Found]:
    texts, shapes = (content.get("text"), content.get("shapes")) if isinstance(content, dict) else (None, None)
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not isinstance(shapes, list):
        raise BadRow("row", "the file has no lists text and shapes", name)
    texts = [text_of(text) for text in texts if text_of(text)]
    corners: list[list[float]] = []
    for shape in shapes:
        label = text_of(shape.get("label")).casefold() if isinstance(shape, dict) else ""
        if "ignore" in label or label == "flag":
            yield Skip(f"a shape called {label[:20]}")
            continue
        box = hull(shape.get("points")) if isinstance(shape, dict) else None
        if box is None:
            raise BadRow("annotation", "the points of a shape are no pairs of numbers", name)
        corners += [box[:2], box[2:]]
    region = hull(corners)
    if region is None or not texts:
        yield Skip("a file without a target or a text")
        return
    image = images.stem(stem, PurePosixPath(name).parent.parts, name)
    group = images.group(image)
    for number, text in enumerate(texts, start=1):
        id_ = group if len(texts) == 1 else f"{group}#{number}"
        yield Item(name, None, id_, group, image, region, split, question=text, is_box=True)


def write(entries: Iterable[Entry], out: Path, target: Target) -> None:
    """Write a file beside each image."""
    for entry in entries:
        x1, y1, x2, y2 = (tidy(value) for value in entry.annotation)
        points = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
        shape = {"label": "target", "labels": ["target"], "shape_type": "polygon", "points": points, "group_id": None}
        texts = [entry.question or target.question]
        content = {"text": texts, "is_sentence": True, "shapes": [shape | {"image_name": entry.name}]}
        write_json(out / entry.split / f"{PurePosixPath(entry.name).stem}.json", content, indent=2)
