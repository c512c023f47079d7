"""From a dataset to a foreign format: images copied or left, everything that the format cannot keep counted.

The folder is there whole or not at all. Left out: changing what is exported, and adding to a folder that exists.
"""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from rise_vlm.console import progress
from rise_vlm.data.dataset import Dataset
from rise_vlm.data.formats import FEATURES, Format
from rise_vlm.data.formats.base import Entry, Target
from rise_vlm.data.formats.places import IMAGE_SUFFIXES, SPLIT_NAMES
from rise_vlm.data.images import safe_join
from rise_vlm.data.record import Record
from rise_vlm.data.writer import LONGEST_NAME
from rise_vlm.errors import DataError, UserError


@dataclass
class Exported:
    """What came of an export: records per split, bad rows passed over, and what the format could not keep."""

    splits: dict[str, int] = field(default_factory=dict)
    bad: int = 0
    lost: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"splits": self.splits, "bad": self.bad, "lost": dict(self.lost)}


def export_dataset(
    name: str,
    form: Format,
    dataset: Dataset,
    out: Path,
    *,
    splits: Iterable[str] = (),
    images: bool = True,
    image_prefix: str = "",
) -> Exported:
    """Write ``dataset``, or some of its splits, to the new folder ``out`` in the format called ``name``.

    Without ``images`` the annotation files alone are written. Raises UserError where the format cannot hold the task or
    takes no ``image_prefix``, or where ``out`` holds anything, DataError where there is nothing to write.
    """
    if image_prefix and not form.takes_prefix:
        raise UserError(f"--image-prefix means nothing to the format '{name}', which names images by their paths.")
    target = replace(target_of(name, form, dataset), image_prefix=image_prefix)
    chosen = list(splits) or dataset.splits
    for split in chosen:
        dataset.file(split)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; choose another.")
    exported = Exported(splits=dict.fromkeys(chosen, 0))
    with _whole(out) as draft, progress(f"Exporting {dataset.root.name}") as bar:
        source = _Source(form, dataset, draft, exported, images)

        def entries(split: str) -> Iterator[Entry]:
            for record in dataset.records(split):
                yield source.entry(split, record)
                exported.splits[split] += 1
                bar.update()
            exported.bad += dataset.counts[split].quarantined

        _write(form, {split: entries(split) for split in chosen}, draft, target)
        if not sum(exported.splits.values()):
            raise DataError(f"{dataset.root} has no good record in {', '.join(chosen) or 'any split'}.", exit_code=1)
        if "classes" not in form.keeps and target.task == "detection":
            exported.lost["classes"] += len(set(target.classes) - source.labels)
    exported.lost = Counter({FEATURES[key]: number for key, number in exported.lost.items() if number})
    if dataset.card.synonyms:
        exported.lost["synonyms of classes"] = len(dataset.card.synonyms)
    return exported


def target_of(name: str, form: Format, dataset: Dataset) -> Target:
    """What the files are about. Raises UserError where the format does not hold the dataset's task."""
    task = dataset.card.task
    if task not in form.writes:
        able = f"it writes {' or '.join(form.writes)}" if form.writes else "it is only read"
        raise UserError(f"'{name}' cannot hold {task}: {able}.")
    question = dataset.task.question or dataset.task.default_question or ""
    return Target(task, tuple(dataset.card.classes), dataset.card.name, question)


