"""Drawn household things, second half. See `things`, which holds the table."""

from __future__ import annotations

import math

from rise_vlm.worlds.canvas import Colour, Pen
from rise_vlm.worlds.things_kit import CHARCOAL, CREAM, GLASS, STEEL, WOOD, dark, light, ring


def coat(p: Pen, c: Colour) -> None:
    for s in (-1, 1):
        p.shape([(s * 0.3, -0.78), (s * 0.58, -0.62), (s * 0.86, 0.34), (s * 0.6, 0.44), (s * 0.36, -0.1)], dark(c))
    p.shape([(-0.3, -0.82), (0.3, -0.82), (0.5, -0.66), (0.46, 0.0), (0.6, 0.96), (-0.6, 0.96), (-0.46, 0.0),
             (-0.5, -0.66)], c)  # fmt: skip
    p.line([(0, -0.6), (0, 0.94)], dark(c, 0.45), 0.06)
    for s in (-1, 1):
        p.shape([(0, -0.5), (s * 0.36, -0.78), (s * 0.24, -0.92), (0, -0.84)], light(c))
        p.rect(s * 0.34 - 0.13, 0.3, s * 0.34 + 0.13, 0.4, dark(c))
    for y in (-0.26, 0.02, 0.3):
        p.ellipse(0.12, y, 0.06, 0.06, CREAM)


def boot(p: Pen, c: Colour) -> None:
    p.blob([(-0.44, -0.9), (0.2, -0.9), (0.2, -0.2), (0.26, 0.16), (0.66, 0.28), (0.84, 0.56), (0.8, 0.8), (-0.46, 0.8),
            (-0.5, 0.2)], c, steps=3)  # fmt: skip
    p.rect(-0.3, -0.6, -0.14, 0.4, light(c), 0.08, outline=False)
    p.rect(-0.54, -0.96, 0.3, -0.74, dark(c), 0.08)
    p.rect(-0.54, 0.74, 0.88, 0.94, CHARCOAL, 0.08)


def candle(p: Pen, c: Colour) -> None:
    p.ellipse(0, 0.8, 0.6, 0.18, dark(STEEL))
    ring(p, 0.6, 0.72, 0.14, 0.14, dark(STEEL), 0.09)
    p.rect(-0.26, -0.34, 0.26, 0.8, c, 0.08)
    p.rect(-0.18, -0.2, -0.06, 0.7, light(c), 0.05, outline=False)
    p.blob([(-0.26, -0.34), (0, -0.42), (0.28, -0.34), (0.28, -0.04), (0.18, -0.02), (0.12, -0.16), (-0.06, -0.12),
            (-0.14, 0.06), (-0.24, 0.02)], light(c), steps=3)  # fmt: skip
    p.line([(0, -0.38), (0, -0.52)], CHARCOAL, 0.06)
    p.blob([(0, -1.0), (0.17, -0.66), (0.1, -0.48), (-0.1, -0.48), (-0.17, -0.66)], (255, 176, 46), steps=3)
    p.blob([(0, -0.8), (0.08, -0.62), (0, -0.5), (-0.08, -0.62)], (255, 240, 170), outline=False, steps=3)


def kettle(p: Pen, c: Colour) -> None:
    p.limb([(-0.48, -0.3), (-0.44, -0.76), (0, -0.92), (0.44, -0.76), (0.48, -0.3)], CHARCOAL, 0.13)
    p.shape([(0.4, 0.16), (0.78, -0.42), (0.98, -0.36), (0.7, 0.5)], dark(c))
    p.blob([(-0.6, -0.2), (-0.3, -0.38), (0.3, -0.38), (0.6, -0.2), (0.76, 0.5), (0.62, 0.8), (-0.62, 0.8),
            (-0.76, 0.5)], c, steps=4)  # fmt: skip
    p.ellipse(-0.4, 0.16, 0.1, 0.3, light(c), outline=False, angle=14)
    p.ellipse(0, -0.36, 0.36, 0.11, dark(c))
    p.ellipse(0, -0.5, 0.1, 0.1, CHARCOAL)


