"""What every reader yields, what every writer takes, and how the boxes of an image become records of a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

from rise_vlm.data.checking import Problem
from rise_vlm.data.class_list import Classes, ClassList


@dataclass(frozen=True)
class Item:
    """A record to be: an image file (``more`` where it has several) and its annotation, found in ``row`` of ``file``.

    ``group`` names the image within the source, and ``further`` those in ``more``; items that share an image go to one
    split. The annotation may hold boxes:
    one (grounding) or several with labels (detection). They are given in the frame that the source uses:
    ``stated_size`` is the width and height that the source gives for the image, if it gives any; ``unit`` is None for
    pixels, otherwise the number that stands for the whole width and height (1, 100 or 1000).
    """

    file: str
    row: int | None
    id: str
    group: str
    image: Path
    annotation: Any
    split: str | None = None
    question: str | None = None
    is_box: bool = False
    stated_size: tuple[int, int] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    unit: float | None = None
    rationale: str | None = None
    more: tuple[Path, ...] = ()
    further: tuple[str, ...] = ()


@dataclass(frozen=True)
class Skip:
    """Something in the source that is left out on purpose, such as a second box of a class; the first few that have a
    name are told by it.
    """

    reason: str
    name: str = ""


@dataclass(frozen=True)
class Note:
    """Something that the user should know about how the source was read; it is told once."""

    text: str


Found = Item | Problem | Skip | Note | Classes


@dataclass(frozen=True)
class Options:
    """What the user asked for. ``question`` is a template in which ``{class}`` stands for the class; ``classes`` are
    those to keep, which a reader may use to pass over what it need not open; ``field`` is the one with the labels.
    ``redraw`` asks for pictures drawn from what a source says of them. ``scratch`` is a folder for images that are no
    files in the source, and lasts as long as somebody needs them.
    """

    task: str
    images: Path | None = None
    columns: tuple[str, str] | None = None
    field: str | None = None
    question: str = "Where is the {class}?"
    boxes: str = "auto"
    classes: ClassList | None = None
    keep_empty: bool = False
    redraw: bool = False
    scratch: Path | None = None


@contextmanager
def scratch_folder(options: Options) -> Iterator[Path]:
    """The import's scratch folder; where none is given, one that is there until the reader is through."""
    if options.scratch is not None:
        yield options.scratch
    else:
        with TemporaryDirectory(prefix="rise-") as folder:
            yield Path(folder)


class Reader(Protocol):
    """The interface of a format module that reads."""

    def read(self, source: Path, options: Options) -> Iterator[Found]:
        """Yield what is in ``source``, always in the same order. Raises DataError where it cannot be read at all."""
        ...


CROWD = "a crowd (iscrowd), not one thing"
ONLY_OTHERS = "an image with only things that are no box"


class Box(NamedTuple):
    """One annotated thing of a class. ``corners`` is None where the source is broken, which ``fault`` then tells, and
    where the thing is no box at all, such as a point or a crowd, of which ``skip`` then tells what it is.

    ``name`` is empty where the class cannot be told. ``file`` and ``row`` say where the thing is, if that is not where
    its image is.
    """

    name: str
    corners: list[float] | None
    fault: str = ""
    skip: str = ""
    file: str | None = None
    row: int | None = None
    score: float | None = None


def by_class(template: Item, boxes: Sequence[Box], options: Options) -> Iterator[Found]:
    """The items of one image's boxes: ``template`` with id, annotation and question filled in.

    Detection makes one item of all boxes, none included; one broken box breaks it, and where there are only things that
    are no box there is no item, for "nothing there" would be false. Grounding makes one item for each class that has
    exactly one thing in the image, since a question about a class has one answer only then; a template that has a
    question of its own and one box makes one item with that. Classification makes one item where all things are of one
    class. A broken box that may be of any class breaks every task. An exact double of a box counts once.
    """
    told, boxes = len(boxes), _distinct(boxes)
    for _ in range(told - len(boxes)):
        yield Skip("an exact double of a box: the same class and corners in one image")
    names = Counter(box.name for box in boxes)
    if options.classes is not None:
        yield Classes(tuple(name for name in names if name))  # also those that give no item: the source has them
    asked = template.question if options.task == "grounding" and len(boxes) == 1 else None
    broken = [box for box in boxes if box.fault]
    if asked is None and any(options.task == "detection" or not box.name for box in broken):
        for box in broken:
            place = box.file or template.file, box.row or template.row
            yield Problem(*place, "annotation", f"{box.fault}; its image is left out", template.id)
    elif options.task == "detection":
        yield from _detection(template, boxes)
    elif not names:
        yield Skip("no box in the image")
    elif options.task == "classification":
        score = {"score": boxes[0].score} if len(boxes) == 1 and boxes[0].score is not None else {}
        one = replace(template, annotation=boxes[0].name, meta=template.meta | score)
        yield one if len(names) == 1 else Skip("several classes in the image")
    elif asked is not None:
        yield _grounding(template, boxes[0], template.id, asked)
    else:
        for box in boxes:
            if names[box.name] == 1:
                question = options.question.replace("{class}", box.name)
                yield _grounding(template, box, f"{template.id}#{box.name}", question)
        for number in names.values():
            if number > 1:
                yield Skip(f"a class with {number} boxes in one image: grounding takes one")


