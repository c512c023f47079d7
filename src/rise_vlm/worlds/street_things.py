"""The eight kinds of things of a street, drawn in metres: the ground is y = 0, up is negative, the middle is x = 0.

Sizes are those of a picture book: vehicles are short, so that a street holds several. `THINGS` maps a class name to its
painter, `reach` says how far one extends, `Stencil` which pixels are left of it when others stand before it. Left out:
views from the front or the back.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from PIL import Image, ImageDraw

from rise_vlm.worlds.canvas import Canvas, Colour, Pen, Point
from rise_vlm.worlds.things import COLOURS, bicycle
from rise_vlm.worlds.things_kit import CHARCOAL, CREAM, GLASS, STEEL, Tracer, dark, light, ring

Painter = Callable[[Pen, str, int], None]

LAMP: Colour = (255, 240, 170)
_SKIN: tuple[Colour, ...] = ((250, 214, 186), (208, 152, 112), (146, 96, 66), (238, 190, 152))
_HAIR: tuple[Colour, ...] = ((70, 46, 34), (36, 30, 36), (26, 22, 28), (196, 140, 70))
_FUR: tuple[Colour, ...] = ((186, 130, 84), (238, 224, 200), (96, 78, 70), (214, 170, 110))


def car(p: Pen, colour: str, look: int) -> None:
    c = COLOURS[colour]
    p.blob([(-0.86, -0.66), (-0.62, -1.14), (-0.4, -1.25), (0.3, -1.25), (0.52, -1.16), (0.88, -0.66)], c, steps=4)
    p.shape([(-0.66, -0.7), (-0.46, -1.08), (-0.06, -1.1), (-0.06, -0.7)], GLASS)
    p.shape([(0.06, -0.7), (0.06, -1.1), (0.36, -1.08), (0.64, -0.7)], GLASS)
    p.blob([(-1.3, -0.3), (-1.28, -0.64), (-1.0, -0.74), (0.8, -0.74), (1.2, -0.64), (1.32, -0.44), (1.3, -0.24),
            (-1.26, -0.22)], c, steps=4)  # fmt: skip
    p.rect(-1.2, -0.36, 1.22, -0.28, dark(c), outline=False)
    for x in (-0.78, 0.8):
        p.ellipse(x, -0.26, 0.27, 0.27, CHARCOAL)
        p.ellipse(x, -0.26, 0.13, 0.13, STEEL)
    p.ellipse(1.22, -0.52, 0.07, 0.1, LAMP)
    p.line([(0.0, -0.7), (0.0, -0.36)], dark(c), 0.04)
    p.line([(0.12, -0.58), (0.26, -0.58)], dark(c, 0.5), 0.05)


def bus(p: Pen, colour: str, look: int) -> None:
    c = COLOURS[colour]
    p.rect(-2.15, -2.35, 2.15, -0.3, c, 0.22)
    p.rect(-2.05, -1.12, 2.05, -0.98, CREAM, outline=False)
    for k in range(4):
        p.rect(-1.94 + 0.76 * k, -2.05, -1.34 + 0.76 * k, -1.3, GLASS, 0.08)
    p.rect(1.2, -2.02, 1.72, -0.42, light(c, 0.45), 0.06)
    p.rect(1.28, -1.92, 1.64, -0.56, GLASS, 0.05)
    p.rect(1.84, -2.05, 2.12, -1.2, GLASS, 0.06)
    p.rect(-2.1, -0.5, 2.1, -0.34, dark(c), outline=False)
    for x in (-1.3, 0.86):
        p.ellipse(x, -0.34, 0.35, 0.35, CHARCOAL)
        p.ellipse(x, -0.34, 0.17, 0.17, STEEL)
    p.ellipse(2.06, -0.66, 0.07, 0.11, LAMP)


def cycle(p: Pen, colour: str, look: int) -> None:
    bicycle(p.at(0.0, -0.58, 0.86), COLOURS[colour])


def person(p: Pen, colour: str, look: int) -> None:
    c, skin, hair = COLOURS[colour], _SKIN[look], _HAIR[look]
    stride = 0.2 if look % 2 else 0.1
    for side in (-1, 1):
        p.limb([(side * 0.08, -0.72), (side * stride, -0.08)], (70, 76, 104), 0.17, soft=False)
        p.rect(side * stride - 0.1, -0.1, side * stride + 0.16, 0.0, CHARCOAL, 0.04)
    p.limb([(-0.24, -1.2), (-0.36, -0.98), (-0.28, -0.76)], dark(c), 0.15)
    p.ellipse(-0.28, -0.72, 0.07, 0.07, skin)
    p.blob([(-0.24, -1.34), (0.0, -1.38), (0.24, -1.34), (0.3, -0.62), (0.0, -0.57), (-0.3, -0.62)], c, steps=4)
    p.line([(0.0, -1.3), (0.0, -0.62)], dark(c), 0.04)
    p.limb([(0.22, -1.2), (0.36, -0.98), (0.3, -0.76)], c, 0.15)
    p.ellipse(0.3, -0.72, 0.07, 0.07, skin)
    p.ellipse(0.0, -1.58, 0.2, 0.22, skin)
    p.blob([(-0.23, -1.5), (-0.25, -1.72), (0.0, -1.86), (0.24, -1.74), (0.2, -1.62), (-0.02, -1.7), (-0.12, -1.6)],
           hair, steps=3)  # fmt: skip
    for x in (0.03, 0.13):
        p.ellipse(x, -1.57, 0.025, 0.03, CHARCOAL, outline=False)


def dog(p: Pen, colour: str, look: int) -> None:
    c, fur = COLOURS[colour], _FUR[look]
    p.limb([(-0.48, -0.5), (-0.66, -0.66), (-0.62, -0.84)], fur, 0.1)
    for x in (-0.4, -0.22, 0.2, 0.36):
        p.limb([(x, -0.36), (x, -0.05)], dark(fur, 0.18 if x in (-0.22, 0.2) else 0.0), 0.13, soft=False)
    p.ellipse(0.0, -0.46, 0.52, 0.2, fur)
    p.blob([(-0.3, -0.62), (0.0, -0.68), (0.26, -0.64), (0.26, -0.36), (0.0, -0.29), (-0.3, -0.36)], c, steps=3)
    p.blob([(0.3, -0.6), (0.36, -0.9), (0.56, -0.94), (0.68, -0.8), (0.9, -0.74), (0.88, -0.6), (0.6, -0.54)],
           fur, steps=4)  # fmt: skip
    p.blob([(0.34, -0.92), (0.48, -0.96), (0.46, -0.68), (0.36, -0.6), (0.28, -0.7)], dark(fur, 0.35), steps=3)
    p.ellipse(0.88, -0.73, 0.05, 0.05, CHARCOAL)
    p.ellipse(0.63, -0.8, 0.03, 0.035, CHARCOAL, outline=False)


def bench(p: Pen, colour: str, look: int) -> None:
    c = COLOURS[colour]
    for x in (-0.66, 0.66):
        p.limb([(x - 0.06, -0.96), (x, -0.4), (x, 0.0)], CHARCOAL, 0.09, soft=False)
        p.limb([(x, -0.4), (x + 0.2, -0.4), (x + 0.24, 0.0)], CHARCOAL, 0.09, soft=False)
    for y in (-0.94, -0.72):
        p.rect(-0.92, y, 0.86, y + 0.16, c, 0.03)
    p.rect(-0.9, -0.46, 0.98, -0.34, light(c, 0.2), 0.03)
    p.rect(-0.9, -0.34, 0.98, -0.26, dark(c), 0.02)


def traffic_light(p: Pen, colour: str, look: int) -> None:
    p.rect(-0.07, -1.8, 0.07, 0.0, (96, 98, 110))
    p.rect(-0.22, -0.12, 0.22, 0.0, (96, 98, 110), 0.04)
    p.rect(-0.3, -2.84, 0.3, -1.66, CHARCOAL, 0.1)
    for name, y in (("red", -2.62), ("yellow", -2.25), ("green", -1.88)):
        lit = name == colour
        if lit:
            p.ellipse(0, y, 0.22, 0.17, light(COLOURS[name], 0.45), outline=False)
        p.ellipse(0, y, 0.145, 0.145, COLOURS[name] if lit else dark(COLOURS[name], 0.72), outline=False)
    for y in (-2.62, -2.25, -1.88):
        p.arc(0, y, 0.17, 0.17, 190, 350, (30, 28, 36), 0.04)


def fire_hydrant(p: Pen, colour: str, look: int) -> None:
    c = COLOURS[colour]
    p.rect(-0.34, -0.12, 0.34, 0.0, dark(c), 0.03)
    p.rect(-0.22, -0.68, 0.22, -0.1, c, 0.05)
    p.rect(-0.14, -0.62, -0.06, -0.16, light(c), outline=False)
    for side in (-1, 1):
        p.rect(min(side * 0.2, side * 0.36), -0.56, max(side * 0.2, side * 0.36), -0.36, dark(c), 0.04)
    p.rect(-0.29, -0.74, 0.29, -0.64, dark(c), 0.03)
    dome: list[Point] = [(-0.22 * math.cos(math.pi * k / 8), -0.74 - 0.2 * math.sin(math.pi * k / 8)) for k in range(9)]
    p.shape(dome, c)
    p.rect(-0.06, -1.0, 0.06, -0.9, dark(c), 0.02)
    ring(p, 0.02, -0.44, 0.1, 0.1, STEEL, 0.05)


THINGS: dict[str, Painter] = {
    "person": person, "bicycle": cycle, "car": car, "bus": bus, "dog": dog, "bench": bench,
    "traffic light": traffic_light, "fire hydrant": fire_hydrant,
}  # fmt: skip

TINTS: dict[str, tuple[str, ...]] = {kind: tuple(COLOURS) for kind in THINGS} | {
    "traffic light": ("red", "yellow", "green")
}
"""The colours that a kind can have; of a traffic light, that of the lit lamp."""


@functools.cache
def reach(kind: str) -> tuple[float, float, float, float]:
    """How far `kind` reaches in its own frame, in metres: (x1, y1, x2, y2), outlines left out."""
    tracer = Tracer("paint")
    THINGS[kind](tracer.at(0.0, 0.0, 0.1), "red", 0)
    return tuple(edge * 10 for edge in tracer.box_drawn())  # type: ignore[return-value]


class Stencil(Canvas):
    """A canvas that paints numbers: the pixels of what is drawn next become `number`, whatever was there before.

    Not supersampled; `numbers` is the "L" image of them, 0 where nothing was drawn.
    """

    def __init__(self, size: int, style: str, seed: int) -> None:
        super().__init__(size, 1, style, seed)
        self.numbers = Image.new("L", (size, size), 0)
        self.pencil = ImageDraw.Draw(self.numbers)
        self.number = 0

    def polygon(self, points: list[Point], fill: Colour | None, outline: bool, width: float | None,
                edge: Colour | None) -> None:  # fmt: skip
        if fill is not None:
            slip = self.slip if outline else 0.0
            self.pencil.polygon([(x + slip, y + slip) for x, y in points], fill=self.number)
        if (self.style == "ink" and outline) or edge is not None:
            self.stroke([*points, points[0]], CHARCOAL, width or self.nib)

    def stroke(self, points: list[Point], colour: Colour, width: float) -> None:
        self.pencil.line(points, fill=self.number, width=max(1, round(width)))
        if width > 3:
            r = width / 2 - 0.5
            for x, y in points:
                self.pencil.ellipse((x - r, y - r, x + r, y + r), fill=self.number)
