"""The form of a text: its length and its repetition. Pure functions; a word is what blanks separate.

Left out: leak rules, which know the task (``tasks/leak.py``), and anything that reads meaning.
"""

from __future__ import annotations


def word_count(text: str) -> int:
    """The number of words."""
    return len(text.split())


def over_length(text: str, limit: int = 100, span: int = 50) -> float:
    """The length term: 0 up to ``limit`` words, 1 from ``limit + span`` words on, a straight line between."""
    return min(1.0, max(0.0, (word_count(text) - limit) / span))


def repetition(text: str, size: int = 4) -> float:
    """The share of runs of ``size`` words that occurred before in the same text, 0..1; any case."""
    words = text.casefold().split()
    runs = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0
