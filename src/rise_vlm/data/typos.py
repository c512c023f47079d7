"""Class names that look like slips of the hand: hardly any examples, and nearly the name of a fuller class.

Left out: names that differ in their numbers (``route 1``, ``route 2``), and short ones, where every other word is near.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

RARE = 2
"""Examples up to which a class is doubted."""

MANY = 100
"""Rare classes beyond which nothing is doubted: such a dataset has many classes of few examples."""

SHORT, LONG = 4, 8
"""Letters from which a name may differ by one slip, and from which by two."""


def typos(counts: Mapping[str, float]) -> Iterator[str]:
    """``'shoess' (1) is like 'shoes' (40): a typo?`` for each rare class that is like one with more examples."""
    rare = [name for name, number in counts.items() if 0 < number <= RARE]
    for name in rare if len(rare) <= MANY else ():
        like = [other for other, number in counts.items() if number > counts[name] and alike(name, other)]
        if like:
            other = max(like, key=lambda one: counts[one])
            yield f"'{name}' ({counts[name]:g}) is like '{other}' ({counts[other]:g}): a typo?"


def alike(one: str, other: str) -> bool:
    """Whether a slip or two turn one name into the other; capitals and what parts words do not count."""
    if abs(len(one) - len(other)) > 2:
        return False
    a, b = (re.sub(r"[\W_]+", " ", name.casefold()).strip() for name in (one, other))
    if re.sub(r"\d+", "", a) == re.sub(r"\d+", "", b):
        return a == b
    shorter = min(len(a), len(b))
    most = (shorter >= SHORT) + (shorter >= LONG)
    return distance(a, b) <= most


def distance(a: str, b: str) -> int:
    """Letters to insert, delete, replace or exchange with their neighbour to turn ``a`` into ``b``."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        before, above, row = row, before, [i]
        for j, wanted in enumerate(b, 1):
            best = min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == b[j - 2] and wanted == a[i - 2]:
                best = min(best, above[j - 2] + 1)
            row.append(best)
    return row[-1]
