"""How well found boxes fit true ones when both carry labels. Pure functions of labels and boxes.

A box is ``[x1, y1, x2, y2]``, any unit as long as all share it. Only boxes of the same label can be paired, each at
most once, so what is found twice, sprayed or mislabelled is paid for in the number of boxes found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rise_vlm.rewards.assignment import best_assignment


class Labelled(NamedTuple):
    """A box and what it is of."""

    label: str
    box: Sequence[float]


def iou_matrix(truth: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """(T, F) intersections over unions; 0 where neither box has area or corners are swapped."""
    a = np.asarray(truth, dtype=np.float64).reshape(-1, 4)[:, None]
    b = np.asarray(found, dtype=np.float64).reshape(-1, 4)[None]
    across = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    down = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    shared = np.maximum(across, 0.0) * np.maximum(down, 0.0)
    union = _areas(a) + _areas(b) - shared
    return np.minimum(1.0, np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def matched_ious(truth: Sequence[Labelled], found: Sequence[Labelled], at_least: float | None = None) -> list[float]:
    """The IoU of each pair in the best class-aware matching, zeros left out.

    Best is the greatest sum of IoUs; with ``at_least``, the greatest number of pairs whose IoU reaches it.
    """
    pairs: list[float] = []
    for label in dict.fromkeys(one.label for one in truth):
        theirs = [one.box for one in found if one.label == label]
        if not theirs:
            continue
        overlap = iou_matrix([one.box for one in truth if one.label == label], theirs)
        worth = overlap if at_least is None else (overlap >= at_least).astype(np.float64)
        pairs += [float(overlap[at]) for at in best_assignment(worth) if worth[at] > 0]
    return pairs


def detection_score(truth: Sequence[Labelled], found: Sequence[Labelled]) -> float:
    """Sum of matched IoUs over max(boxes true, boxes found), in 0..1; 1 where there is nothing and nothing is found.

    Source: the detection reward of the official code divides by the boxes found alone, so that one right box of five
    earns 1; here a missed box costs as much as one too many.
    """
    most = max(len(truth), len(found))
    if most == 0:
        return 1.0
    return min(1.0, math.fsum(matched_ious(truth, found)) / most)


def found_score(truth: Sequence[Labelled], found: Sequence[Labelled]) -> float:
    """Sum of matched IoUs over the boxes found, so that what is missed costs nothing; 1 where nothing is true or found.

    Source: the detection reward of RISE's official code. That labels must agree is ours, and what it pays where nothing
    is true is not known.
    """
    if not found:
        return float(not truth)
    return min(1.0, math.fsum(matched_ious(truth, found)) / len(found))


def greedy_score(truth: Sequence[Labelled], found: Sequence[Labelled], at_least: float = 0.5) -> float:
    """Sum of IoUs over max(boxes true, boxes found), each found box in turn paired with the best true one that is left;
    below ``at_least`` a pair counts 0.

    Source: the IoU reward of Visual-RFT's code; there the turn is by confidence, here by the order of the answer, and
    nothing where nothing is true (there 0 / 0) earns 1. Its reward for confidence, which our
    answers do not state, is in ``published_boxes``.
    """
    most = max(len(truth), len(found))
    if most == 0:
        return 1.0
    left, total = list(truth), 0.0
    for one in found:
        overlaps = [float(iou_matrix([other.box], [one.box])[0, 0]) * (other.label == one.label) for other in left]
        best = max(range(len(left)), key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] >= at_least:
            total += overlaps[best]
            del left[best]
    return min(1.0, total / most)


def hits(truth: Sequence[Labelled], found: Sequence[Labelled], at_least: float = 0.5) -> int:
    """How many true boxes can be paired with a found one of their label at an IoU of ``at_least`` or more."""
    return len(matched_ious(truth, found, at_least))


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(boxes[..., 2] - boxes[..., 0], 0.0) * np.maximum(boxes[..., 3] - boxes[..., 1], 0.0)
