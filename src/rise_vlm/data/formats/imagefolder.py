"""An image folder of the hub: images, and beside them ``metadata.jsonl``, ``metadata.csv`` or ``metadata.parquet``.

``file_name`` in a row names an image below the folder of the metadata; label, objects and all else are as in
``hubrows``. Splits are folders. Left out: images that no row names.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Found, Options, Skip, scratch_folder
from rise_vlm.data.formats.guessing import METADATA, Glimpse
from rise_vlm.data.formats.hubrows import BATCH, Columns, HubRows
from rise_vlm.data.formats.parquet import batches, opened
from rise_vlm.data.formats.places import Images, annotation_files
from rise_vlm.data.formats.reading import encoding_of, lines_of, read_rows
from rise_vlm.errors import DataError

SUFFIXES = (".jsonl", ".csv", ".parquet")


def sees(glimpse: Glimpse) -> str | None:
    """Metadata called as the hub does."""
    names = sorted(glimpse.names & METADATA)
    return f"{names[0]} beside images" if names else None


def task_for(source: Path) -> str | None:
    """Detection where there are objects and no label of the whole image."""
    for path, _, _ in _metadata(source)[:1]:
        return _peek(path)[0].task
    return None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every row of every metadata file, and a Skip for every image without one."""
    images = Images.of(source, options.images)
    images.exact = options.images is None  # beside the metadata of train no picture of test is meant
    named: set[Path] = set()
    with scratch_folder(options) as scratch:
        for path, name, split in _metadata(source):
            columns, rows = _peek(path)
            table = HubRows(name, split, columns, images, options, scratch)
            yield from table.told()
            folder = PurePosixPath(name).parent if options.images is None else PurePosixPath()
            for number, row in rows:
                file = row.get(table.image) if isinstance(row, dict) else None
                if isinstance(row, dict) and isinstance(file, str) and file:
                    row |= {table.image: str(folder / file)}
                for found in table.read([row], number):
                    named.add(getattr(found, "image", source))
                    yield found
    if source.is_dir():
        yield from (Skip("an image without a good row") for path in images.all() if path not in named)


def _metadata(source: Path) -> list[tuple[Path, str, str | None]]:
    """The metadata files with their names within the source and their splits."""
    files = annotation_files(source, "imagefolder", SUFFIXES, by_name=False)
    found = files if source.is_file() else [file for file in files if file[0].name.casefold() in METADATA]
    if not found:
        raise DataError(f"{source} is a folder; 'imagefolder' finds none of {', '.join(sorted(METADATA))} in it.")
    return found


def _peek(path: Path) -> tuple[Columns, Iterator[tuple[int, Any]]]:
    """The columns, of JSON lines those that the first rows have, and all rows with their numbers."""
    rows = _rows(path)
    if path.suffix.casefold() == ".parquet":
        with opened(path) as file:
            return Columns(list(dict.fromkeys(file.schema_arrow.names)), {}), rows
    first = list(itertools.islice(rows, BATCH))
    names = dict.fromkeys(str(name) for _, row in first if isinstance(row, dict) for name in row)
    if path.suffix.casefold() == ".csv":
        with path.open(encoding=encoding_of(path), newline="") as file:
            names = dict.fromkeys(csv.DictReader(lines_of(file, path)).fieldnames or ())
    return Columns(list(names), {}), itertools.chain(first, rows)


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Number and row of every row; a BadRow where it is none. In CSV the header is row 1."""
    if path.suffix.casefold() == ".jsonl":
        yield from read_rows(path)
    elif path.suffix.casefold() == ".csv":
        try:
            with path.open(encoding=encoding_of(path), newline="") as file:
                table = csv.DictReader(lines_of(file, path))
                for number, row in enumerate(table, start=2):
                    broken = None in row or None in row.values()  # fields too many, or too few
                    yield number, BadRow("row", "the row has not as many fields as the header") if broken else row
        except (csv.Error, UnicodeError) as error:
            raise DataError(f"{path} is no CSV: {error}.") from error
    else:
        with opened(path) as file:
            yield from enumerate(itertools.chain.from_iterable(batches(file)), start=1)
