"""Pictures as a browser gets them: decoded, upright and encoded anew, so that no file is ever sent as it is.

Large ones are scaled down; boxes are in pixels of the record all the same. Left out: zooming into the full size.
"""

from __future__ import annotations

from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from threading import Lock

from PIL import Image

from rise_vlm.data.images import read_image

LONGEST_SIDE = 1600
LOSSLESS_PIXELS = 512 * 512
"""Up to here a picture is sent as PNG, above as JPEG."""


class Pictures:
    """Encoded pictures, the latest ``size`` of them kept."""

    def __init__(self, size: int = 16) -> None:
        self._kept: OrderedDict[Path, tuple[bytes, str]] = OrderedDict()
        self._size, self._lock = size, Lock()

    def get(self, path: Path) -> tuple[bytes, str]:
        """Bytes and media type. Raises DataError, naming the file, where it cannot be read."""
        with self._lock:
            if path in self._kept:
                self._kept.move_to_end(path)
                return self._kept[path]
        found = encode(read_image(path))
        with self._lock:
            self._kept[path] = found
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return found


def encode(image: Image.Image) -> tuple[bytes, str]:
    """Bytes and media type of an RGB picture, its longest side at most ``LONGEST_SIDE``."""
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    out = BytesIO()
    if image.width * image.height <= LOSSLESS_PIXELS:
        image.save(out, "PNG", compress_level=1)
        return out.getvalue(), "image/png"
    image.save(out, "JPEG", quality=90)
    return out.getvalue(), "image/jpeg"
