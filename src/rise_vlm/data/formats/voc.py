"""Pascal VOC: one XML file per image, beside the images or in ``Annotations`` with the images in ``JPEGImages``.

Splits come from folders (``train``, ``val``, ``test``) or from ``ImageSets/Main``. Coordinates are taken as they stand:
today's tools count pixels from 0, and the half pixel that VOC's own count from 1 makes is within every tolerance.
Left out: segmentation masks and the boxes of body parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from xml.etree import ElementTree

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import (
    IMAGE_SUFFIXES,
    SPLIT_NAMES,
    Box,
    Found,
    ImageFinder,
    Item,
    Options,
    Skip,
    by_class,
    folders_in,
    need_folder,
    split_level,
)
from rise_vlm.errors import DataError

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every XML file: by class for grounding, one per image for classification."""
    need_folder(source, "voc")
    splits = split_level(folders_in(source))
    if splits is None:
        yield from _folder(source, source, None, options)
        return
    for folder, split in splits.items():
        yield from _folder(source, folder, split, options)


def _folder(source: Path, folder: Path, split: str | None, options: Options) -> Iterator[Found]:
    annotations = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
    photos = folder / "JPEGImages" if (folder / "JPEGImages").is_dir() else annotations
    finder = ImageFinder(options.images or photos)
    files = sorted(path for path in annotations.iterdir() if path.suffix.casefold() == ".xml")
    if not files:
        raise DataError(f"{annotations} holds no XML files.")
    listed = _image_sets(folder)
    for path in files:
        try:
            template, boxes = _annotation(source, path, finder, split or listed.get(path.stem))
        except BadRow as bad:
            yield bad.at(path.relative_to(source).as_posix(), None)
            continue
        yield from by_class(template, boxes, options)
    annotated = {path.stem.casefold() for path in files}
    for image in sorted(finder.folder.iterdir()):
        if image.suffix.casefold() in IMAGE_SUFFIXES and image.stem.casefold() not in annotated:
            yield Skip("an image without an XML file")


def _annotation(source: Path, path: Path, finder: ImageFinder, split: str | None) -> tuple[Item, list[Box]]:
    """One XML file as an item without annotation, and its boxes."""
    name = path.relative_to(source).as_posix()
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        raise BadRow("row", f"the file is no XML: {error}", name) from error
    if root.tag != "annotation":
        raise BadRow("row", f"the file is no Pascal VOC annotation: it begins with <{root.tag[:40]}>", name)
    stated = PureWindowsPath(_text(root, "filename")).name  # some tools write a path, Windows' or not
    try:
        image = finder.find(stated, path.stem)
    except DataError as error:
        raise BadRow("path", str(error), name) from error
    if image is None:
        raise BadRow("missing image", f"the image '{stated or path.stem}' is not in {finder.folder}", name)
    group = image.relative_to(source).as_posix() if image.is_relative_to(source) else image.name
    item = Item(name, None, group, group, image, None, split, stated_size=_size(root))
    return item, [_box(thing) for thing in root.findall("object")]


def _box(thing: ElementTree.Element) -> Box:
    name = _text(thing, "name")
    if not name:
        raise BadRow("row", "an object has no name")
    box = thing.find("bndbox")
    if box is None:
        return Box(name, None, f"the {name} has no bndbox")
    texts = [_text(box, corner) for corner in CORNERS]
    try:
        return Box(name, [_number(text) for text in texts])
    except ValueError:
        return Box(name, None, f"the box of the {name} is not of four numbers: {', '.join(texts)}")


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    """The stated width and height; None where they are missing, no numbers or 0, as some tools write."""
    try:
        width, height = int(_text(root, "size/width")), int(_text(root, "size/height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _image_sets(folder: Path) -> dict[str, str]:
    """Image stem -> split, from ``ImageSets/Main/train.txt``, ``val.txt`` and ``test.txt``."""
    listed: dict[str, str] = {}
    for file in sorted((folder / "ImageSets" / "Main").glob("*.txt")):
        if file.stem in SPLIT_NAMES:
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                if line.strip():
                    listed[line.split()[0]] = SPLIT_NAMES[file.stem]
    return listed
