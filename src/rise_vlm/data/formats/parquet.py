"""Parquet with an image column, as hub data sets have it: ``image`` (``{bytes, path}`` or a path) and its annotation.

The annotation is our own column ``annotation``; or ``label`` (text, or a number that the features name) for a class;
or ``objects`` with ``bbox`` (``[x, y, width, height]``, as COCO has it) and ``category``, ``categories``, ``label`` or
``labels``. Rows stream; pictures inside of the file pass through a temporary folder. Left out: several images a row.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.answers import from_text
from rise_vlm.data.formats.base import Box, Classes, Entry, Found, Item, Note, Options, Target, by_class
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import SPLIT_NAMES, Images, annotation_files
from rise_vlm.data.formats.reading import four_numbers, is_number, object_of, text_of
from rise_vlm.errors import DataError

FILE = "data/{split}-00000-of-00001.parquet"
IMAGES = ""
TASKS = ("classification", "detection", "grounding", "distribution")
BATCH = 64
CATEGORIES = ("category", "categories", "label", "labels", "category_id")


def sees(glimpse: Glimpse) -> str | None:
    """Parquet files."""
    return "Parquet files" if glimpse.suffixes[".parquet"] else None


def task_for(source: Path) -> str | None:
    """The task that a file of ours names; detection where there are objects and no label of the whole image."""
    import pyarrow
    import pyarrow.parquet

    for path, _, _ in annotation_files(source, "parquet", [".parquet"])[:1]:
        with suppress(pyarrow.ArrowException, OSError, ValueError, AttributeError):
            schema = pyarrow.parquet.read_schema(path)
            ours = json.loads((schema.metadata or {}).get(b"rise", b"{}")).get("task")
            boxes = "objects" in schema.names and "label" not in schema.names
            return ours if ours in TASKS else "detection" if boxes else None
    return None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every row. Without a scratch folder pictures are there until the last row has been read."""
    images = Images.of(source, options.images)
    kept = nullcontext(options.scratch) if options.scratch else tempfile.TemporaryDirectory(prefix="rise-")
    with kept as scratch:
        for path, name, split in annotation_files(source, "parquet", [".parquet"]):
            yield from _File(name, split, images, options, Path(scratch)).read(path)


class _File:
    """One Parquet file on its way."""

    def __init__(self, name: str, split: str | None, images: Images, options: Options, scratch: Path) -> None:
        self.name, self.split, self.images, self.options, self.scratch = name, split, images, options, scratch
        self.image, self.label = options.columns or ("image", "label")
        self.names: dict[str, list[str]] = {}

    def read(self, path: Path) -> Iterator[Found]:
        """Everything in the file."""
        import pyarrow
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                columns = file.schema_arrow.names
                if self.image not in columns:
                    told = ", ".join(columns)[:200]
                    raise DataError(f"{path} has no column '{self.image}' (it has: {told}); name it with --columns.")
                yield from self._declared(file.schema_arrow)
                if self.options.task in ("grounding", "detection") and "annotation" not in columns:
                    yield Note("objects.bbox is taken as x, y, width, height, as COCO and most hub data sets have it.")
                number = 0
                for batch in file.iter_batches(batch_size=BATCH):
                    for row in batch.to_pylist():
                        number += 1
                        try:
                            yield from self._row(number, row)
                        except BadRow as bad:
                            yield bad.at(self.name, number)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path} is no readable Parquet file: {' '.join(str(error).split())[:300]}") from error

    def _declared(self, schema: Any) -> Iterator[Found]:
        """The classes that the file's metadata name: ours, or a hub data set's features."""
        metadata = schema.metadata or {}
        try:
            ours = json.loads(metadata.get(b"rise", b"{}"))
            theirs = json.loads(metadata.get(b"huggingface", b"{}"))
            features = theirs.get("info", {}).get("features", {})
            self.names = {key: found for key, value in features.items() if (found := _feature_names(value))}
            classes = ours.get("classes") or next(iter(self.names.values()), [])
            yield Classes(tuple(name for name in classes if isinstance(name, str)))
        except (ValueError, AttributeError, TypeError, RecursionError):
            yield Note(f"{self.name}: the features in its metadata cannot be read, so classes are not named by them.")

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
            boxed = self.options.task in ("grounding", "detection")
            yield replace(item, annotation=self._annotation(row["annotation"]), is_box=boxed)
        elif self.options.task == "classification":
            yield replace(item, annotation=self._name(self.label, row.get(self.label)))
        elif self.options.task == "distribution":
            raise BadRow("annotation", "a distribution needs the column 'annotation'")
        else:
            yield from by_class(item, self._boxes(row.get("objects")), self.options)

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
        if self.options.task in ("grounding", "detection"):
            return from_text(json.dumps(value), self.options.task)
        return value

    def _name(self, column: str, value: Any) -> str:
        names = self.names.get(column, [])
        if type(value) is int and 0 <= value < len(names):
            return names[value]
        if type(value) is int and not names:
            return str(value)
        name = text_of(value)
        if not name:
            raise BadRow("annotation", f"the {column} {value!r} is no class"[:100])
        return name

    def _boxes(self, objects: Any) -> list[Box]:
        if isinstance(objects, list) and all(isinstance(each, dict) for each in objects):
            objects = {key: [each.get(key) for each in objects] for key in (objects[0] if objects else {"bbox": 0})}
        columns = object_of(objects)
        boxes = columns.get("bbox")
        labels = next((columns[key] for key in CATEGORIES if isinstance(columns.get(key), list)), [])
        if not isinstance(boxes, list) or len(boxes) != len(labels):
            raise BadRow("annotation", "objects must hold the lists bbox and category of one length")
        found: list[Box] = []
        for label, box in zip(labels, boxes, strict=True):
            name, numbers = self._name("objects", label), four_numbers(box)
            if numbers is None:
                found.append(Box(name, None, f"the bbox of the {name} is not of four numbers"))
            else:
                found.append(Box(name, [numbers[0], numbers[1], numbers[0] + numbers[2], numbers[1] + numbers[3]]))
        return found


