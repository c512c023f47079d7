r"""The text of a mark as a textbook sets it: `\frac{1}{3}x + 5` with a bar, `5\sqrt{2}` with its root, `x^2` raised.

Pillow's own font has no such signs, so they are drawn. Left out: all other commands of LaTeX, fractions in fractions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from PIL import ImageDraw, ImageFont

from rise_vlm.worlds.canvas import Colour

LONGEST = 40
_PLAIN = r"[A-Za-z0-9+\-*/.=' ]"
_PART = re.compile(
    rf"\\frac\{{({_PLAIN}+)\}}\{{({_PLAIN}+)\}}|\\sqrt\{{({_PLAIN}+)\}}|\^\{{?({_PLAIN})\}}?|({_PLAIN}|[()°])"
)
SMALL = 0.72
"""Height of fractions' and powers' figures, of that of the line."""

WHITE: Colour = (255, 255, 255)


def settable(text: str) -> bool:
    """Whether a text is short and made of letters, figures, signs, fractions, roots and powers alone."""
    return 0 < len(text) <= LONGEST and _PART.sub("", text) == "" and text.strip() != ""


@lru_cache(maxsize=64)
def font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font in a height."""
    return ImageFont.load_default(max(6, pixels))


def _parts(text: str) -> Iterator[tuple[str, str, str]]:
    """(kind, text, denominator), runs of plain letters together."""
    run = ""
    for found in _PART.finditer(text):
        above, below, root, power, plain = found.groups()
        if plain is not None:
            run += plain
            continue
        if run:
            yield "plain", run, ""
            run = ""
        yield ("fraction", above, below) if above else ("root", root, "") if root else ("power", power, "")
    if run:
        yield "plain", run, ""


def _width(kind: str, text: str, below: str, height: int) -> float:
    small = font(round(height * SMALL))
    if kind == "fraction":
        return max(small.getlength(text), small.getlength(below)) + 0.16 * height
    if kind == "power":
        return small.getlength(text)
    return font(height).getlength(text) + (0.5 * height if kind == "root" else 0)


def extent(text: str, height: int) -> tuple[float, float]:
    """Width and height of a text in pixels, its line being `height` high."""
    parts = list(_parts(text))
    tall = 1.5 if any(kind == "fraction" for kind, _, _ in parts) else 0.95
    return sum(_width(*part, height) for part in parts), tall * height


def write(pencil: ImageDraw.ImageDraw, text: str, middle: tuple[float, float], height: int, colour: Colour) -> None:
    """Write a text about its middle (pixels), with a thin white rim."""
    x, y = middle[0] - extent(text, height)[0] / 2, middle[1]
    rim, thin = max(1, round(0.06 * height)), max(1, round(0.06 * height))
    small = font(round(height * SMALL))

    def put(
        at: tuple[float, float], words: str, face: ImageFont.FreeTypeFont | ImageFont.ImageFont, anchor: str
    ) -> None:
        pencil.text(at, words, fill=colour, font=face, anchor=anchor, stroke_width=rim, stroke_fill=WHITE)

    for kind, words, below in _parts(text):
        wide = _width(kind, words, below, height)
        if kind == "fraction":
            put((x + wide / 2, y - 0.4 * height), words, small, "mm")
            put((x + wide / 2, y + 0.44 * height), below, small, "mm")
            pencil.line([(x + 0.04 * height, y), (x + wide - 0.04 * height, y)], fill=colour, width=thin)
        elif kind == "power":
            put((x, y - 0.32 * height), words, small, "lm")
        elif kind == "root":
            put((x + 0.46 * height, y), words, font(height), "lm")
            top, low = y - 0.48 * height, y + 0.38 * height
            sign = [(x + 0.06 * height, y + 0.05 * height), (x + 0.16 * height, y), (x + 0.28 * height, low),
                    (x + 0.44 * height, top), (x + wide, top)]  # fmt: skip
            pencil.line(sign, fill=colour, width=thin, joint="curve")
        else:
            put((x, y), words, font(height), "lm")
        x += wide
