"""NLVR: JSON lines in files called ``.json``, each a sentence that is true or false of a drawn picture.

The class is ``true`` or ``false``. Of the six orders of a picture's boxes the first is read. Examples that share an
origin (``2536-0`` to ``2536-3``) stay together where splits are dealt. Left out: the other orders.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Classes, Found, Item, Options
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import Images, annotation_files
from rise_vlm.data.formats.reading import object_of, parse_json, read_text, text_of
from rise_vlm.errors import DataError

KEYS = ("sentence", "label", "identifier", "directory")
LABELS = ("true", "false")
LARGEST = 1 << 28


def sees(glimpse: Glimpse) -> str | None:
    """Lines with a sentence, a label and the structure of the picture."""
    line = glimpse.head(".json").partition("\n")[0]
    seen = all(f'"{key}"' in line for key in (*KEYS, "structured_rep"))
    return "JSON lines with sentence, label and structured_rep" if seen else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every line."""
    images = Images.of(source, options.images)
    yield Classes(LABELS)
    for path, name, split in annotation_files(source, "nlvr", (".json", ".jsonl")):
        for number, line in enumerate(read_text(path, largest=LARGEST).splitlines(), start=1):
            if not line.strip():
                continue
            try:
                yield _item((name, number), object_of(parse_json(line, "the row")), split, path, images)
            except BadRow as bad:
                yield bad.at(name, number)
            except DataError as error:
                yield BadRow("row", str(error)).at(name, number)


def _item(place: tuple[str, int], row: dict[str, Any], split: str | None, path: Path, images: Images) -> Item:
    sentence, label, id_, folder = (text_of(row.get(key)) for key in KEYS)
    if not sentence or not id_:
        raise BadRow("row", "the line has no sentence or no identifier", id_ or None)
    if label not in LABELS:
        raise BadRow("annotation", f"the label is '{label[:20]}', neither true nor false", id_)
    image = PurePosixPath(place[0]).parent / "images" / folder / f"{path.stem}-{id_}-0.png"
    found = images.find(image.as_posix(), (), id_)
    question = f"Is this sentence true or false of the picture? {sentence}"
    meta = {"origin": id_.partition("-")[0], "boxes": row.get("structured_rep")}
    group = f"{path.stem}-{meta['origin']}"
    return Item(*place, f"{path.stem}-{id_}", group, found, label, split, question, meta=meta)