def _feature_names(value: Any) -> list[str]:
    """The names of the first ClassLabel within a feature."""
    if isinstance(value, dict):
        if value.get("_type") == "ClassLabel" and isinstance(value.get("names"), list):
            return [str(name) for name in value["names"]]
        return next((names for inner in value.values() if (names := _feature_names(inner))), [])
    if isinstance(value, list):
        return next((names for inner in value if (names := _feature_names(inner))), [])
    return []


def _json(value: Any) -> Any:
    """JSON text parsed; any other text as it stands."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"'):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def write_file(entries: Iterable[Entry], path: Path, target: Target) -> None:
    """Write one file per split, pictures inside, the features told as hub data sets do."""
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.string()
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", text)])
    columns = {"id": text, "image": image, "annotation": text, "question": text, "rationale": text}
    columns |= {"score": pyarrow.float64(), "meta": text}
    features = {name: {"dtype": "string", "_type": "Value"} for name in columns}
    features |= {"image": {"_type": "Image"}, "score": {"dtype": "float64", "_type": "Value"}}
    ours = {"task": target.task, "classes": list(target.classes)}
    told = {"rise": ours, "huggingface": {"info": {"features": features}}}
    metadata = {key: json.dumps(value).encode() for key, value in told.items()}
    schema = pyarrow.schema(list(columns.items()), metadata=metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        waiting: list[dict[str, Any]] = []
        for entry in entries:
            waiting.append(_written(entry))
            if len(waiting) == BATCH:
                writer.write_table(pyarrow.Table.from_pylist(waiting, schema=schema))
                waiting = []
        writer.write_table(pyarrow.Table.from_pylist(waiting, schema=schema))


def _written(entry: Entry) -> dict[str, Any]:
    text = entry.annotation if isinstance(entry.annotation, str) else None
    plain = text is not None and text.lstrip()[:1] not in ("{", "[", '"')
    return {
        "id": entry.id,
        "image": {"bytes": entry.file.read_bytes() if entry.file else None, "path": entry.name},
        "annotation": text if plain else json.dumps(entry.annotation, ensure_ascii=False),
        "question": entry.question,
        "rationale": entry.rationale,
        "score": entry.score,
        "meta": json.dumps(entry.meta, ensure_ascii=False) if entry.meta else None,
    }
