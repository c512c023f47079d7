"""What is in a dataset, in numbers: records, classes, sizes of images and boxes, lengths of texts.

Everything streams into tallies, so memory does not grow with the records. Images are not opened: the rows state their
sizes. Left out: how it is drawn (``report/data_stats.py``), and whether it is right (``inspecting.py``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from rise_vlm.data.balance import class_weights
from rise_vlm.data.boxes import Box, as_box, boxes_of
from rise_vlm.data.dataset import Dataset
from rise_vlm.data.record import Record

GRID = 20
"""Cells of the map of box centres along each side, and bars of the histogram of box sizes."""

SMALL, MEDIUM = 32**2, 96**2
"""Areas in pixels that part small from medium and medium from large boxes, as COCO has them."""

RATIOS = tuple(round(-3 + 0.5 * at, 1) for at in range(13))
"""Edges of the histogram of box shapes, log2(width / height)."""


@dataclass
class SplitStats:
    """The tallies of one split. Keys of ``sizes`` are (width, height), of the other counters whole numbers."""

    records: int = 0
    bad: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    images: Counter[int] = field(default_factory=Counter)
    questions: Counter[int] = field(default_factory=Counter)
    rationales: Counter[int] = field(default_factory=Counter)
    boxes: Counter[int] = field(default_factory=Counter)
    box_sizes: list[int] = field(default_factory=lambda: [0] * GRID)
    box_shapes: list[int] = field(default_factory=lambda: [0] * (len(RATIOS) - 1))
    box_areas: Counter[str] = field(default_factory=Counter)
    centres: list[list[int]] = field(default_factory=lambda: [[0] * GRID for _ in range(GRID)])

    def add(self, record: Record, *, boxed: bool, classed: bool) -> None:
        """Count a record; ``boxed`` says that its annotation is of boxes, ``classed`` that it names classes."""
        self.records += 1
        self.sizes[record.width, record.height] += 1
        self.images[len(record.images)] += 1
        if record.question is not None:
            self.questions[len(record.question.split())] += 1
        if record.rationale is not None:
            self.rationales[len(record.rationale.split())] += 1
        if classed:
            for name, weight in class_weights(record.annotation).items():
                self.classes[name] += weight  # type: ignore[assignment]  # a distribution counts in parts
        if boxed:
            found = [box for _, value in boxes_of(record.annotation) if (box := as_box(value)) is not None]
            self.boxes[len(found)] += 1
            for box in found:
                self._box(box, record.width, record.height)

    def _box(self, box: Box, width: int, height: int) -> None:
        across, up = box[2] - box[0], box[3] - box[1]
        self.box_sizes[_bin(math.sqrt(across * up / (width * height)))] += 1
        shape = math.log2(across / up)
        self.box_shapes[min(max(int((shape - RATIOS[0]) / (RATIOS[1] - RATIOS[0])), 0), len(RATIOS) - 2)] += 1
        area = across * up
        self.box_areas["small" if area < SMALL else "medium" if area < MEDIUM else "large"] += 1
        self.centres[_bin((box[1] + box[3]) / 2 / height)][_bin((box[0] + box[2]) / 2 / width)] += 1

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        values: dict[str, Any] = {"records": self.records, "bad": self.bad}
        if self.classes:
            values["classes"] = {name: round(number, 3) for name, number in self.classes.most_common()}
        if self.boxes:
            total = sum(number * records for number, records in self.boxes.items())
            values["boxes"] = {"total": total, **summary(self.boxes), "areas": dict(self.box_areas)}
        for name in ("questions", "rationales"):
            tally = getattr(self, name)
            if tally:
                values[name] = {"records": tally.total(), "words": summary(tally)}
        values["widths"] = summary(_along(self.sizes, 0))
        values["heights"] = summary(_along(self.sizes, 1))
        return values


@dataclass
class Stats:
    """The tallies of all splits of a dataset, and what it is."""

    name: str
    task: str
    classes: list[str]
    splits: dict[str, SplitStats] = field(default_factory=dict)

    def total(self, of: Callable[[SplitStats], Iterable[tuple[Any, int]]]) -> Counter[Any]:
        """The sum over the splits of the (key, number) pairs that ``of`` gives."""
        summed: Counter[Any] = Counter()
        for split in self.splits.values():
            for key, number in of(split):
                summed[key] += number
        return summed

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        splits = {split: stats.to_dict() for split, stats in self.splits.items()}
        return {"name": self.name, "task": self.task, "splits": splits}


def collect(dataset: Dataset, *, tick: Callable[[], None] = lambda: None) -> Stats:
    """The statistics of all good records; ``tick`` is called for each."""
    name = dataset.task.name
    stats = Stats(dataset.card.name, name, list(dataset.card.classes))
    for split in dataset.splits:
        tally = stats.splits[split] = SplitStats()
        for record in dataset.records(split):
            tally.add(record, boxed=name in ("grounding", "detection"), classed=bool(stats.classes))
            tick()
        tally.bad = dataset.counts[split].quarantined
    return stats


def summary(tally: Counter[int]) -> dict[str, float]:
    """Least, median, mean and most of the numbers counted; empty without any."""
    if not tally:
        return {}
    total, half, passed, median = tally.total(), (tally.total() + 1) // 2, 0, 0
    for number in sorted(tally):
        passed += tally[number]
        if passed >= half:
            median = number
            break
    mean = sum(number * times for number, times in tally.items()) / total
    return {"least": min(tally), "median": median, "mean": round(mean, 2), "most": max(tally)}


def _along(sizes: Counter[tuple[int, int]], axis: int) -> Counter[int]:
    lengths: Counter[int] = Counter()
    for size, number in sizes.items():
        lengths[size[axis]] += number
    return lengths


def _bin(share: float) -> int:
    """The cell of a share from 0 to 1."""
    return min(max(int(share * GRID), 0), GRID - 1)
