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

from rise_vlm.tasks.inflection import same_word, spans, stems, words
from rise_vlm.tasks.numerals import NUMBER_WORD, ORDINAL, Number, numbers_in
from rise_vlm.tasks.scripts import UNSPACED, Language, pattern, plain, plurals

if TYPE_CHECKING:
    from rise_vlm.tasks.base import Frame

COPY_WORDS = 8
"""A run of this many words of the prompt, word for word, counts as copied."""

TOLERANCE = 0.01
"""How near a number may not come to a true coordinate, as a share of the frame's range."""

PAIR_TOLERANCE = 0.05
"""The same for each of two numbers, where both are near true coordinates of one frame."""

COUNTS_BELOW = 20
"""Whole numbers below this, without a unit, are counts (``two dogs``), not measures."""

FEW_MEASURES, FEW_DIGITS = 2, 3
"""At most so many measures, and so many numbers in digits, may stand in the description of a region."""

_TAG = re.compile(r"<\s{0,3}/?\s{0,3}(?:think|answer)\s{0,3}>", re.IGNORECASE)
_PARTS = "(?:third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth|fifteenth|hundredth)"
_VOTERS = "(?:votes?|voters?|raters?|annotators?|respondents?|judges|ballots?|answers)"
_NUMBER = rf"(?:[0-9]{{1,4}}|\b{NUMBER_WORD}\b)"
_SEVERAL = rf"(?:[0-9]{{1,4}}|\b(?!one\b){NUMBER_WORD}\b)"
_MANY = rf"(?:[0-9]{{2,4}}|(?!(?:one|two|three|four|five|six|seven|eight|nine)\b){NUMBER_WORD}\b)"
_FRACTIONS = {
    "a decimal": re.compile(r"[0-9]\.[0-9]|(?<![0-9])\.[0-9]|[0-9],[0-9]{1,2}(?![0-9])|\b0,[0-9]|[0-9]e-[0-9]"),
    "a percentage": re.compile(rf"(?:[0-9]|\b{NUMBER_WORD})\s{{0,3}}-?(?:%|per ?cent\b|pct\b|percentage)"),
    "a fraction": re.compile(
        r"[0-9]\s{0,3}[/\u2044\u2215]\s{0,3}[0-9]"
        rf"|\b{NUMBER_WORD}[ -](?:half|halves|{_PARTS}s?)\b"
        rf"|\ban? {_PARTS} of\b"
        rf"|\bhalf (?:of )?(?:all )?(?:the |these |those )?(?:people|viewers|{_VOTERS})\b"
        r"|\b(?:fifty|50)[ -](?:fifty|50)\b"
        rf"|(?:[0-9]|\b{NUMBER_WORD}) (?:out of|in every|in) (?:[0-9]|{NUMBER_WORD}\b)"
    ),
    "a share of votes": re.compile(
        rf"{_NUMBER} {_VOTERS}\b|{_SEVERAL} of {_SEVERAL}|{_NUMBER} of (?:the )?{_MANY}"
        # A ratio, but not the time of day.
        r"|(?<![0-9:])(?!(?:[01]?[0-9]|2[0-4]):[0-5][0-9](?![0-9]))[0-9]{1,3}\s{0,2}:\s{0,2}[0-9]{1,3}(?![0-9:])"
    ),
    "a decimal in words": re.compile(rf"\b(?:zero|nought|oh|0) point {NUMBER_WORD}\b|\bpoint (?!one\b){NUMBER_WORD}\b"),
}
_LISTED = r"(?:class|option|choice|label|category|emotion|answer)"
_PLACE = re.compile(
    rf"\b{_LISTED}(?: is)? ?(?:number|no\.?|nr\.?|#)? ?:? ?(?:[0-9]{{1,3}}\b|{NUMBER_WORD}\b)"
    rf"|\b{ORDINAL}(?: of the)?[ -](?:given |listed |possible )?(?:{_LISTED}|classes|categories|{_LISTED}s)\b(?!-)"
    rf"|\b(?:{ORDINAL}|last|number {_NUMBER})(?: (?:one|item|entry|name|word))? (?:of|in|on|from) (?:the |that |this )?"
    r"(?:class |answer )?(?:list|options|classes|choices|labels|categories|emotions)\b"
)
_SPELLED = re.compile(r"(?<![^\W_])(?:[^\W\d_](?:[.\-_*\u00b7]{1,2} ?| )){2,40}[^\W\d_](?![^\W_])")
_LOOKS_LIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u043a"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0406\u0408\u0405"
    "\u03bf\u03bd\u03b1\u03b9\u03ba\u03c1\u03c5\u03c7"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7",
    "aeopcyxijsdhkABEKMHOPCTYXIJSovaikpuxABEZHIKMNOPTYX",
)
"""Cyrillic and Greek letters -> the Latin ones that they are drawn like."""
_LETTERS = re.compile(r"[^\W\d_]+")
_LETTER_CUE = r"(?i:\b(?:class|option|answer|choice|letter|label)(?: is)?[ :]\s{0,3}|[\"'(\[])"


