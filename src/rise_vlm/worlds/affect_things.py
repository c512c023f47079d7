"""The twelve things of affect, each drawn in a box from -1 to 1 that stands on its lower edge."""

from __future__ import annotations

import math
from functools import cache

from PIL import Image, ImageChops

from rise_vlm.worlds.canvas import Canvas, Colour, Pen, mix

DARK: Colour = (52, 44, 56)
WHITE: Colour = (255, 255, 255)
RED: Colour = (222, 62, 66)
YELLOW: Colour = (250, 202, 66)
LEAF: Colour = (74, 156, 78)


def draw_thing(pen: Pen, thing: str, shadow: bool = True) -> None:
    """Draw one thing, over its shadow."""
    if shadow:
        pen.ellipse(0, 0.93, 0.85, 0.09, (88, 84, 96), outline=False)
    _THINGS[thing](pen)


@cache
def extent(thing: str) -> tuple[float, float, float, float]:
    """The tight local box (x1, y1, x2, y2) of a thing, measured on a drawing of it without its shadow."""
    canvas = Canvas(240, 1, background=(1, 2, 3))
    draw_thing(canvas.at(0.5, 0.5, 0.4), thing, shadow=False)
    box = ImageChops.difference(canvas.image, Image.new("RGB", canvas.image.size, (1, 2, 3))).getbbox()
    x1, y1, x2, y2 = ((edge / 240 - 0.5) / 0.4 for edge in box or (0, 0, 240, 240))
    return (x1, y1, x2, y2)


def _cake(pen: Pen) -> None:
    pen.ellipse(0, 0.82, 0.98, 0.15, (236, 240, 246))
    pen.rect(-0.8, 0.22, 0.8, 0.82, (250, 178, 190), 0.08)
    pen.blob([(-0.84, 0.2), (0.84, 0.2), (0.84, 0.42), (0.6, 0.52), (0.4, 0.36), (0.15, 0.54), (-0.1, 0.36),
              (-0.35, 0.54), (-0.6, 0.36), (-0.84, 0.5)], (255, 250, 240), steps=3)  # fmt: skip
    pen.rect(-0.52, -0.26, 0.52, 0.24, (178, 112, 74), 0.08)
    pen.blob([(-0.56, -0.28), (0.56, -0.28), (0.56, -0.06), (0.3, 0.04), (0.1, -0.1), (-0.15, 0.04), (-0.35, -0.1),
              (-0.56, 0.0)], (255, 250, 240), steps=3)  # fmt: skip
    for x, colour in ((-0.3, (90, 170, 230)), (0.0, RED), (0.3, (110, 190, 110))):
        pen.rect(x - 0.055, -0.66, x + 0.055, -0.26, colour)
        pen.blob([(x, -1.0), (x + 0.1, -0.8), (x, -0.68), (x - 0.1, -0.8)], (255, 190, 50), steps=3)


def _balloons(pen: Pen) -> None:
    hand = (0.0, 0.88)
    balloons = ((-0.56, -0.28, RED), (0.56, -0.22, (70, 130, 224)), (0.02, -0.56, YELLOW))
    for x, y, _ in balloons:
        pen.line([(x, y + 0.46), (x * 0.5, 0.5), hand], DARK, 0.035, soft=True)
    for x, y, colour in balloons:
        pen.shape([(x - 0.08, y + 0.5), (x + 0.08, y + 0.5), (x, y + 0.38)], mix(colour, DARK, 0.15))
        pen.ellipse(x, y, 0.36, 0.43, colour)
        pen.ellipse(x - 0.13, y - 0.17, 0.07, 0.11, mix(colour, WHITE, 0.65), outline=False, angle=25)
    pen.rect(-0.14, 0.74, 0.14, 0.92, (120, 120, 132), 0.04)


def _gift(pen: Pen) -> None:
    pen.rect(-0.78, -0.1, 0.78, 0.92, (64, 176, 178))
    pen.rect(-0.88, -0.36, 0.88, 0.0, (86, 198, 198))
    ribbon: Colour = (240, 92, 128)
    pen.rect(-0.15, -0.36, 0.15, 0.92, ribbon)
    for side in (-1, 1):
        pen.blob([(0, -0.38), (side * 0.3, -0.84), (side * 0.68, -0.86), (side * 0.62, -0.5)], ribbon, steps=4)
    pen.ellipse(0, -0.44, 0.15, 0.14, mix(ribbon, WHITE, 0.25))


