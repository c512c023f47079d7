"""The person of an affect picture: a large head whose face can be read at 168 pixels, and a small body."""

from __future__ import annotations

import random

from rise_vlm.worlds.affect_scene import Scene
from rise_vlm.worlds.canvas import Colour, Pen, mix

HEAD = 0.195
SHIRTS: dict[str, Colour] = {
    "red": (214, 58, 58),
    "blue": (56, 108, 210),
    "green": (52, 158, 84),
    "yellow": (246, 204, 60),
    "purple": (142, 78, 184),
}
SKINS: tuple[Colour, ...] = ((252, 216, 184), (236, 184, 142), (190, 132, 94))
HAIRS: tuple[Colour, ...] = ((74, 48, 38), (156, 92, 46), (38, 36, 48), (214, 160, 76))
TROUSERS: Colour = (76, 82, 104)
SHOE: Colour = (66, 50, 48)
LINE: Colour = (52, 38, 44)
WHITE: Colour = (255, 255, 255)


def person_x(scene: Scene) -> tuple[float, float]:
    """Centre of the head in the stage's frame, in which the person is always on the left."""
    return (0.265, 0.52) if scene.posture == "slumped" else (0.265, 0.385)


def draw_person(stage: Pen, scene: Scene, rng: random.Random) -> None:
    """The person, the body before the head."""
    skin, hair, long = rng.choice(SKINS), rng.choice(HAIRS), rng.random() < 0.5
    x, y = person_x(scene)
    body = stage.at(x, y, 1.0)
    stage.ellipse(x, 0.945, 0.17, 0.022, mix((60, 60, 80), (120, 110, 110), 0.3), outline=False)
    head = stage.at(x, y, HEAD)
    if long:
        head.blob([(-0.98, -0.2), (-1.12, 0.6), (-0.9, 1.12), (0, 1.0), (0.9, 1.12), (1.12, 0.6), (0.98, -0.2),
                   (0, -1.0)], hair, steps=4)  # fmt: skip
    {"raised": _raised, "crossed": _crossed, "slumped": _slumped, "standing": _standing}[scene.posture](
        body, SHIRTS[scene.shirt], skin
    )
    _head(head, scene, skin, hair)
    if scene.posture == "raised":
        _raised_arms(body, SHIRTS[scene.shirt], skin)


def _legs(body: Pen) -> None:
    for side in (-1, 1):
        body.limb([(side * 0.05, 0.39), (side * 0.052, 0.53)], TROUSERS, 0.07)
        body.ellipse(side * 0.062, 0.55, 0.052, 0.025, SHOE)


def _torso(body: Pen, shirt: Colour) -> None:
    body.rect(-0.098, 0.36, 0.098, 0.455, TROUSERS, 0.03)
    body.blob([(-0.075, 0.17), (-0.12, 0.22), (-0.118, 0.34), (-0.108, 0.425), (0, 0.435), (0.108, 0.425),
               (0.118, 0.34), (0.12, 0.22), (0.075, 0.17)], shirt, steps=4)  # fmt: skip


def _standing(body: Pen, shirt: Colour, skin: Colour) -> None:
    _legs(body)
    _torso(body, shirt)
    for side in (-1, 1):
        body.limb([(side * 0.115, 0.23), (side * 0.152, 0.32), (side * 0.158, 0.40)], skin, 0.046)
        body.ellipse(side * 0.16, 0.425, 0.032, 0.032, skin)
        body.limb([(side * 0.108, 0.225), (side * 0.145, 0.31)], mix(shirt, LINE, 0.12), 0.062)


def _raised(body: Pen, shirt: Colour, skin: Colour) -> None:
    _legs(body)
    _torso(body, shirt)


def _raised_arms(body: Pen, shirt: Colour, skin: Colour) -> None:
    for side in (-1, 1):
        body.limb([(side * 0.10, 0.245), (side * 0.2, 0.19), (side * 0.232, 0.02), (side * 0.222, -0.16)], skin, 0.046)
        body.ellipse(side * 0.222, -0.185, 0.036, 0.036, skin)
        body.limb([(side * 0.10, 0.245), (side * 0.175, 0.215), (side * 0.21, 0.14)], mix(shirt, LINE, 0.12), 0.062)


def _crossed(body: Pen, shirt: Colour, skin: Colour) -> None:
    _legs(body)
    _torso(body, shirt)
    sleeve = mix(shirt, LINE, 0.16)
    for side in (-1, 1):
        body.limb([(side * 0.112, 0.225), (side * 0.16, 0.32)], sleeve, 0.058)
    for side in (1, -1):
        tone = mix(skin, LINE, 0.14) if side == 1 else skin  # the arm behind is darker
        body.limb([(side * 0.16, 0.335), (-side * 0.07, 0.262)], tone, 0.05)
        body.ellipse(-side * 0.078, 0.258, 0.034, 0.03, tone)


def _slumped(body: Pen, shirt: Colour, skin: Colour) -> None:
    body.blob([(-0.09, 0.16), (-0.13, 0.24), (-0.14, 0.38), (0, 0.41), (0.14, 0.38), (0.13, 0.24), (0.09, 0.16)],
              shirt, steps=4)  # fmt: skip
    for side in (-1, 1):
        body.limb([(side * 0.115, 0.395), (side * 0.07, 0.255), (side * 0.055, 0.40)], TROUSERS, 0.078, soft=False)
        body.ellipse(side * 0.07, 0.415, 0.055, 0.024, SHOE)
    for side in (-1, 1):
        body.limb([(side * 0.12, 0.225), (side * 0.155, 0.30), (side * 0.05, 0.315)], mix(shirt, LINE, 0.14), 0.05)
    body.ellipse(0, 0.315, 0.052, 0.03, skin)