def _write(form: Format, entries: dict[str, Iterator[Entry]], draft: Path, target: Target) -> None:
    """Let the format write; what one file holds of all splits comes split after split."""
    writer: Any = form.load_writer()
    every = (entry for split in entries for entry in entries[split])
    if not hasattr(writer, "write_file"):
        writer.write(every, draft, target)
    elif "{split}" not in writer.FILE:
        writer.write_file(every, draft / writer.FILE, target)
    else:
        for split, found in entries.items():
            own = writer.file_of(split, target.task) if hasattr(writer, "file_of") else writer.FILE.format(split=split)
            writer.write_file(found, draft / own, target)


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A hidden folder beside ``out`` that becomes it at the end, or is gone."""
    draft = out.absolute().parent / f".{out.absolute().name}.partial-{os.getpid()}"
    try:
        draft.mkdir(parents=True)
        yield draft
        if out.exists():
            out.rmdir()
        draft.replace(out)
    except OSError as error:
        raise DataError(f"{out} was not written: {error}.", exit_code=1) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


class _Source:
    """Turns records into entries: names their images, copies them, and counts what the format cannot keep."""

    def __init__(self, form: Format, dataset: Dataset, draft: Path, exported: Exported, images: bool) -> None:
        self.form, self.dataset, self.draft, self.exported = form, dataset, draft, exported
        module = form.load()
        self.place: str = module.IMAGES
        self.shares: bool = getattr(module, "SHARES_IMAGES", False)
        self.copies = images and bool(self.place)
        self.labels: set[str] = set()
        self._taken: set[str] = set()
        self._placed: dict[str, tuple[str, str]] = {}

    def entry(self, split: str, record: Record) -> Entry:
        """The record as an entry; its images are copied."""
        source = safe_join(self.dataset.root, record.images[0])
        self._count(record, split)
        (name, image), *more = [self._image(split, record, each) for each in record.images]
        meta = dict(record.meta)
        score, scores = meta.pop("score", None), meta.pop("scores", None)
        return Entry(
            record.id,
            split,
            name,
            image,
            record.width,
            record.height,
            record.annotation,
            record.question or self.dataset.card.question,
            record.rationale,
            record.meta if "meta" in self.form.keeps else meta,
            score if isinstance(score, int | float) else None,
            tuple(scores) if isinstance(scores, list) and len(scores) == len(record.annotation) else None,
            file=source,
            more=tuple(path for _, path in more),
        )

    def _count(self, record: Record, split: str) -> None:
        if isinstance(record.annotation, list):
            self.labels |= {thing["label"] for thing in record.annotation if isinstance(thing, dict)}
        scored = {"score", "scores"} & record.meta.keys()
        has = {
            "id": True,
            "split": True,
            "empty": record.annotation == [],
            "question": bool(record.question or self.dataset.card.question),
            "rationale": record.rationale is not None,
            "score": bool(scored),
            "meta": bool(record.meta.keys() - scored - {"class"}),
            "more": len(record.images) > 1,
        }
        if split not in SPLIT_NAMES and "split" in self.form.keeps:
            self.exported.lost["split"] += 1  # a name that no reader knows for a split
        self.exported.lost.update(key for key, there in has.items() if there and key not in self.form.keeps)

    def _image(self, split: str, record: Record, own: str) -> tuple[str, str]:
        """The name of one of the record's images, which is ``own`` in the dataset, and its path in the export."""
        if self.shares and own in self._placed:
            return self._placed[own]
        source = safe_join(self.dataset.root, own)
        name = self._name(source)
        class_ = record.annotation if isinstance(record.annotation, str) else ""
        if "{class}" in self.place and (class_ != re.sub(r"[/\\\0]", "", class_).strip(". ") or not class_):
            raise DataError(f"The class '{class_}' cannot name a folder; choose another format.")
        image = self.place.format(**{"split": split, "name": name, "class": class_})
        if self.copies:
            target = safe_join(self.draft, image)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        self._placed[own] = name, image
        return name, image

    def _name(self, source: Path) -> str:
        """A name whose stem no other image has, of letters, digits and the like, with a suffix that tools know."""
        plain = unicodedata.normalize("NFC", re.sub(r"[^\w .()+-]", "_", source.name)).lstrip(". ")
        path = PurePosixPath(plain or "image")
        suffix = path.suffix.casefold()
        stem = path.stem
        if suffix not in IMAGE_SUFFIXES:
            stem, suffix = path.name, _suffix(source)
        stem = stem.encode()[:LONGEST_NAME].decode(errors="ignore").strip() or "image"
        unique, number = stem, 1
        while unique.casefold() in self._taken:
            number += 1
            unique = f"{stem}-{number}"
        self._taken.add(unique.casefold())
        return unique + suffix


def _suffix(path: Path) -> str:
    """The suffix for the content of an image."""
    with Image.open(path) as image:
        return {"JPEG": ".jpg", "JPEG2000": ".jp2", "TIFF": ".tif"}.get(image.format or "", f".{image.format}".lower())
