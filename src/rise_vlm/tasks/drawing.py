"""Answers drawn on images with Pillow: labelled boxes, and a strip of captions. Legible from an icon to a
100-megapixel photo.

Left out: charts, which the report draws itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageColor, ImageDraw, ImageFont

LEAST_SIDE = 480
"""An image whose longer side is shorter than this is enlarged, or no label would fit."""

LABEL_LENGTH = 60

Spot = tuple[float, float, float, float]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_boxes(image: Image.Image, answers: Sequence[tuple[str, Any | None, str]]) -> Image.Image:
    """A copy with (label, box or None, colour) drawn, boxes in pixels of ``image``; an answer without a box is named
    in a strip below.
    """
    picture, scale = legible(image)
    pen = ImageDraw.Draw(picture)
    line, font = max(2, max(picture.size) // 250), font_for(picture)
    boxes = [(label, [n * scale for n in box], colour) for label, box, colour in answers if box is not None]
    for _, box, colour in boxes:
        outline(pen, box, colour, line)
    taken: list[Spot] = []
    for label, box, colour in boxes:
        taken.append(write_label(pen, label[:LABEL_LENGTH], box, colour, font, line, taken))
    missing = [(f"{label}: no box", colour) for label, box, colour in answers if box is None]
    return draw_captions(picture, missing) if missing else picture


def draw_captions(image: Image.Image, lines: Sequence[tuple[str, str]]) -> Image.Image:
    """A copy above a white strip with one (text, colour) line each, led by a square of the colour; long lines are
    wrapped.
    """
    picture, _ = legible(image)
    font = font_for(picture)
    height = round(font_height(font) * 1.4)
    rows: list[tuple[str, str | None]] = []
    for text, colour in lines:
        parts = wrap(text, font, picture.width - 2 * height)
        rows += [(part, colour if i == 0 else None) for i, part in enumerate(parts)]
    strip = height * len(rows) + (height // 2 if rows else 0)
    canvas = Image.new("RGB", (picture.width, picture.height + strip), "white")
    canvas.paste(picture)
    pen = ImageDraw.Draw(canvas)
    for i, (text, colour) in enumerate(rows):
        top = picture.height + height // 4 + i * height
        if colour is not None:
            pen.rectangle(
                (height // 3, top + height // 4, height // 3 + height // 2, top + height * 3 // 4), fill=colour
            )
        pen.text((height * 4 // 3, top + height // 2), text, fill="black", font=font, anchor="lm")
    return canvas


def beside(images: Sequence[Image.Image]) -> Image.Image:
    """The images of a record as one, from left to right on white, each as tall as the first; a single one as it is."""
    if len(images) == 1:
        return images[0]
    height = images[0].height
    gap = max(1, images[0].width // 32)
    sized = [one.convert("RGB").resize((max(1, round(one.width * height / one.height)), height)) for one in images]
    joined = Image.new("RGB", (sum(one.width for one in sized) + gap * (len(sized) - 1), height), "white")
    left = 0
    for one in sized:
        joined.paste(one, (left, 0))
        left += one.width + gap
    return joined


def legible(image: Image.Image) -> tuple[Image.Image, float]:
    """(an RGB copy, its scale): small images are enlarged to ``LEAST_SIDE``."""
    scale = max(1.0, LEAST_SIDE / max(image.size))
    picture = image.convert("RGB")
    if scale > 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return (picture.copy() if picture is image else picture), scale


def font_for(picture: Image.Image) -> Font:
    """Pillow's own scalable font at about a thirtieth of the longer side."""
    return ImageFont.load_default(max(14, max(picture.size) // 32))


def font_height(font: Font) -> float:
    """The height of a line with ascenders and descenders."""
    return font.getbbox("Ág|")[3]


def outline(pen: ImageDraw.ImageDraw, box: Sequence[float], colour: str, line: int) -> None:
    """A box in its colour between two thin rims that set it off from any background."""
    rim = max(1, line // 3)
    x1, y1, x2, y2 = box
    for grow, shade, width in ((line + rim, contrast(colour), line + 2 * rim), (line, colour, line)):
        pen.rectangle((x1 - grow, y1 - grow, max(x1, x2) + grow, max(y1, y2) + grow), outline=shade, width=width)


def write_label(
    pen: ImageDraw.ImageDraw,
    label: str,
    box: Sequence[float],
    colour: str,
    font: Font,
    line: int,
    taken: Sequence[Spot],
) -> Spot:
    """Writes the label on a plate of the colour: above the box, else below, else inside, where it is in view and
    covers no other label.
    """
    canvas = pen.im.size
    pad = line + 1
    width, height = pen.textlength(label, font=font) + 2 * pad, font_height(font) + pad
    x = min(max(0.0, box[0] - line), max(0.0, canvas[0] - width))
    tops = [box[1] - line - height, box[3] + line, box[1] + line, box[3] - line - height]
    tops += [step * height for step in range(int(canvas[1] // height))]
    spots = [(x, top, x + width, top + height) for top in tops if top >= 0 and top + height <= canvas[1]]
    free = [spot for spot in spots if not any(overlap(spot, other) for other in taken)]
    spot = (free or spots or [(x, 0.0, x + width, height)])[0]
    pen.rectangle(spot, fill=colour)
    pen.text((spot[0] + pad, (spot[1] + spot[3]) / 2), label, fill=contrast(colour), font=font, anchor="lm")
    return spot


def overlap(a: Spot, b: Spot) -> bool:
    """Whether two spots share area."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def contrast(colour: str) -> str:
    """Black or white, whichever is easier to read on the colour."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def wrap(text: str, font: Font, width: float) -> list[str]:
    """The text in lines no wider than ``width`` pixels, broken at blanks, or inside a word that is wider; at most
    eight lines.
    """
    lines: list[str] = []
    for word in text[:400].split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        while len(word) > 1 and font.getlength(word) > width:
            fits = next((n for n in range(len(word) - 1, 1, -1) if font.getlength(word[:n]) <= width), 1)
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    return lines[:8] or [""]


def shown(value: Any | None) -> str:
    """An answer for a caption."""
    return "no answer" if value is None else str(value)
