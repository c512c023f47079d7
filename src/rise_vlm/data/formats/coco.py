"""COCO instances: JSON of images, annotations and categories; boxes are ``[x, y, width, height]`` in pixels.

Reads one file, or the ``instances*.json`` (else every COCO file) of a folder. Categories go by name, since ids differ
between files. Left out: masks, keypoints, captions; a crowd is skipped. Rows are numbered as the annotations (or
images) stand in their list, from 1. Writes one file per split; a model's scores stand as ``score``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Box, Classes, Entry, Found, Item, Note, Options, Skip, Target, by_class
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import Images, files_below, split_in
from rise_vlm.data.formats.reading import four_numbers, is_number, read_json, size_of
from rise_vlm.data.formats.writing import tidy, write_json
from rise_vlm.errors import DataError

LISTS = ("images", "annotations", "categories")
FILE = "annotations/instances_{split}.json"
IMAGES = "images/{split}/{name}"


def sees(glimpse: Glimpse) -> str | None:
    """A JSON object with the three lists of COCO; of a large one the middle list shows by what is in it."""
    keys = glimpse.keys_where(_holds_instances)
    lists = {"images", "categories"} <= keys and {"annotations", "bbox"} & keys
    return "JSON with images, annotations and categories" if lists else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every image: by class for grounding, one per image for classification and detection."""
    if not source.is_dir():
        split = split_in(Path(source.name)) if "annotations" in source.parent.name.casefold() else None
        if options.images is not None and not options.images.is_dir():
            raise DataError(f"There is no folder of images {options.images}.")
        roots = _roots(source, split, options)
        images = Images(roots[0], roots, named=options.images is not None, deep=options.images is not None)
        yield from _file(source, source.name, None, _load(source), images, options)
        return
    whole = [path for path in files_below(source) if path.suffix.casefold() == ".json"]
    instances = [path for path in whole if _holds_instances(path)]
    read_any = False
    for path in whole:
        name = path.relative_to(source).as_posix()
        if instances and path not in instances:
            yield Skip("a JSON file that holds no instances by its name", name)
            continue
        try:
            content = _load(path)
        except DataError as error:
            yield Note(str(error))
            continue
        read_any = True
        split = split_in(Path(name))
        yield from _file(path, name, split, content, Images(source, _roots(path, split, options, source)), options)
    if not read_any:
        raise DataError(f"{source} is a folder; 'coco' finds no COCO file in it.")


def _holds_instances(path: Path) -> bool:
    return path.name.casefold().startswith("instances")


def _roots(file: Path, split: str | None, options: Options, source: Path | None = None) -> list[Path]:
    """Where the images of a COCO file may lie: with it, or in a folder that its split or its name names."""
    if options.images is not None:
        return [options.images]
    above = source or file.parent.parent
    names = [name for name in (file.stem.rpartition("_")[2], split) if name and (source or split)]
    called = [above / part / name for name in names for part in ("images", "")]
    if source is None:
        return [file.parent, *called]
    return [*(folder for folder in called if folder.is_dir()), file.parent, source]


def _file(
    source: Path, name: str, split: str | None, content: dict[str, list[Any]], images: Images, options: Options
) -> Iterator[Found]:
    names = _categories(source, content["categories"])
    yield Classes(tuple(dict.fromkeys(names.values())))
    known: set[Any] = set()
    for image in content["images"]:
        if isinstance(image, dict) and isinstance(image.get("id"), int | str):
            known.add(image["id"])
    boxes: dict[Any, list[Box]] = defaultdict(list)
    spoilt: set[Any] = set()
    file = f"{name} annotations"
    for number, annotation in enumerate(content["annotations"], start=1):
        try:
            boxes[_image_id(annotation, known)].append(_box(annotation, names, file, number))
        except BadRow as bad:
            spoilt.add(str(annotation.get("image_id")) if isinstance(annotation, dict) else None)
            yield bad.at(file, number)
    seen: set[Any] = set()
    for number, image in enumerate(content["images"], start=1):
        try:
            template = _image(f"{name} images", number, image, seen, images, split)
        except BadRow as bad:
            yield bad.at(f"{name} images", number)
            continue
        if options.task == "detection" and str(image["id"]) in spoilt:
            yield Skip("an image with a bad annotation")
            continue
        yield from by_class(template, boxes[image["id"]], options)


def _load(source: Path) -> dict[str, list[Any]]:
    if not source.is_file():
        raise DataError(f"{source} is missing; 'coco' reads a JSON file or a folder of them.")
    content = read_json(source, forget="segmentation")  # most of a COCO file, and not used
    for key in LISTS:
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
        raise BadRow("missing image", f"the annotation refers to the image {id_!r}, which is not listed"[:200])
    return id_


def _box(annotation: dict[str, Any], names: dict[Any, str], file: str, row: int) -> Box:
    category = annotation.get("category_id")
    if not isinstance(category, int | str) or category not in names:
        raise BadRow("annotation", f"the category {category!r} is not listed"[:200])
    name, crowd, score = names[category], annotation.get("iscrowd") == 1, annotation.get("score")
    numbers = four_numbers(annotation.get("bbox"))
    if numbers is None:
        fault = f"the bbox of the {name} is not of four numbers: {annotation.get('bbox')!r}"[:200]
        return Box(name, None, fault, crowd, file, row)
    x, y, width, height = numbers
    if width <= 0 or height <= 0:
        return Box(name, None, f"the bbox {numbers} of the {name} has no area", crowd, file, row)
    return Box(name, [x, y, x + width, y + height], "", crowd, file, row, score if is_number(score) else None)


def _image(file: str, number: int, image: Any, seen: set[Any], images: Images, split: str | None) -> Item:
    if not isinstance(image, dict) or not isinstance(image.get("id"), int | str):
        raise BadRow("row", "an image must be an object with an id")
    name = image.get("file_name")
    if not isinstance(name, str) or not name:
        raise BadRow("row", f"the image {image['id']!r} has no file_name"[:200])
    if image["id"] in seen:
        raise BadRow("duplicate id", f"the image id {image['id']!r} was used before"[:200], name)
    seen.add(image["id"])
    path = images.find(name, [split] if split else [], name)
    group = images.group(path) if split else name
    stated = size_of(image.get("width"), image.get("height"))
    return Item(file, number, group, group, path, None, split, stated_size=stated)


def write_file(entries: Iterable[Entry], path: Path, target: Target) -> None:
    """Write instances; ids count from 1, categories in the order of the classes."""
    ids = {name: number for number, name in enumerate(target.classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, entry in enumerate(entries, start=1):
        images.append({"id": number, "file_name": entry.name, "width": entry.width, "height": entry.height})
        for label, (x1, y1, x2, y2), score in entry.boxes():
            box = [tidy(x1), tidy(y1), tidy(x2 - x1), tidy(y2 - y1)]
            annotation = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": ids[label],
                "bbox": box,
                "area": tidy((x2 - x1) * (y2 - y1)),
                "iscrowd": 0,
                "segmentation": [],
            }
            annotations.append(annotation if score is None else annotation | {"score": score})
    categories = [{"id": number, "name": name, "supercategory": ""} for name, number in ids.items()]
    info = {"description": target.name}
    write_json(path, {"info": info, "images": images, "annotations": annotations, "categories": categories})
