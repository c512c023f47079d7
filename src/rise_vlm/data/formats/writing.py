"""What the writers share: JSON and XML files, and numbers without noise.

Text that UTF-8 cannot write (lone surrogates) is spelt out, and XML loses the control characters that it cannot hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
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
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    path.write_text(printable(text) + "\n", encoding="utf-8")


def write_json_list(path: Path, rows: Iterable[Any]) -> None:
    """Write ``rows`` as a JSON list with a row per line, one at a time; as JSON lines where the suffix is .jsonl."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.suffix == ".jsonl"
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("" if lines else "[")
        for number, row in enumerate(rows):
            file.write("" if lines else ",\n" if number else "\n")
            file.write(printable(json.dumps(row, ensure_ascii=False, allow_nan=False)) + ("\n" if lines else ""))
        file.write("" if lines else "\n]\n")


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
