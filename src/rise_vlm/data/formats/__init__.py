"""Importers of foreign formats: one file each, and one line in ``FORMATS``.

An importer is a module with ``read(source, options)``, a generator of what it finds (see ``base``): items, problems and
things left out on purpose. It opens annotation files only; images are opened by ``data.importing``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import cast

from rise_vlm.data.formats.base import Importer
from rise_vlm.errors import UserError, nearest


@dataclass(frozen=True)
class Format:
    """An importer's module, the tasks it can serve (the first by default) and the options that mean something to it."""

    module: str
    tasks: tuple[str, ...]
    options: frozenset[str] = frozenset()
    reads: str = ""

    def load(self) -> Importer:
        """The importer's module."""
        return cast(Importer, importlib.import_module(self.module))


FORMATS = {
    "folders": Format(
        "rise_vlm.data.formats.folders",
        ("classification",),
        reads="a folder per class, with or without train, val and test above",
    ),
    "csv": Format(
        "rise_vlm.data.formats.csv",
        ("classification",),
        frozenset({"images", "columns"}),
        reads="a table with the columns image and label",
    ),
    "voc": Format(
        "rise_vlm.data.formats.voc",
        ("grounding", "classification"),
        frozenset({"images", "question", "boxes"}),
        reads="a folder of Pascal VOC XML files",
    ),
    "coco": Format(
        "rise_vlm.data.formats.coco",
        ("grounding", "classification"),
        frozenset({"images", "question", "boxes"}),
        reads="a COCO JSON file of instances",
    ),
}


def find_format(name: str) -> Format:
    """The format called ``name``. Raises UserError naming the known ones."""
    if name not in FORMATS:
        raise UserError(f"There is no format '{name}' (known: {', '.join(FORMATS)}).{nearest(name, FORMATS)}")
    return FORMATS[name]
