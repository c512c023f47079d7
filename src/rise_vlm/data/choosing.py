"""Keeping only the classes of a class list, of whatever a reader finds: images, boxes, questions about a class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from rise_vlm.data.class_list import Classes, ClassList, name_in
from rise_vlm.data.formats.base import Found, Item, Skip

OTHER_IMAGE = "an image of a class that --classes leaves out"
OTHER_BOX = "a box of a class that --classes leaves out"
OTHER_RECORD = "a record of a class that --classes leaves out"
EMPTY = "an image with none of the chosen classes"

FALSE = "a model learns from such images, and a test sees, not to find what is not there"
"""What images without a box are good for."""


class Chooser:
    """Passes on what is of the listed classes, by their names in the list, and a Skip for everything else.

    ``known`` are the classes that the source was seen to have: those that it declares and those that occur.
    """

    def __init__(self, listed: ClassList, *, keep_empty: bool = False) -> None:
        self.listed, self.keep_empty = listed, keep_empty
        self.known = Classes()
        self._names: dict[str, str] = {}
        self._seen: set[str] = set()

    def choose(self, findings: Iterable[Found]) -> Iterator[Found]:
        """What to keep of ``findings``."""
        for found in findings:
            if isinstance(found, Classes):
                self._learn(found)
            if isinstance(found, Item):
                yield from self._item(found)
            else:
                yield found

    def classes(self) -> dict[str, tuple[str, ...]]:
        """The classes of the dataset with their synonyms, in the list's order."""
        return self.listed.named(self.known)

    def told(self) -> str:
        """How many classes are kept, of how many."""
        return f"{self.listed.where} keeps {len(self.listed.lines)} of {len(self.known.names):,} classes"

    def unused(self, counts: Counter[str]) -> list[str]:
        """A note where some of the chosen classes have no record."""
        none = [name for name in self.classes() if not counts[name]]
        return ["chosen classes without a record: " + ", ".join(none)] if none else []

    def emptied(self, kept: int, skipped: Counter[str]) -> list[str]:
        """A note on the images without any of the chosen classes: how many were kept or left out, and what for."""
        left_out = skipped[EMPTY]
        if kept and self.keep_empty:
            return [f"{_images(kept)} none of the chosen classes and {_are(kept)} kept with nothing to find ({FALSE})"]
        if left_out:
            return [
                f"{_images(left_out)} none of the chosen classes and {_are(left_out)} left out; "
                f"--keep-empty keeps such images, with nothing to find ({FALSE})"
            ]
        return []

    def _learn(self, classes: Classes) -> None:
        if not classes.ids and self._seen.issuperset(classes.names):
            return
        self._seen.update(classes.names)
        self.known |= classes
        meant = self.listed.among(self.known)
        self._names = {source: name_in(line, meant) for source, line in meant.items()}

    def _name(self, source: Any) -> str | None:
        """What the list calls a class of the source; None where it is left out."""
        if isinstance(source, str):
            self._learn(Classes((source,)))
        return self._names.get(source)

    def _item(self, item: Item) -> Iterator[Found]:
        if isinstance(item.annotation, str):
            name = self._name(item.annotation)
            yield Skip(OTHER_IMAGE) if name is None else replace(item, annotation=name)
        elif isinstance(item.annotation, list) and (not item.annotation or isinstance(item.annotation[0], dict)):
            yield from self._boxes(item)
        else:
            name = self._name(item.meta.get("class"))
            yield Skip(OTHER_RECORD) if name is None else replace(item, meta=item.meta | {"class": name})

    def _boxes(self, item: Item) -> Iterator[Found]:
        names = [self._name(thing["label"]) for thing in item.annotation]
        kept = [at for at, name in enumerate(names) if name is not None]
        for _ in range(len(names) - len(kept)):
            yield Skip(OTHER_BOX)
        if not kept and not self.keep_empty:
            yield Skip(EMPTY)
            return
        annotation = [item.annotation[at] | {"label": names[at]} for at in kept]
        scores = item.meta.get("scores")
        meta = item.meta | ({"scores": [scores[at] for at in kept]} if isinstance(scores, list) else {})
        yield replace(item, annotation=annotation, meta=meta)


def _images(number: int) -> str:
    return "1 image shows" if number == 1 else f"{number:,} images show"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
