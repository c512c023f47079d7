"""A table with a header and a row per image, or per box: ``image,label`` or the two columns that ``--columns`` names.

Comma, semicolon and tab are told apart by the header. Boxes stand in ``xmin,ymin,xmax,ymax``, ``x1,y1,x2,y2``,
``x,y,w,h`` or ``x1,y1,w,h``; a distribution has a column per class. The columns ``id``, ``split``, ``question``,
``rationale``, ``score`` and the image's ``width`` and ``height`` are used where there are any. Image paths are relative
to the table, or to ``--images``, and may not leave that folder. Rows are numbered as a spreadsheet does: the header is
row 1. A ``bbox`` in one column is refused, for it does not tell whether corners or a size.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rise_vlm.data.checking import BadRow, Problem, printable
from rise_vlm.data.formats.base import Box, Classes, Entry, Found, Item, Options, Skip, Target, by_class
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import SPLIT_NAMES, Images
from rise_vlm.data.formats.reading import number, size_of
from rise_vlm.data.formats.writing import tidy
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError, nearest

IMAGE = ("image", "image_name", "filename")
LABEL = ("label", "label_name", "class")
CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))
SIZES = (("x1", "y1", "w", "h"), ("x", "y", "w", "h"), ("x", "y", "width", "height"))
OTHERS = ("id", "split", "question", "rationale", "score", "width", "height")
FILE = "labels.csv"
IMAGES = "images/{split}/{name}"
SHARES_IMAGES = True

Row = dict[str, str]


def sees(glimpse: Glimpse) -> str | None:
    """One CSV file with a column for the image and one for the label, the box or the classes."""
    header = set(glimpse.header)
    if not header & set(IMAGE) or len(header) < 2 or glimpse.suffixes[".csv"] > 1:
        return None
    return "a table with the columns " + ", ".join(glimpse.header[:6])


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every row of the table; for detection, and for boxes without questions, for every image."""
    table = _table(source)
    images = Images(table.parent, [options.images or table.parent, table.parent / "images"], deep=False)
    rows = _rows(table, options)
    header = next(rows)
    assert isinstance(header, dict)
    if options.task == "classification":
        yield from _each(table, rows, images, lambda row: _need(row, "label"))
    elif options.task == "distribution":
        classes = [name for name in header if name not in (*OTHERS, "image", "label", "")]
        if not classes:
            raise DataError(f"{table} has no columns for the classes of a distribution.")
        yield Classes(tuple(classes))
        yield from _each(table, rows, images, lambda row: _distribution(row, classes))
    else:
        yield from _boxes(table, header, rows, images, options)


def _table(source: Path) -> Path:
    if source.is_file():
        return source
    tables = sorted(source.glob("*.csv")) if source.is_dir() else []
    if len(tables) != 1 or not tables[0].is_file():
        raise DataError(f"{source} is {'a folder' if source.is_dir() else 'missing'}; 'csv' reads a table in a file.")
    return safe_join(source, tables[0].name)


def _rows(table: Path, options: Options) -> Iterator[Row | tuple[int, Row] | Problem]:
    """First the header, column -> itself; then every row with its number, image and label under these names."""
    # Bytes that are no UTF-8 survive as lone surrogates, so that the row that holds them can be named.
    with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        head = file.readline()
        file.seek(0)
        rows = csv.reader(file, delimiter=max(",;\t", key=head.count))
        number = 0
        try:
            first = next(rows, None)
            if first is None:
                raise DataError(f"{table} is empty; it needs a header such as 'image,label'.")
            names = _columns(table, [name.strip() for name in first], options)
            yield dict(zip(names, names, strict=True))
            number = 1
            for row in rows:
                number += 1
                if row:
                    yield _row(table, number, row, names)
        except csv.Error as error:
            raise DataError(f"{table} row {number + 1} is no CSV: {error}.") from error


def _columns(table: Path, header: list[str], options: Options) -> list[str]:
    """The header with the columns of image and label called so."""
    wanted = [IMAGE, LABEL] if options.task == "classification" or options.columns else [IMAGE]
    if options.columns:
        wanted = [(name,) for name in options.columns]
    found: list[str] = []
    for names in wanted:
        name = next((name for name in names if name in header), None)
        if name is None:
            how = "" if options.columns else " Name the two columns with --columns IMAGE,LABEL."
            had = ", ".join(header)[:300]
            raise DataError(f"{table} has no column '{names[0]}' (it has: {had}).{nearest(names[0], header)}{how}")
        found.append(name)
    label = found[1] if len(found) > 1 else next((name for name in LABEL if name in header), None)
    ours = {found[0]: "image"} | ({label: "label"} if label else {})
    names = [ours.get(name, f"other {name}" if name in ("image", "label") else name) for name in header]
    used = names if options.task == "distribution" else (*OTHERS, "image", "label", *sum(CORNERS + SIZES, ()))
    twice = sorted({name for name in names if name and name in used and names.count(name) > 1})
    if twice:
        raise DataError(f"{table} has the column '{twice[0]}' twice.")
    return names


