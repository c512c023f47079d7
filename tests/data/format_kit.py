"""What the tests of readers share: reading a source, its boxes in pixels, pictures and files to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from rise_vlm.data.checking import Problem
from rise_vlm.data.formats import FORMATS
from rise_vlm.data.formats.base import Found, Item, Options, Skip
from rise_vlm.data.images import read_size
from rise_vlm.data.upright import upright

SIZE = (200, 100)


def found(format: str, source: Path, task: str = "detection", **options: Any) -> list[Found]:
    return list(FORMATS[format].load_reader().read(source, Options(task=task, **options)))


def things(found: list[Found]) -> list[tuple[str, list[Any]]]:
    """Image and labelled boxes in pixels."""
    assert not [str(each) for each in found if isinstance(each, Problem)]
    told = []
    for item in found:
        if isinstance(item, Item):
            boxes = upright(item, read_size(item.image), Options(task="detection"))
            told.append((item.image.name, [(b["label"], [round(n, 3) for n in b["box"]]) for b in boxes]))
    return told


def skips(found: list[Found]) -> list[str]:
    return [each.reason for each in found if isinstance(each, Skip)]


def put(folder: Path, *images: str) -> None:
    for image in images:
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE).save(folder / image)


def put_text(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path