def camera(p: Pen, c: Colour) -> None:
    p.shape([(-0.34, -0.4), (-0.22, -0.68), (0.26, -0.68), (0.38, -0.4)], dark(c))
    p.rect(-0.78, -0.58, -0.5, -0.36, CHARCOAL, 0.04)
    p.rect(-0.95, -0.44, 0.95, 0.66, c, 0.14)
    p.rect(-0.95, -0.14, 0.95, 0.14, dark(c), outline=False)
    p.ellipse(0.02, 0.12, 0.46, 0.46, CREAM)
    p.ellipse(0.02, 0.12, 0.35, 0.35, CHARCOAL)
    p.ellipse(0.02, 0.12, 0.18, 0.18, (92, 130, 170))
    p.ellipse(-0.06, 0.02, 0.08, 0.08, CREAM, outline=False)
    p.rect(0.58, -0.34, 0.82, -0.18, (255, 240, 170), 0.03)


def glasses(p: Pen, c: Colour) -> None:
    for s in (-1, 1):
        p.limb([(s * 0.86, -0.14), (s * 0.94, -0.42), (s * 0.72, -0.5)], dark(c), 0.12)
        p.ellipse(s * 0.48, 0.06, 0.38, 0.36, GLASS)
        p.line([(s * 0.48 - 0.16, 0.14), (s * 0.48 + 0.1, -0.14)], CREAM, 0.08)
        ring(p, s * 0.48, 0.06, 0.38, 0.36, c, 0.18)
    p.limb([(-0.14, 0.0), (0, -0.08), (0.14, 0.0)], c, 0.14)


def bucket(p: Pen, c: Colour) -> None:
    p.limb([(-0.68, -0.3), (-0.5, -0.82), (0, -0.98), (0.5, -0.82), (0.68, -0.3)], dark(STEEL), 0.1)
    p.shape([(-0.74, -0.34), (0.74, -0.34), (0.5, 0.92), (-0.5, 0.92)], c)
    p.shape([(-0.56, -0.2), (-0.36, -0.2), (-0.24, 0.84), (-0.4, 0.84)], light(c), outline=False)
    p.ellipse(0, -0.34, 0.76, 0.19, light(c))
    p.ellipse(0, -0.32, 0.62, 0.12, dark(c, 0.5))
    for s in (-1, 1):
        p.ellipse(s * 0.66, -0.22, 0.09, 0.09, STEEL)


def pillow(p: Pen, c: Colour) -> None:
    p.blob([(-0.96, -0.7), (-0.4, -0.56), (0, -0.6), (0.4, -0.56), (0.96, -0.7), (0.84, -0.24), (0.86, 0.1),
            (0.96, 0.66), (0.4, 0.56), (0, 0.6), (-0.4, 0.56), (-0.96, 0.66), (-0.86, 0.1), (-0.84, -0.24)],
           c, steps=4)  # fmt: skip
    p.blob([(-0.56, -0.3), (0, -0.38), (0.56, -0.3), (0.62, 0), (0.56, 0.32), (0, 0.38), (-0.56, 0.32), (-0.62, 0)],
           light(c), outline=False)  # fmt: skip
    for s in (-1, 1):
        p.line([(s * 0.8, -0.52), (s * 0.62, -0.4)], dark(c), 0.06)
        p.line([(s * 0.8, 0.5), (s * 0.62, 0.4)], dark(c), 0.06)
    p.ellipse(0, 0, 0.1, 0.1, dark(c))


def fan(p: Pen, c: Colour) -> None:
    p.rect(-0.09, 0.3, 0.09, 0.86, STEEL)
    p.rect(-0.5, 0.8, 0.5, 0.98, dark(c), 0.09)
    p.ellipse(0, -0.28, 0.62, 0.62, CREAM)
    for k in range(3):
        turn = math.radians(120 * k - 90)
        x, y = math.cos(turn), math.sin(turn)
        p.ellipse(x * 0.3 - y * 0.08, -0.28 + y * 0.3 + x * 0.08, 0.27, 0.19, c, angle=120 * k - 90)
    ring(p, 0, -0.28, 0.62, 0.62, dark(c), 0.13)
    p.ellipse(0, -0.28, 0.13, 0.13, CHARCOAL)


