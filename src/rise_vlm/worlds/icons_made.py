"""The nine made things of icons, each drawn with a `Pen` in a box from about -1 to 1, in one main colour."""

from __future__ import annotations

import math

from rise_vlm.worlds.canvas import Colour, Pen, Point
from rise_vlm.worlds.things_kit import CHARCOAL, CREAM, GLASS, STEEL, WOOD, dark, light, ring


def rocket(p: Pen, c: Colour) -> None:
    p.blob([(-0.22, 0.56), (0.22, 0.56), (0.14, 0.8), (0.0, 1.0), (-0.14, 0.8)], (255, 150, 46), steps=3)
    p.blob([(-0.1, 0.56), (0.1, 0.56), (0.0, 0.84)], (255, 232, 120), outline=False, steps=3)
    for s in (-1, 1):
        p.shape([(s * 0.3, 0.06), (s * 0.68, 0.5), (s * 0.66, 0.74), (s * 0.28, 0.5)], dark(c))
    p.blob([(0.0, -1.0), (0.3, -0.6), (0.36, 0.0), (0.26, 0.56), (-0.26, 0.56), (-0.36, 0.0), (-0.3, -0.6)], c, steps=4)
    p.shape([(0.0, -0.98), (0.2, -0.72), (0.27, -0.56), (-0.27, -0.56), (-0.2, -0.72)], dark(c))
    p.ellipse(0.0, -0.18, 0.2, 0.2, STEEL)
    p.ellipse(0.0, -0.18, 0.14, 0.14, GLASS)
    p.line([(-0.28, 0.36), (0.28, 0.36)], light(c, 0.5), 0.08)


def sailboat(p: Pen, c: Colour) -> None:
    p.rect(-0.06, -0.92, 0.04, 0.4, WOOD)
    p.shape([(0.08, -0.84), (0.08, 0.3), (0.78, 0.3)], CREAM)
    p.shape([(-0.1, -0.64), (-0.1, 0.3), (-0.66, 0.3)], light(c, 0.6))
    p.shape([(0.04, -0.98), (0.34, -0.9), (0.04, -0.8)], c)
    p.shape([(-0.92, 0.4), (0.94, 0.4), (0.66, 0.84), (-0.62, 0.84)], c)
    p.line([(-0.82, 0.52), (0.84, 0.52)], light(c, 0.5), 0.06)
    for k in range(4):
        p.arc(-0.66 + 0.44 * k, 0.9, 0.22, 0.08, 200, 340, (86, 150, 206), 0.07)


def lighthouse(p: Pen, c: Colour) -> None:
    p.shape([(-0.26, -0.44), (0.26, -0.44), (0.42, 0.86), (-0.42, 0.86)], CREAM)
    for top, bottom in ((-0.3, -0.02), (0.26, 0.54)):
        a, b = 0.26 + 0.16 * (top + 0.44) / 1.3, 0.26 + 0.16 * (bottom + 0.44) / 1.3
        p.shape([(-a, top), (a, top), (b, bottom), (-b, bottom)], c)
    p.rect(-0.36, -0.52, 0.36, -0.42, CHARCOAL)
    p.rect(-0.2, -0.8, 0.2, -0.52, (255, 236, 140))
    p.line([(0.0, -0.8), (0.0, -0.52)], CHARCOAL, 0.05)
    p.shape([(-0.28, -0.78), (0.0, -1.0), (0.28, -0.78)], c)
    for s in (-1, 1):
        p.shape([(s * 0.26, -0.68), (s * 0.9, -0.86), (s * 0.9, -0.5)], (255, 244, 184), outline=False)
    p.rect(-0.11, 0.6, 0.11, 0.86, WOOD, 0.06)
    p.blob([(-0.72, 0.96), (-0.5, 0.8), (0.5, 0.8), (0.74, 0.96)], (150, 146, 150), steps=3)


def windmill(p: Pen, c: Colour) -> None:
    p.shape([(-0.3, -0.2), (0.3, -0.2), (0.46, 0.94), (-0.46, 0.94)], c)
    p.shape([(-0.36, -0.16), (0.0, -0.56), (0.36, -0.16)], dark(c))
    p.rect(-0.12, 0.56, 0.12, 0.94, WOOD, 0.06)
    p.rect(-0.1, 0.1, 0.1, 0.32, GLASS)
    for k in range(4):
        turn = math.radians(45 + 90 * k)
        x, y = math.cos(turn), math.sin(turn)
        hub = -0.28
        blade = ((0.16, 0.0), (0.84, 0.0), (0.84, 0.24), (0.24, 0.24))
        p.shape([(along * x - over * y, hub + along * y + over * x) for along, over in blade], CREAM)
        p.limb([(0.0, hub), (0.88 * x, hub + 0.88 * y)], WOOD, 0.06, soft=False)
    p.ellipse(0.0, -0.28, 0.1, 0.1, CHARCOAL)


def anchor(p: Pen, c: Colour) -> None:
    turns = [math.pi * k / 10 for k in range(11)]
    arms: list[Point] = [(-0.72 * math.cos(turn), 0.24 + 0.6 * math.sin(turn)) for turn in turns]
    p.limb(arms, c, 0.2, soft=False)
    for s in (-1, 1):
        p.shape([(s * 0.72, 0.02), (s * 0.98, 0.44), (s * 0.46, 0.4)], c)
    p.limb([(0.0, -0.5), (0.0, 0.86)], c, 0.2, soft=False)
    p.limb([(-0.44, -0.32), (0.44, -0.32)], c, 0.17, soft=False)
    ring(p, 0.0, -0.74, 0.2, 0.2, c, 0.13)
    p.line([(-0.04, -0.2), (-0.04, 0.6)], light(c, 0.45), 0.05)


