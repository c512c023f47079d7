"""The eleven living things of icons, each drawn with a `Pen` in a box from about -1 to 1, in one main colour."""

from __future__ import annotations

import math

from rise_vlm.worlds.canvas import Colour, Pen, Point
from rise_vlm.worlds.things_kit import CHARCOAL, CREAM, WOOD, dark, light

GOLD: Colour = (250, 178, 58)
LEAF: Colour = (74, 156, 78)


def _eye(p: Pen, x: float, y: float, r: float) -> None:
    p.ellipse(x, y, r, r, CREAM)
    p.ellipse(x + 0.2 * r, y, 0.5 * r, 0.5 * r, CHARCOAL, outline=False)


def fish(p: Pen, c: Colour) -> None:
    p.blob([(-0.5, 0.0), (-0.98, -0.5), (-0.84, 0.0), (-0.98, 0.5)], dark(c), steps=3)
    p.blob([(-0.2, -0.42), (0.1, -0.8), (0.36, -0.4)], dark(c), steps=4)
    p.blob([(-0.1, 0.4), (0.0, 0.72), (0.3, 0.42)], dark(c), steps=4)
    p.blob([(-0.62, 0.0), (-0.1, -0.5), (0.5, -0.46), (0.96, 0.02), (0.5, 0.48), (-0.1, 0.5)], c)
    for x, y in ((-0.24, -0.14), (-0.24, 0.16), (0.0, -0.26), (0.0, 0.02), (0.0, 0.3), (0.22, -0.1), (0.22, 0.18)):
        p.arc(x, y, 0.12, 0.13, 100, 260, light(c, 0.55), 0.05)
    p.arc(0.98, 0.12, 0.2, 0.14, 100, 180, CHARCOAL, 0.05)
    _eye(p, 0.6, -0.12, 0.14)


def owl(p: Pen, c: Colour) -> None:
    for side in (-1, 1):
        p.shape([(side * 0.58, -0.6), (side * 0.66, -1.0), (side * 0.2, -0.8)], dark(c))
        p.blob([(side * 0.5, -0.2), (side * 0.9, 0.2), (side * 0.76, 0.74), (side * 0.5, 0.5)], dark(c), steps=4)
        p.ellipse(side * 0.24, 0.92, 0.17, 0.08, GOLD)
    p.blob([(-0.62, -0.6), (0.0, -0.84), (0.62, -0.6), (0.68, 0.3), (0.4, 0.86), (-0.4, 0.86), (-0.68, 0.3)], c)
    p.ellipse(0.0, 0.4, 0.38, 0.42, light(c, 0.5), outline=False)
    for x, y in ((-0.16, 0.2), (0.16, 0.2), (0.0, 0.4), (-0.16, 0.58), (0.16, 0.58)):
        p.arc(x, y, 0.1, 0.09, 10, 170, dark(c), 0.05)
    for side in (-1, 1):
        p.ellipse(side * 0.29, -0.34, 0.28, 0.28, CREAM)
        p.ellipse(side * 0.27, -0.34, 0.14, 0.14, CHARCOAL)
    p.shape([(-0.1, -0.2), (0.1, -0.2), (0.0, 0.06)], GOLD)


def snail(p: Pen, c: Colour) -> None:
    skin: Colour = (224, 196, 150)
    p.blob([(-0.98, 0.84), (-0.5, 0.56), (0.3, 0.56), (0.56, 0.2), (0.6, -0.16), (0.84, -0.26), (0.98, 0.0),
            (0.94, 0.5), (0.76, 0.84)], skin, steps=4)  # fmt: skip
    for x in (0.7, 0.92):
        p.limb([(0.8, -0.16), (x, -0.62)], skin, 0.08, soft=False)
        p.ellipse(x, -0.66, 0.08, 0.08, CHARCOAL)
    p.ellipse(-0.16, 0.02, 0.66, 0.64, c)
    turns = [(0.54 - 0.03 * k, 0.42 * k) for k in range(17)]
    p.line([(-0.16 + r * math.cos(t), 0.02 + r * math.sin(t)) for r, t in turns], dark(c, 0.5), 0.1, soft=True)
    p.ellipse(0.82, 0.0, 0.05, 0.05, CHARCOAL, outline=False)


