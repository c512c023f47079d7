"""Rows with a picture each, as data sets of the hub have them, be they in Parquet, in Arrow or listed by metadata.

The picture is ``{bytes, path}`` or a path. The annotation is our own column ``annotation``; or a label (text, or a
number that the features name) for a class; or objects with ``bbox`` (``[x, y, width, height]``, as COCO has it) and
``category``, ``categories``, ``label`` or ``labels``. Columns of other names are told apart by the features, and said.
Left out: several pictures a row.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.answers import from_text
from rise_vlm.data.formats.base import Box, Classes, Found, Item, Note, Options, Skip, by_class
from rise_vlm.data.formats.places import SPLIT_NAMES, Images
from rise_vlm.data.formats.reading import four_numbers, is_number, object_of, text_of
from rise_vlm.errors import DataError, nearest

TASKS = ("classification", "detection", "grounding", "distribution")
BATCH = 64
"""Rows that are in memory at a time."""

FILE_NAME = "file_name"
"""What the metadata of image folders call the picture by."""

IMAGE = ("image", "img", "picture", "photo", FILE_NAME, "jpg", "jpeg", "png", "image_path")
LABEL = ("label", "labels", "class", "category", "label_name", "class_name")
OBJECTS = ("objects", "annotations")
CATEGORIES = ("category", "categories", "label", "labels", "category_id")
OTHERS = ("id", "annotation", "question", "rationale", "score", "meta", "split")


@dataclass(frozen=True)
class Columns:
    """The columns that a table has, and what its features say of them, as ``datasets`` writes them down."""

    names: Sequence[str]
    features: dict[str, Any]

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """Column -> the names of the classes that its numbers stand for."""
        return {name: found for name, value in self.features.items() if (found := _class_names(value))}

    @property
    def image(self) -> list[str]:
        """The columns that may hold the picture, the likeliest first."""
        told = [name for name in self.names if object_of(self.features.get(name)).get("_type") == "Image"]
        return _first(IMAGE[:1], self.names) + told + _first(IMAGE, self.names)

    @property
    def objects(self) -> list[str]:
        """The columns that may hold boxes."""
        return _first(OBJECTS, self.names) + [name for name in self.names if _holds_boxes(self.features.get(name))]

    @property
    def label(self) -> list[str]:
        """The columns that may hold the class of the picture."""
        told = [name for name in self.names if object_of(self.features.get(name)).get("_type") == "ClassLabel"]
        return _first(LABEL[:1], self.names) + told + _first(LABEL, self.names)

    @property
    def task(self) -> str | None:
        """Detection where there are boxes and no class of the whole picture; None where that is not told."""
        return "detection" if self.objects and not self.label and "annotation" not in self.names else None


class HubRows:
    """Reads the rows of one table. ``name`` is what the table is called in messages; ``scratch`` an empty folder for
    the pictures that the rows hold.

    Raises DataError where the table has no column for the picture, or for what the task needs.
    """

    def __init__(
        self, name: str, split: str | None, columns: Columns, images: Images, options: Options, scratch: Path
    ) -> None:
        self.name, self.split, self.columns, self.images = name, split, columns, images
        self.options, self.scratch = options, scratch
        self.numbered = False
        self.boxed = options.task in ("grounding", "detection")
        asked = options.columns or (None, None)
        self.image = self._column("picture", asked[0], columns.image)
        wanted = "annotation" not in columns.names and options.task != "distribution"
        what, fit = ("boxes", columns.objects) if self.boxed else ("class", columns.label)
        self.truth = self._column(what, asked[1], fit) if wanted else ""

    @property
    def used(self) -> list[str]:
        """The columns that are read, in the order of the table."""
        return [name for name in self.columns.names if name in {*OTHERS, self.image, self.truth}]

    def _column(self, what: str, asked: str | None, fit: Sequence[str]) -> str:
        names = self.columns.names
        if asked is None and fit:
            return fit[0]
        told = ", ".join(names)[:200]
        if asked is None:
            how = "name two columns with --columns IMAGE,LABEL"
            raise DataError(f"{self.name} has no column for the {what} (it has: {told}); {how}.")
        if asked not in names:
            raise DataError(f"{self.name} has no column '{asked}' (it has: {told}).{nearest(asked, names)}")
        return asked

    def told(self, classes: Sequence[str] = ()) -> Iterator[Found]:
        """The ``classes`` that are declared, else those of the features, and what was guessed."""
        yield Classes(tuple(dict.fromkeys(classes or self.columns.classes.get(self.truth, []))))
        if self.boxed and self.truth:
            yield Note(f"{self.truth}.bbox is taken as x, y, width, height, as COCO and most hub data sets have it.")
        usual = {IMAGE[0], FILE_NAME, LABEL[0], OBJECTS[0], ""}
        if self.options.columns is None and not {self.image, self.truth} <= usual:
            fit = self.columns.objects if self.boxed else self.columns.label
            others = [name for name in dict.fromkeys([*self.columns.image, *fit]) if name not in self.used]
            more = f", not from {', '.join(others)}" if others else ""
            took = " and ".join(f"'{name}'" for name in (self.image, self.truth) if name)
            yield Note(f"picture and annotation are taken from {took}{more}; --columns names others."[:300])

    def read(self, rows: Iterable[Any], first: int = 1) -> Iterator[Found]:
        """The items of every row, the ``first`` one's number given; a row may be the BadRow that it is."""
        for number, row in enumerate(rows, start=first):
            try:
                if not isinstance(row, dict):
                    raise row if isinstance(row, BadRow) else BadRow("row", "a row must be an object with keys")
                yield from self._row(number, row)
            except BadRow as bad:
                yield bad.at(self.name, number)
        if self.numbered:
            yield Note(f"no features name the numbers of '{self.truth}': classes are called by their numbers.")

    def _row(self, number: int, row: dict[str, Any]) -> Iterator[Found]:
        given = row.get("id")
        path, group = self._image(number, row.get(self.image))
        score = row.get("score")
        meta = _json(row.get("meta"))
        meta = meta if isinstance(meta, dict) else {}
        item = Item(
            self.name,
            number,
            str(given) if isinstance(given, str | int) and str(given) else f"{self.name}#{number}",
            group,
            path,
            None,
            SPLIT_NAMES.get(text_of(row.get("split")).casefold(), self.split),
            question=text_of(row.get("question")) or None,
            rationale=text_of(row.get("rationale")) or None,
            meta=meta | ({"score": score} if is_number(score) else {}),
        )
        if "annotation" in row:
            yield replace(item, annotation=self._annotation(row["annotation"]), is_box=self.boxed)
        elif self.options.task == "distribution":
            raise BadRow("annotation", "a distribution needs the column 'annotation'")
        elif self.boxed:
            yield from by_class(item, self._boxes(row.get(self.truth)), self.options)
        elif row.get(self.truth) == -1:
            yield Skip("a row without a label (-1)")
        else:
            yield replace(item, annotation=self._name(row.get(self.truth)))

    def _image(self, number: int, value: Any) -> tuple[Path, str]:
        """The picture as a file, and the name of its group: equal pictures are one group."""
        content, name = (value.get("bytes"), text_of(value.get("path"))) if isinstance(value, dict) else (value, "")
        if isinstance(content, str):
            name, content = content, None
        if content is None:
            if not name:
                raise BadRow("missing image", "the row holds no image")
            path = self.images.find(name)
            return path, self.images.group(path)
        if not isinstance(content, bytes):
            raise BadRow("image", "the image is neither a path nor bytes")
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        plain = re.sub(r"[^\w.-]", "_", PurePosixPath(name.replace("\\", "/")).name)[-60:].lstrip(".") or f"{number}"
        folder = self.scratch / digest
        kept = next(iter(folder.iterdir()), None) if folder.is_dir() else None
        if kept is None:
            folder.mkdir()
            kept = folder / plain
            kept.write_bytes(content)
        return kept, digest

    def _annotation(self, value: Any) -> Any:
        value = _json(value)
        if isinstance(value, list) and value and all(isinstance(pair, tuple) for pair in value):
            value = dict(value)
        if isinstance(value, dict):
            value = {key: inner for key, inner in value.items() if inner is not None}
        if self.boxed:
            return from_text(json.dumps(value), self.options.task)
        return value

    def _name(self, value: Any) -> str:
        names = self.columns.classes.get(self.truth, [])
        if type(value) is int and 0 <= value < len(names):
            return names[value]
        if type(value) is int and not names:
            self.numbered = True
            return str(value)
        name = text_of(value)
        if not name:
            raise BadRow("annotation", f"the {self.truth} {value!r} is no class"[:100])
        return name

    def _boxes(self, objects: Any) -> list[Box]:
        objects = _json(objects)
        if isinstance(objects, list) and all(isinstance(each, dict) for each in objects):
            objects = {key: [each.get(key) for each in objects] for key in (objects[0] if objects else {"bbox": 0})}
        columns = object_of(objects)
        boxes = columns.get("bbox")
        labels = next((columns[key] for key in CATEGORIES if isinstance(columns.get(key), list)), [])
        if not isinstance(boxes, list) or len(boxes) != len(labels):
            raise BadRow("annotation", f"{self.truth} must hold the lists bbox and category of one length")
        found: list[Box] = []
        for label, box in zip(labels, boxes, strict=True):
            name, numbers = self._name(label), four_numbers(box)
            if numbers is None:
                found.append(Box(name, None, f"the bbox of the {name} is not of four numbers"))
            else:
                found.append(Box(name, [numbers[0], numbers[1], numbers[0] + numbers[2], numbers[1] + numbers[3]]))
        return found


def _first(called: Collection[str], names: Collection[str]) -> list[str]:
    """The first of ``called`` that is among the names, if any."""
    return [name for name in called if name in names][:1]


def _class_names(value: Any) -> list[str]:
    """The names of the first ClassLabel within a feature."""
    if isinstance(value, dict):
        if value.get("_type") == "ClassLabel" and isinstance(value.get("names"), list):
            return [str(name) for name in value["names"]]
        return next((names for inner in value.values() if (names := _class_names(inner))), [])
    if isinstance(value, list):
        return next((names for inner in value if (names := _class_names(inner))), [])
    return []


def _holds_boxes(value: Any) -> bool:
    """Whether a feature has a ``bbox`` within."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return (isinstance(value, dict) and "bbox" in value) or any(map(_holds_boxes, inner))


def _json(value: Any) -> Any:
    """JSON text parsed; any other text as it stands."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"'):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
