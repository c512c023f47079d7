"""COCO instances: JSON of images, annotations and categories; boxes are ``[x, y, width, height]`` in pixels.

Reads one file, or the ``instances*.json`` (else every COCO file) of a folder. Categories go by name, since ids differ
between files. A polygon without ``bbox`` becomes the box around it. Left out: masks, keypoints, captions; a crowd is
skipped. Rows are numbered as the annotations (or images) stand in their list, from 1. Writes one file per split; a
model's scores stand as ``score``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import CROWD, Box, Classes, Entry, Found, Item, Note, Options, Skip, Target, by_class
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import Images, files_below, split_in
from rise_vlm.data.formats.reading import four_numbers, hull, is_number, read_json, size_of
from rise_vlm.data.formats.writing import tidy, write_json_lists
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
    read_any, refused = False, ""
    for path in whole:
        name = path.relative_to(source).as_posix()
        if instances and path not in instances:
            yield Skip("a JSON file that holds no instances by its name", name)
            continue
        try:
            content = _load(path)
        except DataError as error:
            refused = refused or f": {error}"
            yield Note(str(error))
            continue
        read_any = True
        split = split_in(Path(name))
        yield from _file(path, name, split, content, Images(source, _roots(path, split, options, source)), options)
    if not read_any:
        raise DataError(f"{source} is a folder; 'coco' finds no COCO file in it{refused or '.'}")


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
    ids = [image["id"] for image in content["images"] if isinstance(image, dict) and _is_id(image.get("id"))]
    known = {str(id_) for id_ in ids}
    boxes: dict[str, list[Box]] = defaultdict(list)
    file = f"{name} annotations"
    for number, annotation in enumerate(content["annotations"], start=1):
        try:
            boxes[_image_id(annotation, known)].append(_box(annotation, names, file, number))
        except BadRow as bad:
            yield bad.at(file, number)
    seen: set[str] = set()
    for number, image in enumerate(content["images"], start=1):
        try:
            template = _image(f"{name} images", number, image, seen, images, split)
        except BadRow as bad:
            yield bad.at(f"{name} images", number)
            continue
        yield from by_class(template, boxes[str(image["id"])], options)


def _load(source: Path) -> dict[str, list[Any]]:
    if not source.is_file():
        raise DataError(f"{source} is missing; 'coco' reads a JSON file or a folder of them.")
    content = read_json(source, shorten=_without_polygons)
    if isinstance(content, list):
        raise DataError(f"{source} is a bare list, as a model's results are; 'coco' reads the file of instances.")
    for key in LISTS:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{source} is no COCO file of instances: it has no list '{key}'.")
    return content


def _without_polygons(value: dict[str, Any]) -> dict[str, Any]:
    """An annotation without its ``segmentation``, which is most of a COCO file; polygons leave the box around them
    where it has no ``bbox``.
    """
    polygons = value.pop("segmentation", None)
    if not value.get("bbox") and isinstance(polygons, list):
        whole = all(isinstance(each, list) and len(each) % 2 == 0 for each in polygons)
        points = [point for each in polygons for point in zip(each[::2], each[1::2], strict=True)] if whole else []
        corners = hull(points)
        if corners is not None:
            value["bbox"] = [*corners[:2], corners[2] - corners[0], corners[3] - corners[1]]
    return value


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)


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


def _image_id(annotation: Any, known: set[str]) -> str:
    """The image's id as text: some tools write numbers here and text there."""
    if not isinstance(annotation, dict):
        raise BadRow("row", "an annotation must be an object")
    id_ = annotation.get("image_id")
    if not _is_id(id_) or str(id_) not in known:
        raise BadRow("missing image", f"the annotation refers to the image {id_!r}, which is not listed"[:200])
    return str(id_)


def _box(annotation: dict[str, Any], names: dict[Any, str], file: str, row: int) -> Box:
    category = annotation.get("category_id")
    if not isinstance(category, int | str) or category not in names:
        return Box("", None, f"the category {category!r} is not listed"[:200], file=file, row=row)
    name, score = names[category], annotation.get("score")
    if annotation.get("iscrowd") == 1:
        return Box(name, None, skip=CROWD)
    numbers = four_numbers(annotation.get("bbox"))
    if numbers is None:
        fault = f"the bbox of the {name} is not of four numbers: {annotation.get('bbox')!r}"[:200]
        return Box(name, None, fault, file=file, row=row)
    x, y, width, height = numbers
    if width <= 0 or height <= 0:
        return Box(name, None, f"the bbox {numbers} of the {name} has no area", file=file, row=row)
    score = score if is_number(score) else None
    return Box(name, [x, y, x + width, y + height], file=file, row=row, score=score)


def _image(file: str, number: int, image: Any, seen: set[str], images: Images, split: str | None) -> Item:
    if not isinstance(image, dict) or not _is_id(image.get("id")):
        raise BadRow("row", "an image must be an object with an id")
    name = image.get("file_name")
    if not isinstance(name, str) or not name:
        raise BadRow("row", f"the image {image['id']!r} has no file_name"[:200])
    if str(image["id"]) in seen:
        raise BadRow("duplicate id", f"the image id {image['id']!r} was used before"[:200], name)
    seen.add(str(image["id"]))
    path = images.find(name, [split] if split else [], name)
    group = images.group(path) if split else name
    stated = size_of(image.get("width"), image.get("height"))
    return Item(file, number, group, group, path, None, split, stated_size=stated)


def write_file(entries: Iterable[Entry], path: Path, target: Target) -> None:
    """Write instances; ids count from 1, categories in the order of the classes."""
    ids = {name: number for number, name in enumerate(target.classes, start=1)}
    categories = [{"id": number, "name": name, "supercategory": ""} for name, number in ids.items()]
    before, after = {"info": {"description": target.name}}, {"categories": categories}
    write_json_lists(path, _rows(entries, ids), ("images", "annotations"), before, after)


def _rows(entries: Iterable[Entry], ids: Mapping[str, int]) -> Iterator[tuple[str, dict[str, Any]]]:
    """List and row of every image and of every box."""
    told = count(1)
    for number, entry in enumerate(entries, start=1):
        yield "images", {"id": number, "file_name": entry.name, "width": entry.width, "height": entry.height}
        for label, (x1, y1, x2, y2), score in entry.boxes():
            box = [tidy(x1), tidy(y1), tidy(x2 - x1), tidy(y2 - y1)]
            annotation = {
                "id": next(told),
                "image_id": number,
                "category_id": ids[label],
                "bbox": box,
                "area": tidy((x2 - x1) * (y2 - y1)),
                "iscrowd": 0,
                "segmentation": [],
            }
            yield "annotations", annotation if score is None else annotation | {"score": score}
