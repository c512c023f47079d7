"""Reading image files of any common kind into upright RGB, and refusing what cannot be read whole.

A file's content decides its format, never its name. Left out: animation (the first frame counts), colour profiles,
and formats that need an outside program, such as EPS.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from threading import Lock
from typing import Any

import numpy
from PIL import Image, UnidentifiedImageError

from rise_vlm.errors import DataError

MAX_PIXELS = 100_000_000
"""Pixels of the largest image that is decoded; above it a file is taken for a decompression bomb."""

LARGE = 16_000_000
"""Pixels above which threads decode one image at a time, so that memory does not grow with their number."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
JPEG_END = b"\xff\xd9"
EXIF_ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the transposition that makes the picture upright (1 is upright already)."""

_filters = Lock()
"""Warning filters belong to the whole process, so only one thread may change and restore them at a time."""

_one_large_image = Lock()


@dataclass(frozen=True)
class ImageSize:
    """The stored size of an image in pixels and the EXIF orientation (1 to 8) that makes it upright."""

    stored_width: int
    stored_height: int
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        if self.orientation >= 5:
            return self.stored_height, self.stored_width
        return self.stored_width, self.stored_height


def read_image(path: Path | str) -> Image.Image:
    """The picture in ``path`` as RGB, upright, transparency on white, 16 bits scaled to 8.

    Raises DataError, naming the file and the reason, for a file that is missing, no image, damaged, truncated or
    larger than MAX_PIXELS (which is seen in the header, before any decoding).
    """
    path = Path(path)
    with _opened(path) as image:
        image.load()
        return to_rgb(_upright(image), path)


def read_size(path: Path | str) -> ImageSize:
    """Stored size and EXIF orientation, from the header where the format allows. Raises DataError as read_image."""
    with _opened(Path(path)) as image, in_turn(image.width * image.height):
        return _size(image)


def read_whole_size(path: Path | str) -> ImageSize:
    """As read_size, of a file that is not cut off: of a JPEG its header and its end mark are read, all else is decoded.

    Damage between the two ends of a JPEG is not seen. Raises DataError as read_image.
    """
    path = Path(path)
    with _opened(path) as image, in_turn(image.width * image.height):
        size = _size(image)  # which decodes a PNG
        if not _ends(image):
            image.load()
            to_rgb(image, path)
        return size


def in_turn(pixels: int) -> AbstractContextManager[Any]:
    """What a thread holds while it decodes an image of so many pixels: if it is LARGE, the one lock for such."""
    return _one_large_image if pixels > LARGE else nullcontext()


def to_rgb(image: Image.Image, name: Path | str = "the image") -> Image.Image:
    """``image`` in mode RGB: transparency composited on white, 16-bit grey scaled by 1/257, all else converted."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _scaled_to_8_bits(image, name)
    if image.mode == "F":
        raise DataError(f"{name}: floating-point pixels have no agreed range; store the image with 8 or 16 bits.")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        layer = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def turn_box(box: Sequence[float], size: ImageSize) -> list[float]:
    """``box`` ``[x1, y1, x2, y2]`` from stored pixels to pixels of the upright picture."""
    x1, y1, x2, y2 = box
    width, height = size.stored_width, size.stored_height
    if size.orientation in (2, 3, 7, 8):  # the stored x axis runs against the upright axis that it becomes
        x1, x2 = width - x2, width - x1
    if size.orientation in (3, 4, 6, 7):  # the stored y axis does
        y1, y2 = height - y2, height - y1
    return [y1, x1, y2, x2] if size.orientation >= 5 else [x1, y1, x2, y2]


def safe_join(root: Path | str, relative: str) -> Path:
    """``root / relative``; DataError when that is absolute or leaves ``root``, be it by ``..`` or by a symlink."""
    if PurePosixPath(relative).is_absolute() or PureWindowsPath(relative).drive or "\0" in relative:
        raise DataError(f"'{relative}' is not a relative path; paths are relative to {root}.")
    joined = Path(root) / relative
    try:
        inside = joined.resolve().is_relative_to(Path(root).resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"'{relative}' cannot be resolved in {root}: {error}.") from error
    if not inside:
        raise DataError(f"'{relative}' leaves the folder {root}.")
    return joined


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image file, opened but not decoded; whatever goes wrong inside the block becomes a DataError."""
    try:
        with _filters, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path, formats=FORMATS)
        with opened as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{path}: {image.width} x {image.height} pixels are more than the {MAX_PIXELS // 1_000_000} "
                    "million that are allowed; scale the image down."
                )
            yield image
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such image file.") from error
    except UnidentifiedImageError as error:
        known = f"{', '.join(FORMATS)}; save photos as JPEG"
        raise DataError(f"{path}: this is no image in a format that can be read ({known}).") from error
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{path}: more than the {MAX_PIXELS // 1_000_000} million pixels that are allowed; scale the image down."
        ) from error
    except Exception as error:  # a damaged file can make Pillow's decoders raise anything
        raise DataError(f"{path}: the image cannot be read: {error or type(error).__name__}.") from error


def _size(image: Image.Image) -> ImageSize:
    orientation = _orientation(image)
    if image.format == "TIFF" and orientation >= 5:  # Pillow turns TIFFs by itself and tells the upright size
        return ImageSize(image.height, image.width, orientation)
    return ImageSize(image.width, image.height, orientation)


def _ends(image: Image.Image) -> bool:
    """Whether the file is a JPEG whose last bytes are the mark of its end; phones append more, which tells nothing."""
    file = getattr(image, "fp", None)
    if image.format != "JPEG" or file is None:
        return False
    file.seek(-len(JPEG_END), os.SEEK_END)
    return file.read() == JPEG_END


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or where the EXIF block is damaged."""
    try:
        value = image.getexif().get(EXIF_ORIENTATION, 1)
    except OSError:
        raise  # the pixels are damaged: a PNG is decoded while its EXIF is looked for
    except Exception:  # a damaged EXIF block can raise anything and does not spoil the picture
        return 1
    return value if value in TURNS else 1


def _upright(image: Image.Image) -> Image.Image:
    turn = TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _scaled_to_8_bits(image: Image.Image, name: Path | str) -> Image.Image:
    """16-bit grey (modes ``I;16*``, or ``I`` holding 16-bit values) as RGB."""
    values = numpy.asarray(image).astype(numpy.int64)
    if values.min() < 0 or values.max() > 65535:
        raise DataError(f"{name}: pixel values beyond 16 bits have no agreed range; store it with 8 or 16 bits.")
    grey = ((values + 128) // 257).astype(numpy.uint8)
    return Image.fromarray(grey).convert("RGB")
