"""Where a source keeps its files: folders that are splits, annotation files, and images found by name.

No path leaves the folder that it is relative to, be it by ``..`` or by a link; links to folders are not followed.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from rise_vlm.data.checking import BadRow
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
    "id_test": "test",
    "ood": "ood",
    "ood_test": "ood",
    "test_ood": "ood",
    "ood_left": "ood_left",
    "ood_right": "ood_right",
    "ood_long": "ood_long",
}
"""Names that a split goes by in the wild -> ours. Of two that fit a file's name the longer one counts."""

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"}
)

DESCRIPTION = "dataset_info.json"
"""What describes the files beside it to LLaMA-Factory, and annotates nothing."""

IMAGENET_ROOTS = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC", "")
"""Where below a source the splits or class folders of ImageNet may lie; the first that is there counts."""


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below ``folder``, hidden ones left out, in the order of their paths; links to folders not followed."""
    with os.scandir(folder) as listed:  # which tells files from folders without a look at each
        entries = sorted(listed, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(folder / entry.name)
        elif not entry.is_symlink() or not (folder / entry.name).is_dir():
            yield folder / entry.name


def folders_in(folder: Path) -> list[Path]:
    """The folders in ``folder``, hidden ones left out, sorted."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def subfolder(folder: Path, *names: str) -> Path | None:
    """The folder in ``folder`` that goes by one of ``names``, whatever the case."""
    known = {entry.name.casefold(): entry for entry in reversed(folders_in(folder))}
    return next((known[name.casefold()] for name in names if name.casefold() in known), None)


def split_level(folders: Sequence[Path]) -> dict[Path, str] | None:
    """Folder -> split where the folders are splits: all of them, or at least one that is for training."""
    splits = {
        folder: SPLIT_NAMES[folder.name.casefold()] for folder in folders if folder.name.casefold() in SPLIT_NAMES
    }
    return splits if splits and ("train" in splits.values() or len(splits) == len(folders)) else None


def split_in(path: Path | PurePosixPath, *, by_name: bool = True) -> str | None:
    """The split that a path within the source names: by a folder or, with ``by_name``, by a word of the file's name."""
    words = re.split(r"[^A-Za-z]+", path.stem) if by_name else []
    pairs = ["_".join(pair) for pair in itertools.pairwise(words)]
    names = [*reversed(path.parent.parts), *reversed(pairs), *reversed(words)]
    return next((SPLIT_NAMES[name.casefold()] for name in names if name.casefold() in SPLIT_NAMES), None)


def wordnet_folder(source: Path) -> Path | None:
    """The first folder of a source that is called by a WordNet id and has an image in it, as ImageNet's are."""
    for root in (source / part for part in IMAGENET_ROOTS):
        folders = folders_in(root) if root.is_dir() else []
        splits = split_level(folders) or {}
        for folder in (inner for each in splits for inner in folders_in(each)) if splits else folders:
            if re.fullmatch(r"n\d{8}", folder.name):
                return folder if any(path.suffix.casefold() in IMAGE_SUFFIXES for path in files_below(folder)) else None
    return None


def need_folder(source: Path, format: str) -> None:
    """Raise DataError unless ``source`` is a folder."""
    if not source.is_dir():
        raise DataError(f"{source} is {'a file' if source.exists() else 'missing'}; '{format}' reads a folder.")


def annotation_files(
    source: Path, format: str, suffixes: Iterable[str], *, by_name: bool = True
) -> list[tuple[Path, str, str | None]]:
    """The file ``source``, or all files below the folder ``source`` with one of the suffixes; each with its name
    within the source and its split, which a file's own name may tell if ``by_name``.

    Raises DataError where there is none, or where one is a link that leads out.
    """
    wanted = tuple(suffixes)
    if source.is_file():
        return [(source, source.name, None)]
    if not source.is_dir():
        raise DataError(f"{source} is missing; '{format}' reads a file or a folder.")
    found = [path for path in files_below(source) if path.suffix.casefold() in wanted]
    if not found:
        raise DataError(f"{source} is a folder; '{format}' finds no file in it that ends in {' or '.join(wanted)}.")
    names = [path.relative_to(source) for path in found]
    for name in names:
        safe_join(source, name.as_posix())
    return [(source / name, name.as_posix(), split_in(name, by_name=by_name)) for name in names]


class ImageFinder:
    """Finds images by name in one folder, whatever the case of their names and suffixes."""

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