def _flowers(pen: Pen) -> None:
    for x, y in ((-0.5, -0.35), (0.5, -0.3), (0.0, -0.6)):
        pen.line([(x, y), (x * 0.4, 0.3)], LEAF, 0.09)
    for side in (-1, 1):
        pen.blob([(side * 0.1, 0.25), (side * 0.35, 0.02), (side * 0.66, 0.1), (side * 0.4, 0.3)], LEAF, steps=3)
    pen.shape([(-0.5, 0.28), (0.5, 0.28), (0.36, 0.93), (-0.36, 0.93)], (206, 112, 70))
    pen.rect(-0.58, 0.2, 0.58, 0.4, (222, 130, 84))
    for x, y, colour in ((-0.5, -0.38, (250, 120, 160)), (0.5, -0.32, (250, 150, 60)), (0.0, -0.62, (214, 110, 214))):
        for k in range(5):
            turn = 2 * math.pi * (k / 5 + 0.05)
            pen.ellipse(x + 0.2 * math.cos(turn), y + 0.2 * math.sin(turn), 0.16, 0.16, colour)
        pen.ellipse(x, y, 0.13, 0.13, (255, 226, 90))


def _dog(pen: Pen) -> None:
    coat, spot = (250, 244, 232), (150, 92, 52)
    pen.limb([(-0.62, 0.6), (-0.9, 0.3), (-0.86, -0.02)], coat, 0.14)
    pen.blob([(-0.6, 0.9), (-0.68, 0.45), (-0.3, 0.1), (0.2, 0.05), (0.46, 0.4), (0.42, 0.92)], coat)
    pen.ellipse(-0.34, 0.46, 0.2, 0.17, spot, outline=False, angle=-20)
    for x in (0.12, 0.4):
        pen.limb([(x, 0.5), (x + 0.02, 0.86)], coat, 0.18)
    pen.blob([(-0.22, -0.4), (0.0, -0.78), (0.45, -0.8), (0.64, -0.42), (0.96, -0.24), (0.92, 0.02), (0.5, 0.16),
              (0.02, 0.1)], coat)  # fmt: skip
    pen.blob([(0.06, -0.82), (-0.22, -0.66), (-0.34, -0.14), (-0.12, 0.0), (0.1, -0.36)], spot)
    pen.ellipse(0.94, -0.2, 0.12, 0.1, DARK)
    pen.ellipse(0.42, -0.38, 0.085, 0.1, DARK, outline=False)
    pen.line([(0.9, -0.06), (0.66, 0.0)], DARK, 0.05)
    pen.rect(0.0, 0.1, 0.5, 0.22, RED, 0.05)


def _teddy(pen: Pen) -> None:
    fur, pale = (176, 116, 66), (232, 196, 146)
    for side in (-1, 1):
        pen.ellipse(side * 0.52, 0.74, 0.25, 0.21, fur)
        pen.ellipse(side * 0.54, 0.76, 0.12, 0.11, pale, outline=False)
        pen.ellipse(side * 0.56, 0.28, 0.16, 0.27, fur, angle=-side * 35)
        pen.ellipse(side * 0.44, -0.74, 0.2, 0.2, fur)
        pen.ellipse(side * 0.44, -0.74, 0.1, 0.1, pale, outline=False)
    pen.ellipse(0, 0.42, 0.48, 0.5, fur)
    pen.ellipse(0, 0.48, 0.28, 0.32, pale, outline=False)
    pen.ellipse(0, -0.38, 0.58, 0.5, fur)
    pen.ellipse(0, -0.22, 0.27, 0.21, pale, outline=False)
    pen.ellipse(0, -0.31, 0.1, 0.075, DARK, outline=False)
    for side in (-1, 1):
        pen.ellipse(side * 0.25, -0.5, 0.075, 0.085, DARK, outline=False)
    pen.line([(0, -0.3), (0, -0.16)], DARK, 0.04)


