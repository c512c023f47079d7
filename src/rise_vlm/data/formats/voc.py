"""Pascal VOC: one XML file per image, beside the images or in ``Annotations`` with the images in ``JPEGImages``.

Splits come from folders (``train``, ``val``, ``test``) or from ``ImageSets/Main``. Coordinates are taken as they stand:
today's tools count pixels from 0, and the half pixel that VOC's own count from 1 makes is within every tolerance.
ImageNet's XML is the same. Left out: segmentation masks and the boxes of body parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from xml.etree import ElementTree

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Box, Entry, Found, Item, Options, Skip, Target, by_class
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import (
    IMAGE_SUFFIXES,
    SPLIT_NAMES,
    ImageFinder,
    folders_in,
    need_folder,
    split_level,
    subfolder,
)
from rise_vlm.data.formats.reading import number, read_text, read_xml, size_of
from rise_vlm.data.formats.writing import element, tidy, write_text, write_xml
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError

CORNERS = ("xmin", "ymin", "xmax", "ymax")
IMAGES = "JPEGImages/{name}"


def sees(glimpse: Glimpse) -> str | None:
    """XML files that begin with <annotation> and know boxes."""
    if glimpse.wordnet:  # ImageNet's own boxes lie beside its folders of images
        return None
    if glimpse.is_folder and glimpse.tag == "annotation" and "<polygon>" not in glimpse.head(".xml"):
        return "XML files that begin with <annotation>"
    return None


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
    annotations = subfolder(folder, "Annotations") or folder
    photos = subfolder(folder, "JPEGImages", "images") or annotations
    finder = ImageFinder(options.images or photos)
    files = sorted(path for path in annotations.iterdir() if path.suffix.casefold() == ".xml")
    if not files:
        inner = sorted(path.parent for path in folder.glob("*/Annotations") if path.is_dir())
        several = ", one after the other; 'rise data merge' joins what comes of it" if len(inner) > 1 else ""
        hint = f" Import {' and '.join(map(str, inner[:3]))}{several}." if inner else ""
        raise DataError(f"{annotations} holds no XML files.{hint}")
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
        safe_join(source, name)
        root = read_xml(path)
    except DataError as error:
        raise BadRow("row", str(error), name) from error
    if root.tag != "annotation":
        raise BadRow("row", f"the file is no Pascal VOC annotation: it begins with <{root.tag[:40]}>", name)
    stated = PureWindowsPath(_text(root, "filename")).name  # some tools write a path, Windows' or not
    try:
        image = finder.find(stated, path.stem)
        if image is not None and image.is_relative_to(source):
            safe_join(source, image.relative_to(source).as_posix())
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
        return Box(name, [number(text) for text in texts])
    except ValueError:
        return Box(name, None, f"the box of the {name} is not of four numbers: {', '.join(texts)}")


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    return size_of(_text(root, "size/width"), _text(root, "size/height"))


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _image_sets(folder: Path) -> dict[str, str]:
    """Image stem -> split, from ``ImageSets/Main/train.txt``, ``val.txt`` and ``test.txt``."""
    listed: dict[str, str] = {}
    for file in sorted((folder / "ImageSets" / "Main").glob("*.txt")):
        if file.stem in SPLIT_NAMES:
            for line in read_text(file, else_encoding="latin-1").splitlines():
                if line.strip():
                    listed[line.split()[0]] = SPLIT_NAMES[file.stem]
    return listed


def write(entries: Iterable[Entry], out: Path, target: Target) -> None:
    """Write ``Annotations``, one file per image, and ``ImageSets/Main`` with the splits."""
    lists: dict[str, list[str]] = {}
    for entry in entries:
        stem = PurePosixPath(entry.name).stem
        lists.setdefault(entry.split, []).append(stem)
        root = element("annotation")
        size = element("size")
        for tag, value in (("width", entry.width), ("height", entry.height), ("depth", 3)):
            size.append(element(tag, value))
        root.extend([element("folder", "JPEGImages"), element("filename", entry.name), size, element("segmented", 0)])
        for label, corners, _ in entry.boxes():
            thing, box = element("object"), element("bndbox")
            box.extend([element(tag, tidy(value)) for tag, value in zip(CORNERS, corners, strict=True)])
            thing.extend([element("name", label), element("truncated", 0), element("difficult", 0), box])
            root.append(thing)
        write_xml(out / "Annotations" / f"{stem}.xml", root)
    for split, stems in lists.items():
        write_text(out / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{stem}\n" for stem in stems))
