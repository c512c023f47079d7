"""A table with a header and a row per image, or per box: ``image,label`` or the two columns that ``--columns`` names.

Comma, semicolon and tab are told apart by the header. Boxes stand in ``xmin,ymin,xmax,ymax``, ``x1,y1,x2,y2``,
``x,y,w,h`` or ``x1,y1,w,h``; a distribution has a column per class. The columns ``id``, ``split``, ``question``,
``rationale``, ``score`` and the image's ``width`` and ``height`` are used where there are any. Image paths are relative
to the table, or to ``--images``, and may not leave that folder. Rows are numbered as a spreadsheet does: the header is
row 1. Without ``id`` a record is called by its image, and by its row too where it has a question. A ``bbox`` in one
column is refused, for it does not tell whether corners or a size. An image with a broken row, or with rows that differ
in its class, is put aside whole.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rise_vlm.data.checking import BadRow, Problem, printable
from rise_vlm.data.formats.base import Box, Classes, Entry, Found, Item, Options, Skip, Target, by_class, imageless
from rise_vlm.data.formats.guessing import METADATA, STUDIO_MIN, Glimpse
from rise_vlm.data.formats.places import SPLIT_NAMES, Images
from rise_vlm.data.formats.reading import encoding_of, lines_of, number, size_of
from rise_vlm.data.formats.writing import tidy
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError, nearest

IMAGE = ("image", "image_name", "filename", "file_name")
LABEL = ("label", "label_name", "class")
CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))
SIZES = (("x1", "y1", "w", "h"), ("x", "y", "w", "h"), ("x", "y", "width", "height"))
OTHERS = ("id", "split", "question", "rationale", "score", "width", "height")
FILE = "labels.csv"
IMAGES = "images/{split}/{name}"
SHARES_IMAGES = True

Row = dict[str, str]
Read = tuple[int, Row, BadRow | None]
"""A row's number, its fields by the names of their columns, and what is wrong with it; its image is told."""


def sees(glimpse: Glimpse) -> str | None:
    """One CSV file with a column for the image and one for the label, the box or the classes."""
    header = set(glimpse.header)
    if not header & set(IMAGE) or len(header) < 2 or glimpse.suffixes[".csv"] > 1 or header >= STUDIO_MIN:
        return None
    if glimpse.names & METADATA:
        return None
    return "a table with the columns " + ", ".join(glimpse.header[:6])


