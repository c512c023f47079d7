"""The places of the street world: sky, what stands behind, two pavements and a road of two lanes between them.

Quiet and pale, so that the things stand out. `KERB` and `EDGE` are where the road begins and ends.
"""

from __future__ import annotations

import random

from rise_vlm.worlds.canvas import Canvas, Colour, mix
from rise_vlm.worlds.things_kit import dark, light

WALK, KERB, EDGE = 0.575, 0.645, 0.905
SKIES: dict[str, tuple[Colour, Colour]] = {
    "clear": ((150, 206, 244), (232, 244, 250)),
    "cloudy": ((186, 196, 208), (226, 230, 234)),
    "evening": ((168, 132, 176), (252, 206, 158)),
}
_WALLS: tuple[Colour, ...] = ((230, 206, 184), (214, 204, 218), (206, 216, 206), (234, 220, 194), (204, 212, 224))
_GLOW: dict[str, tuple[Colour, float]] = {
    "clear": ((255, 255, 255), 0.0), "cloudy": ((190, 196, 206), 0.18), "evening": ((150, 104, 140), 0.24),
}  # fmt: skip
_PANE: dict[str, Colour] = {"clear": (190, 218, 234), "cloudy": (188, 200, 212), "evening": (255, 224, 140)}


def street(c: Canvas, backdrop: str, sky: str, seed: int) -> None:
    """The whole place without its things."""
    rng = random.Random(seed)
    c.gradient(0.0, WALK + 0.02, *SKIES[sky])
    _heaven(c, sky, rng)
    _BACKDROPS[backdrop](c, sky, rng)
    glow = _GLOW[sky]
    walk = mix((218, 212, 204), *glow)
    c.rect(-0.02, WALK, 1.02, KERB, walk, outline=False)
    for k in range(11):
        x = k * 0.1 + rng.random() * 0.01
        c.line([(x, WALK), (x - 0.012, KERB - 0.01)], dark(walk, 0.1), 0.003)
    c.rect(-0.02, KERB - 0.012, 1.02, KERB, dark(walk, 0.22), outline=False)
    road = mix((150, 152, 162), *glow)
    c.gradient(KERB, EDGE, mix(road, (255, 255, 255), 0.12), road)
    for k in range(6):
        x = k * 0.2 - 0.06
        c.shape([(x, 0.762), (x + 0.1, 0.762), (x + 0.096, 0.774), (x - 0.006, 0.774)], mix((246, 244, 236), *glow),
                outline=False)  # fmt: skip
    c.rect(-0.02, EDGE, 1.02, EDGE + 0.014, light(walk, 0.4), outline=False)
    c.rect(-0.02, EDGE + 0.014, 1.02, 1.02, walk, outline=False)
    for k in range(7):
        x = k * 0.17
        c.line([(x, EDGE + 0.014), (x - 0.03, 1.0)], dark(walk, 0.1), 0.004)


def _heaven(c: Canvas, sky: str, rng: random.Random) -> None:
    if sky == "evening":
        c.ellipse(rng.uniform(0.15, 0.85), 0.4, 0.1, 0.1, (255, 190, 120), outline=False)
    elif sky == "clear":
        c.ellipse(rng.uniform(0.1, 0.9), 0.1, 0.055, 0.055, (255, 236, 160), outline=False)
    for _ in range({"clear": 2, "cloudy": 6, "evening": 1}[sky]):
        x, y, r = rng.random(), rng.uniform(0.04, 0.2), rng.uniform(0.05, 0.09)
        tone: Colour = (250, 252, 253) if sky == "clear" else (206, 212, 220) if sky == "cloudy" else (222, 170, 176)
        for dx, dy, share in ((-0.9, 0.25, 0.6), (0.0, 0.0, 1.0), (0.9, 0.2, 0.7)):
            c.ellipse(x + dx * r, y + dy * r, r * share, r * share * 0.6, tone, outline=False)


def _wall(c: Canvas, sky: str, x: float, top: float, width: float, colour: Colour) -> Colour:
    shade = mix(colour, *_GLOW[sky])
    c.rect(x, top, x + width, WALK + 0.005, shade)
    return shade


