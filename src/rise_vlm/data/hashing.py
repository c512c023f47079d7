"""Which images look the same: a 64-bit perceptual hash to find candidates, a small picture of each to be sure.

The hash is that of the low frequencies of a 32 x 32 grey picture (DCT, each against their median), so it survives
scaling, recompression and a change of format. Two images look the same where their hashes differ in few bits and their
small pictures nowhere by much, which keeps drawn scenes on one background apart. Each look knows that of its mirror
image too, since augmented sets hold mirrored copies. Left out: crops and turned copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
"""Side of the grey picture that is hashed."""

FLAT = 2.0
"""Standard deviation in grey levels below which a picture is of one colour; such pictures have no hash."""

NOISE = 64.0
"""How far above the median a frequency has to be; it keeps those that a drawn picture lacks from being dice."""

MOST_BITS = 7
"""Differing bits of two hashes that may be of the same picture."""

MEAN_LUMA, MOST_LUMA, MEAN_COLOUR = 6.0, 30.0, 10.0
"""Grey levels by which two small pictures of the same picture differ at most: on average and in any of 16 x 16 places,
both after making them equally bright, and on average in colour.
"""

LOOK = 16 * 16 + 4 * 4 * 3
"""Bytes of a small picture: 16 x 16 of luma, then 4 x 4 of RGB."""

WINDOW = 512
"""Candidates of one hash that are compared in one bucket; only in sets of thousands of alike hashes is it too few."""

CHUNK = 1 << 21
"""Candidate pairs held at once."""

_FREQUENCIES = numpy.arange(8)[:, None]
_DCT = numpy.cos(numpy.pi * (2 * numpy.arange(SIDE)[None, :] + 1) * _FREQUENCIES / (2 * SIDE)).astype(numpy.float32)
_LUMA = numpy.array([0.299, 0.587, 0.114], dtype=numpy.float32)
_BITS = numpy.uint64(1) << numpy.arange(64, dtype=numpy.uint64)


@dataclass(frozen=True, slots=True)
class Look:
    """How an image looks: its hash and that of its mirror image, left and right exchanged (None where it is of one
    colour), and its small picture, LOOK bytes.
    """

    hash: int | None
    small: bytes
    mirrored: int | None = None

    def mirror(self) -> Look:
        """The look of the mirror image."""
        if self.mirrored is None:
            return Look(None, self.small)
        pixels = numpy.frombuffer(self.small, dtype=numpy.uint8)
        luma, colour = pixels[:256].reshape(16, 16), pixels[256:].reshape(4, 4, 3)
        small = numpy.concatenate([luma[:, ::-1].ravel(), colour[:, ::-1].ravel()]).tobytes()
        return Look(self.mirrored, small, self.hash)


def look_of(image: Image.Image) -> Look:
    """The look of an upright RGB image."""
    pixels = numpy.asarray(image.resize((SIDE, SIDE), Image.Resampling.HAMMING), dtype=numpy.float32)  # (32, 32, 3)
    grey = pixels @ _LUMA
    luma = grey.reshape(16, 2, 16, 2).mean(axis=(1, 3))
    colour = pixels.reshape(4, 8, 4, 8, 3).mean(axis=(1, 3))
    small = numpy.concatenate([luma.ravel(), colour.ravel()]).round().astype(numpy.uint8).tobytes()
    if float(grey.std()) < FLAT:
        return Look(None, small)
    return Look(_hash(grey), small, _hash(grey[:, ::-1]))


def _hash(grey: NDArray[numpy.float32]) -> int:
    low = (_DCT @ grey @ _DCT.T).ravel()
    low[0] = numpy.median(low[1:])  # the mean brightness says nothing of the picture
    return int(_BITS[low > low[0] + NOISE].sum(dtype=numpy.uint64))


def alike(looks: list[Look]) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, of positions in ``looks`` that show the same picture, each once, sorted within chunks.

    Two hashes that differ in at most 7 bits share one of four 16-bit parts but for at most one bit; so candidates are
    found by sorting each part and looking up its 17 neighbours, never by comparing all with all.
    """
    hashed = numpy.array([at for at, look in enumerate(looks) if look.hash is not None], dtype=numpy.int64)
    if len(hashed) < 2:
        return
    hashes = numpy.array([looks[at].hash for at in hashed], dtype=numpy.uint64)
    small = numpy.frombuffer(b"".join(looks[at].small for at in hashed), dtype=numpy.uint8).reshape(-1, LOOK)
    seen: set[tuple[int, int]] = set()
    for first, second in _candidates(hashes):
        near = numpy.bitwise_count(hashes[first] ^ hashes[second]) <= MOST_BITS
        first, second = first[near], second[near]
        same = _same(small, first, second)
        for a, b in zip(hashed[first[same]].tolist(), hashed[second[same]].tolist(), strict=True):
            pair = (a, b) if a < b else (b, a)
            if pair not in seen:
                seen.add(pair)
                yield pair


