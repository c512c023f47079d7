"""Streaming the rows of a split from JSONL or Parquet, one at a time, each with its row number.

In Parquet, ``annotation`` and ``meta`` may be native (string, list, struct, map) or JSON text: a string that starts
with ``{``, ``[`` or ``"`` and is valid JSON is parsed, any other string is the annotation itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rise_vlm.errors import DataError

BATCH = 256


def read_rows(path: Path) -> Iterator[tuple[int, Any, str | None]]:
    """``(row number from 1, row, None)``, or ``(row number, None, why the row cannot be read)``.

    Raises DataError where the whole file cannot be read.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing although the dataset names it.")
    try:
        yield from _parquet(path) if path.suffix == ".parquet" else _jsonl(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _jsonl(path: Path) -> Iterator[tuple[int, Any, str | None]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                yield number, json.loads(line), None
            except UnicodeDecodeError:
                yield number, None, "the row is not UTF-8 text"
            except (ValueError, RecursionError) as error:
                yield number, None, f"the row is not valid JSON: {error}"


def _parquet(path: Path) -> Iterator[tuple[int, Any, str | None]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, _native(row), None
    except pyarrow.ArrowException as error:
        raise DataError(f"{path} is no readable Parquet file: {error}") from error


def _native(row: dict[str, Any]) -> dict[str, Any]:
    """A Parquet row as its JSONL row would be: JSON text parsed, absent values left out."""
    row = {key: value for key, value in row.items() if value is not None or key == "annotation"}
    for key in ("annotation", "meta"):
        value = row.get(key)
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"'):
            try:
                row[key] = json.loads(value)
            except (ValueError, RecursionError):
                continue  # text that only looks like JSON is the annotation itself
        elif isinstance(value, list) and value and all(isinstance(pair, tuple) for pair in value):
            row[key] = dict(value)  # a native map
        elif isinstance(value, dict):
            row[key] = {name: inner for name, inner in value.items() if inner is not None}
    return row
