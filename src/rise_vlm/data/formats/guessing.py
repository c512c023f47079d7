"""Telling which format a source is of, from a look at its files: their names, the first keys, the first tag.

Each format says in ``sees(glimpse)`` what it recognises. Nothing but the head of a few files is read.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from rise_vlm.data.formats.places import DESCRIPTION, IMAGE_SUFFIXES, files_below, folders_in, wordnet_folder
from rise_vlm.data.formats.reading import encoding_of
from rise_vlm.errors import DataError, UserError

NOTE_SUFFIXES = frozenset({".md", ".rst", ".html", ".htm", ".pdf", ".py", ".ini", ".db", ".log"})
NOTE_NAMES = frozenset({"readme", "license", "licence", "copying", "notice", "authors", "changelog", "citation"})
"""How files begin that, as text or without suffix, tell about a source and annotate nothing."""

ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"})
STUDIO_MIN = {"annotation_id", "annotator"}
"""Columns of the CSV export of Label Studio, which no other table has both of."""

RESULT = {"image_id", "category_id", "score"}
"""Keys of a row of COCO results, which are a bare list."""

METADATA = frozenset({"metadata.jsonl", "metadata.csv", "metadata.parquet"})
"""What the hub's image folders are described by."""

MOST_FILES = 5000
HEAD = 1 << 16
WHOLE = 64 << 20
"""Bytes of a JSON file that is parsed whole; of a larger one only the keys in its head are looked for."""


class Glimpse:
    """A quick look at the first MOST_FILES files of a source, taken once and lazily."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.is_folder = source.is_dir()

    @cached_property
    def _all(self) -> list[Path]:
        paths = islice(files_below(self.source), MOST_FILES) if self.is_folder else [self.source]
        return [path for path in paths if path.is_file()]  # so that no pipe is opened

    @cached_property
    def files(self) -> list[Path]:
        """The files that may annotate: no images, and in a folder no notes."""
        others = [path for path in self._all if path.suffix.casefold() not in IMAGE_SUFFIXES]
        if not self.is_folder:
            return others
        return [path for path in others if not is_note(path) and path.name != DESCRIPTION]

    @cached_property
    def images(self) -> int:
        """The number of images."""
        return sum(path.suffix.casefold() in IMAGE_SUFFIXES for path in self._all)

    @cached_property
    def stems(self) -> set[str]:
        """The names of the images without suffix, case folded."""
        return {path.stem.casefold() for path in self._all if path.suffix.casefold() in IMAGE_SUFFIXES}

    @cached_property
    def names(self) -> set[str]:
        """The names of the files, case folded."""
        return {path.name.casefold() for path in self.files}

    @cached_property
    def suffixes(self) -> Counter[str]:
        """How many files have each suffix, case folded."""
        return Counter(path.suffix.casefold() for path in self.files)

    @cached_property
    def folders(self) -> list[Path]:
        """The folders in the source."""
        return folders_in(self.source) if self.is_folder else []

    def first(self, *suffixes: str) -> Path | None:
        """The first file with one of the suffixes."""
        return next((path for path in self.files if path.suffix.casefold() in suffixes), None)

    @cached_property
    def json(self) -> Any:
        """The first JSON document (of JSON lines, the first row); None where there is none or it cannot be read."""
        path = self.first(".json", ".jsonl")
        if path is None or not path.is_file() or path.stat().st_size > WHOLE:
            return None
        try:
            with path.open("rb") as file:
                return json.loads(file.readline() if path.suffix.casefold() == ".jsonl" else file.read())
        except (ValueError, RecursionError, OSError):
            return None

    @cached_property
    def keys(self) -> set[str]:
        """The keys of the first JSON document, if it is an object; those in its head where it is too large."""
        if isinstance(self.json, dict):
            return set(self.json)
        path = self.first(".json")
        return _keys(path) if self.json is None and path is not None and path.is_file() else set()

    def keys_where(self, wanted: Callable[[Path], bool]) -> set[str]:
        """``keys`` of the first JSON file that is wanted; of the first of all where none is."""
        path = next((path for path in self.files if path.suffix.casefold() == ".json" and wanted(path)), None)
        return self.keys if path is None else _keys(path)

    @cached_property
    def wordnet(self) -> str:
        """The name of the first folder of images that is called by a WordNet id; empty where there is none."""
        folder = wordnet_folder(self.source) if self.is_folder else None
        return "" if folder is None else folder.name

    @cached_property
    def row(self) -> dict[str, Any]:
        """The first row of the first JSON document: of its list, or of its lines."""
        first = self.json[0] if isinstance(self.json, list) and self.json else self.json
        return first if isinstance(first, dict) else {}

    @cached_property
    def tag(self) -> str:
        """The first tag of the first XML file."""
        found = re.search(r"<([A-Za-z][\w.-]*)", self.head(".xml"))
        return found[1] if found else ""

    @cached_property
    def header(self) -> list[str]:
        """The first row of the first CSV file, cells stripped."""
        lines = self.head(".csv").splitlines()
        if not lines:
            return []
        delimiter = max(",;\t", key=lines[0].count)
        return [cell.strip() for cell in next(csv.reader(io.StringIO(lines[0]), delimiter=delimiter), [])]

    def head(self, *suffixes: str) -> str:
        """The beginning of the first file with one of the suffixes."""
        path = self.first(*suffixes)
        return "" if path is None else _head(path)

    def head_of(self, name: str) -> str:
        """The beginning of the first file called ``name``, whatever the case."""
        path = next((path for path in self.files if path.name.casefold() == name), None)
        return "" if path is None else _head(path)

    def names_images(self, path: Path) -> bool:
        """Whether a text file is called like an image, or has a line that begins with an image's name."""
        words = [path.name, *(line.split(maxsplit=1)[0] for line in _head(path).splitlines() if line.strip())]
        return any(PurePosixPath(word).stem.casefold() in self.stems for word in words)


