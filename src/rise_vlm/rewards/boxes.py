"""Overlap of boxes. A box is ``[x1, y1, x2, y2]``, any unit as long as both share it; a box without area overlaps
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence


def area(box: Sequence[float]) -> float:
    """The area of a box; 0 where its corners are swapped or equal."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def intersection(a: Sequence[float], b: Sequence[float]) -> float:
    """The area that two boxes share."""
    return area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])


def giou(a: Sequence[float], b: Sequence[float]) -> float:
    """The generalised IoU in -1..1: IoU less the share of the smallest box around both that neither covers.

    Source: Rezatofighi et al. 2019. -1 where that box has no area.
    """
    around = area([min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])])
    union = area(a) + area(b) - intersection(a, b)
    return iou(a, b) - (around - union) / around if around > 0 else -1.0


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union in 0..1; 0 when neither box has area."""
    shared = intersection(a, b)
    union = area(a) + area(b) - shared
    return min(1.0, shared / union) if union > 0 else 0.0
