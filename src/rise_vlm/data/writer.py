"""Writing a dataset so that it is there whole or not at all.

Everything is written into a hidden folder beside the target, which is renamed at the end. Left out: adding to a
dataset that exists.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from PIL import Image
from pydantic import ValidationError

from rise_vlm.data.card import CARD, Card, explain
from rise_vlm.data.checking import BadRow, Counts, Judge, Problem, check_annotation, write_quarantine
from rise_vlm.data.images import read_image, safe_join, to_rgb
from rise_vlm.data.record import Record
from rise_vlm.errors import DataError, UserError

ORDER = ("train", "val", "test")
LONGEST_NAME = 120
"""Bytes of the longest image name without its suffix; file systems allow 255 with it."""


def refuse_existing(root: Path, force: bool) -> None:
    """Raise DataError where ``root`` holds anything: unless ``force``, a dataset; ever, something else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return
    if not (root / CARD).is_file():
        raise DataError(f"{root} exists and is not a dataset; choose another folder.")
    if not force:
        raise DataError(f"{root} holds a dataset already; choose another folder or replace it with --force.")


class DatasetWriter:
    """Context manager that writes a dataset to ``root``; leaving it by an exception leaves nothing behind.

    ``card.splits`` need not be filled in: a split comes to be with its first record, or with ``split()``.
    ``judge`` (a task's ``check``), where given, refuses bad annotations. ``force`` replaces an existing dataset (never
    a folder that is something else). ``link`` makes hard links to image files in place of copies.
    """

    def __init__(
        self, root: Path | str, card: Card, *, judge: Judge | None = None, force: bool = False, link: bool = False
    ) -> None:
        self.root, self.card, self.force, self.link = Path(root).absolute(), card, force, link
        self.counts: dict[str, Counts] = {}
        self.problems: list[Problem] = []
        self._judge = judge
        self._draft = self.root.parent / f".{self.root.name}.partial-{os.getpid()}"
        self._files: dict[str, IO[str]] = {}
        self._ids: set[str] = set()
        self._names: set[str] = set()
        self._sizes: dict[Path, tuple[int, int]] = {}
        self._copied: dict[tuple[str, Path], str] = {}
        self._drawn: tuple[str, Image.Image | None, bytes, str] = ("", None, b"", "")
        self._kept: dict[tuple[Path, str], str] = {}

    def __enter__(self) -> DatasetWriter:
        refuse_existing(self.root, self.force)
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            for entry in list(self.root.parent.iterdir()):
                prefix, _, process = entry.name.rpartition("-")
                if prefix == f".{self.root.name}.partial" and process.isdigit() and not _runs(int(process)):
                    shutil.rmtree(entry)  # what a killed process left over
            self._draft.mkdir()
        except OSError as error:
            raise DataError(f"{self.root} was not written: {error}.", exit_code=1) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for file in self._files.values():
                file.close()
            if kind is None:
                self._finish()
        except OSError as failure:
            raise DataError(f"{self.root} was not written: {failure}.", exit_code=1) from failure
        finally:
            shutil.rmtree(self._draft, ignore_errors=True)
        if isinstance(error, OSError):
            raise DataError(f"{self.root} was not written: {error}.", exit_code=1) from error

    def split(self, name: str) -> Counts:
        """The counts of a split, which is made where it does not exist yet."""
        if name not in self._files:
            if not re.fullmatch(r"[\w-]+", name):
                raise DataError(f"'{name}' cannot name a split; use letters, digits, '-' and '_'.")
            (self._draft / "images" / name).mkdir(parents=True, exist_ok=True)
            self._files[name] = (self._draft / f"{name}.jsonl").open("w", encoding="utf-8", newline="\n")
            self.counts[name] = Counts()
        return self.counts[name]

    def add(
        self,
        split: str,
        *,
        id: str,
        image: Image.Image | Path,
        more: Sequence[Image.Image | Path] = (),
        annotation: Any,
        question: str | None = None,
        rationale: str | None = None,
        meta: dict[str, Any] | None = None,
        size: tuple[int, int] | None = None,
    ) -> Record:
        """Add one record. An image in memory is saved as PNG, once for records in a row whose first image it is; a file
        is copied byte for byte, once per split.
        ``more`` are the record's further images, which go beside the first. ``size`` is the upright one of the first,
        where somebody has opened them all; else each file is read whole, once, to be sure that it can be.

        Raises DataError for a duplicate id, an annotation that the judge refuses and an image that cannot be read.
        """
        pictures = (image, *more)
        size, *_ = (size,) if size else (self._size(picture) for picture in pictures)
        places = self._places(split, pictures, id)
        try:
            record = Record(
                id=id,
                images=tuple(places),
                annotation=annotation,
                question=question,
                rationale=rationale,
                width=size[0],
                height=size[1],
                meta=meta or {},
            )
        except ValidationError as error:
            raise BadRow("row", explain(error, Record), id) from error
        if id in self._ids:
            raise BadRow("duplicate id", f"the id '{id}' was used before", id)
        check_annotation(record, self._judge)
        counts = self.split(split)
        for picture, place in zip(pictures, places, strict=True):
            if place.casefold() not in self._names:
                self._store(picture, place)
            if isinstance(picture, Path):
                self._copied[split, picture] = place
        if not isinstance(image, Path):
            self._drawn = split, image, image.tobytes(), places[0]
        self._row(split, record)
        counts.records += 1
        return record

    def keep(self, split: str, record: Record, source: Path) -> None:
        """Add a record of the dataset in ``source`` as it is; its images are copied to where they are there, or under
        another name where only upper and lower case tell it from one that is there already.

        Raises DataError for a duplicate id and for an image that leads out of ``source``.
        """
        if record.id in self._ids:
            raise BadRow("duplicate id", f"the id '{record.id}' was used before", record.id)
        counts = self.split(split)
        images = tuple(self._copy(split, source, image) for image in record.images)
        self._row(split, record.model_copy(update={"images": images}))
        counts.records += 1

    def quarantine(self, problem: Problem) -> None:
        """Note a row of the source that cannot be used; it is written to ``quarantine.jsonl``."""
        self.problems.append(problem)

    def _copy(self, split: str, source: Path, image: str) -> str:
        """Copy an image of the dataset in ``source``, once; returns where it is in this one."""
        if (source, image) not in self._kept:
            free = image.casefold() not in self._names
            place = image if free else self._relative(split, Path(image).name)
            target = self._draft / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(safe_join(source, image), target)
            self._names.add(place.casefold())
            self._kept[source, image] = place
        return self._kept[source, image]

    def _row(self, split: str, record: Record) -> None:
        self._ids.add(record.id)
        row = record.model_dump(exclude_defaults=True)
        self._files[split].write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    def _size(self, picture: Image.Image | Path) -> tuple[int, int]:
        """The upright size of an image."""
        if not isinstance(picture, Path):
            return picture.size
        if picture not in self._sizes:
            self._sizes[picture] = read_image(picture).size
        return self._sizes[picture]

    def _places(self, split: str, pictures: Sequence[Image.Image | Path], id: str) -> list[str]:
        """Where in the dataset each image of a record is or will go."""
        found: list[str] = []
        for number, picture in enumerate(pictures, start=1):
            taken = [place.casefold() for place in found]
            if number == 1 and self._drawn_again(split, picture):
                found.append(self._drawn[-1])
            elif not isinstance(picture, Path):
                name = f"{id}.png" if number == 1 else f"{id}-{number}.png"
                found.append(self._relative(split, name, taken))
            else:
                found.append(self._copied.get((split, picture)) or self._relative(split, picture.name, taken))
        return found

    def _drawn_again(self, split: str, picture: Image.Image | Path) -> bool:
        """Whether it is the image in memory that was saved last, and nobody has drawn on it since."""
        last_split, last, pixels, _ = self._drawn
        if last is None:
            return False
        return picture is last and split == last_split and last.tobytes() == pixels

    def _store(self, image: Image.Image | Path, relative: str) -> None:
        self._names.add(relative.casefold())
        target = self._draft / relative
        if isinstance(image, Path) and self.link:
            _link(image, target)
        elif isinstance(image, Path):
            shutil.copyfile(image, target)
        else:
            to_rgb(image).save(target, format="PNG")

    def _relative(self, split: str, name: str, taken: Collection[str] = ()) -> str:
        """A free path for an image: its own name where possible, safe on every file system, told apart by a number;
        ``taken`` are such as will be written.
        """
        plain = Path(re.sub(r'[\x00-\x1f/\\:*?"<>|]', "_", name))
        stem = plain.stem.encode()[:LONGEST_NAME].decode(errors="ignore")
        suffix = plain.suffix.encode()[:LONGEST_NAME].decode(errors="ignore")
        path, number = f"images/{split}/{stem}{suffix}", 1
        while path.casefold() in self._names or path.casefold() in taken:
            number += 1
            path = f"images/{split}/{stem}-{number}{suffix}"
        return path

    def _finish(self) -> None:
        """Write quarantine and card, then put the folder in place with one rename."""
        write_quarantine(self._draft, self.problems)
        splits = dict(self.card.splits) | {split: f"{split}.jsonl" for split in ordered(self._files)}
        self.card.model_copy(update={"splits": splits}).write(self._draft)
        old = self.root.parent / f".{self.root.name}.old-{os.getpid()}"
        if self.root.exists():
            self.root.replace(old)
        self._draft.replace(self.root)
        shutil.rmtree(old, ignore_errors=True)


def _link(image: Path, target: Path) -> None:
    """Make ``target`` another name of a file. Raises UserError where that cannot be."""
    try:
        target.hardlink_to(image.resolve() if image.is_symlink() else image)
    except OSError as error:
        told = f"{image} cannot be linked to: {error.strerror}. Source and dataset must be on one file system that has"
        raise UserError(f"{told} hard links; without --link images are copied.", exit_code=1) from error


def ordered(splits: Iterable[str]) -> list[str]:
    """Splits as people expect them: train, val, test, then all others as they came."""
    return sorted(splits, key=lambda split: ORDER.index(split) if split in ORDER else len(ORDER))


def _runs(process: int) -> bool:
    """Whether a process of that number is alive."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
