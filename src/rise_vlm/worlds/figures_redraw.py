"""Drawing a plan whose marks no family has planned: every text looks for room beside its line, angle or point.

In the textbook style of `figures_draw`, whose lines and small marks these are. A text has many spots; it takes the one
that costs least, where a spot costs by what it covers of other texts, points and lines and by how far it is from what
it belongs to; then all texts choose again, given the others. Sizes are in parts of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from PIL import Image

from rise_vlm.worlds import figures_text
from rise_vlm.worlds.canvas import Canvas, Colour
from rise_vlm.worlds.figures_draw import BLACK, Page, placed
from rise_vlm.worlds.figures_plan import Mark, Plan, Point

SIZE = 448
HEIGHTS = (0.05, 0.042, 0.035)
"""Of texts, from large to small: the first with which all texts find room, else the last."""

ROOM = 1.5
"""The cost of a text that has found room."""

ARC = 0.04
EDGE, GAP, DOT = 0.008, 0.01, 0.01
ROUNDS = 4
COVERED, CROSSED, OUTSIDE = 30.0, 4.0, 1000.0
"""Costs: of a text that is covered by another; of a line through it, for each height of the text; of leaving the
picture.
"""

Box = tuple[float, float, float, float]
Spot = tuple[float, float, float]
Spots = Callable[[float, float], Iterator[Spot]]
"""Gives for a width and a height the spots: x, y and what it costs by itself."""


@dataclass
class Label:
    """A text, its spots as rectangles (K, 4) and what each costs before other texts are there (K,)."""

    text: str
    boxes: np.ndarray
    costs: np.ndarray
    chosen: int = 0

    def box(self) -> Box:
        """Left, top, right and bottom of the text where it stands."""
        left, top, right, bottom = self.boxes[self.chosen].tolist()
        return left, top, right, bottom


def redraw(plan: Plan, size: int = SIZE, supersample: int = 2) -> Image.Image:
    """The picture of a figure, `size` x `size` RGB."""
    page = Redrawn(Canvas(size, supersample, "paint", background=(255, 255, 255)), plan)
    page.write_all()
    return page.canvas.finish()


class Redrawn(Page):
    """A page on which lines and small marks are drawn at once, and texts where there is room when all are known."""

    def __init__(self, canvas: Canvas, plan: Plan) -> None:
        super().__init__(canvas, plan, placed(plan, 0, flip=False), "textbook", 0)
        self.texts: list[tuple[str, Spots]] = []
        self.strokes_drawn: list[tuple[Point, Point]] = []
        self.spans = 0
        self.surfaces()
        self.strokes()
        for mark in plan.marks:
            self.mark(mark)
        self.letters()

    def stroke(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A line through points, which texts then keep away from."""
        super().stroke(points, colour, width)
        self.strokes_drawn += pairwise(points)

    def mark(self, mark: Mark) -> None:
        """One mark: its strokes at once, its text when all are known."""
        if mark.kind in ("angle", "arcs"):
            self._arcs(mark, int(mark.text) if mark.kind == "arcs" else 1)
        spots = {"length": self._beside, "angle": self._within, "number": self._within, "arc": self._outside}
        if mark.kind == "span":
            self.texts.append((mark.text, partial(self._along, *self._span(mark))))
        elif mark.kind in spots:
            self.texts.append((mark.text, partial(spots[mark.kind], mark)))
        elif mark.kind != "arcs":
            super().mark(mark)

    def letters(self) -> None:
        """A dot at each named point, and its letter about it."""
        for name, (x, y) in self.at.items():
            if name not in self.plan.hidden:
                self.canvas.ellipse(x, y, 0.007, 0.007, BLACK, outline=False)
                self.texts.append((name, partial(self._around, name)))

    def labels(self) -> tuple[list[Label], int]:
        """All texts where they stand, and their height in pixels."""
        labels, pixels = [], 0
        for height in HEIGHTS:
            pixels = round(height * self.canvas.pixels)
            labels = [self._label(text, spots, pixels) for text, spots in self.texts]
            if max(_settle(labels), default=0.0) <= ROOM:
                break
        return labels, pixels

    def write_all(self) -> None:
        """Write the texts."""
        labels, pixels = self.labels()
        for label in labels:
            left, top, right, bottom = label.box()
            middle = (left + right) / 2 * self.canvas.pixels, (top + bottom) / 2 * self.canvas.pixels
            figures_text.write(self.canvas.pencil, label.text, middle, pixels, BLACK)

    def _label(self, text: str, spots: Spots, pixels: int) -> Label:
        wide, high = (length / self.canvas.pixels for length in figures_text.extent(text, pixels))
        x, y, own = np.array(list(spots(wide, high))).T
        boxes = np.stack([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2], axis=1)
        outside = (boxes[:, :2].min(1) < EDGE) | (boxes[:, 2:].max(1) > 1 - EDGE)
        crossed = _lengths_in(np.array(self.strokes_drawn).reshape(-1, 4), boxes) / high
        dots = sum(_covered(boxes, (x - DOT, y - DOT, x + DOT, y + DOT)) for x, y in self.at.values())
        return Label(text, boxes, own + OUTSIDE * outside + CROSSED * crossed + dots / 4)

    def _beside(self, mark: Mark, wide: float, high: float) -> Iterator[Spot]:
        """On either side of a line."""
        a, b = (self.at[name] for name in mark.points)
        return self._along(a, b, wide, high)

    def _along(self, a: Point, b: Point, wide: float, high: float) -> Iterator[Spot]:
        """On either side of a line, best beside its middle and away from the figure's."""
        (x1, y1), (x2, y2) = a, b
        long = math.dist(a, b)
        nx, ny = (y1 - y2) / long, (x2 - x1) / long
        reach = abs(nx) * wide / 2 + abs(ny) * high / 2 + GAP
        for share in (0.5, 0.44, 0.56, 0.37, 0.63, 0.3, 0.7):
            x, y = x1 + (x2 - x1) * share, y1 + (y2 - y1) * share
            for way in (1, -1):
                inward = way * (nx * (x - self.centre[0]) + ny * (y - self.centre[1])) < 0
                for more in (0.0, 0.02):
                    far = way * (reach + more)
                    yield x + nx * far, y + ny * far, 6 * abs(share - 0.5) + 0.4 * inward + 20 * more

    def _span(self, mark: Mark) -> tuple[Point, Point]:
        """A bracket beside a line that has points between, so that it is seen how far its length reaches."""
        (x1, y1), (x2, y2) = (self.at[name] for name in mark.points)
        long = math.dist((x1, y1), (x2, y2))
        nx, ny = (y1 - y2) / long, (x2 - x1) / long
        if nx * ((x1 + x2) / 2 - self.centre[0]) + ny * ((y1 + y2) / 2 - self.centre[1]) < 0:
            nx, ny = -nx, -ny
        far = 0.07 + 0.05 * (self.spans % 2)
        self.spans += 1
        for x, y in ((x1, y1), (x2, y2)):
            self.stroke([(x + nx * (far + k), y + ny * (far + k)) for k in (-0.012, 0.012)], BLACK, 0.004)
        a, b = (x1 + nx * far, y1 + ny * far), (x2 + nx * far, y2 + ny * far)
        self.stroke([a, b], BLACK, 0.004)
        return a, b

    def _within(self, mark: Mark, wide: float, high: float) -> Iterator[Spot]:
        """Along the bisector of an angle, as near to its vertex as there is room."""
        (x, y), start, turn = self._ends(mark)
        for step in range(14):
            for lean in (0.5, 0.42, 0.58, 0.34, 0.66):
                way = start + turn * lean
                far = ARC + 0.02 * step + abs(math.cos(way)) * wide / 2 + abs(math.sin(way)) * high / 2
                yield x + far * math.cos(way), y + far * math.sin(way), 0.3 * step + 3 * abs(lean - 0.5)

    def _outside(self, mark: Mark, wide: float, high: float) -> Iterator[Spot]:
        """Outside a circle at the middle of an arc, which is the smaller one where no point between is named."""
        (ax, ay), (x, y), (bx, by), *middle = (self.at[name] for name in mark.points)
        start = math.atan2(ay - y, ax - x)
        turn = (math.atan2(by - y, bx - x) - start + math.pi) % (2 * math.pi) - math.pi
        if middle:
            passed = (math.atan2(middle[0][1] - y, middle[0][0] - x) - start) % (2 * math.pi)
            upward = turn % (2 * math.pi)
            turn = upward if passed < upward else upward - 2 * math.pi
        radius = math.dist((ax, ay), (x, y))
        for share in (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74):
            way = start + turn * share
            for side in (1, -1):
                far = radius + side * (abs(math.cos(way)) * wide / 2 + abs(math.sin(way)) * high / 2 + GAP)
                yield x + far * math.cos(way), y + far * math.sin(way), 6 * abs(share - 0.5) + (side < 0)

    def _around(self, name: str, wide: float, high: float) -> Iterator[Spot]:
        """Round about a point, best in the widest gap between its lines."""
        x, y = self.at[name]
        best = self._gap(name)
        for k in range(24):
            way = best + k * math.pi / 12
            off = min(k, 24 - k) * math.pi / 12
            for more in (0.0, 0.015, 0.03):
                far = 0.55 * math.hypot(math.cos(way) * wide, math.sin(way) * high) + 0.016 + more
                yield x + far * math.cos(way), y + far * math.sin(way), 0.3 * off + 30 * more

    def _arcs(self, mark: Mark, count: int) -> None:
        """Arcs of an angle, one within the other."""
        (x, y), start, turn = self._ends(mark)
        for k in range(count):
            far = ARC + 0.014 * k
            ways = [start + turn * step / 14 for step in range(15)]
            self.stroke([(x + far * math.cos(way), y + far * math.sin(way)) for way in ways], BLACK, 0.005)


