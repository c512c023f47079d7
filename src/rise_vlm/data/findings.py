"""What a check can find: each kind with its name, what it means and what to do; and one finding.

A kind is either refused (the row cannot be used, no command takes it) or doubtful (legal, and often a mistake). Left
out: how they are found, which is ``inspecting.py``, ``doubles.py``, ``boxes.py`` and ``balance.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rise_vlm.data.checking import BadRow, printable
from rise_vlm.errors import UserError, nearest


@dataclass(frozen=True)
class Kind:
    """A kind of finding: a title for people, what to do about it, whether such rows are refused, and whether it is of
    single rows (else of a class or of the whole dataset).
    """

    title: str
    advice: str
    refused: bool = False
    of_rows: bool = True


KINDS: dict[str, Kind] = {
    "bad-row": Kind("row that cannot be read", "correct the row in its file", refused=True),
    "duplicate-id": Kind("id used twice", "give each record its own id", refused=True),
    "id-in-two-splits": Kind("id used in two splits", "rename it, or remove the record from one split", refused=True),
    "bad-path": Kind("path that leads out of the folder", "put the image into the dataset's folder", refused=True),
    "missing-image": Kind("missing image", "restore the image or remove the row", refused=True),
    "unreadable-image": Kind("unreadable image", "replace or convert the file", refused=True),
    "truncated-image": Kind("truncated image", "copy the file again from its source", refused=True),
    "wrong-size": Kind(
        "stated size is not the image's", "if the image was scaled, scale its boxes too, then correct the size", True
    ),
    "unturned-size": Kind(
        "stated size is that before EXIF turns the photo", "turn the boxes, then exchange width and height", True
    ),
    "box-outside": Kind("box leaves the image", "clip it, or look for an image that was scaled", refused=True),
    "box-empty": Kind("box without area", "draw it again or remove it", refused=True),
    "box-reversed": Kind("box with its corners reversed", "exchange the reversed corners", refused=True),
    "box-as-size": Kind("box that reads as x, y, width, height", "convert: x2 = x1 + width, y2 = y1 + height", True),
    "box-transposed": Kind("box that fits only with x and y exchanged", "exchange x and y", refused=True),
    "box-twice": Kind("box listed twice", "remove one", refused=True),
    "unknown-class": Kind("unknown class", "correct the name, or add the class to dataset.yaml", refused=True),
    "bad-annotation": Kind("annotation that is not valid", "correct the row in its file", refused=True),
    "empty-split": Kind("empty split", "remove it from dataset.yaml, or fill it", refused=True, of_rows=False),
    "leak": Kind("image of one split that is in another too", "--aside leak, or deal anew with 'rise data split'"),
    "similar-leak": Kind(
        "image of one split that looks like one in another", "--aside similar-leak, or 'rise data split'"
    ),
    "same-image": Kind("copy of another image of the split", "--aside same-image keeps the first"),
    "similar-image": Kind("image that looks like another of the split", "--aside similar-image keeps the first"),
    "contradiction": Kind("same image, another annotation", "decide which one is right"),
    "record-twice": Kind("record that repeats another", "--aside record-twice keeps the first"),
    "tagged-rationale": Kind("rationale with <think> or <answer> tags", "remove the tags; SFT leaves it out"),
    "turned-image": Kind("photo that EXIF turns", "rise turns it; see that its boxes are of the turned photo"),
    "flat-image": Kind("image of one colour", "see whether it is meant to be"),
    "box-tiny": Kind("box less than 2 pixels wide or high", "see whether it is a slip of the hand"),
    "box-fraction": Kind("box in fractions of the image", "multiply by width and height"),
    "box-nearly-twice": Kind("box that nearly covers another of its class", "remove one"),
    "boxes-as-size": Kind("all boxes read as x, y, width, height", "convert the whole dataset", of_rows=False),
    "boxes-transposed": Kind("all boxes fit with x and y exchanged", "convert the whole dataset", of_rows=False),
    "class-imbalance": Kind(
        "classes of very different number", "collect more of the rare, or balance the training", of_rows=False
    ),
    "class-few": Kind("class with hardly any examples", "collect more, or merge it with another", of_rows=False),
    "class-typo": Kind("class name that is nearly another's", "if it is a typo, correct it", of_rows=False),
    "class-not-in-train": Kind("class that is never in train", "deal anew with 'rise data split'", of_rows=False),
    "class-unused": Kind("class without any example", "remove it from dataset.yaml, or collect some", of_rows=False),
}
"""Kind -> what it is, in the order shown."""

ASIDE = tuple(name for name, kind in KINDS.items() if kind.of_rows and not kind.refused)
"""The kinds that a user may have put aside."""

OF_BAD_ROWS = {
    "row": "bad-row",
    "duplicate id": "duplicate-id",
    "id in two splits": "id-in-two-splits",
    "path": "bad-path",
    "missing image": "missing-image",
}
"""Kind of a Problem -> kind of the finding, where the one decides the other."""

CUT_SHORT = ("truncated", "end of file", "not enough image data", "premature", "unexpected eof")
"""Words in Pillow's messages for a file that ends too early."""


@dataclass(frozen=True)
class Drawn:
    """A box to draw over an example: what was ``stated`` (at fault), what it may be ``meant`` to be, or a ``plain``
    one beside it.
    """

    box: tuple[float, float, float, float]
    role: str
    label: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing found: its kind, where (file, row, id; None where it is of more than one row) and the details.

    ``image`` and ``other`` are paths in the dataset, ``size`` is the upright size of the first.
    """

    kind: str
    detail: str
    file: str = ""
    row: int | None = None
    id: str | None = None
    image: str | None = None
    other: str | None = None
    size: tuple[int, int] | None = None
    boxes: tuple[Drawn, ...] = ()

    @property
    def where(self) -> str:
        """``train.jsonl row 3``; empty where it is of the whole dataset."""
        return printable(self.file if self.row is None else f"{self.file} row {self.row}")

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        named = {"file": self.file or None, "row": self.row, "id": self.id, "detail": self.detail}
        pictures = {"image": self.image, "other": self.other}
        return {key: printable(value) if isinstance(value, str) else value for key, value in (named | pictures).items()}


def known_kinds(names: Iterable[str]) -> list[str]:
    """The kinds that ``--aside`` asks for; ``all`` is each of them. Raises UserError for any other word."""
    chosen = [part.strip() for name in names for part in name.split(",")]
    if "all" in chosen:
        return list(ASIDE)
    for name in chosen:
        if name not in ASIDE:
            why = f"'{name}' cannot be put aside" if name in KINDS else f"there is no finding '{name}'"
            raise UserError(f"--aside: {why}; it takes all, {', '.join(ASIDE)}.{nearest(name, ASIDE)}")
    return chosen


def kind_of_image(error: str) -> str:
    """Whether an image that cannot be read was cut short or is damaged otherwise."""
    return "truncated-image" if any(words in error.casefold() for words in CUT_SHORT) else "unreadable-image"


def kind_of_bad_row(bad: BadRow) -> str:
    """The kind of a refused row, going by the refusal alone."""
    if bad.kind == "image":
        return kind_of_image(str(bad))
    if "unknown class" in str(bad):
        return "unknown-class"
    return OF_BAD_ROWS.get(bad.kind, "bad-annotation")


def counted(findings: Sequence[Finding]) -> dict[str, int]:
    """Kind -> number of findings, in the order of KINDS."""
    numbers = Counter(finding.kind for finding in findings)
    return {kind: numbers[kind] for kind in KINDS if numbers[kind]}
