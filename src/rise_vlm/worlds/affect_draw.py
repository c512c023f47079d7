"""How an affect scene is drawn: sky, weather and setting here, the person and the things in their own modules.

The person fills one side from head to foot, the things stand on the other, the weather is in the sky above them: no
cue covers another. Every random choice comes from the scene's seed.
"""

from __future__ import annotations

import math
import random

from PIL import Image

from rise_vlm.worlds.affect_person import HEAD, draw_person, person_x
from rise_vlm.worlds.affect_scene import Scene
from rise_vlm.worlds.affect_things import draw_thing, extent
from rise_vlm.worlds.canvas import Canvas, Colour, Pen, mix

HORIZON = 0.63
Box = tuple[float, float, float, float]

SKY: dict[str, tuple[Colour, Colour]] = {
    "day": ((104, 184, 240), (214, 240, 252)),
    "dusk": ((196, 96, 128), (255, 190, 110)),
    "night": ((18, 22, 58), (58, 66, 120)),
}
GREY: dict[str, Colour] = {"day": (158, 172, 188), "dusk": (150, 104, 112), "night": (40, 44, 66)}
OVERCAST = {"clear": 0.0, "rain": 0.55, "storm": 0.7, "snow": 0.4, "fog": 0.5}
GROUND: dict[str, Colour] = {
    "park": (132, 190, 98),
    "street": (178, 172, 170),
    "beach": (240, 216, 160),
    "ruins": (190, 172, 128),
}
DIM: dict[str, tuple[Colour, float]] = {
    "day": ((255, 255, 255), 0.0),
    "dusk": ((170, 84, 84), 0.3),
    "night": ((16, 20, 56), 0.52),
}
SNOW: Colour = (240, 245, 250)


def draw(scene: Scene, size: int = 336, supersample: int = 2) -> Image.Image:
    """The picture of a scene, `size` x `size` RGB; the same scene gives the same picture."""
    rng = random.Random(scene.seed)
    canvas = Canvas(size, supersample, scene.style, rng.randrange(1 << 20))
    stage = canvas.at(1.0, 0.0, 1.0, flip=True) if scene.side == "right" else canvas.at(0.0, 0.0)
    _sky(canvas, stage, scene, rng)
    _setting(canvas, stage, scene, rng)
    _falling(canvas, stage, scene, rng)
    if scene.tree:
        _tree(stage, scene)
    for thing, pen in zip(scene.things, _slots(stage, scene), strict=True):
        draw_thing(pen.at(0.0, 0.0, 1.0, flip=_flips(scene)[thing]), thing)
    draw_person(stage, scene, rng)
    return canvas.finish()


def boxes(scene: Scene) -> dict[str, Box]:
    """Where things are, as normalised (x1, y1, x2, y2): `person`, `head` (with hair and hat) and each thing by name."""
    plain = Canvas(8, 1)
    stage = plain.at(1.0, 0.0, 1.0, flip=True) if scene.side == "right" else plain
    x, y = person_x(scene)
    out: dict[str, Box] = {}
    reach = 0.262 if scene.posture == "raised" else 0.228 if scene.hat else 0.22
    over = HEAD * (1.37 if scene.hat else 1.07)
    top = y - (max(over, 0.222) if scene.posture == "raised" else over)
    out["person"] = stage.box(x - reach, top, x + reach, 0.96)
    brim = 1.17 if scene.hat else 1.12
    out["head"] = stage.box(x - HEAD * brim, y - over, x + HEAD * brim, y + HEAD)
    for thing, pen in zip(scene.things, _slots(stage, scene), strict=True):
        mirrored = pen.at(0.0, 0.0, 1.0, flip=_flips(scene)[thing])
        out[thing] = mirrored.box(*extent(thing))
    return {name: (max(x1, 0.0), max(y1, 0.0), min(x2, 1.0), min(y2, 1.0)) for name, (x1, y1, x2, y2) in out.items()}


def _flips(scene: Scene) -> dict[str, bool]:
    """Which things are drawn mirrored."""
    rng = random.Random(scene.seed + 1)
    return {thing: rng.random() < 0.5 for thing in scene.things}


