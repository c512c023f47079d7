"""Drawn household things, first half, and the table of all of them.

`THINGS` maps a name to a function that draws the thing with a `Pen` in a box from about -1 to 1, in one main colour
(neutral parts are cream, wood, steel or charcoal). `extent` says how far a drawing really reaches. Left out: shading,
perspective and anything smaller than a pixel at 40 pixels a thing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from rise_vlm.worlds import things_more as more
from rise_vlm.worlds.canvas import Colour, Pen, Point
from rise_vlm.worlds.things_kit import CHARCOAL, CREAM, ROSE, STEEL, WOOD, Tracer, dark, light, ring

Painter = Callable[[Pen, Colour], None]

COLOURS: dict[str, Colour] = {
    "red": (214, 48, 49),
    "blue": (44, 104, 208),
    "green": (44, 150, 76),
    "yellow": (246, 204, 34),
    "purple": (138, 72, 184),
    "orange": (243, 126, 28),
}


def umbrella(p: Pen, c: Colour) -> None:
    p.limb([(0, -0.2), (0, 0.72), (0.08, 0.88), (0.24, 0.86), (0.28, 0.7)], WOOD, 0.1)
    dome: list[Point] = [(-0.98 * math.cos(math.pi * k / 16), -0.9 * math.sin(math.pi * k / 16)) for k in range(17)]
    hem = [(0.65, -0.16), (0.33, 0.0), (0.0, -0.16), (-0.33, 0.0), (-0.65, -0.16)]
    p.shape([*dome, *hem], c)
    p.shape([(0, -0.9), (0.18, -0.75), (0.3, -0.4), (0.33, 0.0), (0, -0.16), (-0.33, 0), (-0.3, -0.4), (-0.18, -0.75)],
            light(c))  # fmt: skip
    p.limb([(0, -0.9), (0, -1.0)], WOOD, 0.08)


def key(p: Pen, c: Colour) -> None:
    p.limb([(0, -0.1), (0, 0.92)], c, 0.2, soft=False)
    for y, reach in ((0.86, 0.4), (0.56, 0.32)):
        p.rect(0.02, y - 0.09, reach, y + 0.09, c)
    ring(p, 0, -0.52, 0.36, 0.36, c, 0.22)
    p.rect(-0.17, -0.08, 0.17, 0.04, dark(c), 0.04)


def lamp(p: Pen, c: Colour) -> None:
    p.rect(-0.07, -0.1, 0.07, 0.8, STEEL)
    p.rect(-0.44, 0.74, 0.44, 0.94, dark(c), 0.08)
    p.ellipse(0, -0.02, 0.2, 0.16, (255, 240, 170))
    p.shape([(-0.36, -0.94), (0.36, -0.94), (0.74, 0.0), (-0.74, 0.0)], c)
    p.shape([(-0.28, -0.94), (-0.08, -0.94), (-0.24, 0.0), (-0.58, 0.0)], light(c), outline=False)
    p.line([(0.5, 0.0), (0.5, 0.3)], CHARCOAL, 0.05)
    p.ellipse(0.5, 0.32, 0.07, 0.07, CHARCOAL)


def scissors(p: Pen, c: Colour) -> None:
    p.shape([(0.14, 0.28), (-0.14, 0.2), (-0.42, -0.94), (-0.3, -0.96)], STEEL)
    p.shape([(-0.14, 0.28), (0.14, 0.2), (0.42, -0.94), (0.3, -0.96)], light(STEEL))
    for side in (-1, 1):
        p.limb([(0, 0.14), (side * 0.24, 0.44)], c, 0.2, soft=False)
        ring(p, side * 0.38, 0.66, 0.25, 0.29, c, 0.2)
    p.ellipse(0, 0.1, 0.09, 0.09, CHARCOAL)


def cup(p: Pen, c: Colour) -> None:
    ring(p, 0.5, 0.02, 0.28, 0.3, c, 0.16)
    p.rect(-0.72, -0.56, 0.48, 0.74, c, 0.18)
    p.rect(-0.6, -0.42, -0.42, 0.58, light(c), 0.08, outline=False)
    p.ellipse(-0.12, -0.56, 0.6, 0.18, CREAM)
    p.ellipse(-0.12, -0.53, 0.48, 0.11, (110, 70, 46))


def book(p: Pen, c: Colour) -> None:
    p.rect(-0.6, -0.78, 0.72, 0.92, dark(c), 0.06)
    p.rect(-0.5, -0.7, 0.64, 0.84, CREAM)
    p.line([(0.58, -0.62), (0.58, 0.78)], (196, 186, 160), 0.04)
    p.line([(-0.4, 0.79), (0.6, 0.79)], (196, 186, 160), 0.04)
    p.rect(-0.66, -0.9, 0.52, 0.72, c, 0.06)
    p.rect(-0.66, -0.9, -0.42, 0.72, dark(c), 0.06)
    p.rect(-0.24, -0.6, 0.36, -0.14, CREAM, 0.04)
    for y in (-0.46, -0.28):
        p.line([(-0.12, y), (0.24, y)], CHARCOAL, 0.06)


def clock(p: Pen, c: Colour) -> None:
    for side in (-1, 1):
        p.limb([(side * 0.45, 0.6), (side * 0.62, 0.9)], CHARCOAL, 0.14, soft=False)
        p.ellipse(side * 0.46, -0.68, 0.3, 0.2, dark(c), angle=side * 35)
    p.limb([(0, -0.62), (0, -0.9)], CHARCOAL, 0.12, soft=False)
    p.ellipse(0, 0.1, 0.78, 0.78, c)
    p.ellipse(0, 0.1, 0.56, 0.56, CREAM)
    for k in range(4):
        x, y = math.cos(math.pi / 2 * k), math.sin(math.pi / 2 * k)
        p.line([(x * 0.42, 0.1 + y * 0.42), (x * 0.5, 0.1 + y * 0.5)], CHARCOAL, 0.08)
    p.line([(0, 0.1), (0, -0.26)], CHARCOAL, 0.1)
    p.line([(0, 0.1), (0.24, 0.24)], CHARCOAL, 0.1)


def hammer(p: Pen, c: Colour) -> None:
    p.rect(-0.15, -0.6, 0.15, 0.96, c, 0.1)
    p.rect(-0.15, 0.2, 0.15, 0.32, dark(c))
    p.rect(-0.15, 0.44, 0.15, 0.56, dark(c))
    p.shape([(-0.22, -0.92), (0.26, -0.92), (0.62, -0.84), (0.72, -0.56), (0.46, -0.62), (0.26, -0.5), (-0.22, -0.5)],
            STEEL)  # fmt: skip
    p.rect(-0.66, -0.98, -0.36, -0.44, dark(STEEL), 0.05)
    p.rect(-0.38, -0.86, -0.2, -0.56, STEEL)


def ball(p: Pen, c: Colour) -> None:
    p.ellipse(0, 0, 0.92, 0.92, c)
    p.blob([(-0.22, -0.88), (0.16, -0.9), (0.34, -0.3), (0.3, 0.3), (0.12, 0.9), (-0.26, 0.87), (-0.04, 0.2),
            (-0.02, -0.3)], CREAM)  # fmt: skip
    p.blob([(-0.9, -0.02), (-0.78, -0.44), (-0.58, -0.1), (-0.62, 0.4), (-0.74, 0.52)], CREAM)
    p.blob([(0.82, -0.4), (0.91, 0.0), (0.78, 0.46), (0.72, 0.1)], CREAM)
    p.ellipse(0, -0.84, 0.13, 0.08, dark(c))


def chair(p: Pen, c: Colour) -> None:
    for x in (-0.46, 0.34):
        p.rect(x, 0.2, x + 0.13, 0.8, dark(c))
    p.rect(-0.52, -0.96, -0.36, 0.2, c, 0.05)
    p.rect(0.36, -0.96, 0.52, 0.2, c, 0.05)
    p.rect(-0.4, -0.9, 0.4, -0.62, c, 0.05)
    p.rect(-0.4, -0.46, 0.4, -0.22, c, 0.05)
    for x in (-0.68, 0.52):
        p.rect(x, 0.26, x + 0.16, 0.96, c, 0.04)
    p.shape([(-0.5, 0.06), (0.5, 0.06), (0.72, 0.3), (-0.72, 0.3)], light(c))
    p.rect(-0.72, 0.3, 0.72, 0.44, c)


def bicycle(p: Pen, c: Colour) -> None:
    for x in (-0.58, 0.58):
        ring(p, x, 0.26, 0.36, 0.36, CHARCOAL, 0.1)
        p.ellipse(x, 0.26, 0.07, 0.07, CHARCOAL)
    frame: list[list[Point]] = [
        [(-0.58, 0.26), (-0.04, 0.26), (0.4, -0.26), (-0.26, -0.26), (-0.58, 0.26)],
        [(-0.04, 0.26), (-0.32, -0.44)],
        [(0.58, 0.26), (0.36, -0.5)],
    ]
    for part in frame:
        p.limb(part, c, 0.14, soft=False)
    p.limb([(0.36, -0.5), (0.5, -0.6), (0.66, -0.52)], CHARCOAL, 0.1)
    p.rect(-0.52, -0.56, -0.14, -0.42, CHARCOAL, 0.06)
    p.ellipse(-0.04, 0.26, 0.12, 0.12, dark(c))


def phone(p: Pen, c: Colour) -> None:
    p.shape([(-0.4, -0.3), (0.4, -0.3), (0.56, 0.1), (0.84, 0.5), (0.84, 0.72), (-0.84, 0.72), (-0.84, 0.5),
             (-0.56, 0.1)], c)  # fmt: skip
    for side in (-1, 1):
        p.rect(side * 0.26 - 0.08, -0.46, side * 0.26 + 0.08, -0.2, dark(c))
    p.ellipse(0, 0.22, 0.38, 0.36, CREAM)
    for k in range(8):
        turn = math.pi * k / 4
        p.ellipse(0.26 * math.cos(turn), 0.22 + 0.24 * math.sin(turn), 0.055, 0.055, CHARCOAL, outline=False)
    p.ellipse(0, 0.22, 0.11, 0.11, dark(c))
    p.blob([(-0.98, -0.34), (-0.9, -0.6), (-0.4, -0.76), (0.4, -0.76), (0.9, -0.6), (0.98, -0.34), (0.84, -0.2),
            (0.56, -0.28), (0.44, -0.48), (-0.44, -0.48), (-0.56, -0.28), (-0.84, -0.2)], dark(c))  # fmt: skip


def guitar(p: Pen, c: Colour) -> None:
    p.rect(-0.08, -0.8, 0.08, 0.1, (104, 68, 44))
    p.rect(-0.14, -1.0, 0.14, -0.76, CHARCOAL, 0.04)
    p.blob([(0, -0.16), (0.34, -0.1), (0.36, 0.16), (0.32, 0.3), (0.5, 0.52), (0.46, 0.84), (0, 1.0), (-0.46, 0.84),
            (-0.5, 0.52), (-0.32, 0.3), (-0.36, 0.16), (-0.34, -0.1)], c)  # fmt: skip
    p.ellipse(0, 0.26, 0.17, 0.17, (74, 46, 34))
    p.line([(0, -0.78), (0, 0.68)], CREAM, 0.05)
    p.rect(-0.22, 0.64, 0.22, 0.74, (74, 46, 34))


def broom(p: Pen, c: Colour) -> None:
    p.rect(-0.07, -1.0, 0.07, 0.3, WOOD, 0.04)
    p.shape([(-0.2, 0.3), (0.2, 0.3), (0.5, 0.98), (-0.5, 0.98)], c)
    for x in (-0.26, 0.0, 0.26):
        p.line([(x * 0.5, 0.46), (x, 0.92)], dark(c), 0.06)
    p.rect(-0.26, 0.16, 0.26, 0.38, dark(c), 0.06)


def ladder(p: Pen, c: Colour) -> None:
    for k in range(4):
        y = -0.68 + 0.44 * k
        reach = 0.34 + 0.09 * (y + 1)
        p.rect(-reach, y - 0.07, reach, y + 0.07, light(c))
    for side in (-1, 1):
        p.shape([(side * 0.26, -0.98), (side * 0.42, -0.98), (side * 0.64, 0.98), (side * 0.46, 0.98)], c)


def pencil(p: Pen, c: Colour) -> None:
    # Drawn along the diagonal u, v = along and across.
    def q(u: float, v: float) -> Point:
        return (0.62 * u - 0.78 * v, 0.78 * u * 1.0 + 0.62 * v)

    p.shape([q(-0.72, -0.19), q(0.6, -0.19), q(0.6, 0.19), q(-0.72, 0.19)], c)
    p.shape([q(-0.72, -0.06), q(0.6, -0.06), q(0.6, 0.08), q(-0.72, 0.08)], light(c), outline=False)
    p.shape([q(0.6, -0.19), q(1.08, 0), q(0.6, 0.19)], (236, 205, 160))
    p.shape([q(0.92, -0.065), q(1.1, 0), q(0.92, 0.065)], CHARCOAL)
    p.shape([q(-0.72, -0.19), q(-0.86, -0.19), q(-0.86, 0.19), q(-0.72, 0.19)], STEEL)
    p.shape([q(-0.86, -0.19), q(-1.06, -0.17), q(-1.06, 0.17), q(-0.86, 0.19)], ROSE)


THINGS: dict[str, Painter] = {
    "umbrella": umbrella, "key": key, "lamp": lamp, "scissors": scissors, "cup": cup, "book": book, "clock": clock,
    "hammer": hammer, "ball": ball, "chair": chair, "bicycle": bicycle, "phone": phone, "guitar": guitar,
    "broom": broom, "ladder": ladder, "pencil": pencil, "coat": more.coat, "boot": more.boot,
    "candle": more.candle, "kettle": more.kettle, "camera": more.camera, "glasses": more.glasses,
    "bucket": more.bucket, "pillow": more.pillow, "fan": more.fan, "mirror": more.mirror, "hat": more.hat,
    "drum": more.drum, "kite": more.kite, "bag": more.bag,
}  # fmt: skip

HANGING = frozenset({"umbrella", "key", "coat", "mirror", "guitar", "broom", "kite", "bag"})


def extent(kind: str, x: float, y: float, scale: float, flip: bool, style: str) -> tuple[float, float, float, float]:
    """The tight box (x1, y1, x2, y2), in parts of the picture, of `kind` drawn at (x, y); the wobble of ink is left out
    (at most 0.3 % of the picture)."""
    tracer = Tracer(style)
    THINGS[kind](tracer.at(x, y, scale, flip), COLOURS["red"])
    return tracer.box_drawn()


@functools.cache
def reach(kind: str) -> tuple[float, float, float, float]:
    """How far `kind` reaches in its own frame: (x1, y1, x2, y2), outlines left out."""
    return extent(kind, 0.0, 0.0, 1.0, False, "paint")