def imageless(file: str, rows: int) -> Iterator[Note]:
    """What to tell where ``rows`` broken rows of a table of boxes do not say of which image they are."""
    if rows:
        what = "1 broken row does" if rows == 1 else f"{rows} broken rows do"
        yield Note(
            f"{file}: {what} not tell the image, which therefore could not be put aside: it may lack a box. "
            "Mend the table and import it again."
        )


def _distinct(boxes: Sequence[Box]) -> list[Box]:
    """The boxes without those that equal an earlier one in class and corners; what has no corners all stays."""
    kept: dict[Any, Box] = {}
    for at, box in enumerate(boxes):
        key = at if box.corners is None else (box.name, tuple(box.corners))
        kept.setdefault(key, box)
    return list(kept.values())


def _detection(template: Item, boxes: Sequence[Box]) -> Iterator[Found]:
    whole = [box for box in boxes if not box.skip]
    yield from (Skip(box.skip) for box in boxes if box.skip)
    if boxes and not whole:
        yield Skip(ONLY_OTHERS, template.id)
        return
    annotation = [{"label": box.name, "box": box.corners} for box in whole]
    scores = [box.score for box in whole]
    meta = template.meta | ({"scores": scores} if any(score is not None for score in scores) else {})
    yield replace(template, annotation=annotation, is_box=True, meta=meta)


def _grounding(template: Item, box: Box, id_: str, question: str) -> Found:
    file, row = box.file or template.file, box.row or template.row
    if box.skip:
        return Skip(box.skip)
    if box.corners is None:
        return Problem(file, row, "annotation", box.fault, id_)
    meta = template.meta | ({"class": box.name} if box.name else {})
    return replace(
        template, file=file, row=row, id=id_, annotation=box.corners, question=question, is_box=True, meta=meta
    )


@dataclass(frozen=True)
class Entry:
    """One annotated image to be written: a record, or a model's answer to one.

    ``name`` is the image's file name, unique in the export, and ``image`` its path within it; ``file`` is where its
    bytes are now; ``more`` are the paths of further images. Boxes are pixels of the upright picture, whose size is
    ``width`` x ``height``. ``score`` is the confidence in the whole answer, ``scores`` that in each box; ``model`` is
    the name of the model that answered, and None for the truth.
    """

    id: str
    split: str
    name: str
    image: str
    width: int
    height: int
    annotation: Any
    question: str | None = None
    rationale: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    score: float | None = None
    scores: tuple[float | None, ...] | None = None
    model: str | None = None
    file: Path | None = None
    more: tuple[str, ...] = ()

    def boxes(self) -> list[tuple[str, list[float], float | None]]:
        """Label, corners and score of every box of a detection or grounding annotation."""
        if isinstance(self.annotation, list) and self.annotation and not isinstance(self.annotation[0], dict):
            return [(str(self.meta.get("class", "region")), list(self.annotation), self.score)]
        scores = self.scores or (self.score,) * len(self.annotation)
        pairs = zip(self.annotation, scores, strict=True)
        return [(thing["label"], list(thing["box"]), score) for thing, score in pairs]


@dataclass(frozen=True)
class Target:
    """What the written files are about. ``question`` is asked of every record that has none of its own;
    ``image_prefix`` stands before the path of every image, in files that may name addresses (``TAKES_PREFIX``).
    """

    task: str
    classes: tuple[str, ...]
    name: str = "rise-vlm"
    question: str = ""
    image_prefix: str = ""


class FileWriter(Protocol):
    """The interface of a format module that writes one file per split, or one of all splits where its ``FILE`` does not
    hold ``{split}``; ``file_of(split, task)``, where there is one, names it in its stead. ``IMAGES`` says where images
    go by ``{split}``, ``{name}`` and ``{class}``; empty if nowhere.
    """

    FILE: str
    IMAGES: str

    def write_file(self, entries: Iterable[Entry], path: Path, target: Target) -> None:
        """Write the entries of one split to ``path``."""
        ...


class FolderWriter(Protocol):
    """The interface of a format module that writes many files. ``IMAGES`` is as in FileWriter."""

    IMAGES: str

    def write(self, entries: Iterable[Entry], out: Path, target: Target) -> None:
        """Write the entries, split after split, below the folder ``out``."""
        ...