def _slots(stage: Pen, scene: Scene) -> list[Pen]:
    """One large place for one thing, two smaller for two; `things` run from left to right in the picture."""
    if len(scene.things) == 1:
        return [stage.at(0.765, 0.745, 0.195)]
    pens = [stage.at(0.634, 0.812, 0.119), stage.at(0.875, 0.812, 0.119)]
    return pens[::-1] if scene.side == "right" else pens


def _dim(colour: Colour, scene: Scene) -> Colour:
    return mix(colour, *DIM[scene.light])


def _sky(canvas: Canvas, stage: Pen, scene: Scene, rng: random.Random) -> None:
    grey = OVERCAST[scene.weather]
    top, bottom = (mix(c, GREY[scene.light], grey) for c in SKY[scene.light])
    canvas.gradient(0.0, HORIZON + 0.02, top, bottom)
    if scene.light == "night" and scene.weather in ("clear", "fog", "snow"):
        for _ in range(14 if scene.weather == "clear" else 5):
            x, y, r = rng.random(), rng.uniform(0.02, 0.4), rng.uniform(0.004, 0.008)
            stage.ellipse(x, y, r, r, (255, 250, 214), outline=False)
    if scene.weather == "clear":
        _clear(stage, scene)
    elif scene.light == "dusk":
        stage.ellipse(0.66, HORIZON - 0.03, 0.1, 0.1, mix((255, 214, 120), GREY["dusk"], 0.25))
    if scene.weather in ("rain", "storm", "snow"):
        _clouds(stage, scene, rng)


def _clear(stage: Pen, scene: Scene) -> None:
    if scene.light == "day":
        sun = stage.at(0.8, 0.17, 0.1)
        for k in range(10):
            ray = _turned(k * 36.0)
            sun.line([(1.25 * ray[0], 1.25 * ray[1]), (1.6 * ray[0], 1.6 * ray[1])], (250, 186, 50), 0.16)
        sun.ellipse(0, 0, 1, 1, (255, 212, 66))
    elif scene.light == "dusk":
        stage.ellipse(0.76, HORIZON - 0.12, 0.19, 0.19, (255, 205, 120), outline=False)
        stage.ellipse(0.76, HORIZON - 0.12, 0.14, 0.14, (255, 140, 66))
    else:
        _moon(stage, 0.8, 0.17, 0.1)


def _turned(degrees: float) -> tuple[float, float]:
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def _sweep() -> list[float]:
    return [math.radians(254.0 - k * 15.0) for k in range(14)]


def _moon(stage: Pen, x: float, y: float, r: float) -> None:
    moon = stage.at(x, y, r)
    outer = [_turned(20.0 + k * 13.5) for k in range(19)]  # the rim of the disc, from the lower to the upper horn
    inner = [(0.78 * math.cos(t) + 0.3, 0.78 * math.sin(t) - 0.15) for t in _sweep()]
    moon.shape(outer + inner, (255, 244, 190))


def _clouds(stage: Pen, scene: Scene, rng: random.Random) -> None:
    tone = {"rain": (138, 148, 166), "storm": (78, 80, 104), "snow": (214, 222, 234)}[scene.weather]
    colour = mix(tone, *(DIM[scene.light][0], DIM[scene.light][1] * 0.45))
    for x, y, r in ((0.5, 0.06, 0.12), (0.72, 0.12, 0.15), (0.92, 0.07, 0.13), (0.1, 0.05, 0.11)):
        puff = stage.at(x + rng.uniform(-0.02, 0.02), y, r)
        puff.blob([(-1.2, 0.5), (-1.15, -0.1), (-0.6, -0.3), (-0.2, -0.75), (0.45, -0.55), (0.75, -0.15),
                   (1.2, 0.0), (1.2, 0.5), (0, 0.62)], colour, steps=4)  # fmt: skip
    if scene.weather == "storm":
        bolt = stage.at(0.76, 0.36, 0.19)
        bolt.shape([(0.1, -1.0), (-0.45, 0.1), (-0.08, 0.06), (-0.34, 1.0), (0.5, -0.22), (0.1, -0.18), (0.5, -1.0)],
                   (255, 226, 64), edge=(255, 250, 210) if stage.canvas.style == "paint" else None)  # fmt: skip


