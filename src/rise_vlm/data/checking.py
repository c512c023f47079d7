"""Strict checks of the rows of a dataset, and the quarantine that bad rows go to.

A row is checked as text: its keys and types, its id, its image paths, its annotation by the task. Opening every image
is the business of ``rise data check``. Left out: repairing anything.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rise_vlm.atomic import write_text
from rise_vlm.data.card import explain
from rise_vlm.data.images import read_size, safe_join
from rise_vlm.data.record import LARGEST_NUMBER, Record
from rise_vlm.errors import DataError

QUARANTINE = "quarantine.jsonl"

ASIDE = "put aside"
"""Kind of a sound row that the user had put aside by ``rise data check --aside``; it stays there until its line is
deleted from ``quarantine.jsonl``."""

DEEP = ("image", "id in two splits", ASIDE)
"""Kinds that only ``rise data check`` finds. Where it has put such a row aside, the row stays aside until it is checked
again; all other kinds are found anew by every pass."""

Judge = Callable[[Any, Record], str | None]
"""``Task.check``: why an annotation is invalid for the task, or None."""


@dataclass(frozen=True)
class Problem:
    """A row that cannot be used: the file, its row (1 is the first; None where a whole file is meant) and why.

    ``kind`` is one of row, duplicate id, path, missing image, annotation, or one of DEEP.
    """

    file: str
    row: int | None
    kind: str
    reason: str
    id: str | None = None

    def __str__(self) -> str:
        where = self.file if self.row is None else f"{self.file} row {self.row}"
        return printable(f"{where}: {self.reason}")


@dataclass
class Counts:
    """What came of reading one split."""

    records: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    first: Problem | None = None

    @property
    def quarantined(self) -> int:
        """The number of bad rows."""
        return self.kinds.total()

    def add(self, problem: Problem) -> None:
        """Count a bad row; the first one is kept to be shown."""
        self.kinds[problem.kind] += 1
        self.first = self.first or problem

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"records": self.records, "quarantined": self.quarantined, "kinds": dict(self.kinds)}


class BadRow(DataError):
    """Why one row cannot be used; becomes a Problem once file and row are known."""

    def __init__(self, kind: str, reason: str, id: str | None = None) -> None:
        super().__init__(printable(reason.removesuffix(".")), exit_code=1)
        self.kind, self.id = kind, None if id is None else printable(id)

    def at(self, file: str, row: int | None) -> Problem:
        """The problem at a place."""
        return Problem(printable(file), row, self.kind, str(self), self.id)


def printable(text: str) -> str:
    """``text`` with what UTF-8 cannot write (lone surrogates) spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()


def check_row(row: Any, root: Path, judge: Judge, seen: set[str]) -> Record:
    """The record that ``row`` (parsed JSON) states; BadRow says why there is none. Its id is added to ``seen``."""
    if not isinstance(row, dict):
        raise BadRow("row", f"a row must be an object with keys, not {_kind_of(row)}")
    id_ = row["id"] if isinstance(row.get("id"), str) else None
    values = {str(key): value for key, value in row.items()}
    if isinstance(values.get("images"), list):
        values["images"] = tuple(values["images"])
    if values.get("meta", 0) is None:
        del values["meta"]
    record = _record(values, root, id_)
    if record.id in seen:
        raise BadRow("duplicate id", f"the id '{record.id}' was used before", record.id)
    seen.add(record.id)
    for image in record.images:
        need_file(_inside(root, image, record.id), image, record.id)
    check_annotation(record, judge)
    return record


def need_file(path: Path, name: str, id: str | None = None) -> None:
    """BadRow unless there is a file ``path``, which the row calls ``name``."""
    try:
        missing = not path.is_file()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise BadRow("path", f"the image '{name}' cannot be reached: {error.strerror}", id) from error
    if missing:
        raise BadRow("missing image", f"the image '{name}' is missing", id)


def check_annotation(record: Record, judge: Judge | None) -> None:
    """BadRow where the annotation is null or holds a number that is not finite, or where the task refuses it."""
    if record.annotation is None:
        raise BadRow("annotation", "the annotation is null", record.id)
    try:
        sound = _measurable(record.annotation)
    except RecursionError:
        raise BadRow("annotation", "the annotation is nested too deeply", record.id) from None
    if not sound:
        raise BadRow("annotation", "the annotation holds NaN, infinity or a number beyond all measure", record.id)
    reason = None if judge is None else judge(record.annotation, record)
    if reason is not None:
        raise BadRow("annotation", reason, record.id)


def _record(values: dict[str, Any], root: Path, id_: str | None) -> Record:
    """The record, with width and height read from the first image where the row does not state them."""
    unsized = values.get("width") is None and values.get("height") is None
    if unsized:
        values = values | {"width": 1, "height": 1}
    try:
        record = Record(**values)
    except ValidationError as error:
        raise BadRow("row", explain(error, Record), id_) from error
    if not unsized:
        return record
    path = _inside(root, record.images[0], id_)
    need_file(path, record.images[0], id_)
    try:
        width, height = read_size(path).upright
    except DataError as error:
        raise BadRow("image", str(error), id_) from error
    return record.model_copy(update={"width": width, "height": height})


def _inside(root: Path, image: str, id_: str | None) -> Path:
    try:
        return safe_join(root, image)
    except DataError as error:
        raise BadRow("path", str(error), id_) from error


def _measurable(value: Any) -> bool:
    """Whether every number in a nest of lists and dicts is one that can be reckoned with."""
    if isinstance(value, (int, float)):
        return abs(value) <= LARGEST_NUMBER  # false for NaN too
    if isinstance(value, dict):
        return all(map(_measurable, value.values()))
    return all(map(_measurable, value)) if isinstance(value, (list, tuple)) else True


def _kind_of(value: Any) -> str:
    names = {str: "text", list: "a list", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def read_quarantine(root: Path) -> list[Problem]:
    """The problems in ``quarantine.jsonl``; none where there is no such file. DataError where it is damaged."""
    path = root / QUARANTINE
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8") as lines:
            return [Problem(**json.loads(line)) for line in lines if line.strip()]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and run 'rise data check {root}'.") from error


def write_quarantine(root: Path, problems: Iterable[Problem]) -> None:
    """Replace ``quarantine.jsonl``, atomically; no problems leave no file."""
    path = root / QUARANTINE
    rows = [json.dumps(asdict(problem), ensure_ascii=False) for problem in problems]
    if not rows:
        path.unlink(missing_ok=True)
        return
    write_text(path, "\n".join(rows) + "\n")


def update_quarantine(root: Path, files: Collection[str], found: Iterable[Problem], *, complete: bool = True) -> None:
    """Bring ``quarantine.jsonl`` up to date with the problems that a pass over ``files`` found.

    What is noted of other files, such as those of an import's source, stays. Of ``files`` what was noted before goes
    where this pass was ``complete``, but a row put aside stays aside: it may be refused for now and be mended later.
    """
    before, found = read_quarantine(root), list(found)
    again = {(problem.file, problem.id) for problem in found if problem.kind == ASIDE}
    kept = [
        problem
        for problem in before
        if problem.file not in files
        or not complete
        or (problem.kind == ASIDE and (problem.file, problem.id) not in again)
    ]
    after = list(dict.fromkeys([*kept, *found]))
    if after != before:
        write_quarantine(root, after)
