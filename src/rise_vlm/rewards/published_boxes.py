"""The box rewards of Visual-RFT and VLM-R1 as their code has them. Pure functions of true and found boxes.

A box is ``[x1, y1, x2, y2]``, any unit as long as all share it. What differs from their code is said at each function:
it is where that code divides by nothing, or pays for what is wrong. Left out: reading the boxes from a completion
(``tasks.box_answers``), and ``parse`` of math-verify, which both try on the boxes first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rise_vlm.rewards.boxes import iou
from rise_vlm.rewards.detection import Labelled, iou_matrix

THRESHOLDS = [0.5 + 0.05 * step for step in range(10)]
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100
"""Found boxes of a class that COCO counts, the first of them."""


class Found(NamedTuple):
    """A box as a completion states it: what it is of and how sure the model is, None where it does not say."""

    label: str | None
    box: tuple[float, float, float, float]
    confidence: float | None = None


class Match(NamedTuple):
    """A found box of Visual-RFT: its IoU with the true box it was paired with, else 0, and its confidence."""

    iou: float
    confidence: float | None


def visual_rft_matches(truth: Sequence[Labelled], found: Sequence[Found], above: float = 0.5) -> list[Match]:
    """Each found box, the surest first, takes the free true box that it overlaps most, if that is more than ``above``.

    A box that is given twice counts once. Source: Visual-RFT, ``src/virft/src/open_r1/grpo.py``,
    ``sort_and_calculate_iou`` and ``remove_duplicates``. Ours: labels must agree (theirs asks for one class), and where
    no confidence is stated the order of the answer decides (theirs fails).
    """
    left = list(truth)
    matches: list[Match] = []
    once: dict[tuple[str | None, Sequence[float]], Found] = {}
    for one in found:
        once.setdefault((one.label, one.box), one)
    for one in sorted(once.values(), key=lambda one: -1.0 if one.confidence is None else -one.confidence):
        overlaps = [iou(other.box, one.box) * (other.label == one.label) for other in left]
        best = max(range(len(left)), key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] > above:
            matches.append(Match(overlaps[best], one.confidence))
            del left[best]
        else:
            matches.append(Match(0.0, one.confidence))
    return matches


def visual_rft_iou(truth: Sequence[Labelled], found: Sequence[Found]) -> float:
    """Sum of the matches' IoUs over max(boxes true, boxes found), in 0..1.

    Source: Visual-RFT (arXiv 2503.01785), ``compute_reward_iou_v2``; its equation 6 divides by the boxes found. Ours: 1
    where nothing is true and nothing found, which there is 0 / 0 and pays nothing.
    """
    if not truth and not found:
        return 1.0
    matches = visual_rft_matches(truth, found)
    return min(1.0, math.fsum(one.iou for one in matches) / max(len(truth), len(matches)))


def visual_rft_confidence(truth: Sequence[Labelled], found: Sequence[Found]) -> float:
    """Mean over the found boxes of the confidence where the box is matched, of 1 - confidence where it is not; 0..1.

    Source: Visual-RFT, equations 7 and 8, ``compute_reward_confidence``. What is missed costs nothing, and wrong boxes
    at confidence 0 earn all, so it is no reward on its own. Ours: each confidence is cut to 0..1 (there only the mean
    is, so that -5 pays), one that is not stated makes it 0, and nothing found earns 1 where nothing is true.
    """
    if not found:
        return float(not truth)
    matches = visual_rft_matches(truth, found)
    if any(one.confidence is None for one in matches):
        return 0.0
    sure = [(one.iou, min(1.0, max(0.0, one.confidence or 0.0))) for one in matches]
    return math.fsum(c if overlap > 0 else 1.0 - c for overlap, c in sure) / len(sure)


def vlm_r1_iou(truth: Sequence[float], found: Sequence[Found]) -> float:
    """The IoU of the one box found, without a threshold.

    Source: VLM-R1, ``iou_reward``, for referring expressions. Ours: an answer of several boxes earns nothing; there the
    first one counts.
    """
    return iou(truth, found[0].box) if len(found) == 1 else 0.0


def mean_average_precision(truth: Sequence[Labelled], found: Sequence[Found]) -> float:
    """COCO's AP over IoU 0.50 to 0.95 of one picture, the boxes found ranked in the order given; 0 where none is true.

    A label found that is not true is a class with an AP of 0, so that an invented one always costs: pycocotools is not
    told of it in VLM-R1's code, and there it is free.
    """
    labels = dict.fromkeys(one.label for one in truth)
    invented = {one.label for one in found} - set(labels)
    each = [
        _average_precision(
            [one.box for one in truth if one.label == label],
            [one.box for one in found if one.label == label][:MOST],
        )
        for label in labels
    ]
    return math.fsum(each) / (len(labels) + len(invented)) if labels else 0.0


def vlm_r1_odlength(truth: Sequence[Labelled], found: Sequence[Found]) -> float:
    """mAP, times (boxes true / boxes found) where too many are found; 1 where nothing is true or found; 0..1.

    Source: VLM-R1, ``grpo_jsonl.py``, ``odLength_reward``: one of the two empty earns 0.
    """
    if not truth or not found:
        return float(not truth and not found)
    return mean_average_precision(truth, found) * min(1.0, len(truth) / len(found))


def vlm_r1_weighted_sum(truth: Sequence[Labelled], found: Sequence[Found], at_least: float = 0.5) -> float:
    """0.7 x (IoUs of the pairs whose labels agree / boxes true) + 0.3 x (1 - (share missed + share false) / 2); 0..1.

    Pairs are taken greedily by IoU, from ``at_least`` on and whatever the labels: boxes with wrong labels or none earn
    0.3, and a hundred boxes sprayed over two true ones 0.85, more than one right box (0.575). So it is no reward on its
    own. Source: VLM-R1, ``grpo_jsonl.py``, ``detection_score`` (alpha 0.7, beta 0, gamma 0.3).
    """
    if not truth or not found:
        return float(not truth and not found)
    overlap = iou_matrix([one.box for one in truth], [one.box for one in found])
    pairs, position = 0, 0.0
    while overlap.size and overlap.max() >= at_least:
        row, column = divmod(int(overlap.argmax()), len(found))
        position += float(overlap[row, column]) * (truth[row].label == found[column].label)
        pairs += 1
        overlap[row, :] = overlap[:, column] = -1.0
    missed, false = 1 - pairs / len(truth), 1 - pairs / len(found)
    return 0.7 * min(1.0, position / len(truth)) + 0.3 * (1 - (missed + false) / 2)


def _average_precision(truth: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> float:
    """AP of one class, a mean over the ten thresholds; pycocotools' rules."""
    if not found:
        return 0.0
    overlap = iou_matrix(truth, found)
    each: list[float] = []
    for threshold in THRESHOLDS:
        free, right = np.ones(len(truth), dtype=bool), np.zeros(len(found))
        for column in range(len(found)):
            over = np.where(free, overlap[:, column], -1.0)
            best = len(truth) - 1 - int(over[::-1].argmax())  # of equal ones the last
            if over[best] >= min(threshold, 1 - 1e-10):
                free[best], right[column] = False, 1.0
        hits = right.cumsum()
        precise = np.maximum.accumulate((hits / np.arange(1, len(found) + 1))[::-1])[::-1]
        reached = np.searchsorted(hits / len(truth), RECALLS, side="left")
        each.append(float(precise[reached[reached < len(found)]].sum()) / len(RECALLS))
    return math.fsum(each) / len(each)
