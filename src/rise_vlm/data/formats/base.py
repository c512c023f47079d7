"""What every importer yields and takes, and the rules that several of them share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from rise_vlm.data.checking import Problem
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Names that a split goes by in the wild -> ours."""

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"}
)


@dataclass(frozen=True)
class Item:
    """A record to be: an image file and its annotation, found in ``row`` of ``file``.

    ``group`` names the image within the source; all items of a group go to one split. A box is given in the frame that
    the source uses; ``stated_size`` is the width and height that the source gives for the image, if it gives any.
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


@dataclass(frozen=True)
class Skip:
    """Something in the source that is left out on purpose, such as a second box of a class."""

    reason: str


Found = Item | Problem | Skip


@dataclass(frozen=True)
class Options:
    """What the user asked for. ``question`` is a template in which ``{class}`` stands for the class."""

    task: str
    images: Path | None = None
    columns: tuple[str, str] | None = None
    question: str = "Where is the {class}?"
    boxes: str = "auto"


class Importer(Protocol):
    """The interface of an importer module."""

    def read(self, source: Path, options: Options) -> Iterator[Found]:
        """Yield what is in ``source``, always in the same order. Raises DataError where it cannot be read at all."""
        ...


@dataclass(frozen=True)
class Box:
    """One annotated box of a class. ``corners`` is None where the source is broken, which ``fault`` then tells.

    ``file`` and ``row`` say where the box is, if that is not where its image is.
    """

    name: str
    corners: list[float] | None
    fault: str = ""
    crowd: bool = False
    file: str | None = None
    row: int | None = None


def by_class(template: Item, boxes: list[Box], options: Options) -> Iterator[Found]:
    """The items of one image's boxes: ``template`` with id, annotation and question filled in.

    Grounding makes one item for each class that has exactly one box in the image, since a question about a class has
    one answer only then. Classification makes one item where all boxes are of one class.
    """
    names = Counter(box.name for box in boxes)
    if not names:
        yield Skip("no box in the image")
    elif options.task == "classification":
        yield replace(template, annotation=boxes[0].name) if len(names) == 1 else Skip("several classes in the image")
    else:
        for box in boxes:
            if names[box.name] == 1:
                yield _grounding(template, box, options)
        for number in names.values():
            if number > 1:
                yield Skip(f"{number} boxes of the class")


def _grounding(template: Item, box: Box, options: Options) -> Found:
    file, row, id_ = box.file or template.file, box.row or template.row, f"{template.id}#{box.name}"
    if box.crowd:
        return Skip("a crowd (iscrowd), not one thing")
    if box.corners is None:
        return Problem(file, row, "annotation", box.fault, id_)
    question = options.question.replace("{class}", box.name)
    meta = template.meta | {"class": box.name}
    return replace(
        template, file=file, row=row, id=id_, annotation=box.corners, question=question, is_box=True, meta=meta
    )


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below ``folder``, hidden ones left out, in the order of their paths; links to folders not followed."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from files_below(entry)
        elif not entry.is_dir():
            yield entry


def folders_in(folder: Path) -> list[Path]:
    """The folders in ``folder``, hidden ones left out, sorted."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def split_level(folders: Sequence[Path]) -> dict[Path, str] | None:
    """Folder -> split where the folders are splits: all of them, or at least one that is for training."""
    splits = {
        folder: SPLIT_NAMES[folder.name.casefold()] for folder in folders if folder.name.casefold() in SPLIT_NAMES
    }
    return splits if splits and ("train" in splits.values() or len(splits) == len(folders)) else None


def need_folder(source: Path, format: str) -> None:
    """Raise DataError unless ``source`` is a folder."""
    if not source.is_dir():
        raise DataError(f"{source} is {'a file' if source.exists() else 'missing'}; '{format}' reads a folder.")


class ImageFinder:
    """Finds images by name below one folder, whatever the case of their names and suffixes."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(f"There is no folder of images {folder}.")
        self.folder = folder
        self._by_name: dict[str, Path] = {}
        self._by_stem: dict[str, Path] = {}
        for entry in sorted(folder.iterdir()):
            if entry.is_file() and entry.suffix.casefold() != ".xml":
                self._by_name.setdefault(entry.name.casefold(), entry)
                if entry.suffix.casefold() in IMAGE_SUFFIXES:
                    self._by_stem.setdefault(entry.stem.casefold(), entry)

    def find(self, name: str, stem: str | None = None) -> Path | None:
        """The image called ``name`` or, failing that, the one whose name without suffix is ``stem``."""
        found = self._by_name.get(name.casefold()) or self._by_stem.get((stem or name).casefold())
        if found is not None:
            safe_join(self.folder, found.name)
        return found