class Images:
    """Finds the images of a source as its annotation files name them.

    A path is tried below each of ``roots``; failing that its last part is looked for anywhere below the roots, with or
    without suffix. ``source`` is the folder that the images' group names are relative to. ``named`` says that the user
    named the folder of images, so that absolute paths and addresses are cut to their last part. Unless ``deep``, names
    are looked for in the roots themselves only, so that a file in a large folder does not have all of it searched.
    ``exact``: a path is the image's own, and no other image of that name is taken for it.
    """

    def __init__(self, source: Path, roots: Sequence[Path], *, named: bool = False, deep: bool = True) -> None:
        self.source, self.named, self.deep, self.exact = source, named, deep, False
        self.roots = list(dict.fromkeys(roots))
        self._inside: set[Path] = set()
        self._groups: dict[Path, str] = {}

    @classmethod
    def of(cls, source: Path, images: Path | None, *more: Path) -> Images:
        """Those of a source that is a file or a folder: in ``images`` if the user named it, else beside or ``more``."""
        folder = source if source.is_dir() else source.parent
        if images is not None and not images.is_dir():
            raise DataError(f"There is no folder of images {images}.")
        named = images is not None
        more = () if source.is_dir() else more
        return cls(
            images or folder, [images] if images else [folder, *more], named=named, deep=named or source.is_dir()
        )

    @cached_property
    def _index(self) -> dict[str, list[Path]]:
        """Name and stem, case folded -> images so called below the roots."""
        index: dict[str, list[Path]] = {}
        look = files_below if self.deep else lambda root: sorted(path for path in root.iterdir() if path.is_file())
        for path in dict.fromkeys(path for root in self.roots if root.is_dir() for path in look(root)):
            if path.suffix.casefold() in IMAGE_SUFFIXES:
                for key in {path.name.casefold(), path.stem.casefold()}:
                    index.setdefault(key, []).append(path)
        return index

    def all(self) -> list[Path]:
        """Every image below the roots."""
        return list(dict.fromkeys(path for found in self._index.values() for path in found))

    def find(self, name: str, near: Iterable[str] = (), id_: str | None = None) -> Path:
        """The image called ``name``, or the place where it should be. ``near``: folder names to prefer among equals.

        Raises BadRow where the name leads out of the source, or to a place elsewhere.
        """
        address = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", name)
        at: Path | BadRow | None = None
        if not address:
            try:
                at = self._at(name, id_)
            except BadRow as bad:
                at = bad
        if isinstance(at, Path):
            return at
        if not self.exact and ((at is None and not address) or self.named):
            last = PureWindowsPath(re.split(r"[?#]", name)[0]).name
            found = self._pick(last, near, id_)
            if found is not None:
                return found
        if isinstance(at, BadRow):
            raise at
        if address:
            raise BadRow("missing image", f"'{name[:80]}' is no file; fetch it and name its folder with --images", id_)
        return self.roots[0] / name

    def stem(self, stem: str, near: Iterable[str] = (), id_: str | None = None) -> Path:
        """The image whose name without suffix is ``stem``. Raises BadRow where there is none."""
        found = self._pick(stem, near, id_)
        if found is None:
            raise BadRow("missing image", f"the image '{stem[:200]}' is not in {self.roots[0]}", id_)
        return found

    def group(self, path: Path) -> str:
        """The image's name within the source."""
        folder = path.parent
        if folder not in self._groups:
            root = next((root for root in (self.source, *self.roots) if folder.is_relative_to(root)), folder)
            inner = folder.relative_to(root).as_posix()
            self._groups[folder] = "" if inner == "." else f"{inner}/"
        return self._groups[folder] + path.name

    def _at(self, name: str, id_: str | None) -> Path | None:
        """The file below a root that has the path ``name``. Raises BadRow where the path leads out of the root."""
        for root in self.roots:
            try:
                path = self._safe(root, name)
                if path.is_file():
                    return path
            except DataError as error:
                raise BadRow("path", str(error), id_) from error
            except OSError as error:
                raise BadRow("path", f"'{name[:80]}' cannot be reached: {error.strerror}", id_) from error
        return None

    def _pick(self, key: str, near: Iterable[str], id_: str | None) -> Path | None:
        """The one image so called, or of several the one nearest by the names of its folders."""
        wanted = {part.casefold() for part in near}
        ranked: dict[int, list[Path]] = {}
        for path in self._index.get(key.casefold(), []):
            ranked.setdefault(len(wanted & {part.casefold() for part in path.parts}), []).append(path)
        if not ranked:
            return None
        best = ranked[max(ranked)]
        if len(best) > 1:
            raise BadRow(
                "missing image", f"{len(best)} images are called '{best[0].name}'; which one is not clear", id_
            )
        path = best[0]
        if path.parent in self._inside and not path.is_symlink():
            return path
        root = next(root for root in self.roots if path.is_relative_to(root))
        try:
            return self._safe(root, path.relative_to(root).as_posix())
        except DataError as error:
            raise BadRow("path", str(error), id_) from error

    def _safe(self, root: Path, name: str) -> Path:
        """``root / name``, which may not leave the source, or the root where that is elsewhere. A folder is looked at
        once: what is in it leads elsewhere only by being a link.
        """
        if re.fullmatch(r"[^/\\:\0][^\\:\0]*", name) and not name.endswith(("/", "/.", "..")) and name != ".":
            path = root / name
            if self._is_inside(root, path.parent) and not path.is_symlink():
                return path
        return self._joined(root, name)

    def _is_inside(self, root: Path, folder: Path) -> bool:
        """Whether a folder below a root lies in the source, or in the root where that is elsewhere."""
        if folder not in self._inside:
            try:
                self._joined(root, folder.relative_to(root).as_posix())
            except DataError:
                return False
            self._inside.add(folder)
        return True

    def _joined(self, root: Path, name: str) -> Path:
        """As ``_safe``, with every link on the way followed."""
        if root.is_relative_to(self.source):
            return safe_join(self.source, (root.relative_to(self.source) / name).as_posix())
        return safe_join(root, name)