def _panes(c: Canvas, sky: str, x: float, y: float, across: int, down: int, step: float, size: float) -> None:
    for i in range(across):
        for j in range(down):
            c.rect(x + i * step, y + j * step * 1.25, x + i * step + size, y + j * step * 1.25 + size * 1.25,
                   _PANE[sky], outline=False)  # fmt: skip


def _houses(c: Canvas, sky: str, rng: random.Random) -> None:
    x, k = -0.05, rng.randrange(5)
    while x < 1.0:
        width, top = rng.uniform(0.19, 0.24), rng.uniform(0.34, 0.4)
        _wall(c, sky, x, top, width, _WALLS[k % 5])
        roof = mix((172, 126, 114), *_GLOW[sky])
        c.shape([(x - 0.015, top + 0.005), (x + width / 2, top - 0.1), (x + width + 0.015, top + 0.005)], roof)
        _panes(c, sky, x + 0.035, top + 0.035, 2, 1, width - 0.115, 0.045)
        c.rect(x + width / 2 - 0.025, WALK - 0.095, x + width / 2 + 0.025, WALK, mix((140, 112, 96), *_GLOW[sky]))
        x, k = x + width, k + 1


def _shops(c: Canvas, sky: str, rng: random.Random) -> None:
    x, k = -0.04, rng.randrange(5)
    while x < 1.0:
        width = rng.uniform(0.26, 0.32)
        _wall(c, sky, x, 0.27, width, _WALLS[k % 5])
        _panes(c, sky, x + 0.03, 0.3, 3, 1, (width - 0.03) / 3, 0.05)
        c.rect(x + 0.02, 0.47, x + width - 0.02, WALK - 0.01, _PANE[sky])
        tone = mix(((206, 150, 150), (150, 176, 200), (168, 192, 160))[k % 3], *_GLOW[sky])
        for i in range(6):
            left, step = x + 0.01 + i * (width - 0.02) / 6, (width - 0.02) / 6
            c.shape([(left, 0.415), (left + step, 0.415), (left + step, 0.47), (left, 0.47)],
                    tone if i % 2 else mix((248, 244, 238), *_GLOW[sky]))  # fmt: skip
        x, k = x + width, k + 1


def _towers(c: Canvas, sky: str, rng: random.Random) -> None:
    x, k = -0.03, rng.randrange(5)
    while x < 1.0:
        width, top = rng.uniform(0.13, 0.19), rng.uniform(0.06, 0.26)
        _wall(c, sky, x, top, width, mix(_WALLS[k % 5], (176, 188, 204), 0.6))
        _panes(c, sky, x + 0.02, top + 0.03, 3, int((WALK - top - 0.06) / 0.052), (width - 0.02) / 3, 0.026)
        x, k = x + width + rng.choice((0.0, 0.0, 0.03)), k + 1


def _park(c: Canvas, sky: str, rng: random.Random) -> None:
    glow = _GLOW[sky]
    c.ellipse(0.25, 0.58, 0.5, 0.14, mix((196, 216, 178), *glow), outline=False)
    c.ellipse(0.85, 0.58, 0.45, 0.17, mix((184, 208, 168), *glow), outline=False)
    x = rng.uniform(0.02, 0.1)
    while x < 1.0:
        top, r = rng.uniform(0.33, 0.41), rng.uniform(0.06, 0.085)
        c.rect(x - 0.012, top, x + 0.012, WALK, mix((164, 136, 112), *glow))
        leaf = mix(((150, 186, 134), (164, 196, 140), (138, 176, 140))[rng.randrange(3)], *glow)
        c.blob([(x - r, top + 0.03), (x - r * 0.8, top - 0.07), (x, top - 0.12), (x + r * 0.85, top - 0.06),
                (x + r, top + 0.03), (x, top + 0.07)], leaf)  # fmt: skip
        x += rng.uniform(0.15, 0.24)
    c.rect(-0.02, 0.53, 1.02, WALK, mix((158, 190, 140), *glow), 0.02)


_BACKDROPS = {"houses": _houses, "shops": _shops, "towers": _towers, "park": _park}
BACKDROPS = tuple(_BACKDROPS)