def turtle(p: Pen, c: Colour) -> None:
    skin: Colour = (166, 190, 110)
    p.shape([(-0.78, 0.4), (-1.0, 0.56), (-0.7, 0.54)], skin)
    for x in (-0.46, 0.36):
        p.rect(x - 0.14, 0.3, x + 0.16, 0.82, skin, 0.08)
    p.limb([(0.5, 0.36), (0.76, 0.1)], skin, 0.28)
    p.ellipse(0.8, 0.0, 0.2, 0.18, skin)
    p.ellipse(0.86, -0.05, 0.045, 0.05, CHARCOAL, outline=False)
    p.blob([(-0.82, 0.46), (-0.66, -0.24), (-0.1, -0.6), (0.44, -0.26), (0.6, 0.46), (-0.1, 0.52)], c, steps=4)
    p.shape([(-0.32, -0.2), (0.1, -0.2), (0.22, 0.14), (-0.1, 0.36), (-0.44, 0.14)], light(c))
    for a, b in (((-0.32, -0.2), (-0.46, -0.42)), ((0.1, -0.2), (0.24, -0.42)), ((0.22, 0.14), (0.54, 0.16)),
                 ((-0.44, 0.14), (-0.76, 0.16))):  # fmt: skip
        p.line([a, b], dark(c), 0.06)


def butterfly(p: Pen, c: Colour) -> None:
    for s in (-1, 1):
        p.blob([(s * 0.06, -0.1), (s * 0.4, -0.76), (s * 0.9, -0.8), (s * 0.94, -0.2), (s * 0.5, 0.06)], c)
        p.blob([(s * 0.06, 0.02), (s * 0.6, 0.06), (s * 0.76, 0.44), (s * 0.5, 0.82), (s * 0.2, 0.5)], light(c))
        p.ellipse(s * 0.64, -0.46, 0.17, 0.19, CREAM)
        p.ellipse(s * 0.48, 0.42, 0.12, 0.13, dark(c))
        p.line([(s * 0.04, -0.5), (s * 0.14, -0.84), (s * 0.3, -0.96)], CHARCOAL, 0.05, soft=True)
        p.ellipse(s * 0.3, -0.96, 0.05, 0.05, CHARCOAL)
    p.ellipse(0.0, 0.06, 0.1, 0.6, CHARCOAL)
    p.ellipse(0.0, -0.5, 0.13, 0.13, CHARCOAL)


def penguin(p: Pen, c: Colour) -> None:
    for s in (-1, 1):
        p.ellipse(s * 0.26, 0.92, 0.24, 0.09, GOLD)
        p.blob([(s * 0.44, -0.24), (s * 0.86, 0.22), (s * 0.8, 0.44), (s * 0.5, 0.2)], dark(c), steps=4)
    p.blob([(0.0, -1.0), (0.4, -0.82), (0.46, -0.3), (0.62, 0.3), (0.42, 0.9), (-0.42, 0.9), (-0.62, 0.3),
            (-0.46, -0.3), (-0.4, -0.82)], c, steps=4)  # fmt: skip
    p.blob([(0.0, -0.2), (0.36, 0.0), (0.4, 0.5), (0.0, 0.84), (-0.4, 0.5), (-0.36, 0.0)], CREAM, steps=4)
    for s in (-1, 1):
        p.ellipse(s * 0.16, -0.62, 0.13, 0.15, CREAM)
        p.ellipse(s * 0.14, -0.6, 0.06, 0.07, CHARCOAL, outline=False)
    p.shape([(-0.14, -0.46), (0.14, -0.46), (0.0, -0.26)], GOLD)


def crab(p: Pen, c: Colour) -> None:
    for s in (-1, 1):
        for k in range(3):
            knee, toe = (s * (0.84 - 0.1 * k), 0.34 + 0.16 * k), (s * (0.94 - 0.16 * k), 0.6 + 0.14 * k)
            p.limb([(s * 0.42, 0.3 + 0.1 * k), knee, toe], dark(c), 0.1)
        p.limb([(s * 0.5, 0.06), (s * 0.76, -0.14), (s * 0.72, -0.4)], c, 0.15)
        p.blob([(s * 0.6, -0.4), (s * 0.5, -0.74), (s * 0.7, -0.92), (s * 0.72, -0.62), (s * 0.82, -0.94),
                (s * 0.98, -0.66), (s * 0.86, -0.36)], c, steps=3)  # fmt: skip
        p.limb([(s * 0.18, -0.1), (s * 0.22, -0.46)], c, 0.08, soft=False)
        _eye(p, s * 0.22, -0.52, 0.12)
    p.blob([(-0.62, 0.14), (-0.4, -0.2), (0.4, -0.2), (0.62, 0.14), (0.44, 0.56), (-0.44, 0.56)], c)
    p.arc(0.0, 0.18, 0.24, 0.2, 20, 160, dark(c, 0.5), 0.06)
    for x in (-0.36, 0.36):
        p.ellipse(x, 0.06, 0.07, 0.05, light(c, 0.5), outline=False)


