"""Leak rules: does a rationale give the annotation away instead of describing what can be seen?

All rules read the raw rationale, before any cleaning, and return reasons (empty = clean). They err towards calling a
leak: a false alarm costs one rollout its reward, a miss teaches the policy to write the answer down. Time is linear in
the text; every pattern is bounded. What no rule of form can catch, facts invented to signal the annotation, is the
business of the grounding term, not of this file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from rise_vlm.tasks.inflection import stems, words
from rise_vlm.tasks.numerals import NUMBER_WORD, numbers_in

if TYPE_CHECKING:
    from rise_vlm.tasks.base import Frame

COPY_WORDS = 8
"""A run of this many words of the prompt, word for word, counts as copied."""

TOLERANCE = 0.01
"""How near a number may not come to a true coordinate, as a share of the frame's range."""

_TAG = re.compile(r"<\s{0,3}/?\s{0,3}(?:think|answer)\s{0,3}>", re.IGNORECASE)
_PARTS = "(?:third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth|fifteenth|hundredth)"
_FRACTIONS = {
    "a decimal": re.compile(r"[0-9]\.[0-9]|(?<![0-9])\.[0-9]|[0-9],[0-9]{1,2}(?![0-9])|\b0,[0-9]|[0-9]e-[0-9]"),
    "a percentage": re.compile(rf"(?:[0-9]|\b{NUMBER_WORD})\s{{0,3}}-?(?:%|per ?cent\b|pct\b|percentage)"),
    "a fraction": re.compile(
        r"[0-9]\s{0,3}[/\u2044\u2215]\s{0,3}[0-9]"
        rf"|\b{NUMBER_WORD}[ -](?:half|halves|{_PARTS}s?)\b"
        rf"|\ban? {_PARTS} of\b"
        rf"|(?:[0-9]|\b{NUMBER_WORD}) (?:out of|in every|in) (?:[0-9]|{NUMBER_WORD}\b)"
    ),
    "a decimal in words": re.compile(rf"\b(?:zero|nought|oh|0) point {NUMBER_WORD}\b|\bpoint (?!one\b){NUMBER_WORD}\b"),
}
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]"
)  # Thai, Lao, Burmese, kana, Han: no blanks between words
_LETTER_CUE = r"(?i:\b(?:class|option|answer|choice|letter|label)(?: is)?[ :]\s{0,3}|[\"'(\[])"


def visible(text: str) -> str:
    """The text in compatibility form without invisible characters, so that neither hides a word or a digit."""
    folded = unicodedata.normalize("NFKC", text)
    return "".join(c for c in folded if unicodedata.category(c) != "Cf")


class ClassNames:
    """The names and synonyms of a label set, indexed to find them in a text.

    A name is found as a sequence of whole words, in any case, each word in any simple inflection (see ``inflection``).
    Names of one or two letters are taken as written, case too, and a single letter only after a cue such as ``class``
    or inside quotes or brackets, since ``A`` is mostly an article. Scripts without blanks between words are searched
    as substrings.
    """

    def __init__(self, classes: Iterable[str], synonyms: Mapping[str, Sequence[str]]) -> None:
        self._by_stem: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}
        self._patterns: list[tuple[re.Pattern[str], str, str]] = []
        for name in classes:
            for term in (name, *synonyms.get(name, ())):
                self._add(visible(term), term, name)

    def _add(self, text: str, term: str, name: str) -> None:
        parts = tuple(words(text))
        if _UNSPACED.search(text):
            self._patterns.append((re.compile(re.escape(text), re.IGNORECASE), term, name))
        elif sum(map(len, parts)) < 3:
            cue = _LETTER_CUE if len(text.strip()) == 1 and text.strip().isalpha() else r"(?<!\w)"
            self._patterns.append((re.compile(cue + re.escape(text.strip()) + r"(?!\w)"), term, name))
        else:
            for stem in stems(parts[0]):
                self._by_stem.setdefault(stem, []).append((parts, term, name))

    def find(self, rationale: str) -> list[str]:
        """One reason per class named, with the word that names it."""
        text = visible(rationale)
        tokens = list(words(text))
        found: dict[str, str] = {}
        for at, token in enumerate(tokens):
            for stem in stems(token):
                for parts, _, name in self._by_stem.get(stem, ()):
                    said = tokens[at : at + len(parts)]
                    if (
                        name not in found
                        and len(said) == len(parts)
                        and all(stems(a) & stems(b) for a, b in zip(said, parts, strict=True))
                    ):
                        found[name] = " ".join(said)
        for pattern, term, name in self._patterns:
            if name not in found and pattern.search(text):
                found[name] = term
        return [f"names class '{name}' ('{said}')" for name, said in found.items()]


