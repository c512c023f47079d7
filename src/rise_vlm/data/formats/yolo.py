"""YOLO: one text file per image, a line per box: ``class cx cy width height`` as shares of the image.

Reads the layouts in use: ``labels`` parallel to ``images``, labels beside the images, darknet's ``obj_train_data``.
Class names come from ``data.yaml``, ``*.names``, ``classes.txt`` or ``labels.txt``; splits from folders or from lists
(``train.txt``). Segments (``class x1 y1 x2 y2 x3 y3 ...``) become the box around them. Left out: rotated boxes, key
points, and images without a label file, since an empty label file is how YOLO says that there is nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Box, Classes, Entry, Found, Item, Note, Options, Skip, Target, by_class
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import SPLIT_NAMES, Images, files_below, need_folder, split_in
from rise_vlm.data.formats.reading import hull, number, read_text
from rise_vlm.data.formats.writing import write_text
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError

NOT_LABELS = frozenset({"classes", "labels", "readme", "license", "requirements", "notes"})
CARDS = ("data.yaml", "data.yml")
IMAGES = "images/{split}/{name}"


def sees(glimpse: Glimpse) -> str | None:
    """A file of names, or label files beside images: lines of five numbers."""
    if glimpse.source.name.casefold() in CARDS and glimpse.source.is_file():
        return f"{glimpse.source.name}, so its folder is read"
    if not glimpse.is_folder or not glimpse.suffixes[".txt"]:
        return None
    for name in ("data.yaml", "obj.names", "obj.data"):
        if name in glimpse.names:
            return f"{name} and text files"
    labels = [path for path in glimpse.files if _is_label(path)]
    try:
        lines = read_text(labels[0]).splitlines() if labels else []
        return "text files of five numbers a line" if lines and _line(lines[0]) else None
    except (DataError, ValueError):
        return None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every image that has a label file."""
    source = source.parent if source.name.casefold() in CARDS and source.is_file() else source
    need_folder(source, "yolo")
    files = list(files_below(source))
    names = _names(source, files)
    if names:
        yield Classes(tuple(dict.fromkeys(names.values())))
    else:
        yield Note("There are no class names (data.yaml, obj.names, classes.txt): classes are called by their numbers.")
    images = Images.of(source, options.images)
    listed = _listed(source, files)
    labels = [path for path in files if _is_label(path)]
    if not labels:
        raise DataError(f"{source} holds no YOLO label files.")
    used: set[Path] = set()
    for path in labels:
        name = path.relative_to(source).as_posix()
        try:
            safe_join(source, name)
            image = images.stem(path.stem, PurePosixPath(name).parent.parts, name)
            used.add(image)
            split = split_in(PurePosixPath(name), by_name=False) or next(
                (each for each, stems in listed.items() if path.stem in stems), None
            )
            group = images.group(image)
            template = Item(name, None, group, group, image, None, split, unit=1)
            boxes = list(_boxes(read_text(path), name, names))
        except BadRow as bad:
            yield bad.at(name, None)
            continue
        except DataError as error:
            yield BadRow("row", str(error), name).at(name, None)
            continue
        yield from by_class(template, boxes, options)
    for image in images.all():
        if image not in used:
            yield Skip("an image without a label file")


def _is_label(path: Path) -> bool:
    plain = path.suffix.casefold() == ".txt" and path.stem.casefold() not in NOT_LABELS
    return plain and not (path.stem.casefold() in SPLIT_NAMES and _is_list(path))


def _is_list(path: Path) -> bool:
    """Whether a file such as train.txt lists images."""
    try:
        lines = read_text(path).split("\n", 1)
        return not lines[0].strip() or not lines[0].split()[0].replace(".", "", 1).isdigit()
    except DataError:
        return True


