"""Emotion6: ``ground_truth.txt``, a line per image: file, valence, arousal, and the shares of seven emotions.

The order of the seven is that of the file's own head: anger, disgust, fear, joy, sadness, surprise, neutral. Valence
and arousal go to meta. Images are below ``images`` beside the file, or in ``--images``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Classes, Found, Item, Options
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import IMAGE_SUFFIXES, Images, files_below
from rise_vlm.data.formats.reading import number, read_text
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError, nearest

NAME = "ground_truth.txt"
EMOTIONS = ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral")


def sees(glimpse: Glimpse) -> str | None:
    """The file ground_truth.txt, lines of a file and nine numbers."""
    if NAME not in glimpse.names:
        return None
    lines = glimpse.head_of(NAME).splitlines()[:2]
    return f"{NAME} with ten columns" if lines and len(lines[-1].split()) >= 10 else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every line."""
    table = _table(source)
    images = Images.of(table, options.images, table.parent / "images")
    yield Classes(EMOTIONS)
    for row, line in enumerate(read_text(table).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("["):
            continue
        try:
            yield _item(table.name, row, line, images)
        except BadRow as bad:
            yield bad.at(table.name, row)


def _table(source: Path) -> Path:
    """The table, in the folder or in one below it."""
    if source.is_file():
        return source
    found = list(files_below(source)) if source.is_dir() else []
    tables = [path for path in found if path.name.casefold() == NAME]
    if len(tables) != 1:
        others = [path.name for path in found if path.suffix.casefold() not in IMAGE_SUFFIXES]
        what = f"a folder with {len(tables)} of them" if source.is_dir() else "missing"
        raise DataError(f"'emotion6' reads {NAME}; {source} is {what}.{nearest(NAME, others)}")
    return safe_join(source, tables[0].relative_to(source).as_posix())


def _item(file: str, row: int, line: str, images: Images) -> Item:
    cells = [cell for cell in line.split("\t") if cell.strip()] if "\t" in line else line.split()
    if len(cells) != 3 + len(EMOTIONS):
        raise BadRow("row", f"the line has {len(cells)} columns, not {3 + len(EMOTIONS)}")
    name = cells[0].strip()
    try:
        valence, arousal, *shares = (number(cell) for cell in cells[1:])
    except ValueError as error:
        raise BadRow("annotation", str(error), name) from error
    path = images.find(name, (), name)
    annotation = {emotion: share for emotion, share in zip(EMOTIONS, shares, strict=True) if share}
    return Item(file, row, name, name, path, annotation, meta={"valence": valence, "arousal": arousal})