def visible(text: str) -> str:
    """The text as it is seen: in compatibility form, without invisible characters, and with words in Latin letters
    where Cyrillic or Greek ones that look the same stand in for some or all of them.
    """
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text)
    folded = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    return _LETTERS.sub(_latin, folded)


def _latin(word: re.Match[str]) -> str:
    """A word in Latin letters if all of it looks so, else as it is: a Russian word stays one."""
    folded = word.group().translate(_LOOKS_LIKE)
    return folded if folded.isascii() else word.group()


class ClassNames:
    """The names and synonyms of a label set, indexed to find them in a text.

    A name is found as a sequence of whole words, in any case, each word in any simple inflection (see ``inflection``),
    also where blanks are put into it or left out (``long sleeves`` for ``longsleeve``) or its letters are spelled out
    (``j-o-y``). A name inside a longer one (``shirt`` in ``T-shirt``) is not found for itself. Where there are several
    classes, a place in their list (``option 4``, ``the fourth of the list``) is found too: who rebuilds the answer
    sees the same list.
    Names of one or two letters are taken as written, case too, and a single letter only after a cue such as ``class``
    or inside quotes or brackets, since ``A`` is mostly an article. Names in other scripts and languages: ``scripts``.
    ``named_by`` are the words that count in place of a class's name, which then is a word like any other.
    """

    def __init__(
        self,
        classes: Iterable[str],
        synonyms: Mapping[str, Sequence[str]],
        named_by: Mapping[str, Sequence[str]] | None = None,
        language: Language = "en",
    ) -> None:
        self._by_stem: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        self._joined: dict[str, str] = {}
        self._patterns: list[tuple[re.Pattern[str], str, str]] = []
        self._scripts: list[tuple[re.Pattern[str], str]] = []
        names = list(classes)
        self._several = len(names) > 1
        for name in names:
            for term in (*(named_by or {}).get(name, (name,)), *synonyms.get(name, ())):
                for form in (term, *plurals(term, language)):
                    self._add(visible(form), form, name)

    def _add(self, text: str, term: str, name: str) -> None:
        parts = tuple(words(text))
        other = pattern(term)
        if other is not None:
            self._scripts.append((other, name))
        if UNSPACED.search(text):
            return
        if sum(map(len, parts)) < 3:
            cue = _LETTER_CUE if len(text.strip()) == 1 and text.strip().isalpha() else r"(?<!\w)"
            self._patterns.append((re.compile(cue + re.escape(text.strip()) + r"(?!\w)"), term, name))
        else:
            joined = "".join(parts)
            self._joined.setdefault(joined, name)
            for form in {parts, (joined,)}:
                for stem in stems(form[0]):
                    self._by_stem.setdefault(stem, []).append((form, name))

    def find(self, rationale: str) -> list[str]:
        """One reason per class named, with the word that names it, and one for a place in the list."""
        text = visible(rationale)
        said = self._said(text.casefold())
        for found, term, name in self._patterns:
            if name not in said and found.search(text):
                said[name] = term
        if not rationale.isascii():
            said = self._said_otherwise(plain(rationale)) | said
        leaks = [f"names class '{name}' ('{words_}')" for name, words_ in said.items()]
        place = _PLACE.search(text.casefold()) if self._several else None
        return [*leaks, f"names a place in the list of classes ('{place.group()}')"] if place else leaks

    def _said(self, text: str) -> dict[str, str]:
        """Class -> the words that name it first, in a case-folded text."""
        tokens = list(spans(text))
        hits: list[tuple[int, int, str]] = []
        for at, (token, start, end) in enumerate(tokens):
            for stem in stems(token):
                for parts, name in self._by_stem.get(stem, ()):
                    run = tokens[at : at + len(parts)]
                    if len(run) == len(parts) and all(same_word(w, p) for (w, *_), p in zip(run, parts, strict=True)):
                        hits.append((start, run[-1][2], name))
            if at + 1 < len(tokens) and _may_join(token, tokens[at + 1][0], text[end : tokens[at + 1][1]]):
                pair = token + tokens[at + 1][0]
                for stem in stems(pair):
                    for parts, name in self._by_stem.get(stem, ()):
                        if len(parts) == 1 and same_word(pair, parts[0]):
                            hits.append((start, tokens[at + 1][2], name))
        for run in _SPELLED.finditer(text):
            letters = "".join(words(run.group()))
            hits += [(*run.span(), name) for term, name in self._joined.items() if term in letters]
        return {name: " ".join(words(said)) for name, said in _outermost(text, hits).items()}

    def _said_otherwise(self, text: str) -> dict[str, str]:
        """The same for names in other scripts, in a ``plain`` text."""
        return _outermost(text, [(*hit.span(), name) for found, name in self._scripts for hit in found.finditer(text)])


