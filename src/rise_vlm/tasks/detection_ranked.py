"""COCO's AP and AP50 of any draw of the images of a split: boxes are matched once, and only ranked again for each draw.

A draw gives what ``coco_figures`` gives of the list of the drawn images (an image drawn twice is in it twice), some
hundred times faster. The rules are pycocotools': 10 IoU thresholds, 101 recalls, 100 boxes per image and class, a found
box takes the free true box that it overlaps most (of equal ones the last), equal scores rank in the order of images and
boxes. Left out: the figures by size and the recalls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100
"""Boxes per image and class that count, the best first."""

NAMES = ("ap", "ap50")

Boxes = Sequence[Mapping[str, Any]]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class _Class:
    """Of one class: by image the number of true boxes (I,), and where its found boxes begin (I + 1,) among those of all
    images; of these the scores (D,) and whether they are right at each threshold (10, D).
    """

    true: Ints
    starts: Ints
    scores: Floats
    right: NDArray[np.bool_]

    def precision(self, drawn: Ints) -> Floats | None:
        """Average precision (10,) over the images ``drawn``; None where they have no true box of the class."""
        true = int(self.true[drawn].sum())
        if not true:
            return None
        counts = self.starts[drawn + 1] - self.starts[drawn]
        places: Ints = np.arange(int(counts.sum())) + np.repeat(self.starts[drawn] - np.cumsum(counts) + counts, counts)
        ranked: Ints = places[np.argsort(-self.scores[places], kind="stable")]
        hits = np.cumsum(self.right[:, ranked], axis=1, dtype=np.float64)
        precise = np.maximum.accumulate((hits / np.arange(1, len(ranked) + 1))[:, ::-1], axis=1)[:, ::-1]
        found = np.zeros(len(THRESHOLDS))
        for at, (recall, row) in enumerate(zip(hits / true, precise, strict=True)):
            reached = np.searchsorted(recall, RECALLS, side="left")
            found[at] = row[reached[reached < len(row)]].sum() / len(RECALLS)
        return found


class Ranked:
    """The (true, found) boxes of the images of a split, matched. A box is ``{"label", "box", "score"?}``; None finds
    nothing.
    """

    def __init__(self, pairs: Sequence[tuple[Boxes, Boxes | None]], classes: Sequence[str]) -> None:
        self.images = len(pairs)
        self._classes = [_matched(pairs, name) for name in classes]

    def figures(self, drawn: Ints) -> dict[str, float]:
        """``ap`` and ``ap50`` of the images with these indices, in this order; empty where none has a true box."""
        each = [found for one in self._classes if (found := one.precision(drawn)) is not None]
        if not each:
            return {}
        table = np.stack(each)
        return {"ap": float(table.mean()), "ap50": float(table[:, 0].mean())}


def _matched(pairs: Sequence[tuple[Boxes, Boxes | None]], label: str) -> _Class:
    true: list[int] = []
    sizes: list[int] = []
    scores: list[float] = []
    right: list[NDArray[np.bool_]] = [np.zeros((len(THRESHOLDS), 0), dtype=np.bool_)]
    for truth, boxes in pairs:
        wanted = [one for one in truth if one["label"] == label]
        found = [one for one in boxes or () if one["label"] == label]
        found = sorted(found, key=lambda one: -float(one.get("score", 1.0)))[:MOST]
        true.append(len(wanted))
        sizes.append(len(found))
        scores += [float(one.get("score", 1.0)) for one in found]
        right.append(_right(_overlaps(found, wanted)))
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)
    return _Class(np.array(true, dtype=np.intp), starts, np.array(scores), np.concatenate(right, axis=1))


def _right(overlaps: Floats) -> NDArray[np.bool_]:
    """Whether each found box takes a true one, by threshold (10, D), from the IoU of all pairs (D, G)."""
    found, true = overlaps.shape
    right = np.zeros((len(THRESHOLDS), found), dtype=np.bool_)
    for at, threshold in enumerate(THRESHOLDS if true else ()):
        free = np.ones(true, dtype=np.bool_)
        for box in range(found):
            over = np.where(free, overlaps[box], -1.0)
            best = true - 1 - int(np.argmax(over[::-1]))
            if over[best] >= min(threshold, 1 - 1e-10):
                free[best], right[at, box] = False, True
    return right


def _overlaps(found: Boxes, true: Boxes) -> Floats:
    """IoU (D, G)."""
    if not found or not true:
        return np.zeros((len(found), len(true)))
    one = np.array([box["box"] for box in found], dtype=np.float64)[:, None]
    other = np.array([box["box"] for box in true], dtype=np.float64)[None]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    shared = np.clip(sides, 0.0, None).prod(axis=-1)
    areas = (one[..., 2:] - one[..., :2]).prod(axis=-1) + (other[..., 2:] - other[..., :2]).prod(axis=-1)
    return shared / (areas - shared)
