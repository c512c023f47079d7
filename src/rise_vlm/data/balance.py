"""How classes are filled: which have hardly any examples, which are not in train, how unequal they are.

A box counts for its class, a distribution for each class by its probability. Left out: tasks without classes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from rise_vlm.data.boxes import boxes_of
from rise_vlm.data.card import Card
from rise_vlm.data.findings import Finding
from rise_vlm.data.record import Record
from rise_vlm.data.typos import typos

FEW = 10
"""Examples in train below which a class can hardly be learned."""

UNEQUAL = 20
"""Ratio of the largest class to the smallest from which they are told to be unequal."""


def class_weights(annotation: Any) -> dict[str, float]:
    """Class -> how much of an annotation is of it: 1 for a class, the number of boxes, the probability."""
    if isinstance(annotation, str):
        return {annotation: 1.0}
    if isinstance(annotation, Mapping):
        pairs = ((str(name), share) for name, share in annotation.items() if isinstance(share, int | float))
        return {name: float(share) for name, share in pairs if share > 0}
    return {label: float(number) for label, number in Counter(label for label, _ in boxes_of(annotation)).items()}


def named_in(annotation: Any, meta: Mapping[str, Any]) -> dict[str, float]:
    """Class -> how much of a record is of it; the class of a grounding box is in its ``meta``."""
    if isinstance(annotation, list) and annotation and not isinstance(annotation[0], Mapping):
        name = meta.get("class")
        return {name: 1.0} if isinstance(name, str) else {}
    return class_weights(annotation)


class Balance:
    """Examples of each class in each split."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.splits: dict[str, dict[str, float]] = {split: defaultdict(float) for split in card.splits}

    def add(self, split: str, record: Record) -> None:
        """Count a record."""
        if self.card.classes or self.card.task == "grounding":
            for name, weight in named_in(record.annotation, record.meta).items():
                self.splits[split][name] += weight

    def findings(self) -> Iterator[Finding]:
        """What is doubtful in the names and numbers; nothing where the dataset has no classes."""
        total: Counter[str] = Counter()
        for numbers in self.splits.values():
            total.update(numbers)  # type: ignore[arg-type]  # a distribution counts in parts
        for told in typos(total):
            yield Finding("class-typo", told)
        yield from self._filled()

    def _filled(self) -> Iterator[Finding]:
        base = "train" if "train" in self.splits else next(iter(self.splits), "")
        if not self.card.classes or not base:
            return
        numbers = self.splits[base]
        file = self.card.splits[base]
        for name in self.card.classes:
            elsewhere = [split for split, others in self.splits.items() if others[name] > 0]
            if not elsewhere:
                yield Finding("class-unused", f"'{name}' has no example in any split")
            elif not numbers[name]:
                yield Finding("class-not-in-train", f"'{name}' is in {', '.join(elsewhere)}, never in {base}", file)
            elif numbers[name] < FEW:
                yield Finding("class-few", f"'{name}' has {_count(numbers[name])} in {base}", file)
        filled = sorted((number, name) for name, number in numbers.items() if number > 0)
        if len(filled) > 1 and filled[-1][0] >= UNEQUAL * filled[0][0]:
            (least, rare), (most, common) = filled[0], filled[-1]
            told = f"{_count(most)} of '{common}', {_count(least)} of '{rare}' in {base}: {most / least:,.0f} to 1"
            yield Finding("class-imbalance", told, file)


def _count(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"
