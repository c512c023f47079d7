"""What the drawn things share: neutral colours, shades, a ring, and a canvas that measures instead of painting."""

from __future__ import annotations

import math

from rise_vlm.worlds.canvas import Canvas, Colour, Pen, mix

CREAM: Colour = (252, 246, 230)
CHARCOAL: Colour = (58, 54, 66)
STEEL: Colour = (168, 176, 190)
WOOD: Colour = (140, 98, 66)
ROSE: Colour = (240, 168, 176)
GLASS: Colour = (208, 230, 240)


def dark(colour: Colour, share: float = 0.28) -> Colour:
    """A darker shade."""
    return mix(colour, (30, 20, 50), share)


def light(colour: Colour, share: float = 0.3) -> Colour:
    """A lighter shade."""
    return mix(colour, (255, 250, 240), share)


def ring(p: Pen, cx: float, cy: float, rx: float, ry: float, colour: Colour, width: float) -> None:
    """A closed band along an ellipse; what lies behind shows through its hole."""
    turns = [2 * math.pi * k / 24 for k in range(25)]
    p.limb([(cx + rx * math.cos(t), cy + ry * math.sin(t)) for t in turns], colour, width, soft=False)


class Tracer(Canvas):
    """A canvas that paints nothing and remembers how far the drawing reached."""

    def __init__(self, style: str) -> None:
        super().__init__(8, 1, style)
        self._x: list[float] = []
        self._y: list[float] = []

    def polygon(self, points: list[tuple[float, float]], fill: Colour | None, outline: bool, width: float | None,
                edge: Colour | None) -> None:  # fmt: skip
        drawn = (self.style == "ink" and outline) or edge is not None
        shake = self.pixels * 0.0011 if self.style == "ink" and outline else 0.0  # half of the most that ink wobbles
        self._note(points, (width or self.nib) / 2 + shake if drawn else 0.0)

    def stroke(self, points: list[tuple[float, float]], colour: Colour, width: float) -> None:
        self._note(points, width / 2)

    def box_drawn(self) -> tuple[float, float, float, float]:
        """(x1, y1, x2, y2) of all that was drawn, in parts of the picture."""
        k, last = self.pixels, 0.0012  # Pillow paints the last pixel row and column too
        return (min(self._x) / k, min(self._y) / k, max(self._x) / k + last, max(self._y) / k + last)

    def _note(self, points: list[tuple[float, float]], margin: float) -> None:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        self._x += (min(xs) - margin, max(xs) + margin)
        self._y += (min(ys) - margin, max(ys) + margin)