def _outermost(text: str, hits: Iterable[tuple[int, int, str]]) -> dict[str, str]:
    """Name -> its first place in the text, of (start, end, name); one inside a longer one of another name is none."""
    said: dict[str, str] = {}
    longest = (0, 0, "")
    for start, end, name in sorted(set(hits), key=lambda hit: (hit[0], -hit[1])):
        inside = end <= longest[1] and end - start < longest[1] - longest[0] and name != longest[2]
        longest = max(longest, (start, end, name), key=lambda hit: hit[1])
        if not inside:
            said.setdefault(name, text[start:end])
    return said


def _may_join(first: str, second: str, between: str) -> bool:
    """Whether two words may be one with a blank in it: ``long sleeve``, ``T shirt``, but not ``a rose``."""
    if between not in (" ", "-", "_"):
        return False
    return len(second) >= 3 and (len(first) >= 3 or (len(first) == 1 and first not in "ai"))


def tag_leaks(rationale: str) -> list[str]:
    """Think or answer tags have no place in a rationale."""
    return ["holds a think or answer tag"] if _TAG.search(visible(rationale)) else []


def fraction_leaks(rationale: str) -> list[str]:
    """Decimals, percentages, fractions and votes in digits or words: what a probability can be written as.

    Counts of different things (``two dogs and one child``) are none; a row of bare numbers or of numbers of the same
    thing (``nine people, four people``) is.
    """
    text = visible(rationale).casefold()
    leaks = [f"holds {kind}" for kind, pattern in _FRACTIONS.items() if pattern.search(text)]
    row = next((text[a[1] : b[2]] for a, b in pairwise(numbers_in(text)) if _is_row(text, a, b)), None)
    return leaks if row is None else [*leaks, f"holds a row of numbers ('{row}')"]


_LINKS = r"(?:and|then|to|versus|vs|against)\b"
_BETWEEN = re.compile(
    rf"(?: (?!{_LINKS}|(?:by|or|of|in|on|at|with|from)\b)(?P<noun>[^\W\d_]{{2,20}}))?"
    rf"(?P<sign>[ ,;/|+&\u2013\u2014-]{{1,3}})(?P<link>{_LINKS}\.? )?"
)
_NEXT = re.compile(rf" (?!{_LINKS}|or\b)([^\W\d_]{{2,20}})")


