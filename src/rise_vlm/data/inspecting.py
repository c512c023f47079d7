"""The deep check of a dataset: every row of every split, every image opened, and what two splits share.

Left out: judging whether annotations are right.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rise_vlm.data.checking import BadRow, Counts, Problem, read_quarantine, write_quarantine
from rise_vlm.data.dataset import Dataset
from rise_vlm.data.images import read_image, safe_join
from rise_vlm.data.record import Record
from rise_vlm.errors import DataError


@dataclass
class Report:
    """What a deep check found: counts per split, every problem, and notes on what is legal but doubtful."""

    counts: dict[str, Counts] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def inspect(dataset: Dataset, *, strict: bool = False, tick: Callable[[], None] = lambda: None) -> Report:
    """Check all of ``dataset``; ``tick`` is called for every row. ``strict`` raises DataError at the first problem."""
    report = Report()
    images = _Images()
    ids: dict[str, str] = {}

    def note(split: str, problem: Problem) -> None:
        if strict:
            raise DataError(f"{dataset.root}: {problem}.", exit_code=1)
        report.counts[split].add(problem)
        report.problems.append(problem)

    for split, file in dataset.card.splits.items():
        counts = report.counts[split] = Counts()
        for row, result in dataset.check(split, anew=True):
            tick()
            if isinstance(result, Problem):
                note(split, result)
                continue
            try:
                _check_deeply(dataset, split, result, ids, images)
                counts.records += 1
            except BadRow as bad:
                note(split, bad.at(file, row))
        if not counts.records and not counts.quarantined:
            note(split, Problem(file, None, "row", f"the split '{split}' is empty"))
    if not dataset.splits:
        raise DataError(f"{dataset.root} has no splits: dataset.yaml names none.", exit_code=1)
    if images.shared():
        report.notes.append(f"{images.shared()} images are in more than one split: a test on them flatters the model.")
    return report


def quarantine(dataset: Dataset, report: Report) -> None:
    """Write the problems of a check to ``quarantine.jsonl``; what an import noted about its source stays there."""
    files = set(dataset.card.splits.values())
    noted = [problem for problem in read_quarantine(dataset.root) if problem.file not in files]
    try:
        write_quarantine(dataset.root, noted + report.problems)
    except OSError as error:
        raise DataError(f"{dataset.root}: quarantine.jsonl cannot be written: {error}.", exit_code=1) from error


def _check_deeply(dataset: Dataset, split: str, record: Record, ids: dict[str, str], images: _Images) -> None:
    """BadRow for what only opening the images, or knowing the other splits, can show."""
    other = ids.setdefault(record.id, split)
    if other != split:
        raise BadRow("id in two splits", f"the id '{record.id}' is used in split '{other}' too", record.id)
    for index, image in enumerate(record.images):
        try:
            width, height = images.size(safe_join(dataset.root, image), split)
        except DataError as error:
            raise BadRow("image", str(error), record.id) from error
        if index == 0 and (width, height) != (record.width, record.height):
            stated = f"{record.width} x {record.height}"
            raise BadRow("image", f"the row says {stated}, but '{image}' has {width} x {height}", record.id)


class _Images:
    """Reads each image once, and remembers which contents were seen in which splits."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[bytes, tuple[int, int]]] = {}
        self._splits: dict[bytes, set[str]] = defaultdict(set)

    def size(self, path: Path, split: str) -> tuple[int, int]:
        """The upright size of the image. Raises DataError where it cannot be read whole."""
        if path not in self._read:
            size = read_image(path).size
            with path.open("rb") as file:
                self._read[path] = hashlib.file_digest(file, "sha256").digest(), size
        digest, size = self._read[path]
        self._splits[digest].add(split)
        return size

    def shared(self) -> int:
        """The number of contents that are in more than one split."""
        return sum(len(splits) > 1 for splits in self._splits.values())
