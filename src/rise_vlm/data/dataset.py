"""A dataset is a folder: ``dataset.yaml``, one JSONL or Parquet file of records per split, and the images.

Records stream; nothing needs the whole set in memory but the ids, which tell duplicates. Bad rows go to
``quarantine.jsonl`` with file, row and reason, and are counted. Left out: shuffling and batching.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from rise_vlm.console import say
from rise_vlm.data.card import CARD, Card
from rise_vlm.data.checking import (
    DEEP,
    BadRow,
    Counts,
    Problem,
    check_row,
    read_quarantine,
    update_quarantine,
)
from rise_vlm.data.images import read_image, safe_join
from rise_vlm.data.record import Record
from rise_vlm.data.rows import read_rows
from rise_vlm.data.writer import DatasetWriter
from rise_vlm.errors import DataError, UserError, nearest

if TYPE_CHECKING:
    from rise_vlm.tasks.base import Task

__all__ = ["Card", "Dataset", "DatasetWriter"]


class Dataset:
    """A dataset on disk. ``card`` is its head, ``root`` its folder, ``counts`` what the last pass of a split found."""

    def __init__(self, root: Path, card: Card) -> None:
        self.root, self.card = root, card
        self.counts: dict[str, Counts] = {}

    @classmethod
    def open(cls, folder: Path | str) -> Dataset:
        """The dataset in ``folder``. Raises DataError where there is none or where a split's file is missing."""
        root = Path(folder)
        card = Card.read(root)
        for split, file in card.splits.items():
            if not safe_join(root, file).is_file():
                raise DataError(f"{root}: the file '{file}' of split '{split}' is missing.")
        return cls(root, card)

    @cached_property
    def task(self) -> Task:
        """The task that the card names. Raises DataError for an unknown one, or classes that it cannot tell apart."""
        from rise_vlm.tasks import make_task

        try:
            return make_task(self.card)
        except UserError as error:
            raise DataError(f"{self.root / CARD}: {error}") from None

    @property
    def splits(self) -> list[str]:
        """The names of the splits, in the card's order."""
        return list(self.card.splits)

    def file(self, split: str) -> Path:
        """The file of ``split``. Raises DataError for a split that the card does not list."""
        if split not in self.card.splits:
            listed = ", ".join(self.splits) or "none"
            raise DataError(f"{self.root} has no split '{split}' (it has: {listed}).{nearest(split, self.splits)}")
        return safe_join(self.root, self.card.splits[split])

    def records(self, split: str, *, strict: bool = False) -> Iterator[Record]:
        """Stream the good records of ``split``.

        A bad row is counted and written to ``quarantine.jsonl``; with ``strict`` it raises DataError instead. A
        complete pass replaces what that file said about this split.
        """
        counts = self.counts[split] = Counts()
        problems: list[Problem] = []
        complete = False
        try:
            for _, result in self.check(split):
                if isinstance(result, Record):
                    counts.records += 1
                    yield result
                    continue
                counts.add(result)
                problems.append(result)
                if strict:
                    raise DataError(f"{self.root}: {result}", exit_code=1)
            complete = True
        finally:
            self._quarantine(split, problems, complete)

    def check(self, split: str, *, anew: bool = False) -> Iterator[tuple[int, Record | Problem]]:
        """Stream every row of ``split`` with its number, as a Record or as the Problem that keeps it from being one.

        Rows that ``rise data check`` put aside for what only it can see stay aside, unless ``anew`` is set.
        """
        path, judge, file = self.file(split), self.task.check, self.card.splits[split]
        aside = {} if anew else {p.id: p for p in read_quarantine(self.root) if p.file == file and p.kind in DEEP}
        seen: set[str] = set()
        for number, row, unreadable in read_rows(path):
            try:
                if unreadable is not None:
                    raise BadRow("row", unreadable)
                record = check_row(row, self.root, judge, seen)
            except BadRow as bad:
                yield number, bad.at(file, number)
                continue
            known = aside.get(record.id)
            yield number, record if known is None else replace(known, row=number)

    def require(self, split: str, minimum: int = 1) -> None:
        """Raise DataError unless ``split`` exists and has at least ``minimum`` good records."""
        counts = Counts()
        for _, result in self.check(split):
            if isinstance(result, Problem):
                counts.add(result)
                continue
            counts.records += 1
            if counts.records >= minimum:
                return
        if minimum <= 0:
            return
        where = f"split '{split}' of {self.root}"
        if counts.first is None:
            held = "is empty" if not counts.records else f"has only {counts.records} of {minimum} records needed"
            raise DataError(f"The {where} {held}.")
        held = "has no good record" if not counts.records else f"has {counts.records} good records of {minimum} needed"
        raise DataError(
            f"The {where} {held}: {counts.quarantined} rows are bad, the first being {counts.first}. "
            f"'rise data check {self.root}' lists them all."
        )

    def image(self, record: Record, index: int = 0) -> Image.Image:
        """The record's image, RGB and upright. Raises DataError naming the file."""
        return read_image(safe_join(self.root, record.images[index]))

    def _quarantine(self, split: str, found: list[Problem], complete: bool) -> None:
        """Bring ``quarantine.jsonl`` up to date; a dataset that cannot be written to is told once and used anyway."""
        file = self.card.splits[split]
        try:
            update_quarantine(self.root, {file}, found, complete=complete)
        except OSError as error:
            if found:
                say(f"{self.root}: {len(found)} bad rows of '{file}' could not be written to quarantine: {error}")
