"""What the writers share: JSON and XML files, and numbers without noise.

What has a row for each picture is written a row at a time, so that no file's size is held in memory.
Text that UTF-8 cannot write (lone surrogates) is spelt out, and XML loses the control characters that it cannot hold.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from xml.etree import ElementTree

from rise_vlm.data.checking import printable

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def tidy(value: float, digits: int = 4) -> float:
    """``value`` rounded to ``digits``, as an int where it is whole: 12, 12.5, 12.3333."""
    rounded = round(float(value), digits)
    return int(rounded) if rounded.is_integer() else rounded


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write ``value`` as a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text(value, indent) + "\n", encoding="utf-8")


def _text(value: Any, indent: int | None = None) -> str:
    return printable(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent))


def write_json_list(path: Path, rows: Iterable[Any]) -> None:
    """Write ``rows`` as a JSON list with a row per line, one at a time; as JSON lines where the suffix is .jsonl."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.suffix == ".jsonl"
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("" if lines else "[")
        for number, row in enumerate(rows):
            file.write("" if lines else ",\n" if number else "\n")
            file.write(_text(row) + ("\n" if lines else ""))
        file.write("" if lines else "\n]\n")


def write_json_lists(
    path: Path,
    rows: Iterable[tuple[str, Any]],
    lists: Iterable[str],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> None:
    """Write an object of ``before``, of ``lists`` with the rows, each told with its list and in any order, and of
    ``after``. The rows wait in files without a name, which are gone whatever happens.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        waiting = {
            name: stack.enter_context(TemporaryFile("w+", dir=path.parent, encoding="utf-8", newline="\n"))
            for name in lists
        }
        begun: set[str] = set()
        for name, row in rows:
            waiting[name].write((",\n" if name in begun else "\n") + _text(row))
            begun.add(name)
        file = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
        file.write("{" + "".join(f"{_text(key)}: {_text(value)},\n" for key, value in before.items()))
        for at, (name, spool) in enumerate(waiting.items()):
            file.write(f"{',' if at else ''}{_text(name)}: [")
            spool.seek(0)
            shutil.copyfileobj(spool, file)
            file.write("\n]")
        file.write("".join(f",\n{_text(key)}: {_text(value)}" for key, value in after.items()) + "}\n")


def write_json_pairs(path: Path, before: Mapping[str, Any], name: str, pairs: Iterable[tuple[str, Any]]) -> None:
    """Write an object of ``before`` and of the object ``name``, whose keys and values are the pairs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("{" + "".join(f"{_text(key)}: {_text(value)},\n" for key, value in before.items()))
        file.write(f"{_text(name)}: {{")
        for number, (key, value) in enumerate(pairs):
            file.write(f"{',' if number else ''}\n{_text(key)}: {_text(value)}")
        file.write("\n}}\n")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(printable(text), encoding="utf-8", newline="\n")


def element(tag: str, text: Any = None, **attributes: Any) -> ElementTree.Element:
    """An XML element of text and attributes, None left out."""
    made = ElementTree.Element(tag, {key: xml_text(value) for key, value in attributes.items() if value is not None})
    if text is not None:
        made.text = xml_text(text)
    return made


def xml_text(value: Any) -> str:
    """``value`` as text that XML can hold."""
    return _NOT_IN_XML.sub("", printable(str(value)))


def write_xml(path: Path, root: ElementTree.Element) -> None:
    """Write ``root`` as an indented XML file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def write_xml_rows(path: Path, tag: str, rows: Iterable[ElementTree.Element]) -> None:
    """Write an indented XML file of one element ``tag`` with the rows in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"<?xml version='1.0' encoding='utf-8'?>\n<{tag}>")
        for row in rows:
            ElementTree.indent(row, level=1)
            file.write(f"\n  {ElementTree.tostring(row, encoding='unicode')}")
        file.write(f"\n</{tag}>\n")