def _is_row(text: str, first: Number, second: Number) -> bool:
    """Whether two neighbouring numbers are votes: nothing but a sign or ``and``, ``then``, ``to`` between them, and
    both bare or both of the same thing. ``one`` is mostly a pronoun and never of a row; ``two to three people`` is a
    guess at one number.
    """
    gap = text[first[2] : second[1]]
    if "one" in (text[first[1] : first[2]], text[second[1] : second[2]]) or len(gap) > 32:
        return False
    found = _BETWEEN.fullmatch(gap)
    if found is None or (gap == "-" and not (first[3] and second[3])):
        return False
    noun, after = found["noun"], _NEXT.match(text, second[2])
    if noun is None:
        upwards = first[0] < second[0]
        return after is None or ((found["link"] or "").startswith("to") and not upwards)
    linked = bool(found["link"]) or found["sign"].strip() != ""
    return linked and (after is None or after[1] == noun)


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


_UNIT = re.compile(r"\s{0,3}-?(?:%|per ?cent\b|pct\b|px\b|pixels?\b)")


def box_leaks(rationale: str, box: Sequence[float], width: int, height: int, frame: Frame) -> list[str]:
    """What gives a region away in numbers.

    A number labelled x or y; three or more numbers in a row; more than ``FEW_MEASURES`` measures or ``FEW_DIGITS``
    numbers in digits anywhere; a measure within ``TOLERANCE`` of a true coordinate in any frame, or two within
    ``PAIR_TOLERANCE`` in one. A measure is a number with a unit or a decimal point, or one of ``COUNTS_BELOW`` or more:
    ``two dogs`` and ``3 cups`` are counts. Frames: pixels, thousandths, percent, 0..1 (numbers with a decimal point
    only), and the model's own. ``box`` is in pixels of the image of ``width`` x ``height``.
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
    measures = [number for number in numbers if _is_measure(text, number)]
    if row < 3 and (len(measures) > FEW_MEASURES or sum(not spelled for *_, spelled in numbers) > FEW_DIGITS):
        leaks.append("holds more numbers than a description needs")
    near = _near(text, measures, coordinate_frames(box, width, height, frame))
    return leaks if near is None else [*leaks, near]


def _is_measure(text: str, number: Number) -> bool:
    value, start, end, _ = number
    return value >= COUNTS_BELOW or "." in text[start:end] or _UNIT.match(text, end) is not None


def _near(text: str, measures: Sequence[Number], frames: Mapping[str, Frames]) -> str | None:
    """The reason where one measure, or two in one frame, are near true coordinates."""
    for name, (true, spans_) in frames.items():
        close: list[str] = []
        for value, start, end, _ in measures:
            said = text[start:end]
            if name == "0..1" and "." not in said:
                continue
            off = min(abs(value - t) / span for t, span in zip(true, spans_, strict=True))
            least = 0.0 if name == "0..1" else min(0.5 / span for span in spans_)
            if off <= max(TOLERANCE, least) + 1e-9:
                return f"holds a true coordinate in {name} ('{said}')"
            if off <= PAIR_TOLERANCE:
                close.append(said)
        if len(close) > 1:
            return f"holds two numbers near a true coordinate in {name} ('{close[0]}', '{close[1]}')"
    return None


Frames = tuple[list[float], list[float]]
"""The four true coordinates and the range of each."""


def coordinate_frames(box: Sequence[float], width: int, height: int, frame: Frame) -> dict[str, Frames]:
    """Frame name -> the four true coordinates in it, and the range of each."""
    ranges: dict[str, tuple[float, float]] = {
        "pixels": (width, height), "thousandths": (1000, 1000), "percent": (100, 100), "0..1": (1, 1)
    }  # fmt: skip
    full = frame.encode([0, 0, width, height], width, height)
    ranges["the model's frame"] = (full[2], full[3])
    frames: dict[str, Frames] = {}
    for name, (across, down) in ranges.items():
        spans_ = [float(across), float(down)] * 2
        true = [n / side * span for n, side, span in zip(box, (width, height, width, height), spans_, strict=True)]
        frames[name] = (true, spans_)
    return frames
