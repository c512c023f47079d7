"""FiftyOne JSON: ``samples.json`` of a FiftyOneDataset, or ``labels.json`` of its image datasets with ``data``.

Boxes are ``[x, y, width, height]`` as shares of the image. Of several label fields one counts for all samples:
the one asked for (``--field``), ``ground_truth``, else the most frequent that fits the task. Left out: masks,
polylines, keypoints, videos, and all other fields, of which a note tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Box, Classes, Entry, Found, Item, Note, Options, Skip, Target, by_class
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import SPLIT_NAMES, Images, annotation_files
from rise_vlm.data.formats.reading import four_numbers, is_number, list_of, object_of, read_json, size_of, text_of
from rise_vlm.data.formats.writing import write_json_pairs
from rise_vlm.errors import DataError, nearest

FILE = "{split}/labels.json"
IMAGES = "{split}/data/{name}"


def sees(glimpse: Glimpse) -> str | None:
    """A JSON object of samples, or of labels and classes."""
    content = glimpse.json
    if isinstance(content, dict) and isinstance(content.get("samples"), list):
        return "JSON with samples"
    labels = isinstance(content, dict) and isinstance(content.get("labels"), dict)
    return "JSON with labels and classes" if labels and "classes" in content else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every sample."""
    images = Images.of(source, options.images, source.parent / "data")
    read_any = False
    for path, name, split in annotation_files(source, "fiftyone", [".json"]):
        if source.is_dir() and path.name not in ("labels.json", "samples.json"):
            continue
        read_any = True
        content = read_json(path)
        samples = content.get("samples") if isinstance(content, dict) else None
        labels = content.get("labels") if isinstance(content, dict) else None
        if isinstance(samples, list):
            yield from _samples(name, samples, split, images, options)
        elif isinstance(labels, dict):
            yield from _labels(name, content, labels, split, images, options)
        else:
            raise DataError(f"{path} is no FiftyOne file: it has neither samples nor labels.")
    if not read_any:
        raise DataError(f"{source} is a folder; 'fiftyone' finds neither samples.json nor labels.json in it.")


def _samples(file: str, samples: list[Any], split: str | None, images: Images, options: Options) -> Iterator[Found]:
    fields = [_labels_in(sample) for sample in samples]
    known = list(dict.fromkeys(key for each in fields for key in each))
    if options.field is not None and options.field not in known:
        told = ", ".join(known)[:200] or "none"
        near = nearest(options.field, known)
        raise DataError(f"{file} has no field '{options.field}' of labels (it has: {told}).{near}")
    field = options.field or _field(fields, options.task)
    others = ", ".join(key for key in known if key != field)
    if field and others and options.field is None:
        told = f"{file}: the labels are taken from the field '{field}', not from {others}"
        yield Note(f"{told[:300]}; --field names another.")
    for row, sample in enumerate(samples, start=1):
        try:
            name = text_of(sample.get("filepath")) if isinstance(sample, dict) else ""
            if not name:
                raise BadRow("row", "a sample must be an object with a filepath")
            path = images.find(name, (), name)
            tags = list_of(sample.get("tags"))
            own = next((SPLIT_NAMES[tag] for tag in tags if isinstance(tag, str) and tag in SPLIT_NAMES), split)
            metadata = object_of(sample.get("metadata"))
            size = size_of(metadata.get("width"), metadata.get("height"))
            group = images.group(path)
            item = Item(file, row, group, group, path, None, own, stated_size=size, unit=1)
            if field is None or sample.get(field) is None:
                yield Skip("a sample without a label" if field is None else f"a sample without a label in '{field}'")
            else:
                yield from by_class(item, _boxes(sample[field], options.task, name), options)
        except BadRow as bad:
            yield bad.at(file, row)


def _labels_in(sample: Any) -> dict[str, str]:
    """The label fields of a sample with their kinds, such as Detections."""
    fields = {key: value for key, value in object_of(sample).items() if key != "metadata" and isinstance(value, dict)}
    return {key: value["_cls"] for key, value in fields.items() if isinstance(value.get("_cls"), str)}


