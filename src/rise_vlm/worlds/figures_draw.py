"""How a figure is drawn: turned, fitted into the picture, its marks written where there is room.

Two styles: `clean` (filled pale shapes, dark lines, coloured marks) and `textbook` (blue lines on white, black marks,
in the manner of Geometry3K). All sizes are in parts of the picture. Left out: moving texts that meet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image

from rise_vlm.worlds.canvas import Canvas, Colour, mix
from rise_vlm.worlds.figures_plan import Mark, Plan, Point
from rise_vlm.worlds.figures_text import font

MARGIN = 0.15
ARC = 0.075
LETTERS, FIGURES = 0.06, 0.058
"""Heights of the letters at points and of the texts of marks."""

TINTS: tuple[Colour, ...] = ((252, 232, 204), (214, 236, 250), (222, 242, 214), (246, 222, 236), (236, 228, 250))
INK: Colour = (44, 52, 66)
LENGTH: Colour = (24, 96, 168)
ANGLE: Colour = (196, 66, 40)
BLUE: Colour = (30, 88, 200)
BLACK: Colour = (20, 20, 24)


def draw_plan(plan: Plan, style: str, turn: float, flip: bool, tint: int, size: int, supersample: int) -> Image.Image:
    """The picture of a figure, RGB."""
    canvas = Canvas(size, supersample, "paint", background=(255, 255, 255))
    if style == "clean":
        canvas.gradient(0, 1, (255, 254, 250), mix((255, 252, 244), TINTS[tint], 0.25))
    places = placed(plan, turn, flip)
    page = Page(canvas, plan, places, style, tint)
    page.surfaces()
    page.strokes()
    for mark in plan.marks:
        page.mark(mark)
    if plan.asked is not None:
        page.mark(plan.asked)
    page.letters()
    return canvas.finish()


def placed(plan: Plan, turn: float, flip: bool) -> dict[str, Point]:
    """Where each point is in the picture; circles fit too."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))

    def turned(x: float, y: float) -> Point:
        x = -x if flip else x
        return cos * x - sin * y, -(sin * x + cos * y)

    raw = {name: turned(*at) for name, at in plan.points.items()}
    reach = [(x, y, 0.0) for x, y in raw.values()] + [(*raw[name], radius) for name, radius in plan.circles]
    left, right = min(x - r for x, _, r in reach), max(x + r for x, _, r in reach)
    top, bottom = min(y - r for _, y, r in reach), max(y + r for _, y, r in reach)
    scale = (1 - 2 * MARGIN) / max(right - left, bottom - top)
    middle = ((left + right) / 2, (top + bottom) / 2)
    return {name: (0.5 + (x - middle[0]) * scale, 0.5 + (y - middle[1]) * scale) for name, (x, y) in raw.items()}