def _settle(labels: Sequence[Label]) -> list[float]:
    """Choose the spot of every label; the cost of each."""
    for label in labels:
        label.chosen = int(label.costs.argmin())
    for _ in range(ROUNDS):
        before = [label.chosen for label in labels]
        for label in labels:
            label.chosen = int(_beside_others(label, labels).argmin())
        if before == [label.chosen for label in labels]:
            break
    return [float(_beside_others(label, labels)[label.chosen]) for label in labels]


def _beside_others(label: Label, labels: Sequence[Label]) -> np.ndarray:
    """What the spots of a label (K,) cost where the others stand."""
    return label.costs + sum(_covered(label.boxes, other.box()) for other in labels if other is not label)


def _covered(boxes: np.ndarray, other: Box) -> np.ndarray:
    """The cost (K,) of boxes (K, 4) that overlap another, by the share of the smaller one that is covered."""
    left, top, right, bottom = boxes.T
    wide = np.minimum(right, other[2]) - np.maximum(left, other[0])
    high = np.minimum(bottom, other[3]) - np.maximum(top, other[1])
    least = np.minimum((right - left) * (bottom - top), (other[2] - other[0]) * (other[3] - other[1]))
    return COVERED * wide.clip(0) * high.clip(0) / least


def _lengths_in(segments: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The length (K,) of all segments (S, 4: x, y, x, y) within each box (K, 4), by Liang and Barsky."""
    start, step = segments[:, :2], segments[:, 2:] - segments[:, :2]
    step = np.where(np.abs(step) < 1e-9, 1e-9, step)
    one = (boxes[:, None, :2] - start) / step  # (K, S, 2)
    other = (boxes[:, None, 2:] - start) / step
    first = np.minimum(one, other).max(2).clip(0)
    last = np.maximum(one, other).min(2).clip(max=1)
    return ((last - first).clip(0) * np.hypot(*step.T)).sum(1)
