"""Reading foreign text, JSON, XML and numbers safely: nothing here hangs, expands or trusts.

A whole file that cannot be read raises DataError naming it; a part that cannot raises BadRow or ValueError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, AnyStr
from xml.etree import ElementTree
from xml.parsers import expat

from rise_vlm.data.checking import BadRow
from rise_vlm.data.record import LARGEST_NUMBER
from rise_vlm.errors import DataError

DEEPEST_XML = 64
LARGEST_LABEL_FILE = 64 * 1024 * 1024
"""Bytes of the largest file that annotates one image."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def read_bytes(path: Path, largest: int | None = None) -> bytes:
    """The content of a regular file, so never a pipe or a device."""
    try:
        if not path.is_file():
            raise DataError(f"{path} is {'a folder' if path.is_dir() else 'missing or no regular file'}.")
        if largest is not None and path.stat().st_size > largest:
            raise DataError(f"{path} is larger than the {largest // 2**20} MiB that such a file may have.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error


def read_text(path: Path, *, else_encoding: str | None = None, largest: int | None = LARGEST_LABEL_FILE) -> str:
    """The text of a file: UTF-8 with or without BOM, UTF-16 with BOM, or else ``else_encoding``."""
    content = read_bytes(path, largest)
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    for each in (encoding, else_encoding):
        try:
            if each is not None:
                return content.decode(each)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path} is not UTF-8 text.")


Shorten = Callable[[dict[str, Any]], dict[str, Any]]
"""What an object of a JSON text becomes while the text is read, so that what it drops takes no memory."""


def encoding_of(path: Path) -> str:
    """The encoding that a text file's first bytes speak for: UTF-16 with its mark, as Excel writes it, else UTF-8."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def lines_of(file: IO[AnyStr], name: Path) -> Iterator[AnyStr]:
    """The lines of an open file. Raises DataError at one of LARGEST_LABEL_FILE, so that none fills the memory."""
    while line := file.readline(LARGEST_LABEL_FILE):
        if len(line) == LARGEST_LABEL_FILE:
            raise DataError(f"{name} has a line longer than {LARGEST_LABEL_FILE // 2**20} MiB, so it is no such file.")
        yield line


def parse_json(content: bytes | str, name: Path | str, shorten: Shorten | None = None) -> Any:
    """The value of a JSON text, every object in it by way of ``shorten``.

    Raises DataError where it is no JSON, or nested beyond all measure.
    """
    try:
        text = _decoded(content) if isinstance(content, bytes) else content
        return json.loads(text, object_hook=shorten)
    except RecursionError as error:
        raise DataError(f"{name} is no JSON that can be read: it is nested too deeply.") from error
    except ValueError as error:
        raise DataError(f"{name} is no JSON: {error}.") from error


def _decoded(content: bytes) -> str:
    return content.decode(json.detect_encoding(content))


def read_json(path: Path, largest: int | None = None, shorten: Shorten | None = None) -> Any:
    """The value of a JSON file."""
    try:
        text = _decoded(read_bytes(path, largest))  # so that the bytes are gone before the text is parsed
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no JSON: {error}.") from error
    return parse_json(text, path, shorten)


def read_rows(path: Path) -> Iterator[tuple[int, Any | BadRow]]:
    """Row number from 1 and row of a JSON list or of JSON lines; BadRow where a line is no JSON."""
    if path.suffix.casefold() != ".jsonl":
        rows = read_json(path)
        if not isinstance(rows, list):
            raise DataError(f"{path} holds no list of rows.")
        yield from enumerate(rows, start=1)
        return
    if not path.is_file():
        raise DataError(f"{path} is {'a folder' if path.is_dir() else 'missing or no regular file'}.")
    with path.open("rb") as file:
        for number, line in enumerate(lines_of(file, path), start=1):
            if line.strip():
                try:
                    yield number, parse_json(line, "the row")
                except DataError as error:
                    yield number, BadRow("row", str(error))


def read_xml(path: Path, largest: int = LARGEST_LABEL_FILE) -> ElementTree.Element:
    """The root element of an XML file. Entities of its own, outside files and deep nesting are refused."""
    content = read_bytes(path, largest)
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST_XML:
            raise ValueError(f"elements are nested more than {DEEPEST_XML} deep")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: Any) -> None:
        raise ValueError("it declares entities, which are not expanded for safety")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = parser.UnparsedEntityDeclHandler = refuse
    parser.buffer_text = True
    try:
        parser.Parse(content, True)
        return builder.close()
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError, AssertionError) as error:
        raise DataError(f"the file is no XML: {error}") from error


def number(text: str, *, comma: bool = False) -> float:
    """The number that ``text`` writes: an int where it is whole. ``comma`` allows a decimal comma.

    Raises ValueError for anything else, NaN and infinity included.
    """
    text = text.strip()
    if comma and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"'{text[:40]}' is no number")
    value = float(text)
    if not abs(value) <= LARGEST_NUMBER:
        raise ValueError(f"'{text[:40]}' is beyond all measure")
    return int(value) if value.is_integer() else value


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number that can be reckoned with."""
    return type(value) in (int, float) and abs(value) <= LARGEST_NUMBER  # false for NaN and infinity


def four_numbers(values: Any) -> list[float] | None:
    """``values`` where they are a list of four numbers, else None."""
    fits = isinstance(values, list | tuple) and len(values) == 4 and all(map(is_number, values))
    return list(values) if fits else None


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """Width and height as a source states them; None where they are missing, no whole numbers or 0."""
    try:
        stated = int(width), int(height)
    except (TypeError, ValueError, OverflowError):
        return None
    return stated if min(stated) > 0 and max(stated) <= LARGEST_NUMBER else None


def hull(points: Any) -> list[float] | None:
    """The box around points ``[[x, y], ...]``; None where they are no points."""
    if not isinstance(points, list | tuple) or not points:
        return None
    for point in points:
        if not isinstance(point, list | tuple) or len(point) < 2 or not is_number(point[0]) or not is_number(point[1]):
            return None
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    return [min(xs), min(ys), max(xs), max(ys)]


def list_of(value: Any) -> list[Any]:
    """``value`` where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def object_of(value: Any) -> dict[str, Any]:
    """``value`` where it is an object with keys, else an empty one."""
    return value if isinstance(value, dict) else {}


def text_of(value: Any) -> str:
    """``value`` stripped where it is text, else an empty string."""
    return value.strip() if isinstance(value, str) else ""
