"""Numbers in free text, in digits and in English words, with where they stand. For the leak rules."""

from __future__ import annotations

import re

_ONES = "zero one two three four five six seven eight nine ten eleven twelve"
_TEENS = "thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_UNITS = {word: value for value, word in enumerate(f"{_ONES} {_TEENS}".split())}
_ROUND = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: 10 * value for value, word in enumerate(_ROUND.split(), start=2)}
_SCALES = {"hundred": 100, "thousand": 1000}

NUMBER_WORD = "(?:" + "|".join([*_UNITS, *_TENS, *_SCALES]) + ")"
"""A pattern for one number word, lower case, without word boundaries."""

_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth"
)
ORDINAL = "(?:" + "|".join(_ORDINALS.split()) + "|[0-9]{1,3}(?:st|nd|rd|th))"
"""A pattern for one ordinal up to the twentieth in words, lower case, without word boundaries."""

_DIGITS = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?|(?<![0-9])\.[0-9]{1,18}")
_WORDS = re.compile(rf"\b{NUMBER_WORD}\b")

Number = tuple[float, int, int, bool]
"""(value, start, end, whether it is spelled in words)."""


def numbers_in(text: str) -> list[Number]:
    """The numbers of a lower-case text in order. ``two hundred and six`` is one number, ``one two zero`` are three."""
    found: list[Number] = [(float(m.group()), m.start(), m.end(), False) for m in _DIGITS.finditer(text)]
    found += _spelled(text)
    return sorted(found, key=lambda number: number[1])


def _spelled(text: str) -> list[Number]:
    """Numbers in words: neighbours joined by a blank, a hyphen or ``and`` make one number where grammar lets them."""
    found: list[Number] = []
    last = ""
    for match in _WORDS.finditer(text):
        word = match.group()
        gap = text[found[-1][2] : match.start()] if found else ""
        if gap in (" ", "-") or (gap == " and " and last in _SCALES):
            value, start, _, _ = found[-1]
            joined = _join(value, last, word)
            if joined is not None:
                found[-1] = (joined, start, match.end(), True)
                last = word
                continue
        found.append((float(_UNITS.get(word, _TENS.get(word, _SCALES.get(word, 0)))), match.start(), match.end(), True))
        last = word
    return found


def _join(value: float, last: str, word: str) -> float | None:
    """The number so far with one more word, or None where a new number begins."""
    if word in _SCALES:
        below = value % 1000
        return (
            value * 1000
            if word == "thousand" and value < 1000
            else value + below * 99
            if below and below < 100
            else None
        )
    if last in _SCALES:
        return value + _UNITS.get(word, _TENS.get(word, 0))
    if last in _TENS and 1 <= _UNITS.get(word, 99) <= 9:
        return value + _UNITS[word]
    return None
