"""A table of images and labels, with a header: ``image,label`` or the two columns that ``--columns`` names.

Comma, semicolon and tab are told apart by the header. A column ``split`` is used where there is one. Image paths are
relative to the table, or to ``--images``, and may not leave that folder. Rows are numbered as a spreadsheet does: the
header is row 1.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import SPLIT_NAMES, Found, Item, Options
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError, nearest


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every row of the table."""
    if not source.is_file():
        raise DataError(f"{source} is {'a folder' if source.is_dir() else 'missing'}; 'csv' reads a table in a file.")
    # Bytes that are no UTF-8 survive as lone surrogates, so that the row that holds them can be named.
    with source.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        head = file.readline()
        file.seek(0)
        rows = csv.reader(file, delimiter=max(",;\t", key=head.count))
        header = next(rows, None)
        if header is None:
            raise DataError(f"{source} is empty; it needs a header such as 'image,label'.")
        columns = _columns(source, [name.strip() for name in header], options)
        number = 1
        try:
            for row in rows:
                number += 1
                if row:
                    yield _item(source, number, row, len(header), columns, options)
        except csv.Error as error:
            raise DataError(f"{source} row {number + 1} is no CSV: {error}.") from error


def _columns(source: Path, header: list[str], options: Options) -> tuple[int, int, int | None]:
    """The positions of image, label and, where there is one, split."""
    positions: list[int] = []
    for name in options.columns or ("image", "label"):
        if name not in header:
            how = "" if options.columns else " Name the two columns with --columns IMAGE,LABEL."
            raise DataError(
                f"{source} has no column '{name}' (it has: {', '.join(header)}).{nearest(name, header)}{how}"
            )
        positions.append(header.index(name))
    return positions[0], positions[1], header.index("split") if "split" in header else None


def _item(
    source: Path, number: int, row: list[str], width: int, columns: tuple[int, int, int | None], options: Options
) -> Found:
    try:
        if len(row) != width:
            raise BadRow("row", f"the row has {len(row)} fields, the header {width}")
        if any("\udc80" <= char <= "\udcff" for field in row for char in field):
            raise BadRow("row", "the row is not UTF-8 text")
        image, label = row[columns[0]].strip(), row[columns[1]].strip()
        split = "" if columns[2] is None else row[columns[2]].strip()
        if not image or not label:
            raise BadRow("row", f"the {'label' if image else 'image'} is empty")
        if split and split.casefold() not in SPLIT_NAMES:
            raise BadRow("row", f"the split '{split}' is none of train, val and test", image)
        try:
            path = safe_join(options.images or source.parent, image)
        except DataError as error:
            raise BadRow("path", str(error), image) from error
    except BadRow as bad:
        return bad.at(source.name, number)
    return Item(source.name, number, image, image, path, label, SPLIT_NAMES[split.casefold()] if split else None)
