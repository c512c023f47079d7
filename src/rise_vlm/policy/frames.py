"""Box frames: how each model family writes the coordinates of a box. Pure Python, no torch.

Qwen2-VL and Qwen3-VL write thousandths of the image's width and height, Qwen2.5-VL writes pixels of the image as the
processor resized it. Everywhere else in the package a box is pixels of the original, upright image; only
``Task.render`` and ``Task.parse`` pass through here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def smart_resize(width: int, height: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """(width, height) to which the Qwen-VL processors resize an image: multiples of ``factor`` whose product is within
    the two bounds.

    The rule of transformers' ``smart_resize`` (which takes height first and refuses aspect ratios above 200; that is
    the processor's to say).
    """
    new_width, new_height = round(width / factor) * factor, round(height / factor) * factor
    if new_width * new_height > max_pixels:
        beta = math.sqrt(width * height / max_pixels)
        new_width = max(factor, math.floor(width / beta / factor) * factor)
        new_height = max(factor, math.floor(height / beta / factor) * factor)
    elif new_width * new_height < min_pixels:
        beta = math.sqrt(min_pixels / (width * height))
        new_width = math.ceil(width * beta / factor) * factor
        new_height = math.ceil(height * beta / factor) * factor
    return new_width, new_height


@dataclass(frozen=True)
class Thousand:
    """Integers 0..1000 along each side (Qwen2-VL, Qwen3-VL, the built-in model)."""

    hint: str = "Coordinates run from 0 to 1000."

    def encode(self, box: Sequence[float], width: int, height: int) -> list[int]:
        """Pixels -> thousandths, clipped to the image and at least one unit wide and high."""
        return _encode(box, width, height, 1000, 1000)

    def decode(self, box: Sequence[float], width: int, height: int) -> list[float]:
        """Thousandths -> pixels."""
        return _decode(box, width, height, 1000, 1000)


@dataclass(frozen=True)
class ResizedPixels:
    """Pixels of the smart-resized image (Qwen2.5-VL). ``factor`` is patch size times merge size; the bounds are the
    processor's.
    """

    factor: int = 28
    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280
    hint: str = "Coordinates are in pixels."

    def encode(self, box: Sequence[float], width: int, height: int) -> list[int]:
        """Pixels of the original -> pixels of the resized image, clipped to it and at least one wide and high."""
        return _encode(box, width, height, *smart_resize(width, height, self.factor, self.min_pixels, self.max_pixels))

    def decode(self, box: Sequence[float], width: int, height: int) -> list[float]:
        """Pixels of the resized image -> pixels of the original."""
        return _decode(box, width, height, *smart_resize(width, height, self.factor, self.min_pixels, self.max_pixels))


FRAMES: dict[str, Callable[..., Thousand | ResizedPixels]] = {"thousand": Thousand, "resized_pixels": ResizedPixels}
"""Frame name -> its class. One frame is one class here and one line in this table."""

FAMILIES: dict[str, str] = {"qwen2_vl": "thousand", "qwen3_vl": "thousand", "qwen2_5_vl": "resized_pixels"}
"""``config.model_type`` of a family -> its frame; families not named use ``thousand``."""


def frame_for(
    model_type: str, *, factor: int = 28, min_pixels: int = 56 * 56, max_pixels: int = 28 * 28 * 1280
) -> Thousand | ResizedPixels:
    """The frame of a model family. The three numbers are the image processor's and matter to resized pixels only."""
    name = FAMILIES.get(model_type, "thousand")
    return ResizedPixels(factor, min_pixels, max_pixels) if name == "resized_pixels" else Thousand()


def _encode(box: Sequence[float], width: int, height: int, across: int, down: int) -> list[int]:
    x1, x2 = _span(box[0] / width, box[2] / width, across)
    y1, y2 = _span(box[1] / height, box[3] / height, down)
    return [x1, y1, x2, y2]


def _span(low: float, high: float, units: int) -> tuple[int, int]:
    """Two fractions of a side as whole units within 0..units, the second greater than the first."""
    start, end = (min(units, max(0, round(part * units))) for part in (low, high))
    if start >= end:  # the one unit that holds the middle
        start = min(units - 1, max(0, math.floor((low + high) / 2 * units)))
        end = start + 1
    return start, end


def _decode(box: Sequence[float], width: int, height: int, across: int, down: int) -> list[float]:
    return [box[0] * width / across, box[1] * height / down, box[2] * width / across, box[3] * height / down]