def _row(table: Path, number: int, row: list[str], names: Sequence[str]) -> tuple[int, Row] | Problem:
    try:
        if len(row) != len(names):
            raise BadRow("row", f"the row has {len(row)} fields, the header {len(names)}")
        if any("\udc80" <= char <= "\udcff" for field in row for char in field):
            raise BadRow("row", "the row is not UTF-8 text")
        values = {name: field.strip() for name, field in zip(names, row, strict=True)}
        if not values["image"]:
            raise BadRow("row", "the image is empty")
        split = values.get("split", "")
        if split and split.casefold() not in SPLIT_NAMES:
            raise BadRow("row", f"the split '{split}' is none of train, val and test", values["image"])
    except BadRow as bad:
        return bad.at(table.name, number)
    return number, values


def _each(table: Path, rows: Iterator[Any], images: Images, annotate: Callable[[Row], Any]) -> Iterator[Found]:
    """An item for every row, its annotation by ``annotate``."""
    for row in rows:
        if isinstance(row, Problem):
            yield row
            continue
        place, values = row
        try:
            item = _item(table, place, values, images)
            yield replace(item, annotation=annotate(values))
        except BadRow as bad:
            yield bad.at(table.name, place)


def _item(table: Path, number: int, row: Row, images: Images) -> Item:
    """The row as an item without annotation."""
    name, split = row["image"], row.get("split", "").casefold()
    path = images.find(name, (), name)
    size = size_of(row.get("width"), row.get("height")) if "x" not in row else None
    score = row.get("score")
    return Item(
        table.name,
        number,
        row.get("id") or name,
        name,
        path,
        None,
        SPLIT_NAMES.get(split),
        question=row.get("question") or None,
        stated_size=size,
        rationale=row.get("rationale") or None,
        meta={"score": _float(row, "score")} if score else {},
    )


def _boxes(table: Path, header: Row, rows: Iterator[Any], images: Images, options: Options) -> Iterator[Found]:
    columns = next((names for names in (*CORNERS, *SIZES) if set(names) <= header.keys()), None)
    if columns is None:
        forms = " or ".join(",".join(names) for names in (*CORNERS, *SIZES))
        raise DataError(f"{table} has no columns for boxes; they are called {forms}.")
    found: dict[str, tuple[Item, list[Box]]] = {}
    spoilt: set[str] = set()
    for row in rows:
        if isinstance(row, Problem):
            yield row
            continue
        place, values = row
        try:
            item, box = _item(table, place, values, images), _box(values, columns, place)
        except BadRow as bad:
            spoilt.add(values["image"])
            yield bad.at(table.name, place)
            continue
        if item.question is not None and options.task == "grounding":
            yield from by_class(item, [box] if box else [], options)
            continue
        known = found.setdefault(item.image.as_posix(), (item, []))
        if box is not None:
            known[1].append(box)
    for item, boxes in found.values():
        if options.task == "detection" and item.group in spoilt:
            yield Skip("an image with a bad box")
            continue
        yield from by_class(replace(item, meta={}), boxes, options)


def _box(row: Row, columns: Sequence[str], number: int) -> Box | None:
    """The row's box; None where label and box are empty, which says that there is nothing in the image."""
    label = row.get("label", "")
    if not label and not any(row[name] for name in columns):
        return None
    if not label and not row.get("question"):
        raise BadRow("row", "the label is empty", row["image"])
    try:
        values = [_float(row, name) for name in columns]
    except BadRow as bad:
        return Box(label, None, str(bad), row=number)
    if columns in SIZES:
        values = [values[0], values[1], values[0] + values[2], values[1] + values[3]]
    return Box(label, values, row=number, score=_float(row, "score") if row.get("score") else None)


def _float(row: Row, name: str) -> float:
    try:
        return number(row[name])
    except ValueError as error:
        raise BadRow("annotation", f"{name}: {error}", row["image"]) from error


def _need(row: Row, name: str) -> str:
    if not row[name]:
        raise BadRow("row", f"the {name} is empty", row["image"])
    return row[name]


def _distribution(row: Row, classes: Sequence[str]) -> dict[str, float]:
    return {name: value for name in classes if row[name] and (value := _float(row, name))}


def write_file(entries: Iterable[Entry], path: Path, target: Target) -> None:
    """Write one table of all splits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"classification": ("label",), "distribution": target.classes}.get(target.task, ("label", *CORNERS[1]))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "image", "split", *columns, "score", "question", "rationale"])
        for entry in entries:
            for values, score in _cells(entry, target):
                told = [entry.question or "", entry.rationale or ""]
                row = [entry.id, entry.image, entry.split, *values, "" if score is None else score, *told]
                writer.writerow([printable(str(cell)) for cell in row])


def _cells(entry: Entry, target: Target) -> Iterator[tuple[list[Any], float | None]]:
    """The cells of annotation of each row of an entry, and its score."""
    if target.task == "classification":
        yield [entry.annotation], entry.score
    elif target.task == "distribution":
        yield [entry.annotation.get(name, 0) for name in target.classes], entry.score
    else:
        for label, corners, score in entry.boxes():
            yield [label, *(tidy(value) for value in corners)], score
        if not entry.boxes():
            yield [""] * 5, entry.score
