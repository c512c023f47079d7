"""Pages full of numbers and letters, as `figures` writes them, and rows that read them.

A figure carries two or three numbers among much else, from which reading is not learned; a page carries nothing else:
one number, a few, or up to fourteen. It stands for a world among those of pre-training (`NAME`, `sample_scene`, `draw`)
and is no task's: nothing is asked of it but what is written where.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from PIL import Image

from rise_vlm.policy.tiny.rows import SIDE, Row
from rise_vlm.worlds.canvas import Canvas
from rise_vlm.worlds.figures_draw import ANGLE, BLACK, BLUE, FIGURES, INK, LENGTH, LETTERS, TINTS
from rise_vlm.worlds.figures_text import WHITE, font

NAME = "sheet"
LINES = 10
COUNTS = ((1, 1), (2, 3), (6, 14))
ODDS = (0.45, 0.2, 0.35)
"""How many texts there are. Figures are learned where there is one, places where there are many."""


@dataclass(frozen=True)
class Text:
    """What is written about (x, y), in parts of the picture."""

    text: str
    x: float
    y: float

    @property
    def plain(self) -> str:
        """The text without its degree sign."""
        return self.text.rstrip("°")

    @property
    def place(self) -> str:
        """As ``(x, y)`` in hundredths of the picture."""
        return f"({self.x * 100:.0f}, {self.y * 100:.0f})"


@dataclass(frozen=True)
class Scene:
    """Texts line by line, strokes between two points each, and looks; texts are ``height`` times as high as those of
    `figures`.
    """

    texts: tuple[Text, ...]
    strokes: tuple[tuple[tuple[float, float], tuple[float, float]], ...]
    style: str
    tint: int
    height: float


def sample_scene(rng: random.Random, split: str) -> Scene:
    """Texts on lines, not all of which are full; ``split`` changes nothing."""
    count = rng.randint(*rng.choices(COUNTS, ODDS)[0])
    height = rng.uniform(1, 2 if count == 1 else 1.4 if count <= 3 else 1)
    lines = [0] * LINES
    while sum(lines) < count:
        line = rng.randrange(LINES)
        lines[line] = min(lines[line] + 1, 3)
    texts: list[Text] = []
    for number, many in enumerate(lines):
        wide = 1 / max(1, many)
        for k in range(many):
            x = wide * k + rng.uniform(0.08 * height, wide - 0.08 * height)
            texts.append(Text(_text(rng), x, (number + 0.5 + rng.uniform(-0.15, 0.15)) / LINES))
    strokes = [((rng.random(), rng.random()), (rng.random(), rng.random())) for _ in range(rng.randint(0, 5))]
    return Scene(tuple(texts), tuple(strokes), rng.choice(("clean", "textbook")), rng.randrange(len(TINTS)), height)


def _text(rng: random.Random) -> str:
    if rng.random() < 0.25:
        return rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return str(rng.choice((rng.randint(1, 20), rng.randint(10, 99), rng.randint(10, 180)))) + rng.choice(("", "°"))


def draw(scene: Scene, size: int = SIDE, supersample: int = 2) -> Image.Image:
    """The page, RGB."""
    clean = scene.style == "clean"
    canvas = Canvas(size, supersample, "paint", background=TINTS[scene.tint] if clean else WHITE)
    for stroke in scene.strokes:
        canvas.line(stroke, INK if clean else BLUE, 0.01)
    rim = max(1, round(0.005 * canvas.pixels))
    for one in scene.texts:
        height = LETTERS if one.text.isalpha() else FIGURES
        colour = INK if one.text.isalpha() else ANGLE if one.text != one.plain else LENGTH
        canvas.pencil.text(
            (one.x * canvas.pixels, one.y * canvas.pixels), one.text, fill=colour if clean else BLACK,
            font=font(round(scene.height * height * canvas.pixels)), anchor="mm", stroke_width=rim, stroke_fill=WHITE,
        )  # fmt: skip
    return canvas.finish()


def sheet_row(scene: Scene, rng: random.Random) -> Row:
    """All texts line by line, with their places or without, or what is written at or nearest to a place.

    A place comes before its text: a spot is found sooner than what it says.
    """
    kind = rng.random()
    if kind < 0.4:
        return Row("Read the page with places.", 1, ", ".join(f"{one.place} {one.plain}" for one in scene.texts) + ".")
    if kind < 0.7:
        return Row("Read the page.", 1, ", ".join(one.plain for one in scene.texts) + ".")
    asked = rng.choice(scene.texts)
    if kind < 0.85 or len(scene.texts) == 1 or [one.plain for one in scene.texts].count(asked.plain) > 1:
        return Row(f"What is written at {asked.place}?", 1, f"{asked.plain}.")
    near = min(
        (one for one in scene.texts if one is not asked), key=lambda one: math.dist((one.x, one.y), (asked.x, asked.y))
    )
    return Row(f"What is written nearest to {asked.plain}?", 1, f"{near.plain}.")