def _falling(canvas: Canvas, stage: Pen, scene: Scene, rng: random.Random) -> None:
    """Rain, snow or fog: behind the person and the things, in front of the setting."""
    if scene.weather == "rain":
        colour = (92, 140, 214) if scene.light == "day" else (158, 200, 250)
        for k in range(38):
            x, y = (k * 0.7549) % 1.0, 0.16 + 0.8 * ((k * 0.5698 + rng.random() * 0.1) % 1.0)
            stage.line([(x, y), (x - 0.022, y + 0.065)], colour, 0.011)
    elif scene.weather == "snow":
        for k in range(44):
            x, y = (k * 0.7549) % 1.0, 0.12 + 0.84 * ((k * 0.5698 + rng.random() * 0.1) % 1.0)
            r = rng.uniform(0.01, 0.017)
            stage.ellipse(x, y, r, r, (255, 255, 255), outline=canvas.style == "ink")
    elif scene.weather == "fog":
        mist = mix((236, 238, 240), *(DIM[scene.light][0], DIM[scene.light][1] * 0.55))
        canvas.veil(mist, 0.26, 0.3, 0.9)
        for y, x in ((0.09, 0.62), (0.19, 0.82), (0.29, 0.64), (0.39, 0.84), (0.24, 0.08), (0.57, 0.06), (0.7, 0.5)):
            x += rng.uniform(-0.04, 0.04)
            stage.rect(x - 0.24, y - 0.022, x + 0.24, y + 0.022, mix(mist, (255, 255, 255), 0.25), 0.022,
                       outline=False)  # fmt: skip


def _setting(canvas: Canvas, stage: Pen, scene: Scene, rng: random.Random) -> None:
    ground = GROUND[scene.setting]
    if scene.weather == "snow":
        ground = mix(ground, SNOW, 0.8)
    ground = _dim(ground, scene)
    canvas.gradient(HORIZON, 1.0, mix(ground, (255, 255, 255), 0.08), mix(ground, (60, 50, 60), 0.14))
    {"park": _park, "street": _street, "beach": _beach, "ruins": _ruins}[scene.setting](stage, scene)


def _park(stage: Pen, scene: Scene) -> None:
    hill = mix((104, 168, 84), SNOW, 0.7 if scene.weather == "snow" else 0.0)
    for x, r, h in ((0.2, 0.4, 0.1), (0.85, 0.42, 0.13)):
        stage.shape([(x + r * u, HORIZON + 0.01 - h * v) for u, v in _dome()], _dim(hill, scene))
    wood = _dim((150, 96, 56), scene)
    bench = stage.at(0.66, HORIZON - 0.03, 0.12)
    for y in (-0.75, -0.35):
        bench.rect(-1.0, y - 0.13, 1.0, y + 0.13, wood)
    bench.rect(-1.1, 0.1, 1.1, 0.36, wood)
    for x in (-0.8, 0.8):
        bench.line([(x, 0.36), (x, 0.85)], _dim((70, 62, 60), scene), 0.16)


def _dome() -> list[tuple[float, float]]:
    return [(-1, 0), (-0.85, 0.42), (-0.6, 0.75), (-0.3, 0.94), (0, 1), (0.3, 0.94), (0.6, 0.75), (0.85, 0.42), (1, 0)]


