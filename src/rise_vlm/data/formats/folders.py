"""A folder per class: ``SOURCE/class/image`` or ``SOURCE/split/class/image``. The folder's name is the class.

A folder alone that has no image of its own, as archives unpack to, is gone into. Folders called by WordNet ids are
ImageNet's, and 'imagenet' names them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from rise_vlm.data.checking import Problem
from rise_vlm.data.class_list import WORDNET_ID
from rise_vlm.data.formats.base import Classes, Entry, Found, Item, Note, Options, Skip, Target
from rise_vlm.data.formats.guessing import Glimpse, is_note
from rise_vlm.data.formats.places import IMAGE_SUFFIXES, files_below, folders_in, need_folder, split_level
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError

NO_IMAGES = frozenset({".txt", ".json", ".jsonl", ".csv", ".xml", ".yaml", ".yml", ".parquet", ".arrow"})
"""Suffixes that are no images for sure; a file with any other suffix, or none, is tried unless it is a note."""

IMAGES = "{split}/{class}/{name}"


def sees(glimpse: Glimpse) -> str | None:
    """Folders with images and nothing that could be an annotation."""
    if glimpse.wordnet:
        return None
    if glimpse.folders and glimpse.images > 1 and not any(_may_annotate(path, glimpse) for path in glimpse.files):
        return f"images in {len(glimpse.folders)} folders and no annotation files"
    return None


def _may_annotate(path: Path, glimpse: Glimpse) -> bool:
    suffix = path.suffix.casefold()
    return glimpse.names_images(path) if suffix == ".txt" else suffix in NO_IMAGES


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every file in a class folder; files outside of class folders are skipped and counted."""
    need_folder(source, "folders")
    source, outer = _inmost(source), source
    if source != outer:
        yield Note(f"the folder of each class is looked for in {source}")
    folders = folders_in(source)
    splits = split_level(folders)
    if not folders:
        raise DataError(f"{source} holds no folders; images are expected as {source}/CLASS/IMAGE.")
    yield from loose_files(source)
    places = list(_class_folders(folders, splits))
    names = tuple(dict.fromkeys(folder.name for folder, _ in places))
    yield Classes(names)
    if any(WORDNET_ID.fullmatch(name) for name in names):
        yield Note("the folders are called by WordNet ids; 'rise data import imagenet' gives the classes their names")
    kept = set(names) if options.classes is None else options.classes.among(Classes(names)).keys()
    for folder in splits or ():
        yield from loose_files(folder)
    for folder in folders if splits else ():
        if splits and folder not in splits:
            yield Skip("a folder that is none of train, val and test", folder.name)
    for folder, split in places:
        if folder.name in kept:
            yield from images_in(source, folder, split, folder.name)
        else:
            yield Skip("a folder of a class that --classes leaves out", folder.name)


def _inmost(source: Path) -> Path:
    """The folder in ``source`` that holds the folders of classes: itself, or one that stands alone in it."""
    folders = folders_in(source)
    if len(folders) != 1 or folders[0].is_symlink() or split_level(folders):
        return source
    entries = list(folders[0].iterdir())
    images = any(entry.suffix.casefold() in IMAGE_SUFFIXES for entry in entries)
    return source if images or not folders_in(folders[0]) else _inmost(folders[0])


def _class_folders(folders: list[Path], splits: dict[Path, str] | None) -> Iterator[tuple[Path, str | None]]:
    """The folders of classes, each with its split."""
    for folder in folders:
        if splits is None:
            yield folder, None
        elif folder in splits:
            for inner in folders_in(folder):
                yield inner, splits[folder]


def loose_files(folder: Path, but: Collection[str] = ()) -> Iterator[Skip]:
    """A Skip for every file that lies in ``folder`` itself, hidden ones and those called as in ``but`` left out."""
    for entry in sorted(folder.iterdir()):
        if entry.is_file() and not entry.name.startswith(".") and entry.name not in but:
            yield Skip("a file outside of the class folders", entry.name)


def images_in(source: Path, folder: Path, split: str | None, name: str) -> Iterator[Found]:
    """An item of the class ``name`` for every file below ``folder`` that may be an image."""
    empty = True
    for path in files_below(folder):
        empty = False
        file = path.relative_to(source).as_posix()
        if path.suffix.casefold() in NO_IMAGES or is_note(path):
            yield Skip("a file that is no image", file)
            continue
        try:
            safe_join(source, file)
        except DataError as error:
            yield Problem(file, None, "path", str(error), file)
            continue
        yield Item(file, None, file, file, path, name, split)
    if empty:
        yield Skip("a folder without images", folder.name)


def write(entries: Iterable[Entry], out: Path, target: Target) -> None:
    """Nothing to write: the images, which are put into a folder per split and class, say it all."""
    for _ in entries:
        pass
