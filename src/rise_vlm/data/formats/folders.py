"""A folder per class: ``SOURCE/class/image`` or ``SOURCE/split/class/image``. The folder's name is the class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from rise_vlm.data.checking import Problem
from rise_vlm.data.formats.base import Entry, Found, Item, Options, Skip, Target
from rise_vlm.data.formats.guessing import Glimpse, is_note
from rise_vlm.data.formats.places import files_below, folders_in, need_folder, split_level
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError

NO_IMAGES = frozenset({".txt", ".json", ".jsonl", ".csv", ".xml", ".yaml", ".yml"})
"""Suffixes that are no images for sure; a file with any other suffix, or none, is tried unless it is a note."""

IMAGES = "{split}/{class}/{name}"


def sees(glimpse: Glimpse) -> str | None:
    """Folders with images and nothing that could be an annotation."""
    if glimpse.folders and glimpse.images > 1 and not any(_may_annotate(path, glimpse) for path in glimpse.files):
        return f"images in {len(glimpse.folders)} folders and no annotation files"
    return None


def _may_annotate(path: Path, glimpse: Glimpse) -> bool:
    suffix = path.suffix.casefold()
    return glimpse.names_images(path) if suffix == ".txt" else suffix in NO_IMAGES


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every file in a class folder; files outside of class folders are skipped and counted."""
    need_folder(source, "folders")
    folders = folders_in(source)
    splits = split_level(folders)
    if not folders:
        raise DataError(f"{source} holds no folders; images are expected as {source}/CLASS/IMAGE.")
    yield from _loose(source)
    for folder in folders:
        if splits is None:
            yield from _class_folder(source, folder, None)
        elif folder not in splits:
            yield Skip(f"the folder '{folder.name}' is none of train, val and test")
        else:
            yield from _loose(folder)
            for class_folder in folders_in(folder):
                yield from _class_folder(source, class_folder, splits[folder])


def _loose(folder: Path) -> Iterator[Skip]:
    for entry in sorted(folder.iterdir()):
        if entry.is_file() and not entry.name.startswith("."):
            yield Skip("a file outside of the class folders")


def _class_folder(source: Path, folder: Path, split: str | None) -> Iterator[Found]:
    empty = True
    for path in files_below(folder):
        empty = False
        name = path.relative_to(source).as_posix()
        if path.suffix.casefold() in NO_IMAGES or is_note(path):
            yield Skip("a file that is no image")
            continue
        try:
            safe_join(source, name)
        except DataError as error:
            yield Problem(name, None, "path", str(error), name)
            continue
        yield Item(name, None, name, name, path, folder.name, split)
    if empty:
        yield Skip(f"the folder '{folder.name}' without images")


def write(entries: Iterable[Entry], out: Path, target: Target) -> None:
    """Nothing to write: the images, which are put into a folder per split and class, say it all."""
    for _ in entries:
        pass