def alike_or_mirrored(looks: list[Look]) -> list[tuple[int, int, bool]]:
    """Pairs (i, j), i < j, of positions in ``looks`` that show the same picture, and after them those where one shows
    the mirror image of the other, which the third tells; each pair once, and no picture with itself.
    """
    number, plain, mirrored = len(looks), set[tuple[int, int]](), set[tuple[int, int]]()
    for one, other in alike([*looks, *(look.mirror() for look in looks)]):
        if other < number:
            plain.add((one, other))
        elif one < number and one != other - number:
            mirrored.add((min(one, other - number), max(one, other - number)))
    told = [(*pair, False) for pair in sorted(plain)]
    return told + [(*pair, True) for pair in sorted(mirrored - plain)]


def _same(
    small: NDArray[numpy.uint8], first: NDArray[numpy.int64], second: NDArray[numpy.int64]
) -> NDArray[numpy.bool_]:
    """Which of the pairs have small pictures that differ nowhere by much."""
    result = numpy.zeros(len(first), dtype=bool)
    for start in range(0, len(first), 1 << 14):
        part = slice(start, start + (1 << 14))
        difference = small[first[part]].astype(numpy.float32) - small[second[part]]
        luma, colour = difference[:, :256], numpy.abs(difference[:, 256:])
        luma = numpy.abs(luma - luma.mean(axis=1, keepdims=True))
        result[part] = (
            (luma.mean(axis=1) <= MEAN_LUMA) & (luma.max(axis=1) <= MOST_LUMA) & (colour.mean(axis=1) <= MEAN_COLOUR)
        )
    return result


def _candidates(hashes: NDArray[numpy.uint64]) -> Iterator[tuple[NDArray[numpy.int64], NDArray[numpy.int64]]]:
    """Pairs of positions whose hashes share a 16-bit part but for at most one bit, at most CHUNK at a time."""
    for part in range(4):
        values = ((hashes >> numpy.uint64(16 * part)) & numpy.uint64(0xFFFF)).astype(numpy.int64)
        order = numpy.argsort(values, kind="stable")
        ranked = values[order]
        for flip in (0, *(1 << bit for bit in range(16))):
            wanted = ranked ^ flip
            if flip == 0:
                low = numpy.arange(1, len(ranked) + 1)
            else:
                low = numpy.searchsorted(ranked, wanted, side="left")
            high = numpy.searchsorted(ranked, wanted, side="right")
            count = numpy.minimum(high - low, WINDOW)
            if flip:
                count[wanted < ranked] = 0  # the pair is found from its other end
            yield from _expand(order, low, numpy.maximum(count, 0))


def _expand(
    order: NDArray[numpy.int64], low: NDArray[numpy.int64], count: NDArray[numpy.int64]
) -> Iterator[tuple[NDArray[numpy.int64], NDArray[numpy.int64]]]:
    """Pairs (order[k], order[low[k] + m]) for m < count[k], in chunks of about CHUNK."""
    start, sums = 0, numpy.cumsum(count)
    while start < len(order):
        before = int(sums[start - 1]) if start else 0
        stop = max(int(numpy.searchsorted(sums, before + CHUNK, side="right")), start + 1)
        part = count[start:stop]
        total = int(part.sum())
        if total:
            left = numpy.repeat(numpy.arange(start, stop), part)
            within = numpy.arange(total) - numpy.repeat(numpy.cumsum(part) - part, part)
            yield order[left], order[numpy.repeat(low[start:stop], part) + within]
        start = stop