def is_note(path: Path) -> bool:
    """Whether a file is about a source rather than of it: a page, a licence, a read-me, what a system leaves behind."""
    suffix = path.suffix.casefold()
    named = suffix in ("", ".txt") and re.split(r"[^a-z]", path.name.casefold())[0] in NOTE_NAMES
    return named or suffix in NOTE_SUFFIXES


def _keys(path: Path) -> set[str]:
    """The keys of a JSON object; of a large file those that its beginning and its end show."""
    try:
        with path.open("rb") as file:
            if path.stat().st_size > WHOLE:
                head = file.read(HEAD)
                file.seek(-HEAD, 2)
                return set(re.findall(r'"(\w+)": ?[\[{]', (head + file.read(HEAD)).decode("utf-8", "replace")))
            content = json.loads(file.read())
            return set(content) if isinstance(content, dict) else set()
    except (ValueError, RecursionError, OSError):
        return set()


def _head(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(HEAD).decode(encoding_of(path), "replace")


def guess(source: Path) -> tuple[str, str]:
    """The name of the format that ``source`` is in, and what shows it. Raises DataError or UserError where none or
    several fit.
    """
    from rise_vlm.data.formats import FORMATS

    if not source.exists():
        hub = f" If it is a data set of the hub: rise data import hub {source}." if len(source.parts) == 2 else ""
        raise DataError(f"{source} is missing.{hub}")
    if (source / "dataset.yaml").is_file():
        raise UserError(f"{source} is a dataset already; nothing needs to be imported.")
    glimpse = Glimpse(source)
    try:
        seen = {name: why for name, form in FORMATS.items() if (why := form.load().sees(glimpse))}
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error}.", exit_code=1) from error
    if len(seen) > 1:
        told = "; ".join(f"{name} ({why})" for name, why in seen.items())
        raise UserError(f"{source} may be of several formats: {told}. Name one: rise data import FORMAT {source}.")
    if not seen:
        hint = _hint(glimpse)
        if hint:
            raise UserError(f"{source} {hint}")
        example = "folders" if glimpse.folders else "csv" if glimpse.header else "coco"
        raise UserError(
            f"{source} is of no known format (seen: {_told(glimpse)}). Known: {', '.join(FORMATS)}. "
            f"Name one: rise data import {example} {source} --out ..."
        )
    return next(iter(seen.items()))


def _hint(glimpse: Glimpse) -> str:
    """What to do with a source that no format can be of; empty where that is not known."""
    source = glimpse.source
    if source.is_file() and source.suffix.casefold() in ARCHIVES:
        return "is an archive; unpack it and import the folder."
    if not glimpse.images and not glimpse.files:
        return "holds nothing that could be imported: neither images nor annotations."
    if glimpse.images and not glimpse.files and not glimpse.folders:
        return (
            f"holds images and nothing that annotates them. 'rise annotate MODEL {source} --task ...' has a model do "
            "it; annotations that lie elsewhere are imported with --images."
        )
    if RESULT.issubset(glimpse.row):
        return "looks like a model's results for COCO, which are not read: they name no image; import the instances."
    if "annotator" in glimpse.row or STUDIO_MIN.issubset(glimpse.header):
        return "looks like Label Studio's JSON-MIN or CSV, which are not read; export 'JSON' there."
    return ""


def _told(glimpse: Glimpse) -> str:
    parts = [f"{number} {suffix or 'without suffix'}" for suffix, number in glimpse.suffixes.most_common(4)]
    if glimpse.images:
        parts.append(f"{glimpse.images} images")
    if glimpse.keys:
        parts.append("JSON with " + ", ".join(sorted(str(key)[:30] for key in glimpse.keys)[:6]))
    if glimpse.tag:
        parts.append(f"XML beginning with <{glimpse.tag[:40]}>")
    if glimpse.header:
        parts.append("a table with " + ", ".join(glimpse.header[:6])[:120])
    return "; ".join(parts) or "no files"
