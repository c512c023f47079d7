"""Pages of numbers and letters, as `figures` writes them, to learn reading from: nothing else is on them.

A figure carries two or three numbers among much else, and reading is not learned from it. A page is as large as it is
to be, its signs always as large as in a figure of full size. What is known of a page beside its text is which signs
each image token shows (`Page.looks`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw
from torch import Tensor

from rise_vlm.policy.tiny.build import MERGE, PATCH
from rise_vlm.policy.tiny.looks import Text, show_texts
from rise_vlm.policy.tiny.rows import SIDE, Row
from rise_vlm.worlds.canvas import Colour
from rise_vlm.worlds.figures_draw import ANGLE, BLACK, BLUE, FIGURES, INK, LENGTH, LETTERS, TINTS
from rise_vlm.worlds.figures_text import WHITE, font

TOKEN = PATCH * MERGE
"""Pixels an image token is wide and high."""
LINE, COLUMN = 32, 100
"""Pixels a text has for itself."""
COUNTS = (1, 1, 2, 3, 5, 8, 12)


@dataclass(frozen=True)
class Page:
    """A page of ``down`` by ``across`` image tokens: texts in reading order, strokes, background."""

    down: int
    across: int
    texts: tuple[Text, ...]
    strokes: tuple[tuple[tuple[float, float, float, float], Colour], ...]
    ground: Colour

    def draw(self) -> Image.Image:
        """The picture, RGB."""
        picture = Image.new("RGB", (self.across * TOKEN, self.down * TOKEN), self.ground)
        pencil = ImageDraw.Draw(picture)
        for ends, colour in self.strokes:
            pencil.line(ends, fill=colour, width=3)
        for one in self.texts:
            pencil.text(
                (one.x, one.y), one.text, fill=one.colour, font=font(one.size), anchor="mm", stroke_width=2,
                stroke_fill=WHITE,
            )  # fmt: skip
        return picture

    def looks(self) -> Tensor:
        """Which signs each image token shows: (tokens, `looks.SLOTS`)."""
        return show_texts(self.texts, self.down, self.across, TOKEN, TOKEN)

    def row(self) -> Row:
        """All texts in reading order."""
        return Row("Read the page.", 1, ", ".join(one.plain for one in self.texts) + ".")


def sample_page(rng: random.Random, down: int, across: int) -> Page:
    """A page with room for one text at least: one, a few, or up to twelve, each in a place of its own."""
    high, wide = down * TOKEN, across * TOKEN
    lines, columns = max(1, high // LINE), max(1, wide // COLUMN)
    places = [(line, column) for line in range(lines) for column in range(columns)]
    scale, black = rng.uniform(0.95, 1.1), rng.random() < 0.5
    texts: list[Text] = []
    for line, column in sorted(rng.sample(places, min(len(places), rng.choice(COUNTS)))):
        text = _text(rng)
        slack = max(0.0, wide / columns / 2 - 6 * len(text) - 4)
        x = wide / columns * (column + 0.5) + rng.uniform(-slack, slack)
        y = high / lines * (line + 0.5 + rng.uniform(-0.12, 0.12))
        size = round((LETTERS if text.isalpha() else FIGURES) * SIDE * scale)
        colour = BLACK if black else INK if text.isalpha() else ANGLE if text.endswith("°") else LENGTH
        texts.append(Text(text, x, y, size, colour))
    ground = WHITE if rng.random() < 0.5 else rng.choice(TINTS)
    strokes = [
        ((rng.random() * wide, rng.random() * high, rng.random() * wide, rng.random() * high), rng.choice((INK, BLUE)))
        for _ in range(rng.randint(0, 2))
    ]
    return Page(down, across, tuple(texts), tuple(strokes), ground)


def _text(rng: random.Random) -> str:
    if rng.random() < 0.25:
        return rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return str(rng.choice((rng.randint(1, 20), rng.randint(10, 99), rng.randint(10, 180)))) + rng.choice(("", "°"))
