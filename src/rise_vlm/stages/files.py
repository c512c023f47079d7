"""Files that survive a kill: JSON written whole or not at all, JSONL that is only ever appended to.

A process killed while appending leaves a torn last line, which reading drops. Any other line that is not a row was
damaged or was never ours: that is told, never dropped. Of several processes the main one alone writes.
Left out: locking; one run at a time.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from rise_vlm.atomic import draft_of, sync, write_text
from rise_vlm.errors import DataError
from rise_vlm.ranks import main_only, once

Row = dict[str, Any]


@main_only
def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` atomically. NaN and infinity become null, so that any JSON reader can read it."""
    write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any | None:
    """The value in ``path``; None where there is no such file or no JSON in it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a JSONL file in order; a torn last line is dropped, an absent file has none.

    Raises:
        DataError: a line, not torn by a kill, that is no JSON object; the message names file and line.
    """
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            row = _row(line)
            if row is None:
                raise DataError(
                    f"{path}, line {number}: this is not a row of ours; the file was damaged or is another's. Move it "
                    "away and repeat the command.",
                    exit_code=1,
                )
            yield row


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


@main_only
def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows and flush them to the disk."""
    text = "".join(json.dumps(finite(dict(row)), ensure_ascii=False) + "\n" for row in rows)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@main_only
def replace_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace a JSONL file atomically."""
    write_text(path, "".join(json.dumps(finite(dict(row)), ensure_ascii=False) + "\n" for row in rows))


def mend_rows(path: Path) -> list[Row]:
    """The rows of a JSONL file that will be appended to; a torn last line, and nothing else, is cut off the file.

    Raises:
        DataError: as ``read_rows``; the file is then left as it is.
    """
    return once(_mend_rows, path)


def _mend_rows(path: Path) -> list[Row]:
    rows = list(read_rows(path))
    cut_torn(path)
    return rows


def cut_torn(path: Path) -> None:
    """Cut what follows the last line break off a file, if it is there."""
    if path.is_file():
        with path.open("rb+") as file:
            torn = _torn(file)
            if torn:
                file.truncate(file.seek(0, os.SEEK_END) - torn)


def _torn(file: BinaryIO) -> int:
    """How many bytes follow the last line break."""
    end = file.seek(0, os.SEEK_END)
    torn = 0
    while torn < end:
        size = min(1 << 16, end - torn)
        file.seek(end - torn - size)
        found = file.read(size).rfind(b"\n")
        if found >= 0:
            return torn + size - found - 1
        torn += size
    return torn


def finite(value: Any) -> Any:
    """``value`` with NaN and infinity as None, throughout."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value


class RolloutLog:
    """The rollouts of a training, one row each: JSONL while it runs, ``rollouts.parquet`` once it is done.

    A resumed training repeats the steps after its checkpoint; their former rows are dropped when the first is repeated.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self.final = folder / "rollouts.jsonl", folder / "rollouts.parquet"
        self._last = max((int(row.get("step", 0)) for row in mend_rows(self.path)), default=0)

    @main_only
    def write(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add the rows of ``step``."""
        if step <= self._last:
            replace_rows(self.path, (row for row in read_rows(self.path) if row["step"] < step))
        append_rows(self.path, ({"step": step, **row} for row in rows))
        self._last = step

    @main_only
    def finish(self) -> None:
        """Turn the JSONL into Parquet; nested values become JSON text."""
        rows = list(read_rows(self.path))
        if not rows:
            return
        import pyarrow
        import pyarrow.parquet

        names = list(dict.fromkeys(name for row in rows for name in row))
        table = pyarrow.table({name: [_plain(row.get(name)) for row in rows] for name in names})
        draft = draft_of(self.final)
        pyarrow.parquet.write_table(table, draft)
        sync(draft)  # before the rows that it was made of are deleted
        draft.replace(self.final)
        self.path.unlink()


def _plain(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
