"""Images of which a source says two things: the first pass over it finds them, the second leaves out all their rows.

Of the two the source does not tell the right one, and to take both would teach and test both. Left out: boxes asked for
by a question, of which an image may have several.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rise_vlm.data.formats.base import Found, Item, Skip

REASON = "a row that another of the same image and question contradicts"


class Contradictions:
    """Of each image and question a hash of what is said of it, 0.2 kB, during the first pass; then of the doubted."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._doubted: set[int] = set()

    def noted(self, findings: Iterator[Found]) -> Iterator[Found]:
        """The findings of the first pass, noted."""
        for found in findings:
            if isinstance(found, Item):
                about, said = hash(_about(found)), hash(_said(found.annotation))
                if self._first.setdefault(about, said) != said:
                    self._doubted.add(about)
            yield found
        self._first.clear()

    def left_out(self, findings: Iterator[Found]) -> Iterator[Found]:
        """The findings of the second pass, with a Skip for each row of an image that is doubted."""
        for found in findings:
            doubted = self._doubted and isinstance(found, Item) and hash(_about(found)) in self._doubted
            yield Skip(REASON, found.id) if doubted and isinstance(found, Item) else found


def _about(item: Item) -> tuple[str, ...]:
    return (item.question or "", *map(str, (item.image, *item.more)))


def _said(annotation: Any) -> str:
    """An annotation as text, whatever the order of its classes, keys or boxes; 2.0 is 2, and a class of no share none.

    What is nested beyond all measure is one text: no task takes it.
    """
    shares = isinstance(annotation, dict)
    try:
        return _text({name: share for name, share in annotation.items() if share != 0} if shares else annotation)
    except RecursionError:
        return "too deep"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return repr(sorted((str(key), _text(part)) for key, part in value.items()))
    if isinstance(value, list):
        parts = [_text(part) for part in value]
        return repr(sorted(parts) if value and isinstance(value[0], dict) else parts)
    return repr(int(value) if isinstance(value, float) and value.is_integer() else value)