def crown(p: Pen, c: Colour) -> None:
    p.shape([(-0.8, 0.4), (-0.94, -0.4), (-0.46, 0.02), (0.0, -0.7), (0.46, 0.02), (0.94, -0.4), (0.8, 0.4)], c)
    for x, y in ((-0.94, -0.46), (0.0, -0.78), (0.94, -0.46)):
        p.ellipse(x * 0.97, y, 0.13, 0.13, light(c, 0.5))
    p.rect(-0.82, 0.36, 0.82, 0.74, dark(c), 0.06)
    for x in (-0.5, 0.0, 0.5):
        p.shape([(x, 0.4), (x + 0.15, 0.55), (x, 0.7), (x - 0.15, 0.55)], GLASS)


def balloon(p: Pen, c: Colour) -> None:
    for x in (-0.22, 0.22):
        p.line([(x * 1.5, 0.3), (x, 0.64)], WOOD, 0.05)
    p.blob([(0.0, -1.0), (0.56, -0.82), (0.74, -0.3), (0.5, 0.16), (0.2, 0.42), (-0.2, 0.42), (-0.5, 0.16),
            (-0.74, -0.3), (-0.56, -0.82)], c)  # fmt: skip
    p.blob([(0.0, -1.0), (0.22, -0.78), (0.28, -0.3), (0.1, 0.42), (-0.1, 0.42), (-0.28, -0.3), (-0.22, -0.78)], CREAM,
           steps=4)  # fmt: skip
    for s in (-1, 1):
        p.line([(s * 0.12, -0.96), (s * 0.5, -0.32), (s * 0.2, 0.4)], light(c, 0.5), 0.08, soft=True)
    p.rect(-0.24, 0.36, 0.24, 0.44, dark(c))
    p.rect(-0.26, 0.62, 0.26, 0.96, WOOD, 0.08)
    p.line([(-0.22, 0.76), (0.22, 0.76)], dark(WOOD), 0.05)
    p.rect(-0.3, 0.58, 0.3, 0.68, dark(WOOD), 0.03)


def trumpet(p: Pen, c: Colour) -> None:
    ring(p, -0.1, 0.16, 0.4, 0.26, c, 0.14)
    p.limb([(-0.9, -0.12), (0.4, -0.12)], c, 0.15, soft=False)
    p.shape([(0.3, -0.22), (0.66, -0.34), (0.94, -0.66), (0.94, 0.42), (0.66, 0.1), (0.3, -0.02)], c)
    p.ellipse(0.94, -0.12, 0.1, 0.54, light(c, 0.4))
    p.rect(-1.0, -0.26, -0.88, 0.02, STEEL, 0.04)
    for x in (-0.32, -0.1, 0.12):
        p.rect(x - 0.08, -0.3, x + 0.08, 0.36, dark(c), 0.04)
        p.line([(x, -0.3), (x, -0.5)], STEEL, 0.06)
        p.ellipse(x, -0.54, 0.09, 0.06, CREAM)


def robot(p: Pen, c: Colour) -> None:
    p.line([(0.0, -0.72), (0.0, -0.92)], CHARCOAL, 0.06)
    p.ellipse(0.0, -0.93, 0.08, 0.08, (255, 90, 80))
    for s in (-1, 1):
        p.limb([(s * 0.46, 0.06), (s * 0.76, 0.2), (s * 0.76, 0.46)], STEEL, 0.15, soft=False)
        ring(p, s * 0.76, 0.56, 0.1, 0.1, dark(STEEL), 0.08)
        p.rect(s * 0.24 - 0.13, 0.62, s * 0.24 + 0.13, 0.9, STEEL)
        p.rect(s * 0.26 - 0.2, 0.84, s * 0.26 + 0.2, 0.98, dark(c), 0.05)
        p.rect(s * 0.52 - 0.06, -0.56, s * 0.52 + 0.06, -0.3, dark(c))
    p.rect(-0.48, -0.06, 0.48, 0.68, c, 0.08)
    p.rect(-0.12, -0.2, 0.12, -0.04, STEEL)
    p.rect(-0.5, -0.74, 0.5, -0.16, c, 0.1)
    for x in (-0.22, 0.22):
        p.ellipse(x, -0.5, 0.12, 0.12, CREAM)
        p.ellipse(x, -0.5, 0.055, 0.055, CHARCOAL, outline=False)
    p.rect(-0.24, -0.32, 0.24, -0.24, CHARCOAL)
    p.rect(-0.32, 0.08, 0.32, 0.5, light(c, 0.6), 0.05)
    for x, shade in ((-0.18, (240, 90, 80)), (0.0, (250, 200, 70)), (0.18, (90, 190, 110))):
        p.ellipse(x, 0.28, 0.075, 0.075, shade)


MADE = {
    "rocket": rocket, "sailboat": sailboat, "lighthouse": lighthouse, "windmill": windmill, "anchor": anchor,
    "crown": crown, "hot air balloon": balloon, "trumpet": trumpet, "robot": robot,
}  # fmt: skip
