"""The places of the errand world: a wall with a shelf (its top at `SHELF`) above a floor that begins at `FLOOR`.

Pale, cool and quiet, so that the things stand out. `tint` (0 to 3) picks one of four colour moods.
"""

from __future__ import annotations

from rise_vlm.worlds.canvas import Canvas, Colour, mix
from rise_vlm.worlds.things_kit import WOOD, dark, light

SHELF = 0.46
FLOOR = 0.74
_MOODS: tuple[Colour, ...] = ((236, 226, 214), (218, 230, 236), (236, 222, 228), (224, 234, 220))


def _shelf(c: Canvas, colour: Colour) -> None:
    for x in (0.12, 0.88):
        c.shape([(x - 0.015, SHELF + 0.03), (x + 0.015, SHELF + 0.03), (x + 0.015, SHELF + 0.085)], dark(colour))
    c.rect(0.02, SHELF, 0.98, SHELF + 0.028, colour)
    c.rect(0.02, SHELF + 0.028, 0.98, SHELF + 0.036, dark(colour), outline=False)


def hall(c: Canvas, tint: int) -> None:
    wall = _MOODS[tint]
    c.rect(0, 0, 1, FLOOR, wall, outline=False)
    for k in range(7):
        c.rect(0.04 + k * 0.15, 0, 0.07 + k * 0.15, FLOOR, mix(wall, (255, 255, 255), 0.35), outline=False)
    c.rect(0, FLOOR - 0.025, 1, FLOOR, (250, 246, 238))
    c.rect(0, FLOOR, 1, 1, (202, 178, 154), outline=False)
    for y in (0.8, 0.87, 0.95):
        c.line([(0, y), (1, y)], (186, 160, 136), 0.004)
    c.ellipse(0.5, 0.9, 0.46, 0.085, mix(wall, (150, 140, 160), 0.3))
    c.ellipse(0.5, 0.9, 0.4, 0.066, mix(wall, (255, 255, 255), 0.3), outline=False)
    _shelf(c, WOOD)


def kitchen(c: Canvas, tint: int) -> None:
    wall = _MOODS[(tint + 1) % 4]
    c.rect(0, 0, 1, FLOOR, mix(wall, (255, 255, 255), 0.45), outline=False)
    grout = mix(wall, (170, 176, 186), 0.35)
    for k in range(1, 8):
        c.line([(0, k * 0.1), (1, k * 0.1)], grout, 0.004)
        for x in range(6):
            across = 0.1 + 0.2 * x - (0.1 if k % 2 else 0.0)
            c.line([(across, (k - 1) * 0.1), (across, k * 0.1)], grout, 0.004)
    c.rect(0, FLOOR, 1, 1, (214, 206, 200), outline=False)
    for i, (y0, y1) in enumerate(((FLOOR, 0.81), (0.81, 0.9), (0.9, 1.0))):
        for k in range(6):
            x = (k * 2 + i % 2) * 0.1 - 0.1
            c.rect(x, y0, x + 0.1, y1, (188, 182, 182), outline=False)
    _shelf(c, (196, 200, 206))


def garden(c: Canvas, tint: int) -> None:
    c.gradient(0, 0.6, mix((196, 222, 240), _MOODS[tint], 0.25), (236, 242, 240))
    c.ellipse(0.86, 0.1, 0.06, 0.06, (255, 244, 204), outline=False)
    for x, y, r in ((0.16, 0.08, 0.05), (0.22, 0.07, 0.065), (0.29, 0.085, 0.045)):
        c.ellipse(x + 0.1 * tint, y, r, r * 0.55, (255, 255, 255), outline=False)
    c.ellipse(0.2, 0.66, 0.5, 0.26, (198, 214, 184), outline=False)
    c.ellipse(0.85, 0.68, 0.5, 0.24, (188, 206, 176), outline=False)
    for k in range(9):
        x = k * 0.125
        c.shape([(x, 0.53), (x + 0.045, 0.5), (x + 0.09, 0.53), (x + 0.09, FLOOR), (x, FLOOR)], (244, 238, 226))
    c.rect(0, 0.6, 1, 0.63, (232, 224, 208))
    c.rect(0, FLOOR - 0.03, 1, 1, (186, 200, 150), outline=False)
    for k in range(16):
        x, y = (k * 0.39) % 1.0, 0.76 + (k * 0.17) % 0.22
        c.line([(x, y), (x + 0.008, y - 0.018)], (160, 178, 122), 0.006)
    _shelf(c, (168, 138, 108))


def workshop(c: Canvas, tint: int) -> None:
    board = mix((216, 202, 180), _MOODS[tint], 0.4)
    c.rect(0, 0, 1, FLOOR, board, outline=False)
    for k in range(11):
        for y in range(8):
            c.ellipse(0.05 + 0.09 * k, 0.05 + 0.09 * y, 0.006, 0.006, dark(board, 0.22), outline=False)
    c.rect(0, FLOOR, 1, 1, (176, 176, 178), outline=False)
    c.rect(0, FLOOR, 1, FLOOR + 0.02, (150, 150, 156), outline=False)
    for k in range(6):
        x = -0.1 + k * 0.2
        c.shape([(x, 0.97), (x + 0.08, 0.97), (x + 0.04, 1.0), (x - 0.04, 1.0)], (206, 202, 190), outline=False)
    _shelf(c, light(WOOD, 0.15))


ROOMS = {"hall": hall, "kitchen": kitchen, "garden": garden, "workshop": workshop}