def mirror(p: Pen, c: Colour) -> None:
    p.rect(-0.12, 0.3, 0.12, 0.98, c, 0.1)
    p.ellipse(0, -0.32, 0.6, 0.66, c)
    p.ellipse(0, -0.32, 0.42, 0.48, GLASS)
    p.line([(-0.2, -0.2), (0.12, -0.56)], CREAM, 0.1)
    p.line([(-0.04, -0.1), (0.2, -0.36)], CREAM, 0.07)
    p.rect(-0.2, 0.28, 0.2, 0.42, dark(c), 0.05)


def hat(p: Pen, c: Colour) -> None:
    p.ellipse(0, 0.34, 0.98, 0.3, dark(c))
    p.ellipse(0, 0.28, 0.98, 0.28, c)
    p.blob([(-0.52, 0.26), (-0.5, -0.34), (-0.3, -0.58), (0, -0.5), (0.3, -0.58), (0.5, -0.34), (0.52, 0.26),
            (0, 0.38)], c, steps=4)  # fmt: skip
    p.shape([(-0.52, -0.02), (0, 0.1), (0.52, -0.02), (0.52, 0.24), (0, 0.37), (-0.52, 0.24)], CREAM)
    p.ellipse(-0.26, -0.26, 0.08, 0.18, light(c), outline=False)


def drum(p: Pen, c: Colour) -> None:
    p.ellipse(0, 0.6, 0.8, 0.26, dark(c))
    p.rect(-0.8, -0.3, 0.8, 0.6, c)
    p.ellipse(0, 0.62, 0.78, 0.24, c, outline=False)
    zigzag = [(-0.76, -0.1), (-0.48, 0.66), (-0.2, 0.02), (0.0, 0.74), (0.24, 0.02), (0.48, 0.66), (0.76, -0.1)]
    p.line(zigzag, CREAM, 0.08)
    p.ellipse(0, -0.3, 0.82, 0.28, dark(c))
    p.ellipse(0, -0.33, 0.7, 0.21, CREAM)
    for s in (-1, 1):
        p.limb([(s * 0.08, -0.36), (s * 0.66, -0.84)], WOOD, 0.1, soft=False)
        p.ellipse(s * 0.08, -0.36, 0.1, 0.1, WOOD)


def kite(p: Pen, c: Colour) -> None:
    p.line([(0, 0.3), (0.14, 0.5), (-0.08, 0.68), (0.1, 0.96)], CHARCOAL, 0.06, soft=True)
    for x, y in ((0.11, 0.5), (-0.05, 0.72), (0.08, 0.92)):
        p.shape([(x, y), (x - 0.18, y - 0.08), (x - 0.18, y + 0.08)], c)
        p.shape([(x, y), (x + 0.18, y - 0.08), (x + 0.18, y + 0.08)], c)
    p.shape([(0, -1.0), (0.64, -0.42), (0, 0.34), (-0.64, -0.42)], c)
    p.shape([(0, -1.0), (0.64, -0.42), (0, -0.42)], light(c, 0.45))
    p.shape([(0, 0.34), (-0.64, -0.42), (0, -0.42)], light(c, 0.45))


def bag(p: Pen, c: Colour) -> None:
    ring(p, 0, -0.76, 0.22, 0.18, dark(c), 0.12)
    for s in (-1, 1):
        p.rect(s * 0.72 - 0.16, -0.1, s * 0.72 + 0.16, 0.78, dark(c), 0.1)
    p.blob([(-0.62, -0.3), (-0.4, -0.76), (0.4, -0.76), (0.62, -0.3), (0.7, 0.7), (0.5, 0.94), (-0.5, 0.94),
            (-0.7, 0.7)], c, steps=4)  # fmt: skip
    p.rect(-0.44, 0.14, 0.44, 0.8, light(c), 0.12)
    p.rect(-0.44, 0.14, 0.44, 0.36, dark(c), 0.06)
    p.rect(-0.08, 0.28, 0.08, 0.46, CREAM, 0.03)
    p.line([(-0.5, -0.28), (0.5, -0.28)], dark(c), 0.07)