def task_for(source: Path) -> str | None:
    """Detection where the table has columns of boxes: a label is then that of a box, not of its image."""
    table = _table(source)
    with table.open(encoding=encoding_of(table), errors="replace", newline="") as file, suppress(csv.Error):
        header = next(csv.reader([line := next(lines_of(file, table), "")], delimiter=_delimiter(line)), [])
        return "detection" if _box_columns({name.strip() for name in header}) else None
    return None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every row of the table; for detection for every image, or every question about it; for
    grounding, where there are no questions, for every image.
    """
    table = _table(source)
    images = Images.of(table, options.images, table.parent / "images")
    rows = _rows(table, options)
    header = next(rows)
    assert isinstance(header, dict)
    if options.task == "classification":
        unsure = _unsure(_rows(table, options), ["label"], "several classes in the image")
        yield from _each(table, rows, images, unsure, lambda row: _need(row, "label"))
    elif options.task == "distribution":
        classes = [name for name in header if name not in (*OTHERS, "image", "label", "")]
        if not classes:
            raise DataError(f"{table} has no columns for the classes of a distribution.")
        yield Classes(tuple(classes))
        unsure = _unsure(_rows(table, options), classes, "several distributions of the image")
        yield from _each(table, rows, images, unsure, lambda row: _distribution(row, classes))
    else:
        yield from _boxes(table, header, rows, images, options)


def _table(source: Path) -> Path:
    if source.is_file():
        return source
    tables = sorted(source.glob("*.csv")) if source.is_dir() else []
    if len(tables) != 1 or not tables[0].is_file():
        several = f" of {len(tables)} tables: name one, such as {tables[0]}" if len(tables) > 1 else ""
        what = f"a folder{several}" if source.is_dir() else "missing"
        raise DataError(f"{source} is {what}; 'csv' reads a table in a file.")
    return safe_join(source, tables[0].name)


def _delimiter(head: str) -> str:
    return max(",;\t", key=head.count)


def _box_columns(header: Iterable[str]) -> tuple[str, ...] | None:
    """The columns of a box, where the header has all of them."""
    return next((names for names in (*CORNERS, *SIZES) if set(names) <= set(header)), None)


def _rows(table: Path, options: Options) -> Iterator[Row | Read | Problem]:
    """First the header, column -> itself; then every row, image and label under these names; Problem where a broken row
    does not tell its image.
    """
    # Bytes that are no UTF-8 survive as lone surrogates, so that the row that holds them can be named.
    with table.open(encoding=encoding_of(table), errors="surrogateescape", newline="") as file:
        number = 0
        try:
            lines = lines_of(file, table)
            head = next(lines, "")
            rows = csv.reader(itertools.chain([head] if head else [], lines), delimiter=_delimiter(head))
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
        except (csv.Error, UnicodeError) as error:  # UTF-16 may be cut off
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


def _row(table: Path, number: int, row: list[str], names: Sequence[str]) -> Read | Problem:
    values = {name: field.strip() for name, field in zip(names, row, strict=False)}
    fault, image, split = None, values.get("image", ""), values.get("split", "")
    if len(row) != len(names):
        fault = BadRow("row", f"the row has {len(row)} fields, the header {len(names)}", image)
    elif not all(map(_is_text, row)):
        fault = BadRow("row", "the row is not UTF-8 text", image)
    elif not image:
        fault = BadRow("row", "the image is empty")
    elif split and split.casefold() not in SPLIT_NAMES:
        fault = BadRow("row", f"the split '{split}' is none of train, val and test", image)
    if fault is not None and (not image or not _is_text(image)):
        return replace(fault.at(table.name, number), id=None)
    return number, values, fault


def _is_text(field: str) -> bool:
    return not any("\udc80" <= char <= "\udcff" for char in field)


def _told(table: Path, rows: Iterator[Any], images: Images, spoilt: set[str]) -> Iterator[Found | tuple[Item, Row]]:
    """Every sound row as an item without annotation, and what is wrong with others; ``spoilt`` gets their images."""
    untold = 0
    for row in rows:
        if isinstance(row, Problem):
            untold += 1
            yield row
            continue
        number, values, fault = row
        try:
            if fault is not None:
                raise fault
            item = _item(table, number, values, images)
        except BadRow as bad:
            spoilt.add(values["image"])
            yield replace(bad.at(table.name, number), id=printable(values["image"]))
            continue
        yield item, values
    yield from imageless(table.name, untold)


def _each(
    table: Path, rows: Iterator[Any], images: Images, unsure: dict[str, str], annotate: Callable[[Row], Any]
) -> Iterator[Found]:
    """An item for every row, its annotation by ``annotate``, but a Skip for every image that is ``unsure``."""
    skipped: set[str] = set()
    for told in _told(table, rows, images, set()):
        if not isinstance(told, tuple):
            yield told
            continue
        item, values = told
        asked = _asked(values)
        if asked not in unsure:
            try:
                yield replace(item, annotation=annotate(values))
            except BadRow as bad:
                yield bad.at(table.name, item.row)
        elif asked not in skipped:
            skipped.add(asked)
            yield Skip(unsure[asked], item.group)


def _unsure(rows: Iterator[Any], columns: Sequence[str], differ: str) -> dict[str, str]:
    """What is asked of images -> why no row tells the truth of it: one is broken, or some ``differ`` in ``columns``."""
    unsure: dict[str, str] = {}
    first: dict[str, int] = {}
    next(rows)
    for row in rows:
        if not isinstance(row, Problem):
            _, values, fault = row
            cells = hash(tuple(values.get(name, "") for name in columns))
            if fault is not None:
                unsure[values["image"]] = "an image with a bad row"
            elif first.setdefault(_asked(values), cells) != cells:
                unsure.setdefault(_asked(values), differ)
    return unsure


def _asked(row: Row) -> str:
    """What a row is about: its image, and its question where it has one."""
    question = row.get("question")
    return f"{row['image']}\n{question}" if question else row["image"]


def _item(table: Path, number: int, row: Row, images: Images) -> Item:
    """The row as an item without annotation."""
    name, split = row["image"], row.get("split", "").casefold()
    path = images.find(name, (), name)
    size = size_of(row.get("width"), row.get("height")) if "x" not in row else None
    score = row.get("score")
    return Item(
        table.name,
        number,
        row.get("id") or (f"{name}#{number}" if row.get("question") else name),
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
    columns = _box_columns(header)
    if columns is None:
        forms = " or ".join(",".join(names) for names in (*CORNERS, *SIZES))
        raise DataError(f"{table} has no columns for boxes; they are called {forms}.")
    found: dict[tuple[str, str | None], tuple[Item, list[Box]]] = {}
    spoilt: set[str] = set()
    for told in _told(table, rows, images, spoilt):
        if not isinstance(told, tuple):
            yield told
            continue
        item, values = told
        box = _box(values, columns, item.row)
        if item.question is not None and options.task == "grounding":
            yield from by_class(item, [box] if box else [], options)
            continue
        known = found.setdefault((item.image.as_posix(), item.question), (item, []))
        if box is not None:
            known[1].append(box)
    for item, boxes in found.values():
        if item.group in spoilt:
            yield Skip("an image with a bad row", item.group)
        else:
            yield from by_class(replace(item, meta={}), boxes, options)


def _box(row: Row, columns: Sequence[str], number: int | None) -> Box | None:
    """The row's box; None where label and box are empty, which says that there is nothing in the image."""
    label = row.get("label", "")
    if not label and not any(row[name] for name in columns):
        return None
    if not label and not row.get("question"):
        return Box("", None, "the label is empty", row=number)
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