def _field(fields: list[dict[str, str]], task: str) -> str | None:
    """The field that counts for all samples: ``ground_truth``, else the most frequent of a kind that fits the task."""
    wanted = ("Classification", "Detections") if task == "classification" else ("Detections", "Detection")
    for kind in wanted:
        keys = Counter(key for each in fields for key, cls in each.items() if cls == kind)
        if keys:
            return "ground_truth" if "ground_truth" in keys else keys.most_common(1)[0][0]
    return None


def _boxes(value: Any, task: str, id_: str) -> list[Box]:
    """The boxes of a label field, or its class as a box without corners."""
    kind = value.get("_cls") if isinstance(value, dict) else None
    if kind == "Detections":
        if not isinstance(value.get("detections"), list):
            raise BadRow("annotation", "Detections must hold a list 'detections'", id_)
        return [_box(each, [], id_) for each in value["detections"]]
    if kind == "Detection" or (kind == "Classification" and task == "classification"):
        return [_box(value, [], id_)]
    return [Box("", None, skip=f"a field of {kind if isinstance(kind, str) else 'no kind'}, which is no box"[:60])]


def _labels(
    file: str, content: dict[str, Any], labels: dict[str, Any], split: str | None, images: Images, options: Options
) -> Iterator[Found]:
    classes = content.get("classes")
    classes = [name for name in classes if isinstance(name, str)] if isinstance(classes, list) else []
    yield Classes(tuple(dict.fromkeys(classes)))
    near = PurePosixPath(file).parent.parts
    for row, (stem, label) in enumerate(labels.items(), start=1):
        try:
            if label is None and options.task != "detection":
                yield Skip("an image without a label")
                continue
            path = images.stem(PurePosixPath(stem).name, near, stem)
            things = label if isinstance(label, list) else [] if label is None else [label]
            boxes = [_box(each, classes, stem) for each in things]
            group = images.group(path)
            yield from by_class(Item(file, row, group, group, path, None, split, unit=1), boxes, options)
        except BadRow as bad:
            yield bad.at(file, row)


def _box(value: Any, classes: list[str], id_: str) -> Box:
    """A label with its box, where it has one; a class may stand by its number."""
    content = value if isinstance(value, dict) else {"label": value}
    label = content.get("label")
    if type(label) is int and 0 <= label < len(classes):
        label = classes[label]
    name = text_of(label)
    if not name:
        raise BadRow("annotation", f"the label {label!r} is no class"[:100], id_)
    numbers, score = four_numbers(content.get("bounding_box")), content.get("confidence")
    score = score if is_number(score) else None
    if numbers is None:
        fault = f"the bounding_box of the {label} is not of four numbers"[:120]
        return Box(name, None, fault, score=score)
    x, y, width, height = numbers
    return Box(name, [x, y, x + width, y + height], score=score)


def write_file(entries: Iterable[Entry], path: Path, target: Target) -> None:
    """Write the labels of a FiftyOneImageDetectionDataset, or of a FiftyOneImageClassificationDataset."""
    pairs = ((PurePosixPath(entry.name).stem, _label(entry, target)) for entry in entries)
    write_json_pairs(path, {"classes": list(target.classes)}, "labels", pairs)


def _label(entry: Entry, target: Target) -> Any:
    """What an image's name stands for: its class, with the score if there is one, or its boxes."""
    if target.task != "classification":
        return [_written(entry, *found) for found in entry.boxes()]
    return entry.annotation if entry.score is None else {"label": entry.annotation, "confidence": entry.score}


def _written(entry: Entry, label: str, corners: list[float], score: float | None) -> dict[str, Any]:
    x1, y1, x2, y2 = corners
    box = [x1 / entry.width, y1 / entry.height, (x2 - x1) / entry.width, (y2 - y1) / entry.height]
    found = {"label": label, "bounding_box": [round(share, 10) for share in box]}
    return found if score is None else found | {"confidence": score}
