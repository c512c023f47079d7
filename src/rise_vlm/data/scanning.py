"""Opening every image once, on all cores: whether it can be read whole, its size, its content, how it looks.

Threads do: Pillow decodes and hashlib hashes without the interpreter's lock. Few images are in work at any time, and of
very large ones a single one, so memory does not grow with the number of images. Left out: remembering results on disk.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from rise_vlm.console import progress
from rise_vlm.data.hashing import Look, look_of
from rise_vlm.data.images import ImageSize, in_turn, read_image, read_size, safe_join
from rise_vlm.errors import DataError
from rise_vlm.machine import usable_cores

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Scan:
    """What opening one image showed. ``error`` says why it cannot be read; then the rest is None.

    ``digest`` is of the file's bytes; ``look`` is None where the image was not decoded.
    """

    error: str | None = None
    size: ImageSize | None = None
    digest: bytes = b""
    look: Look | None = None


def scan(path: Path, *, decode: bool = True) -> Scan:
    """Open one image; without ``decode`` only its bytes and its header are read, and there is no look."""
    try:
        size = read_size(path)
        with in_turn(size.stored_width * size.stored_height if decode else 0):
            look = look_of(read_image(path)) if decode else None
        with path.open("rb") as file:
            return Scan(None, size, hashlib.file_digest(file, "sha256").digest()[:16], look)
    except DataError as error:
        return Scan(str(error))
    except OSError as error:
        return Scan(f"{path}: the image cannot be read: {error.strerror}.")


def ahead(
    items: Iterable[T], work: Callable[[T], R], *, at_once: int = 1, workers: int | None = None
) -> Generator[tuple[T, R], None, None]:
    """Each item, in order, with what ``work`` makes of it in a thread, ``at_once`` items to a call.

    A few items are taken and worked on before they are asked for; leaving the loop early, be it by Ctrl-C, starts no
    further one.
    """
    workers = workers or min(64, usable_cores() + 2)  # two more, so that no core waits for a file
    source = iter(items)
    waiting: deque[Future[list[tuple[T, R]]]] = deque()

    def worked(part: list[T]) -> list[tuple[T, R]]:
        return [(item, work(item)) for item in part]

    with ThreadPoolExecutor(workers, thread_name_prefix="scan") as pool:
        try:
            while part := list(islice(source, at_once)):
                waiting.append(pool.submit(worked, part))
                if len(waiting) >= 8 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def scan_all(
    paths: Iterable[Path], *, decode: bool = True, tick: Callable[[], None] = lambda: None, workers: int | None = None
) -> Generator[Scan, None, None]:
    """``scan`` of every path, in order, as ``ahead`` does. ``tick`` is called for each."""
    with closing(ahead(paths, lambda path: scan(path, decode=decode), workers=workers)) as results:
        for _, one in results:
            yield one
            tick()


def scan_or_refuse(images: Sequence[tuple[Path, str]], *, decode: bool, title: str, then: str) -> list[Scan]:
    """``scan`` of every (root of a dataset, image), with progress. Raises DataError at one that cannot be read, which
    says what to do before one may ``then`` go on.
    """
    paths = (safe_join(root, name) for root, name in images)
    with progress(title, len(images)) as bar, closing(scan_all(paths, decode=decode, tick=bar.update)) as results:
        found: list[Scan] = []
        for (root, _), one in zip(images, results, strict=True):
            if one.error is not None:
                hint = f"'rise data check {root} --quarantine' puts such rows aside; then {then}"
                raise DataError(f"{one.error} {hint}.", exit_code=1)
            found.append(one)
    return found
