"""The deep check of a dataset: every row of every split, every image opened, what is doubled, how classes are filled.

First all rows are read, then each image is opened once (``scanning.py``), then images are compared (``doubles.py``).
Left out: judging whether annotations are right, and repairing anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from rise_vlm.console import many, progress
from rise_vlm.data.balance import Balance
from rise_vlm.data.boxes import Layout, as_box, boxes_of, doubts, faults
from rise_vlm.data.checking import (
    ASIDE,
    QUARANTINE,
    BadRow,
    Counts,
    Problem,
    check_row,
    printable,
    read_quarantine,
    update_quarantine,
)
from rise_vlm.data.dataset import Dataset
from rise_vlm.data.doubles import Row, doubled, shared
from rise_vlm.data.findings import Finding, kind_of_bad_row, kind_of_image
from rise_vlm.data.images import ImageSize, read_size, safe_join
from rise_vlm.data.record import LARGEST_NUMBER, Record
from rise_vlm.data.rows import read_rows
from rise_vlm.data.scanning import Scan, scan_all
from rise_vlm.errors import DataError
from rise_vlm.tasks.leak import tag_leaks

BOXED = ("grounding", "detection")
"""Tasks whose annotations are boxes."""


@dataclass
class Report:
    """What a deep check found: counts per split, every problem, every finding (a problem is one too), and notes.

    ``aside`` are rows that an earlier check put aside because the user asked for it; they are passed over.
    """

    counts: dict[str, Counts] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    aside: list[Problem] = field(default_factory=list)
    images: int = 0


def inspect(dataset: Dataset, *, strict: bool = False) -> Report:
    """Check all of ``dataset``. ``strict`` raises DataError at the first problem."""
    if not dataset.splits:
        raise DataError(f"{dataset.root} has no splits: dataset.yaml names none.", exit_code=1)
    check = _Check(dataset, strict)
    stopped: DataError | None = None
    try:
        check.read()
    except _StopHere as stop:  # an image of a row before may be the first problem
        stopped = stop
    scans = check.open_images()
    if stopped is not None:
        raise stopped
    check.compare(scans)
    return check.report


def quarantine(dataset: Dataset, report: Report, kinds: list[str] | None = None) -> int:
    """Write the problems of a check to ``quarantine.jsonl`` with all rows that have a finding of ``kinds``; the number
    of the latter. What an import noted about its source, and what was put aside earlier, stays there.
    """
    chosen: dict[tuple[str, int], Problem] = {}
    for finding in report.findings:
        if finding.kind in (kinds or ()) and finding.row is not None:
            problem = Problem(finding.file, finding.row, ASIDE, f"{finding.kind}: {finding.detail}", finding.id)
            chosen.setdefault((finding.file, finding.row), problem)
    try:
        files = dataset.card.splits.values()
        update_quarantine(dataset.root, set(files), [*report.aside, *report.problems, *chosen.values()])
    except OSError as error:
        raise DataError(f"{dataset.root}: quarantine.jsonl cannot be written: {error}.", exit_code=1) from error
    return len(chosen)


class _StopHere(DataError):
    """The first problem of a strict check."""


class _Check:
    """One check on its way; ``rows`` are the records that stood the test so far."""

    def __init__(self, dataset: Dataset, strict: bool) -> None:
        self.dataset, self.strict, self.report = dataset, strict, Report()
        self.rows: list[Row] = []
        self.boxed = dataset.task.name in BOXED
        self.layout, self.balance = Layout(), Balance(dataset.card)
        self._ids: dict[str, str] = {}

    def read(self) -> None:
        """The rows of every split, as text."""
        noted = read_quarantine(self.dataset.root)
        before = [problem for problem in noted if problem.kind == ASIDE]
        self._recall([problem for problem in noted if problem.file not in self.dataset.card.splits.values()])
        with progress(f"Reading the rows of {self.dataset.root}") as bar:
            for split, file in self.dataset.card.splits.items():
                counts = self.report.counts[split] = Counts()
                aside = {problem.id: problem for problem in before if problem.file == file}
                seen: set[str] = set()
                for number, row, unreadable in read_rows(self.dataset.file(split)):
                    bar.update()
                    result = self._row(split, number, row, unreadable, seen)
                    if result is not None:
                        self._keep(split, number, result, aside.get(result.id))
                if not counts.records and not counts.quarantined:
                    reason = f"the split '{split}' is empty"
                    self._refuse(split, Problem(file, None, "row", reason), Finding("empty-split", reason, file))

    def _recall(self, noted: list[Problem]) -> None:
        """Note what never became a row of the dataset: an import puts aside rows of its source's files."""
        if noted:
            told = f"left out when the dataset was made: {many(len(noted), 'row')} of its source, "
            self.report.notes.append(f"{told}in {self.dataset.root / QUARANTINE}; the first: {noted[0]}")

    def _row(self, split: str, number: int, row: Any, unreadable: str | None, seen: set[str]) -> Record | None:
        """The record of a row, or None where it was refused."""
        file = self.dataset.card.splits[split]
        self._vote(row)
        try:
            if unreadable is not None:
                raise BadRow("row", unreadable)
            record = check_row(row, self.dataset.root, self.dataset.task.check, seen)
            other = self._ids.setdefault(record.id, split)
            if other != split:
                raise BadRow("id in two splits", f"the id '{record.id}' is used in split '{other}' too", record.id)
        except BadRow as bad:
            self._refuse(split, bad.at(file, number), self._diagnosis(bad, file, number, row))
            return None
        return record

    def _keep(self, split: str, number: int, record: Record, aside: Problem | None) -> None:
        """Note a good record for what comes, unless an earlier check put it ``aside``."""
        if aside is not None:
            self.report.counts[split].add(aside)
            self.report.aside.append(replace(aside, row=number))
            return
        file = self.dataset.card.splits[split]
        self.report.counts[split].records += 1
        self.rows.append(_compact(split, file, number, record))
        self.balance.add(split, record)
        place = {"file": file, "row": number, "id": record.id, "image": record.images[0]}
        if record.rationale and tag_leaks(record.rationale):
            told = "the rationale holds a <think> or <answer> tag"
            self.report.findings.append(Finding("tagged-rationale", told, **place))
        if self.boxed:
            size = record.width, record.height
            for kind, detail, drawn in doubts(record):
                self.report.findings.append(Finding(kind, detail, size=size, boxes=drawn, **place))

    def _vote(self, row: Any) -> None:
        """Let the boxes of a row, good or bad, vote on the layout."""
        size = stated_size(row)
        if self.boxed and size is not None:
            for _, value in boxes_of(row.get("annotation")):
                box = as_box(value)
                if box is not None:
                    self.layout.add(box, *size)

    def _diagnosis(self, bad: BadRow, file: str, number: int, row: Any) -> Finding:
        """The finding of a refused row: of which kind, and for boxes what they may be meant to be."""
        images = row.get("images") if isinstance(row, dict) else None
        image = images[0] if isinstance(images, list) and images and isinstance(images[0], str) else None
        if bad.kind in ("path", "missing image", "row"):
            image = None
        kind, size, drawn = kind_of_bad_row(bad), stated_size(row), ()
        if bad.kind == "annotation" and self.boxed and size is not None:
            found, drawn = faults(row["annotation"], *size)
            kind = found if found is not None and kind == "bad-annotation" else kind
            true = None if found is None or image is None else self._size(image)
            wrong = None if true is None else _size_fault(size, image or "", true)
            if true is not None and wrong is not None and faults(row["annotation"], *true.upright)[0] is None:
                return Finding(wrong[0], f"{bad}; {wrong[1]}", file, number, bad.id, image, None, true.upright)
        return Finding(kind, str(bad), file, number, bad.id, image, None, size, drawn)

    def _size(self, image: str) -> ImageSize | None:
        """The size of an image of a refused row; None where it cannot be read, which is not why the row was refused."""
        try:
            return read_size(safe_join(self.dataset.root, image))
        except DataError:
            return None

    def _refuse(self, split: str, problem: Problem, finding: Finding) -> None:
        if self.strict:
            raise _StopHere(f"{self.dataset.root}: {problem}.", exit_code=1)
        self.report.counts[split].add(problem)
        self.report.problems.append(problem)
        self.report.findings.append(finding)

    def open_images(self) -> dict[str, Scan]:
        """Every image of the rows, opened once; the rows of bad ones are refused."""
        names = list(dict.fromkeys(image for row in self.rows for image in row.images))
        self.report.images = len(names)
        with progress("Opening the images", len(names)) as bar:
            paths = (safe_join(self.dataset.root, name) for name in names)
            with closing(scan_all(paths, tick=bar.update)) as results:
                scans: dict[str, Scan] = {}
                for name, found in zip(names, results, strict=True):
                    scans[name] = found
                    if self.strict and found.error is not None:
                        break
        good = []
        for row in self.rows:
            found = _image_fault(row, scans)
            if found is None:
                good.append(row)
                continue
            self.report.counts[row.split].records -= 1
            problem = Problem(row.file, row.number, "image", found.detail, row.id)
            self._refuse(row.split, problem, found)
        self.rows = good
        return scans

    def compare(self, scans: dict[str, Scan]) -> None:
        """What rows and images have in common, how classes are filled; then everything in order."""
        report = self.report
        report.findings += _pictures(self.rows, scans)
        single = self.dataset.task.name != "grounding"
        report.findings += doubled(self.rows, scans, self.dataset.splits, single_answer=single)
        report.findings += [*self.layout.findings(), *self.balance.findings()]
        if self.layout.is_size:
            report.findings = [_as_sizes(finding) for finding in report.findings]
        number = shared(self.rows, scans)
        if number:
            report.notes.append(f"in more than one split: {many(number, 'image')}; a test on them flatters the model.")
        files = {file: at for at, file in enumerate(self.dataset.card.splits.values())}
        report.problems.sort(key=lambda problem: (files[problem.file], problem.row or 0))
        report.findings.sort(key=lambda finding: (files.get(finding.file, len(files)), finding.row or 0))