def _street(stage: Pen, scene: Scene) -> None:
    lit: Colour = (255, 224, 120) if scene.light != "day" else (214, 234, 246)
    walls = ((222, 150, 122), (232, 206, 150), (168, 186, 204), (206, 160, 176), (222, 190, 150))
    for k, (x, top) in enumerate(((0.0, 0.36), (0.2, 0.42), (0.48, 0.40), (0.655, 0.45), (0.83, 0.39))):
        right = x + 0.172
        stage.rect(x, top + 0.06, right, HORIZON + 0.01, _dim(walls[k], scene))
        roof = mix((150, 74, 66), SNOW, 0.75 if scene.weather == "snow" else 0.0)
        gable = [(x - 0.012, top + 0.065), (x + 0.086, top - 0.02), (right + 0.012, top + 0.065)]
        stage.shape(gable, _dim(roof, scene))
        for wx in (x + 0.04, x + 0.105):
            stage.rect(wx, top + 0.1, wx + 0.032, top + 0.145, lit)
    stage.rect(-0.1, HORIZON, 1.1, HORIZON + 0.05, _dim((210, 204, 196), scene), outline=False)
    for x in (0.02, 0.36, 0.7):
        stage.rect(x, 0.775, x + 0.17, 0.79, _dim((250, 246, 236), scene), outline=False)


def _beach(stage: Pen, scene: Scene) -> None:
    sea = _dim((44, 140, 190), scene)
    stage.rect(-0.1, HORIZON - 0.09, 1.1, HORIZON + 0.03, sea, outline=False)
    foam = _dim((240, 250, 252), scene)
    for k, y in enumerate((HORIZON - 0.06, HORIZON - 0.02)):
        for j in range(6):
            x = 0.05 + j * 0.19 + k * 0.09
            stage.arc(x, y, 0.035, 0.016, 200, 340, mix(sea, foam, 0.6), 0.007)
    stage.blob([(-0.1, HORIZON + 0.02), (0.15, HORIZON + 0.04), (0.4, HORIZON + 0.02), (0.65, HORIZON + 0.045),
                (0.9, HORIZON + 0.02), (1.1, HORIZON + 0.04), (1.1, HORIZON + 0.07), (-0.1, HORIZON + 0.06)],
               foam, outline=False, steps=4)  # fmt: skip
    boat = stage.at(0.57, HORIZON - 0.12, 0.06)
    boat.shape([(0.05, -1.3), (0.05, 0.1), (0.95, 0.1)], _dim((250, 250, 244), scene))
    boat.shape([(-1.0, 0.25), (1.0, 0.25), (0.6, 0.8), (-0.6, 0.8)], _dim((206, 84, 70), scene))


def _ruins(stage: Pen, scene: Scene) -> None:
    stone = mix((236, 226, 206), DIM[scene.light][0], 0.6 * DIM[scene.light][1])
    dark = mix(stone, (80, 70, 80), 0.4)
    for x, top in ((0.04, 0.42), (0.55, 0.36), (0.70, 0.47), (0.85, 0.40)):
        stage.shape([(x - 0.036, HORIZON), (x - 0.036, top + 0.03), (x - 0.012, top), (x + 0.01, top + 0.028),
                     (x + 0.036, top + 0.008), (x + 0.036, HORIZON)], stone)  # fmt: skip
        for dx in (-0.013, 0.013):
            stage.line([(x + dx, top + 0.05), (x + dx, HORIZON - 0.02)], dark, 0.007)
        stage.rect(x - 0.052, HORIZON - 0.025, x + 0.052, HORIZON + 0.012, stone)
    stage.blob([(0.49, 0.66), (0.51, 0.63), (0.57, 0.64), (0.6, 0.67)], dark, steps=3)


def _tree(stage: Pen, scene: Scene) -> None:
    trunk, leaf = _dim((124, 82, 54), scene), _dim((62, 138, 76), scene)
    if scene.weather == "snow":
        leaf = mix(leaf, SNOW, 0.3)
    tree = stage.at(0.93, 0.5, 0.125)
    tree.shape([(-0.16, 0.3), (0.16, 0.3), (0.24, 1.5), (-0.24, 1.5)], trunk)
    tree.blob([(-0.95, 0.45), (-1.05, -0.1), (-0.6, -0.6), (-0.2, -1.15), (0.4, -1.0), (0.8, -0.5), (1.05, 0.0),
               (0.9, 0.5), (0, 0.68)], leaf)  # fmt: skip
