"""Self-consistency: one answer out of several sampled ones, and how far they agree on it.

The combined answer is the vote for classes, letters and functions, the mean for distributions, the most frequent
number for counting, and for boxes the mean of those that overlap. Its confidence is the mean over all samples of the
task's own score of the sample against it, a sample that cannot be read counting 0: the score that the answer would be
expected to earn if the truth were one of the model's own samples. For classes and numbers that is the share of votes.
Sources: Wang et al. 2022 (arXiv 2203.11171, the vote and its share as confidence); Bertsch et al. 2023 (arXiv
2310.01387, the vote as one case of the least expected risk); Solovyev et al. 2021 (arXiv 1910.13302, fusing boxes).
Left out: probabilities of tokens.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rise_vlm.rewards.boxes import iou
from rise_vlm.rewards.detection import iou_matrix
from rise_vlm.tasks.base import Task

SAME = 0.5
"""Boxes of at least this IoU are taken for the same thing."""

REVIEW_BELOW = {"distribution": 0.8}
REVIEW_BELOW_ELSE = 0.51
"""Below which confidence or reconstruction a person should look: half of the samples is no majority, and 1 - JSD of a
mere guess is already 0.6 to 0.8.
"""


@dataclass(frozen=True)
class Agreement:
    """The combined answer (None where no sample could be read), the confidence in it (0..1), the number of the sample
    that is most like it, and for detection the confidence in each box.
    """

    value: Any | None
    confidence: float
    like: int
    scores: list[float] | None = None


Combined = tuple[Any, list[float] | None]


def agree(task: Task, values: Sequence[Any | None]) -> Agreement:
    """Combine the parsed answers of N >= 1 samples, None where one could not be read."""
    read = [value for value in values if value is not None]
    if not read:
        return Agreement(None, 0.0, 0)
    value, scores = COMBINE.get(task.name, vote)(read, len(values))
    worth = [task.score(value, one) for one in values]
    confidence = min(1.0, max(0.0, math.fsum(worth) / len(values)))
    like = max((i for i, one in enumerate(values) if one is not None), key=lambda i: worth[i])
    return Agreement(value, confidence, like, scores)


def vote(read: Sequence[Any], asked: int) -> Combined:
    """The most frequent value; of equals the one that came first."""
    named = {_key(value): value for value in reversed(read)}
    return named[Counter(_key(value) for value in read).most_common(1)[0][0]], None


def number(read: Sequence[Any], asked: int) -> Combined:
    """The most frequent number; of equals the one nearest to the median, then the smaller."""
    counts, middle = Counter(read), statistics.median(read)
    return min(counts, key=lambda one: (-counts[one], abs(one - middle), one)), None


def mean(read: Sequence[Mapping[str, float]], asked: int) -> Combined:
    """The mean of distributions, class by class."""
    names = dict.fromkeys(name for shares in read for name in shares)
    return {name: math.fsum(shares.get(name, 0.0) for shares in read) / len(read) for name in names}, None


def region(read: Sequence[Sequence[float]], asked: int) -> Combined:
    """The mean of the largest set of boxes that overlap one of them."""
    members = _Pool([(sample, box) for sample, box in enumerate(read)]).take()
    return _mean_box(members), None


def things(read: Sequence[Sequence[Mapping[str, Any]]], asked: int) -> Combined:
    """Of each class the boxes that more than half of the samples read have, each the mean of theirs. A box's confidence
    is the sum of its members' IoUs with it, divided by the samples asked.
    """
    found: dict[tuple[str, tuple[float, ...]], float] = {}
    for label in sorted({thing["label"] for sample in read for thing in sample}):
        pool = _Pool([(s, one["box"]) for s, sample in enumerate(read) for one in sample if one["label"] == label])
        while 2 * len(members := pool.take()) > len(read):
            box = _mean_box(members)
            found[label, tuple(box)] = min(1.0, math.fsum(iou(box, member) for member in members) / asked)
    ordered = sorted(found.items(), key=lambda pair: (pair[0][1], pair[0][0]))  # from left to right
    boxes = [{"label": label, "box": list(box)} for (label, box), _ in ordered]
    return boxes, [round(score, 6) for _, score in ordered]


COMBINE: dict[str, Callable[[Sequence[Any], int], Combined]] = {
    "counting": number,
    "distribution": mean,
    "grounding": region,
    "detection": things,
}
"""How answers are combined, by task; ``vote`` for all others."""


class _Pool:
    """Boxes of several samples, of which ``take`` removes the best supported set, one box of a sample at most.

    Boxes are in the order of their coordinates, so that the order of the samples does not matter.
    """

    def __init__(self, boxes: Sequence[tuple[int, Sequence[float]]]) -> None:
        self.boxes = sorted(boxes, key=lambda pair: (tuple(pair[1]), pair[0]))
        corners = [box for _, box in self.boxes]
        overlap = iou_matrix(corners, corners)
        self.overlap = np.where(overlap >= SAME, overlap, 0.0)
        self.of = np.array([sample for sample, _ in self.boxes])
        self.left = np.ones(len(self.boxes), dtype=bool)

    def take(self) -> list[Sequence[float]]:
        """The boxes, at least one, that overlap the box which most samples have, and most closely; [] at the end."""
        if not self.left.any():
            return []
        overlap = self.overlap * self.left * self.left[:, None]
        best = np.stack([overlap[:, self.of == sample].max(axis=1) for sample in np.unique(self.of)], axis=1)
        support, total = (best > 0).sum(axis=1), np.round(best.sum(axis=1), 9)
        first = int(np.lexsort((-total, -support))[0])  # stable: of equals the leftmost
        members: list[int] = []
        for sample in np.unique(self.of):
            row = np.where(self.of == sample, overlap[first], 0.0)
            if row.max() > 0:
                members.append(int(row.argmax()))
        self.left[members] = False
        return [self.boxes[member][1] for member in members]


def _mean_box(boxes: Sequence[Sequence[float]]) -> list[float]:
    return [math.fsum(box[side] for box in boxes) / len(boxes) for side in range(4)]


def _key(value: Any) -> Any:
    return json.dumps(value, sort_keys=True, default=str) if isinstance(value, dict | list) else value


def figures(row: Mapping[str, Any]) -> list[float]:
    """Confidence and reconstruction of an annotated row, as far as they were asked for."""
    known = (row.get("confidence"), row.get("reconstruction"))
    return [float(value) for value in known if isinstance(value, int | float)]


def certainty(row: Mapping[str, Any]) -> float:
    """How certain an annotated row is: -1 where there is no answer, else the smaller of confidence and reconstruction,
    and 1 where neither is known.
    """
    return -1.0 if row.get("annotation") is None else min(figures(row), default=1.0)


def by_certainty(row: Mapping[str, Any]) -> tuple[float, bool, float]:
    """A key that sorts rows, the least certain first: by certainty, what is for review before what is not, then by the
    sum of both figures.
    """
    return certainty(row), not row.get("review"), sum(figures(row))


def needs_review(row: Mapping[str, Any], check: bool, below: float) -> bool:
    """Whether a person should look: there is no answer, or one of its two figures is below ``below``, or ``check`` was
    asked for and there was no rationale to check.
    """
    return certainty(row) < below or (check and row.get("reconstruction") is None)