def tag_leaks(rationale: str) -> list[str]:
    """Think or answer tags have no place in a rationale."""
    return ["holds a think or answer tag"] if _TAG.search(visible(rationale)) else []


def fraction_leaks(rationale: str) -> list[str]:
    """Decimals, percentages and fractions in digits or words: what a probability can be written as."""
    text = visible(rationale).casefold()
    return [f"holds {kind}" for kind, pattern in _FRACTIONS.items() if pattern.search(text)]


def copy_leaks(rationale: str, prompt: str, but_words: Collection[str] = ()) -> list[str]:
    """A run of ``COPY_WORDS`` words or more taken from the prompt.

    A run made of ``but_words`` alone, the words of the class list, is left to the class rule: it names classes and is
    reported as that.
    """
    if not prompt:
        return []
    theirs = list(words(visible(prompt)))
    runs = {tuple(theirs[i : i + COPY_WORDS]) for i in range(len(theirs) - COPY_WORDS + 1)}
    allowed = set(but_words)
    ours = list(words(visible(rationale)))
    for i in range(len(ours) - COPY_WORDS + 1):
        run = tuple(ours[i : i + COPY_WORDS])
        if run in runs and not allowed.issuperset(run):
            return [f"copies the prompt ('{' '.join(run)}')"]
    return []


_LABEL = re.compile(r"\b[xy] ?_?[012]?\s{0,3}[=:]\s{0,3}(?=[0-9.])|\b[xy]_?[12]\b", re.IGNORECASE)
_GAP = re.compile(
    r"[\W_]*(?:(?:px|pixels?|percent|and|to|by|or|then|x|y|w|h|left|top|right|bottom|width|height|x_?[0-9]|y_?[0-9]|[xy]min|[xy]max)[\W_]+){0,3}",
    re.IGNORECASE,
)
_GAP_LENGTH = 24


def box_leaks(rationale: str, box: Sequence[float], width: int, height: int, frame: Frame) -> list[str]:
    """Three or more numbers in a row, a number labelled x or y, or a number within ``TOLERANCE`` of a true coordinate
    in any frame.

    Frames: pixels, thousandths, percent, 0..1 (numbers with a decimal point only), and the model's own. Numbers in
    words count too, below twenty only in a row: ``two dogs`` is a count. ``box`` is in pixels of the image of
    ``width`` x ``height``.
    """
    text = visible(rationale).casefold()
    leaks = ["labels a number x or y"] if re.search(r"\b[xy] ?_?[012]?\s{0,3}[=:]\s{0,3}[0-9.]", text) else []
    numbers = numbers_in(_LABEL.sub(lambda m: " " * len(m.group()), text))
    row = 1
    for (_, _, end, _), (_, start, _, _) in pairwise(numbers):
        row = row + 1 if start - end <= _GAP_LENGTH and _GAP.fullmatch(text[end:start]) else 1
        if row == 3:
            leaks.append("holds three or more numbers in a row")
            break
    frames = coordinate_frames(box, width, height, frame)
    for value, start, end, spelled in numbers:
        if spelled and value < 20:
            continue
        near = next(
            (
                n
                for n, (true, slack) in frames.items()
                if any(abs(value - t) <= s for t, s in zip(true, slack, strict=True))
            ),
            None,
        )
        if near is None and "." in text[start:end]:
            unit = [box[0] / width, box[1] / height, box[2] / width, box[3] / height]
            near = "0..1" if any(abs(value - u) <= TOLERANCE for u in unit) else None
        if near is not None:
            leaks.append(f"holds a true coordinate in {near} ('{text[start:end]}')")
            break
    return leaks


def coordinate_frames(
    box: Sequence[float], width: int, height: int, frame: Frame
) -> dict[str, tuple[list[float], list[float]]]:
    """Frame name -> (the four true coordinates, how near counts), for frames in which whole numbers are coordinates."""
    ranges = {"pixels": (width, height), "thousandths": (1000, 1000), "percent": (100, 100)}
    full = frame.encode([0, 0, width, height], width, height)
    ranges["the model's frame"] = (full[2], full[3])
    frames: dict[str, tuple[list[float], list[float]]] = {}
    for name, (across, down) in ranges.items():
        spans = [across, down, across, down]
        true = [n / side * span for n, side, span in zip(box, (width, height, width, height), spans, strict=True)]
        frames[name] = (true, [max(0.5, TOLERANCE * span) for span in spans])
    return frames