def _spider(pen: Pen) -> None:
    body: Colour = (44, 38, 50)
    for side in (-1, 1):
        for k, (kx, ky, fx, fy) in enumerate(
            ((0.62, -0.66, 0.98, -0.22), (0.78, -0.28, 1.0, 0.3), (0.74, 0.12, 0.95, 0.7), (0.5, 0.4, 0.6, 0.94))
        ):
            start = (side * 0.25, 0.05 + 0.1 * k)
            pen.line([start, (side * kx, ky), (side * fx, fy)], body, 0.085)
    pen.ellipse(0, 0.42, 0.44, 0.42, body)
    pen.shape([(-0.12, 0.25), (0.12, 0.25), (-0.12, 0.6), (0.12, 0.6)], RED, outline=False)
    pen.ellipse(0, -0.08, 0.34, 0.3, mix(body, (120, 100, 120), 0.25))
    for side in (-1, 1):
        pen.ellipse(side * 0.14, -0.14, 0.1, 0.11, (250, 240, 120), outline=False)
        pen.ellipse(side * 0.13, -0.12, 0.045, 0.055, (180, 20, 30), outline=False)
        pen.line([(side * 0.1, 0.16), (side * 0.07, 0.28)], WHITE, 0.06)


def _snake(pen: Pen) -> None:
    skin, pale = (92, 168, 62), (206, 220, 96)
    pen.limb([(0.8, 0.62), (0.98, 0.78), (0.6, 0.88), (0.0, 0.86)], skin, 0.13)
    for y, r in ((0.72, 0.78), (0.46, 0.62), (0.22, 0.44)):
        pen.ellipse(0, y, r, 0.21, skin)
        for k in range(-2, 3):
            pen.ellipse(k * r * 0.36, y + 0.13 - abs(k) * 0.03, 0.07, 0.05, pale, outline=False)
    pen.limb([(0.1, 0.14), (0.36, -0.16), (0.08, -0.42), (0.02, -0.62)], skin, 0.27)
    pen.blob([(-0.66, -0.58), (-0.42, -0.86), (0.02, -0.92), (0.24, -0.66), (0.06, -0.46), (-0.4, -0.42)], skin)
    pen.line([(-0.64, -0.54), (-0.84, -0.5), (-0.98, -0.6)], RED, 0.06)
    pen.line([(-0.84, -0.5), (-0.96, -0.4)], RED, 0.06)
    pen.ellipse(-0.2, -0.7, 0.12, 0.12, (255, 240, 120))
    pen.ellipse(-0.22, -0.7, 0.045, 0.09, DARK, outline=False)


def _ghost(pen: Pen) -> None:
    sheet: Colour = (246, 246, 255)
    pen.blob([(-0.7, 0.85), (-0.66, 0.1), (-0.6, -0.5), (-0.3, -0.88), (0.0, -0.96), (0.3, -0.88), (0.6, -0.5),
              (0.66, 0.1), (0.74, 0.85), (0.5, 0.68), (0.26, 0.92), (0.0, 0.68), (-0.26, 0.92), (-0.48, 0.68)],
             sheet, edge=(120, 120, 160), width=0.05)  # fmt: skip
    for side in (-1, 1):
        pen.limb([(side * 0.56, -0.06), (side * 0.8, -0.02), (side * 0.9, -0.24)], sheet, 0.2)
        pen.ellipse(side * 0.25, -0.4, 0.12, 0.19, DARK, outline=False)
    pen.ellipse(0, 0.06, 0.16, 0.22, DARK, outline=False)


def _gravestone(pen: Pen) -> None:
    stone: Colour = (156, 160, 170)
    pen.blob([(-0.98, 0.94), (-0.6, 0.74), (0, 0.7), (0.6, 0.74), (0.98, 0.94)], (120, 90, 64), steps=3)
    points = [(-0.6, 0.84), (-0.6, -0.35)]
    points += [(0.6 * math.cos(t), -0.35 - 0.6 * math.sin(t)) for t in (math.pi * (1 - k / 10) for k in range(1, 10))]
    pen.shape([*points, (0.6, -0.35), (0.6, 0.84)], stone, edge=(96, 98, 110), width=0.06)
    pen.rect(-0.09, -0.66, 0.09, 0.1, (84, 86, 98), outline=False)
    pen.rect(-0.31, -0.46, 0.31, -0.28, (84, 86, 98), outline=False)
    for y in (0.3, 0.5):
        pen.line([(-0.34, y), (0.34, y)], (104, 106, 118), 0.06)