def _compact(split: str, file: str, number: int, record: Record) -> Row:
    text = printable(json.dumps(record.annotation, sort_keys=True, default=str, ensure_ascii=False))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    size = record.width, record.height
    return Row(split, file, number, record.id, record.images, size, record.question, digest, shown)


def stated_size(row: Any) -> tuple[int, int] | None:
    """Width and height in pixels that a row of ours states; None where it states none that can be."""
    if not isinstance(row, dict) or "annotation" not in row:
        return None
    width, height = row.get("width"), row.get("height")
    if type(width) is int and type(height) is int and 0 < width <= LARGEST_NUMBER and 0 < height <= LARGEST_NUMBER:
        return width, height
    return None


def _image_fault(row: Row, scans: dict[str, Scan]) -> Finding | None:
    """Why an image of the row spoils it: unreadable, or not of the stated size."""
    place = {"file": row.file, "row": row.number, "id": row.id}
    for image in row.images:
        error = scans[image].error
        if error is not None:
            return Finding(kind_of_image(error), error.removesuffix("."), image=image, **place)
    size = scans[row.images[0]].size
    assert size is not None
    wrong = _size_fault(row.size, row.images[0], size)
    return wrong and Finding(*wrong, image=row.images[0], size=size.upright, **place)


def _size_fault(stated: tuple[int, int], image: str, size: ImageSize) -> tuple[str, str] | None:
    """Kind and words of a stated size that is not the image's; None where it is."""
    if size.upright == stated:
        return None
    width, height = size.upright
    told = f"the row says {stated[0]} x {stated[1]}, but '{image}' has {width} x {height}"
    if (size.stored_width, size.stored_height) != stated:
        return "wrong-size", told
    return "unturned-size", f"{told} once EXIF (orientation {size.orientation}) has turned it"


def _pictures(rows: list[Row], scans: dict[str, Scan]) -> Iterator[Finding]:
    """What is doubtful in single images: EXIF turns them, they are of one colour."""
    for row in rows:
        for image in row.images:
            size, look = scans[image].size, scans[image].look
            if size is not None and size.orientation != 1:
                told = f"EXIF orientation {size.orientation}: stored as {size.stored_width} x {size.stored_height}, "
                told += f"seen as {size.upright[0]} x {size.upright[1]}"
                yield Finding("turned-image", told, row.file, row.number, row.id, image, None, size.upright)
            if look is not None and look.hash is None:
                told = "the whole image is of one colour, or nearly"
                yield Finding("flat-image", told, row.file, row.number, row.id, image, None, row.size)


def _as_sizes(finding: Finding) -> Finding:
    """A finding of reversed corners, read again in a dataset that writes x, y, width, height."""
    if finding.kind != "box-reversed" or finding.size is None:
        return finding
    things = [{"label": drawn.label, "box": list(drawn.box)} for drawn in finding.boxes if drawn.role != "meant"]
    kind, drawn = faults(things, *finding.size, is_size=True)
    return replace(finding, kind=kind or finding.kind, boxes=drawn)
