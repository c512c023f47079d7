"""What is wrong with a box, and what it may be meant to be.

Boxes are ``[x1, y1, x2, y2]`` in pixels of the upright picture. The mistakes looked for are those that converters make:
x and y exchanged, width and height taken for the second corner, corners in any order, fractions taken for pixels. Left
out: mending them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rise_vlm.data.findings import Drawn, Finding
from rise_vlm.data.record import LARGEST_NUMBER, Record

SLACK = 0.5
"""Pixels over the edge that are let pass, as tasks do."""

TINY = 2.0
"""Pixels of the smaller side of a box below which it is taken for a slip."""

NEARLY = 0.9
"""IoU from which two boxes of a class are taken for the same thing."""

FEWEST_VOTES = 10
"""Boxes from which the whole dataset is judged."""

Box = tuple[float, float, float, float]


@dataclass
class Layout:
    """Votes of all boxes on how the dataset writes them."""

    boxes: int = 0
    reversed: int = 0
    fit_as_size: int = 0
    fit_transposed_only: int = 0
    fit_plain_only: int = 0

    def add(self, box: Box, width: int, height: int) -> None:
        """Count the vote of one box."""
        self.boxes += 1
        self.reversed += box[2] < box[0] or box[3] < box[1]
        self.fit_as_size += fits(as_size(box), width, height)
        plain, transposed = fits(box, width, height), fits(transpose(box), width, height)
        self.fit_plain_only += plain and not transposed
        self.fit_transposed_only += transposed and not plain

    def findings(self) -> list[Finding]:
        """What all boxes together say; nothing where they are few or do not agree."""
        found = []
        if self.boxes < FEWEST_VOTES:
            return []
        if self.is_size:
            told = f"{self.reversed:,} of {self.boxes:,} boxes have reversed corners, and {self.fit_as_size:,} fit"
            found.append(Finding("boxes-as-size", f"{told} as x, y, width, height"))
        if self.fit_transposed_only >= max(3, 0.05 * self.boxes) and not self.fit_plain_only:
            told = f"{self.fit_transposed_only:,} of {self.boxes:,} boxes fit only with x and y exchanged, none only"
            found.append(Finding("boxes-transposed", f"{told} as it stands"))
        return found

    @property
    def is_size(self) -> bool:
        """Whether the second pair looks like width and height throughout."""
        return self.reversed >= max(2, 0.1 * self.boxes) and self.fit_as_size >= 0.98 * self.boxes


def boxes_of(annotation: Any) -> list[tuple[str, Any]]:
    """The (label, box) pairs of an annotation of any task, unchecked; none where it has no boxes."""
    if not isinstance(annotation, list | tuple):
        return []
    things = [one for one in annotation if isinstance(one, Mapping) and "box" in one]
    if things:
        return [(str(one.get("label", "")), one["box"]) for one in things]
    return [("", annotation)] if len(annotation) == 4 and not any(isinstance(n, Mapping) for n in annotation) else []


def as_box(value: Any) -> Box | None:
    """``value`` as a box of four numbers of at most LARGEST_NUMBER, or None."""
    if not isinstance(value, list | tuple) or len(value) != 4:
        return None
    if any(isinstance(n, bool) or not isinstance(n, int | float) or not abs(n) <= LARGEST_NUMBER for n in value):
        return None
    return float(value[0]), float(value[1]), float(value[2]), float(value[3])


def fits(box: Box, width: int, height: int) -> bool:
    """Whether the box has its corners in order, some area, and lies in the image."""
    x1, y1, x2, y2 = box
    inside = x1 >= -SLACK and y1 >= -SLACK and x2 <= width + SLACK and y2 <= height + SLACK
    return x1 < x2 and y1 < y2 and inside


def as_size(box: Box) -> Box:
    """The box if its second pair is width and height."""
    return box[0], box[1], box[0] + box[2], box[1] + box[3]


def transpose(box: Box) -> Box:
    """The box with x and y exchanged."""
    return box[1], box[0], box[3], box[2]


def diagnose(box: Box, width: int, height: int, *, is_size: bool = False) -> tuple[str, Box | None] | None:
    """The fault of a box and what it may be meant to be (None: no guess), or None where it has no fault.

    ``is_size`` says that the dataset as a whole looks like x, y, width, height, which decides between two readings.
    """
    if fits(box, width, height):
        return None
    x1, y1, x2, y2 = box
    if x1 == x2 or y1 == y2:
        return "box-empty", None
    ordered = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    if ordered != box:
        if is_size and fits(as_size(box), width, height):
            return "box-as-size", as_size(box)
        return "box-reversed", ordered if fits(ordered, width, height) else None
    if fits(transpose(box), width, height):
        return "box-transposed", transpose(box)
    clipped = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    return "box-outside", clipped if fits(clipped, width, height) else None


def faults(annotation: Any, width: int, height: int, *, is_size: bool = False) -> tuple[str | None, tuple[Drawn, ...]]:
    """The kind of the first faulty box of an annotation (None: no box is at fault), and all boxes to be drawn."""
    first, drawn, seen = None, [], set()
    for label, value in boxes_of(annotation):
        box = as_box(value)
        if box is None:
            continue
        found = diagnose(box, width, height, is_size=is_size)
        if found is None and (label, box) in seen:
            found = "box-twice", None
        seen.add((label, box))
        if found is None:
            drawn.append(Drawn(box, "plain", label))
            continue
        first = first or found[0]
        drawn.append(Drawn(box, "stated", label))
        if found[1] is not None:
            drawn.append(Drawn(found[1], "meant", label))
    return first, tuple(drawn)


def doubts(record: Record) -> Iterator[tuple[str, str, tuple[Drawn, ...]]]:
    """(kind, detail, boxes to draw) of what is legal in the boxes of a record, and doubtful."""
    boxes = [(label, box) for label, value in boxes_of(record.annotation) if (box := as_box(value)) is not None]
    for kind, told, test in (
        ("box-fraction", "lies within the first pixel", _is_fraction),
        ("box-tiny", "is tiny", _is_tiny),
    ):
        chosen = [(label, box) for label, box in boxes if test(box, record)]
        if chosen:
            label, box = chosen[0]
            more = f", and {len(chosen) - 1} more" if len(chosen) > 1 else ""
            yield kind, f"{_named(label, box)} {told}{more}", tuple(Drawn(b, "stated", name) for name, b in chosen)
    pair = _nearly_twice(boxes)
    if pair is not None:
        (label, one), (_, other), overlap = pair
        drawn = (Drawn(one, "stated", label), Drawn(other, "meant", label))
        told = f"{_named(label, one)} and {_named('', other)} overlap by {overlap:.2f} (IoU)"
        yield "box-nearly-twice", told, drawn


def _is_fraction(box: Box, record: Record) -> bool:
    return max(box) <= 1.0 and min(record.width, record.height) > 4 and any(n != int(n) for n in box)


def _is_tiny(box: Box, record: Record) -> bool:
    return min(box[2] - box[0], box[3] - box[1]) < TINY <= min(record.width, record.height) and not _is_fraction(
        box, record
    )


def _nearly_twice(boxes: Sequence[tuple[str, Box]]) -> tuple[tuple[str, Box], tuple[str, Box], float] | None:
    """The first two boxes of one class that overlap by NEARLY or more. Sorted by x1, few need to be compared."""
    ranked = sorted(boxes)
    for at, (label, one) in enumerate(ranked):
        reach = (1 - NEARLY) * (one[2] - one[0])
        for other_label, other in ranked[at + 1 :]:
            if other_label != label or other[0] - one[0] > reach:
                break
            overlap = iou(one, other)
            if overlap >= NEARLY:
                return (label, one), (label, other), overlap
    return None


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes with area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return width * height / (areas - width * height)


def _named(label: str, box: Box) -> str:
    shown = [int(n) if n == int(n) else round(n, 2) for n in box]
    return f"{label} {shown}".strip()