def _vase(pen: Pen) -> None:
    glaze, light = (58, 116, 196), (236, 240, 248)
    pen.shape([(-0.4, 0.92), (-0.66, 0.4), (-0.6, 0.05), (-0.4, -0.2), (-0.3, 0.12), (-0.12, -0.06), (0.06, 0.26),
               (0.22, 0.02), (0.4, 0.3), (0.5, 0.6), (0.32, 0.92)], glaze)  # fmt: skip
    pen.shape([(-0.64, 0.44), (0.45, 0.44), (0.5, 0.6), (-0.56, 0.6)], light)
    pen.shape([(0.62, 0.92), (0.66, 0.54), (0.96, 0.66), (0.98, 0.92)], glaze)
    pen.shape([(-0.98, 0.92), (-0.84, 0.66), (-0.68, 0.92)], glaze)
    pen.shape([(0.16, -0.4), (0.2, -0.86), (0.66, -0.94), (0.84, -0.6), (0.6, -0.3), (0.46, -0.46)], glaze)
    pen.shape([(0.17, -0.78), (0.7, -0.88), (0.75, -0.76), (0.18, -0.64)], light)
    for x0, y0, x1, y1 in ((-0.3, -0.42, -0.42, -0.72), (-0.02, -0.34, -0.04, -0.66), (0.6, 0.12, 0.86, 0.0)):
        pen.line([(x0, y0), (x1, y1)], (240, 160, 40), 0.07)


def _rubbish(pen: Pen) -> None:
    pen.blob([(-0.98, 0.94), (-0.8, 0.5), (-0.4, 0.3), (0.1, 0.36), (0.6, 0.5), (0.98, 0.94)], (132, 122, 74))
    pen.blob([(-0.7, 0.8), (-0.74, 0.3), (-0.42, -0.12), (-0.24, -0.34), (-0.06, -0.1), (0.2, 0.34), (0.12, 0.82)],
             (62, 66, 76))  # fmt: skip
    pen.line([(-0.36, -0.14), (-0.12, -0.14)], (206, 206, 200), 0.07)
    pen.rect(0.28, 0.2, 0.62, 0.7, (196, 92, 78), 0.05)
    pen.ellipse(0.45, 0.2, 0.17, 0.06, (222, 226, 230))
    pen.blob([(0.5, 0.9), (0.62, 0.66), (0.9, 0.72), (0.78, 0.8), (0.72, 0.92)], YELLOW, steps=3)
    pen.line([(-0.5, 0.82), (0.1, 0.82)], (240, 240, 236), 0.06)
    for x in (-0.36, -0.22, -0.08):
        pen.line([(x, 0.72), (x, 0.92)], (240, 240, 236), 0.05)
    for x in (-0.68, 0.14, 0.62):
        pen.line([(x, -0.2), (x + 0.1, -0.4), (x - 0.06, -0.58), (x + 0.04, -0.8)], (122, 150, 40), 0.06, soft=True)
    for x, y in ((-0.9, -0.1), (0.4, -0.3), (-0.3, -0.7), (0.9, 0.1)):
        pen.ellipse(x, y, 0.08, 0.06, (30, 30, 36), outline=False)
        pen.ellipse(x + 0.05, y - 0.08, 0.06, 0.05, (226, 234, 244), outline=False)


_THINGS = {
    "cake": _cake,
    "balloons": _balloons,
    "gift": _gift,
    "flowers": _flowers,
    "dog": _dog,
    "teddy": _teddy,
    "spider": _spider,
    "snake": _snake,
    "ghost": _ghost,
    "gravestone": _gravestone,
    "vase": _vase,
    "rubbish": _rubbish,
}
