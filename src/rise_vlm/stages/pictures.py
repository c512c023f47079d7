"""The pictures to annotate: found by name, put into batches of like size, read while the model is busy.

Of a million pictures only the names are held. Left out: what is asked of them.
"""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

from PIL import Image

from rise_vlm.console import say
from rise_vlm.data.formats.places import IMAGE_SUFFIXES
from rise_vlm.data.images import FORMATS
from rise_vlm.errors import UserError

SUFFIXES = (*sorted(IMAGE_SUFFIXES), ".heic", ".heif", ".jxl")
"""What is taken for a picture in a folder. The last three are not read: so that they are told, not passed over."""

WINDOW = 256
"""Pictures whose sizes are looked up together, to put like beside like."""

FIRST_BATCH, BATCH, BATCH_PIXELS = 2, 16, 1 << 23
"""A batch holds at most so many pictures, and about so many pixels as the model gets them (0.1 GB as float32)."""

T = TypeVar("T")


def find_images(named: Sequence[str]) -> list[str]:
    """The files that paths, folders (searched throughout, by suffix) and globs name, each once, in order.

    Raises:
        UserError: a name that matches nothing.
    """
    found: dict[str, None] = {}
    for name in named:
        if os.path.isdir(name):  # noqa: PTH112 (a name that is too long raises in pathlib)
            matches: Iterable[str] = _below(str(Path(name)))
        elif os.path.isfile(name):  # noqa: PTH113
            matches = [str(Path(name))]
        else:
            # Not Path.glob, which takes no absolute pattern.
            matches = (str(Path(one)) for one in sorted(glob.glob(name, recursive=True)) if Path(one).is_file())  # noqa: PTH207
        one = None
        for one in matches:
            found[one] = None
        if one is None:
            what = "holds no image" if os.path.isdir(name) else "is neither a file nor a folder and matches nothing"  # noqa: PTH112
            raise UserError(f"'{name[:200]}' {what}.")
    return list(found)


def _below(folder: str) -> Iterator[str]:
    """The image files below a folder in the order of their paths; links to folders are not followed."""
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        say(f"{folder} cannot be searched: {error.strerror}.")
        return
    for entry in entries:
        path = entry.name if folder == "." else entry.path
        if entry.is_dir(follow_symlinks=False):
            yield from _below(path)
        elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
            yield path


def by_size(names: Iterable[str], most: int | None) -> Iterator[list[str]]:
    """Batches of names; ``most`` bounds a picture's pixels as the model gets it. Their order is kept among equals, and
    within a window of ``WINDOW`` only is it changed. The first batches are small, each twice the one before: where a
    picture takes a minute, the rate is known and answers are kept soon.
    """
    waiting, room = iter(names), FIRST_BATCH
    while window := list(islice(waiting, WINDOW)):
        sized = sorted(((min(_pixels(name), most or 1 << 40), name) for name in window), key=lambda pair: pair[0])
        batch: list[str] = []
        for pixels, name in sized:
            if batch and (len(batch) == room or (len(batch) + 1) * pixels > BATCH_PIXELS):
                yield batch
                batch, room = [], min(2 * room, BATCH)
            batch.append(name)
        yield batch


def _pixels(name: str) -> int:
    """The number of pixels that the file's header tells; 0 where it cannot be read, which reading it will tell."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(name, formats=FORMATS) as image:
                return image.width * image.height
    except Exception:  # a damaged file can make Pillow raise anything
        return 0


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The items; while one is used, a thread makes the next."""
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="rise-pictures") as pool:
        coming = pool.submit(_next, source)
        while (item := coming.result()) is not None:
            coming = pool.submit(_next, source)
            yield item[0]


def _next(source: Iterator[T]) -> tuple[T] | None:
    for item in source:
        return (item,)
    return None