def _listed(source: Path, files: list[Path]) -> dict[str, set[str]]:
    """Split -> stems of the images that ``train.txt`` and the like name."""
    listed: dict[str, set[str]] = {}
    for path in files:
        if path.suffix.casefold() == ".txt" and path.stem.casefold() in SPLIT_NAMES and _is_list(path):
            stems = {PurePosixPath(line.strip().replace("\\", "/")).stem for line in read_text(path).splitlines()}
            listed.setdefault(SPLIT_NAMES[path.stem.casefold()], set()).update(stems - {""})
    return listed


def _names(source: Path, files: list[Path]) -> dict[int, str]:
    """Class number -> name. Raises DataError where the file of names is broken."""
    for path in files:
        safe = path.name.casefold() in ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "labels.txt")
        if not safe and path.suffix.casefold() != ".names":
            continue
        safe_join(source, path.relative_to(source).as_posix())
        if path.suffix.casefold() in (".yaml", ".yml"):
            return _yaml_names(path)
        return {i: line.strip() for i, line in enumerate(read_text(path).splitlines()) if line.strip()}
    return {}


def _yaml_names(path: Path) -> dict[int, str]:
    try:
        content: Any = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f"{path} is not readable YAML: {' '.join(str(error).split())[:200]}") from error
    names = content.get("names") if isinstance(content, dict) else None
    pairs = (
        list(enumerate(names)) if isinstance(names, list) else list(names.items()) if isinstance(names, dict) else []
    )
    if not pairs or not all(isinstance(i, int) and isinstance(name, str | int) for i, name in pairs):
        raise DataError(f"{path} has no 'names' that list the classes.")
    if isinstance(content.get("nc"), int) and content["nc"] != len(pairs):
        raise DataError(f"{path} says nc: {content['nc']} and names {len(pairs)} classes; it may be cut off.")
    return {i: str(name).strip() for i, name in pairs}


def _boxes(text: str, file: str, names: dict[int, str]) -> Iterator[Box]:
    for row, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found = _line(line)
        except ValueError as error:
            raise BadRow("row", f"line {row}: {error}", file) from error
        class_, corners = found
        if names and class_ not in names:
            raise BadRow("annotation", f"line {row}: there is no class number {class_}, only {len(names)} names", file)
        yield Box(names.get(class_, str(class_)), corners, file=file, row=row)


def _line(line: str) -> tuple[int, list[float]]:
    """Class number and corners (as shares) of one line. Raises ValueError."""
    words = line.split() or [""]
    values = [number(word) for word in words]
    class_ = values[0]
    if not isinstance(class_, int) or class_ < 0:
        raise ValueError(f"'{words[0][:40]}' is no class number")
    if len(words) == 5:
        x, y, width, height = values[1:]
        return class_, [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    corners = hull(list(zip(values[1::2], values[2::2], strict=True))) if len(words) > 6 and len(words) % 2 else None
    if corners is None:
        raise ValueError(f"a line has 5 numbers (or a segment's), this has {len(words)}")
    return class_, corners


def write(entries: Iterable[Entry], out: Path, target: Target) -> None:
    """Write ``labels`` parallel to ``images``, and ``data.yaml``."""
    numbers = {name: i for i, name in enumerate(target.classes)}
    splits: dict[str, str] = {}
    for entry in entries:
        splits[entry.split] = f"images/{entry.split}"
        lines = []
        for label, (x1, y1, x2, y2), _ in entry.boxes():
            shares = (x1 + x2) / 2 / entry.width, (y1 + y2) / 2 / entry.height
            shares = (*shares, (x2 - x1) / entry.width, (y2 - y1) / entry.height)
            lines.append(" ".join([str(numbers[label]), *(f"{share:.8f}" for share in shares)]) + "\n")
        write_text(out / "labels" / entry.split / f"{PurePosixPath(entry.name).stem}.txt", "".join(lines))
    card = {**splits, "nc": len(target.classes), "names": dict(enumerate(target.classes))}
    write_text(out / "data.yaml", yaml.safe_dump(card, sort_keys=False, allow_unicode=True))