def _head(head: Pen, scene: Scene, skin: Colour, hair: Colour) -> None:
    for side in (-1, 1):
        head.ellipse(side * 0.97, 0.12, 0.15, 0.19, skin)
    head.ellipse(0, -0.08, 1.0, 0.98, hair)
    head.blob([(-0.94, -0.05), (-0.9, 0.4), (-0.55, 0.86), (0, 0.97), (0.55, 0.86), (0.9, 0.4), (0.94, -0.05),
               (0.6, -0.62), (0, -0.72), (-0.6, -0.62)], skin, steps=4)  # fmt: skip
    head.blob([(-0.97, 0.0), (-0.9, -0.6), (-0.4, -1.02), (0.3, -1.04), (0.88, -0.62), (0.97, 0.0), (0.78, -0.36),
               (0.42, -0.52), (0.1, -0.4), (-0.3, -0.56), (-0.74, -0.32)], hair, steps=4)  # fmt: skip
    _FACES[scene.face](head, skin)
    if scene.hat:
        head.blob([(-0.66, -0.62), (-0.6, -1.15), (-0.2, -1.36), (0.3, -1.34), (0.62, -1.12), (0.66, -0.62)],
                  (186, 122, 62), steps=4)  # fmt: skip
        head.rect(-0.67, -0.86, 0.67, -0.66, (96, 50, 44))
        head.ellipse(0, -0.62, 1.16, 0.17, (200, 136, 72))


def _eyes(head: Pen, rx: float = 0.125, ry: float = 0.165, y: float = 0.08) -> None:
    for side in (-1, 1):
        head.ellipse(side * 0.4, y, rx, ry, LINE, outline=False)
        head.ellipse(side * 0.4 - 0.04, y - 0.06, 0.045, 0.05, WHITE, outline=False)


def _brows(head: Pen, inner: float, outer: float, width: float = 0.085) -> None:
    for side in (-1, 1):
        head.line([(side * 0.62, outer), (side * 0.2, inner)], LINE, width)


def _cheeks(head: Pen, colour: Colour) -> None:
    for side in (-1, 1):
        head.ellipse(side * 0.64, 0.4, 0.16, 0.1, colour, outline=False)


def _smile(head: Pen, skin: Colour) -> None:
    _cheeks(head, mix(skin, (255, 110, 110), 0.5))
    for side in (-1, 1):
        head.arc(side * 0.4, 0.16, 0.17, 0.2, 200, 340, LINE, 0.09)
    head.shape([(-0.38, 0.38), (0.38, 0.38), (0.33, 0.58), (0.18, 0.74), (0, 0.79), (-0.18, 0.74), (-0.33, 0.58)],
               (140, 40, 48), edge=LINE, width=0.05)  # fmt: skip
    head.shape([(-0.34, 0.4), (0.34, 0.4), (0.31, 0.48), (-0.31, 0.48)], WHITE, outline=False)
    head.ellipse(0, 0.69, 0.17, 0.08, (236, 110, 110), outline=False)


def _frown(head: Pen, skin: Colour) -> None:
    _eyes(head, 0.115, 0.13, 0.12)
    _brows(head, -0.26, -0.06)
    head.arc(0, 0.78, 0.3, 0.26, 205, 335, LINE, 0.1)


def _crying(head: Pen, skin: Colour) -> None:
    _brows(head, -0.24, -0.08)
    tear: Colour = (86, 176, 250)
    for side in (-1, 1):
        head.shape([(side * 0.5, 0.16), (side * 0.3, 0.16), (side * 0.3, 0.62), (side * 0.42, 0.76),
                    (side * 0.54, 0.62)], tear, edge=(40, 120, 210), width=0.035)  # fmt: skip
        head.arc(side * 0.4, 0.02, 0.2, 0.14, 20, 160, LINE, 0.09)
    head.ellipse(0, 0.62, 0.17, 0.2, (140, 40, 48), edge=LINE, width=0.05)
    head.ellipse(0, 0.73, 0.11, 0.07, (236, 110, 110), outline=False)


def _shocked(head: Pen, skin: Colour) -> None:
    for side in (-1, 1):
        head.ellipse(side * 0.4, 0.06, 0.25, 0.28, WHITE, edge=LINE, width=0.05)
        head.ellipse(side * 0.4, 0.06, 0.075, 0.085, LINE, outline=False)
        head.arc(side * 0.4, -0.24, 0.2, 0.12, 200, 340, LINE, 0.08)
    head.ellipse(0, 0.66, 0.16, 0.2, (96, 28, 40), edge=LINE, width=0.05)


def _gritted(head: Pen, skin: Colour) -> None:
    _cheeks(head, mix(skin, (230, 60, 50), 0.45))
    _eyes(head, 0.11, 0.11, 0.12)
    _brows(head, 0.02, -0.24, 0.12)
    head.rect(-0.42, 0.46, 0.42, 0.78, WHITE, 0.08, edge=LINE, width=0.055)
    head.line([(-0.4, 0.62), (0.4, 0.62)], LINE, 0.04)
    for x in (-0.2, 0.0, 0.2):
        head.line([(x, 0.47), (x, 0.77)], LINE, 0.04)


def _calm(head: Pen, skin: Colour) -> None:
    _eyes(head)
    _brows(head, -0.2, -0.2, 0.065)
    head.line([(-0.26, 0.6), (0.26, 0.6)], LINE, 0.09)


_FACES = {"smile": _smile, "frown": _frown, "crying": _crying, "shocked": _shocked, "gritted": _gritted, "calm": _calm}