class Page:
    """A canvas, the plan, and where its points are; `figures_redraw` finds other places for the texts."""

    def __init__(self, canvas: Canvas, plan: Plan, places: dict[str, Point], style: str, tint: int) -> None:
        self.canvas, self.plan, self.at, self.tint = canvas, plan, places, tint
        self.clean = style == "clean"
        self.line = INK if self.clean else BLUE
        self.width = 0.011 if self.clean else 0.008
        first, second = list(plan.points)[:2]
        self.scale = math.dist(places[first], places[second]) / math.dist(plan.points[first], plan.points[second])
        xs, ys = zip(*places.values(), strict=True)
        self.centre = (sum(xs) / len(xs), sum(ys) / len(ys))

    def write(self, text: str, x: float, y: float, height: float, colour: Colour) -> None:
        """Text about (x, y), with a thin pale rim."""
        face = font(max(8, round(height * self.canvas.pixels)))
        rim = max(1, round(0.005 * self.canvas.pixels))
        spot = (x * self.canvas.pixels, y * self.canvas.pixels)
        self.canvas.pencil.text(spot, text, fill=colour, font=face, anchor="mm", stroke_width=rim,
                                stroke_fill=(255, 255, 255))  # fmt: skip

    def stroke(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A line through points."""
        self.canvas.line(points, colour, width)

    def surfaces(self) -> None:
        """Filled shapes and circles."""
        for name, radius in self.plan.circles:
            x, y = self.at[name]
            r = radius * self.scale
            turns = [2 * math.pi * k / 96 for k in range(97)]
            rim = [(x + r * math.cos(t), y + r * math.sin(t)) for t in turns]
            if self.clean:
                self.canvas.shape(rim, TINTS[self.tint])
            self.stroke(rim, self.line, self.width)
        if self.clean:
            for names in self.plan.areas:
                self.canvas.shape([self.at[name] for name in names], TINTS[self.tint])

    def strokes(self) -> None:
        """Lines, and dashed ones."""
        for a, b in self.plan.lines:
            self.stroke([self.at[a], self.at[b]], self.line, self.width)
        for a, b in self.plan.dashed:
            (x1, y1), (x2, y2) = self.at[a], self.at[b]
            count = max(2, round(math.dist(self.at[a], self.at[b]) / 0.05))
            for k in range(count):
                s, t = k / count, (k + 0.55) / count
                self.stroke([(x1 + (x2 - x1) * s, y1 + (y2 - y1) * s), (x1 + (x2 - x1) * t, y1 + (y2 - y1) * t)],
                                 self.line, self.width * 0.7)  # fmt: skip

    def letters(self) -> None:
        """A dot and a letter at each named point, the letter in the widest gap between its lines."""
        for name, (x, y) in self.at.items():
            if name in self.plan.hidden:
                continue
            dot = 0.011 if self.clean else 0.008
            self.canvas.ellipse(x, y, dot, dot, self.line if self.clean else BLACK, outline=False)
            way = self._gap(name)
            far = 0.052
            colour = INK if self.clean else BLACK
            self.write(name, x + far * math.cos(way), y + far * math.sin(way), LETTERS, colour)

    def _gap(self, name: str) -> float:
        """The direction away from all lines at a point."""
        x, y = self.at[name]
        ways = [math.atan2(oy - y, ox - x) for other, (ox, oy) in self.at.items() if self._joined(name, other)]
        for centre, radius in self.plan.circles:
            cx, cy = self.at[centre]
            if centre != name and abs(math.dist((x, y), (cx, cy)) - radius * self.scale) < 0.01:
                inward = math.atan2(cy - y, cx - x)
                ways += [inward, inward + 1.35, inward - 1.35]
        for mark in (*self.plan.marks, self.plan.asked):
            if mark is not None and mark.kind == "angle" and mark.points[1] == name:
                _, start, turn = self._ends(mark)
                ways.append(start + turn / 2)  # where its number stands
        ways = sorted(way % (2 * math.pi) for way in ways)
        if not ways:
            return -math.pi / 2
        gaps = [(b - a, a) for a, b in zip(ways, [*ways[1:], ways[0] + 2 * math.pi], strict=True)]
        widest, start = max(gaps)
        return start + widest / 2

    def _joined(self, name: str, other: str) -> bool:
        """Whether a line runs from a point towards another, also through it."""
        if name == other:
            return False
        for a, b in (*self.plan.lines, *self.plan.dashed):
            if (name in (a, b) and other in (a, b)) or (other in (a, b) and self._between(name, a, b)):
                return True
        return False

    def _between(self, name: str, a: str, b: str) -> bool:
        p, q, r = self.at[name], self.at[a], self.at[b]
        return name not in (a, b) and math.dist(p, q) + math.dist(p, r) - math.dist(q, r) < 1e-4

    def mark(self, mark: Mark) -> None:
        """One mark with its text."""
        if mark.kind == "length":
            self._length(mark)
        elif mark.kind == "angle":
            self._angle(mark)
        elif mark.kind == "right":
            self._right(mark)
        else:
            self._on_line(mark)

    def _length(self, mark: Mark) -> None:
        (x1, y1), (x2, y2) = (self.at[name] for name in mark.points)
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        long = math.dist((x1, y1), (x2, y2))
        nx, ny = (y1 - y2) / long, (x2 - x1) / long
        if nx * (x - self.centre[0]) + ny * (y - self.centre[1]) < -1e-6:
            nx, ny = -nx, -ny
        far = 0.045 + 0.011 * max(0, len(mark.text) - 1) * abs(nx)
        self.write(mark.text, x + nx * far, y + ny * far, FIGURES, LENGTH if self.clean else BLACK)

    def _ends(self, mark: Mark) -> tuple[Point, float, float]:
        """(vertex, direction of the first side, turn to the second, -pi to pi)."""
        (ax, ay), (vx, vy), (bx, by) = (self.at[name] for name in mark.points)
        start = math.atan2(ay - vy, ax - vx)
        turn = (math.atan2(by - vy, bx - vx) - start + math.pi) % (2 * math.pi) - math.pi
        return (vx, vy), start, turn

    def _angle(self, mark: Mark) -> None:
        (x, y), start, turn = self._ends(mark)
        ways = [start + turn * k / 14 for k in range(15)]
        rim = [(x + ARC * math.cos(way), y + ARC * math.sin(way)) for way in ways]
        colour = ANGLE if self.clean else BLACK
        if self.clean:
            self.canvas.shape([(x, y), *rim], mix(ANGLE, (255, 255, 255), 0.72))
        self.stroke(rim, colour, 0.006)
        way = start + turn / 2
        wide = 0.017 * len(mark.text.rstrip("°")) + 0.012
        need = (wide + 0.012) / max(0.3, math.sin(min(abs(turn) / 2, 1.4)))
        far = max(ARC + 0.036 + 0.012 * len(mark.text) * abs(math.cos(way)), min(need, 0.24))
        self.write(mark.text, x + far * math.cos(way), y + far * math.sin(way), FIGURES, colour)

    def _right(self, mark: Mark) -> None:
        (x, y), start, turn = self._ends(mark)
        a = (0.042 * math.cos(start), 0.042 * math.sin(start))
        b = (0.042 * math.cos(start + turn), 0.042 * math.sin(start + turn))
        corner = [(x + a[0], y + a[1]), (x + a[0] + b[0], y + a[1] + b[1]), (x + b[0], y + b[1])]
        self.stroke(corner, ANGLE if self.clean else BLACK, 0.006)

    def _on_line(self, mark: Mark) -> None:
        """Ticks across a side, or small arrow heads along a line."""
        (x1, y1), (x2, y2) = (self.at[name] for name in mark.points)
        long = math.dist((x1, y1), (x2, y2))
        u, v = (x2 - x1) / long, (y2 - y1) / long
        share = 0.5 if mark.kind == "ticks" else 0.62
        x, y = x1 + (x2 - x1) * share, y1 + (y2 - y1) * share
        colour = ANGLE if self.clean else BLACK
        arrow: Sequence[Point] = [(-0.02, 0.018), (0.008, 0.0), (-0.02, -0.018)]
        shape = arrow if mark.kind == "arrow" else [(0.0, -0.02), (0.0, 0.02)]
        count = int(mark.text or 1)
        for k in range(count):
            at = 0.014 * (k - (count - 1) / 2)
            self.stroke([(x + u * (at + a) - v * b, y + v * (at + a) + u * b) for a, b in shape], colour, 0.008)
