"""The backgrounds of icons: six patterns in four colour moods, pale enough for any thing to stand out."""

from __future__ import annotations

import math

from rise_vlm.worlds.canvas import Canvas, Colour, mix

_MOODS: tuple[Colour, ...] = ((238, 226, 206), (214, 228, 238), (234, 220, 232), (218, 234, 216))


def _stripes(c: Canvas, pale: Colour, deep: Colour) -> None:
    for k in range(-6, 12):
        x = k * 0.16
        c.shape([(x, 1.0), (x + 0.08, 1.0), (x + 0.58, 0.0), (x + 0.5, 0.0)], deep, outline=False)


def _dots(c: Canvas, pale: Colour, deep: Colour) -> None:
    for j in range(7):
        for i in range(7):
            c.ellipse(0.05 + 0.16 * i + 0.08 * (j % 2), 0.05 + 0.15 * j, 0.032, 0.032, deep, outline=False)


def _checks(c: Canvas, pale: Colour, deep: Colour) -> None:
    for j in range(6):
        for i in range(3):
            x = (2 * i + j % 2) / 6
            c.rect(x, j / 6, x + 1 / 6, (j + 1) / 6, deep, outline=False)


def _waves(c: Canvas, pale: Colour, deep: Colour) -> None:
    for j in range(7):
        y = 0.08 + 0.14 * j
        c.line([(k / 24, y + 0.022 * math.sin(k * 1.2 + j)) for k in range(-1, 26)], deep, 0.018)


def _hills(c: Canvas, pale: Colour, deep: Colour) -> None:
    c.gradient(0.0, 0.7, mix(pale, (190, 220, 245), 0.5), pale)
    c.ellipse(0.8, 0.16, 0.08, 0.08, (255, 244, 200), outline=False)
    c.ellipse(0.2, 0.98, 0.5, 0.34, mix(deep, (150, 190, 140), 0.4), outline=False)
    c.ellipse(0.85, 1.02, 0.55, 0.34, mix(deep, (140, 180, 130), 0.55), outline=False)


def _bricks(c: Canvas, pale: Colour, deep: Colour) -> None:
    for j in range(9):
        y = j / 9
        c.line([(0.0, y), (1.0, y)], deep, 0.01)
        for i in range(6):
            x = 0.2 * i + 0.1 * (j % 2)
            c.line([(x, y), (x, y + 1 / 9)], deep, 0.01)


_GROUNDS = {"stripes": _stripes, "dots": _dots, "checks": _checks, "waves": _waves, "hills": _hills, "bricks": _bricks}
GROUNDS = tuple(_GROUNDS)


def ground(canvas: Canvas, name: str, tint: int) -> None:
    """Fill the canvas with a background; `tint` (0 to 3) is its mood."""
    pale = mix(_MOODS[tint], (255, 255, 255), 0.35)
    deep = mix(_MOODS[tint], (150, 140, 160), 0.18)
    canvas.rect(-0.02, -0.02, 1.02, 1.02, pale, outline=False)
    _GROUNDS[name](canvas, pale, deep)