def cactus(p: Pen, c: Colour) -> None:
    p.limb([(-0.2, 0.12), (-0.6, 0.08), (-0.62, -0.34)], c, 0.26)
    p.limb([(0.2, -0.08), (0.6, -0.12), (0.62, -0.54)], c, 0.26)
    p.rect(-0.27, -0.96, 0.27, 0.5, c, 0.26)
    for x, y in ((0.0, -0.7), (-0.12, -0.4), (0.13, -0.3), (-0.1, -0.06), (0.1, 0.14), (-0.62, -0.2), (0.62, -0.42)):
        for dx in (-0.06, 0.06):
            p.line([(x, y), (x + dx, y - 0.09)], CREAM, 0.035)
    p.rect(-0.5, 0.34, 0.5, 0.52, dark((206, 120, 80), 0.1), 0.04)
    p.shape([(-0.42, 0.52), (0.42, 0.52), (0.3, 0.96), (-0.3, 0.96)], (206, 120, 80))


def mushroom(p: Pen, c: Colour) -> None:
    p.blob([(-0.26, -0.06), (0.26, -0.06), (0.24, 0.5), (0.36, 0.9), (-0.36, 0.9), (-0.24, 0.5)], CREAM, steps=4)
    p.ellipse(0.0, -0.04, 0.62, 0.14, (226, 206, 178))
    turns = [math.pi * k / 14 for k in range(15)]
    dome: list[Point] = [(-0.92 * math.cos(turn), -0.04 - 0.86 * math.sin(turn)) for turn in turns]
    p.shape(dome, c)
    spots = ((-0.5, -0.28, 0.13), (-0.06, -0.6, 0.17), (0.46, -0.42, 0.14), (0.14, -0.2, 0.1), (0.72, -0.14, 0.07))
    for x, y, r in spots:
        p.ellipse(x, y, r, r * 0.85, CREAM)


def pineapple(p: Pen, c: Colour) -> None:
    for x, top in ((-0.46, -0.62), (0.46, -0.62), (-0.26, -0.84), (0.26, -0.84), (0.0, -1.0)):
        foot = x * 0.3
        p.blob([(foot - 0.12, -0.22), (x * 0.8, top * 0.8), (x, top), (x * 0.6 + 0.08, top * 0.7),
                (foot + 0.12, -0.22)], LEAF, steps=3)  # fmt: skip
    p.blob([(0.0, -0.32), (0.42, -0.2), (0.56, 0.3), (0.4, 0.82), (0.0, 0.98), (-0.4, 0.82), (-0.56, 0.3),
            (-0.42, -0.2)], c)  # fmt: skip
    for k in range(4):
        y = -0.1 + 0.26 * k
        p.line([(-0.46, y), (0.46, y + 0.28 if y + 0.28 < 0.9 else 0.9)], dark(c), 0.05)
        p.line([(0.46, y), (-0.46, y + 0.28 if y + 0.28 < 0.9 else 0.9)], dark(c), 0.05)


def pear(p: Pen, c: Colour) -> None:
    p.limb([(0.0, -0.66), (0.04, -0.86), (0.14, -0.98)], WOOD, 0.1)
    p.blob([(0.08, -0.8), (0.34, -0.98), (0.62, -0.84), (0.36, -0.7)], LEAF, steps=4)
    p.blob([(0.0, -0.74), (0.26, -0.6), (0.32, -0.2), (0.64, 0.3), (0.5, 0.84), (0.0, 0.97), (-0.5, 0.84), (-0.64, 0.3),
            (-0.32, -0.2), (-0.26, -0.6)], c)  # fmt: skip
    p.ellipse(-0.26, 0.28, 0.1, 0.24, light(c, 0.5), outline=False, angle=14)


LIVING = {
    "fish": fish, "owl": owl, "snail": snail, "turtle": turtle, "butterfly": butterfly, "penguin": penguin,
    "crab": crab, "cactus": cactus, "mushroom": mushroom, "pineapple": pineapple, "pear": pear,
}  # fmt: skip
