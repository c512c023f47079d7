"""Open Images box CSV: ``ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,...``, shares of the image.

Label names such as ``/m/01g317`` are named by ``*class-descriptions*.csv`` where there is one. Decimal commas, which
some tools write, are read. A group (``IsGroupOf``) is a crowd and skipped. Left out: image labels, masks, relations,
and so images without a box, which no box file can tell of.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from rise_vlm.data.checking import BadRow, Problem, printable
from rise_vlm.data.formats.base import (
    CROWD,
    Box,
    Classes,
    Entry,
    Found,
    Item,
    Note,
    Options,
    Target,
    by_class,
    imageless,
)
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import IMAGE_SUFFIXES, Images, annotation_files
from rise_vlm.data.formats.reading import lines_of, number
from rise_vlm.errors import DataError

NEEDED = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
FLAGS = ("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")
COLUMNS = ("ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", *FLAGS)
FILE = "{split}-annotations-bbox.csv"
IMAGES = "images/{split}/{name}"


def sees(glimpse: Glimpse) -> str | None:
    """A table with Open Images' columns, or a folder of such."""
    if set(NEEDED) <= set(glimpse.header):
        return "a table with ImageID, LabelName and XMin"
    return "annotations-bbox.csv" if any(name.endswith("annotations-bbox.csv") for name in glimpse.names) else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every image that has a box."""
    images = Images.of(source, options.images, source.parent / "images")
    tables = annotation_files(source, "openimages", [".csv"])
    names = {key: value for path, _, _ in tables if "class-descriptions" in path.name for key, value in _pairs(path)}
    if source.is_file():
        names = {key: value for path in source.parent.glob("*class-descriptions*.csv") for key, value in _pairs(path)}
    if names:
        yield Classes(tuple(dict.fromkeys(names.values())))
    read_any = False
    for path, name, split in tables:
        if "class-descriptions" in path.name:
            continue
        try:
            rows = list(_rows(path))
        except DataError as error:
            if source.is_file():
                raise
            yield Note(f"{error} It is left out.")
            continue
        read_any = True
        yield from _table(name, rows, names, split, images, options)
    if not read_any:
        raise DataError(f"{source} holds no table of Open Images boxes ({', '.join(NEEDED)}).")


def _table(
    file: str,
    rows: list[tuple[int, dict[str, str]]],
    names: dict[str, str],
    split: str | None,
    images: Images,
    options: Options,
) -> Iterator[Found]:
    boxes: dict[str, list[Box]] = {}
    untold = 0
    for row, values in rows:
        name = (values["ImageID"] or "").strip()
        if not name:
            yield Problem(file, row, "row", "the row has no ImageID")
            untold += 1
            continue
        boxes.setdefault(name, []).append(_box(file, row, values, names))
    yield from imageless(file, untold)
    for name, found in boxes.items():
        try:
            near = [split] if split else []
            plain = Path(name).suffix.casefold() in IMAGE_SUFFIXES
            path = images.find(name, near, name) if plain else images.stem(name, near, name)
        except BadRow as bad:
            yield bad.at(file, found[0].row)
            continue
        group = images.group(path)
        yield from by_class(Item(file, found[0].row, group, group, path, None, split, unit=1), found, options)


def _box(file: str, row: int, values: dict[str, str], names: dict[str, str]) -> Box:
    if None in values.values():
        return Box("", None, "the row has too few fields", file=file, row=row)
    label = values["LabelName"].strip()
    label = names.get(label, label)
    if values.get("IsGroupOf", "").strip() == "1":
        return Box(label, None, skip=CROWD)
    try:
        x1, x2, y1, y2 = (number(values[key], comma=True) for key in ("XMin", "XMax", "YMin", "YMax"))
        confidence = values.get("Confidence", "").strip()
        score = number(confidence, comma=True) if confidence else None
    except ValueError as error:
        return Box(label, None, str(error), file=file, row=row)
    return Box(label, [x1, y1, x2, y2], file=file, row=row, score=score)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Every row with its number, the header being row 1. Raises DataError where the table is none of boxes."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(lines_of(file, path), strict=True)
            missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} is no table of Open Images boxes: it lacks {', '.join(missing)}.")
            for number_, row in enumerate(reader, start=2):
                yield number_, {key: value for key, value in row.items() if key is not None}
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text.") from error
    except csv.Error as error:
        raise DataError(f"{path} is no CSV: {error}.") from error


def _pairs(path: Path) -> list[tuple[str, str]]:
    """Label name and display name, with or without a header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(lines_of(file, path)) if len(row) >= 2]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    return [(row[0].strip(), row[1].strip()) for row in rows if row[0] != "LabelName" and row[1].strip()]


def write_file(entries: Iterable[Entry], path: Path, target: Target) -> None:
    """Write one table per split; classes stand by their names, images by their names without suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for entry in entries:
            for label, (x1, y1, x2, y2), score in entry.boxes():
                shares = [x1 / entry.width, x2 / entry.width, y1 / entry.height, y2 / entry.height]
                told = [f"{share:.8f}" for share in shares]
                row = [entry.name, "", label, "" if score is None else score, *told, 0, 0, 0, 0, 0]
                writer.writerow([printable(str(cell)) for cell in row])
