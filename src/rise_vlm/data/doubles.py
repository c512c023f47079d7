"""What occurs twice: images by content and by look, within a split and across splits, and whole records.

Of images in two splits the rows of the lesser split are named, train before val before any test, so that putting them
aside leaves the test as it is; two tests may share images. Within a split the first is kept. Left out: crops and
turned copies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rise_vlm.data.card import VALIDATION
from rise_vlm.data.findings import Finding
from rise_vlm.data.hashing import Look, alike_or_mirrored
from rise_vlm.data.scanning import Scan


@dataclass(frozen=True, slots=True)
class Row:
    """A good record, as much of it as the comparison needs. ``digest`` is of the annotation, ``shown`` its text."""

    split: str
    file: str
    number: int
    id: str
    images: tuple[str, ...]
    size: tuple[int, int]
    question: str | None
    digest: bytes
    shown: str


def doubled(
    rows: Sequence[Row], scans: dict[str, Scan], splits: Sequence[str], *, single_answer: bool
) -> Iterator[Finding]:
    """Every finding of images and records that occur twice.

    ``single_answer`` says that one image and one question have one annotation; then two are a contradiction.
    """
    ranks = ranks_of(splits)
    uses = _uses(rows, scans)
    yield from _same(uses, scans, ranks)
    yield from _similar(uses, scans, ranks)
    yield from _repeated(rows, scans, single_answer=single_answer)


def shared(rows: Sequence[Row], scans: dict[str, Scan]) -> int:
    """The number of image contents that are in more than one split, of which one is trained or chosen on."""
    found = ({row.split for row, _ in used} for used in _uses(rows, scans).values())
    return sum(any(_leaks(one, other) for one in splits for other in splits) for splits in found)


Uses = dict[bytes, list[tuple[Row, str]]]
"""Content -> its (row, image) uses, in the order of the rows."""


def _uses(rows: Iterable[Row], scans: dict[str, Scan]) -> Uses:
    uses: Uses = defaultdict(list)
    for row in rows:
        for image in dict.fromkeys(row.images):
            uses[scans[image].digest].append((row, image))
    return uses


def ranks_of(splits: Sequence[str]) -> dict[str, int]:
    """How much a split is worth keeping whole: train least, then val, then tests, the first of them most."""
    lesser = {"train": 0} | dict.fromkeys(VALIDATION, 1)
    ranked = sorted(enumerate(splits), key=lambda placed: (lesser.get(placed[1], 2), -placed[0]))
    return {split: rank for rank, (_, split) in enumerate(ranked)}


def _same(uses: Uses, scans: dict[str, Scan], ranks: dict[str, int]) -> Iterator[Finding]:
    """Images of the same bytes: in two splits, or in one under two names."""
    for used in uses.values():
        best, kept = max(used, key=lambda use: ranks[use[0].split])  # the first of the best split
        first: dict[str, str] = {}
        for row, image in used:
            home = first.setdefault(row.split, image)
            if _leaks(row.split, best.split):
                told = f"the image is in {best.split} too ('{kept}', {best.file} row {best.number})"
                yield _finding("leak", told, row, image, kept)
            elif row.split == best.split and image != home:
                yield _finding("same-image", f"the file is a copy of '{home}'", row, image, home)


def _leaks(split: str, better: str) -> bool:
    """Whether an image of both splits is a leak: not between two tests, which may ask of the same pictures."""
    return split != better and (split == "train" or split in VALIDATION)


def _similar(uses: Uses, scans: dict[str, Scan], ranks: dict[str, int]) -> Iterator[Finding]:
    """Images that look the same, or mirrored the same, though their bytes differ. Each pair has one that is named."""
    contents = list(uses)
    looks = [scans[uses[content][0][1]].look or Look(None, b"") for content in contents]
    told: set[tuple[bytes, str]] = set()
    for a, b, mirrored in alike_or_mirrored(looks):
        one, other = contents[a], contents[b]
        for loser, winner in ((one, other), (other, one)):
            best, kept = max(uses[winner], key=lambda use: ranks[use[0].split])
            for row, image in uses[loser]:
                lesser = ranks[row.split] < ranks[best.split] and _leaks(row.split, best.split)
                later = row.split == best.split and loser is other  # contents are in the order of their first use
                kind = "similar-leak" if lesser else "similar-image"
                if not (lesser or later) or (loser, f"{kind} {row.id}") in told:
                    continue
                told.add((loser, f"{kind} {row.id}"))
                where = f"{best.split} ('{kept}', {best.file} row {best.number})" if lesser else f"'{kept}'"
                like = "looks like the mirror image of" if mirrored else "looks like"
                detail = f"the image {like} one in {where}" if lesser else f"the image {like} {where}"
                yield _finding(kind, detail, row, image, kept)


def _repeated(rows: Sequence[Row], scans: dict[str, Scan], *, single_answer: bool) -> Iterator[Finding]:
    """Records of one split with the same images and question: the same annotation twice, or two that contradict."""
    seen: dict[tuple[object, ...], Row] = {}
    for row in rows:
        pictures = tuple(scans[image].digest for image in row.images)
        first = seen.setdefault((row.split, pictures, row.question, None if single_answer else row.digest), row)
        if first is row:
            continue
        image, other = row.images[0], first.images[0]
        if first.digest == row.digest:
            yield _finding("record-twice", f"it repeats row {first.number} ('{first.id}')", row, image, other)
        else:
            told = f"{row.shown} here, {first.shown} in row {first.number} ('{first.id}')"
            yield _finding("contradiction", told, row, image, other)


def _finding(kind: str, detail: str, row: Row, image: str, other: str) -> Finding:
    return Finding(kind, detail, row.file, row.number, row.id, image, other, row.size)
