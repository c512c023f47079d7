"""Words and their simple inflections, for finding class names in free text.

``stems(word)`` is the word with what remains of it after taking off plural, verb, adverb and adjective endings, up to
three deep: joyfully -> joyful -> joy. Two words belong together when their stems overlap, so it works both ways: class
``sadness`` is found in ``sadly``, class ``joy`` in ``joyous``. Prefixes are never taken off: ``enjoying`` is not
``joy``. English only; other languages match whole words.

Left out: the plain comparative (``calmer``), since -er makes ``corn`` of ``corner`` and ``flow`` of ``flower``;
irregular verbs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

MIN_STEM = 3

_WORD = re.compile(r"[^\W\d_]+|[0-9]+")

IRREGULAR = {
    "people": "person", "children": "child", "mice": "mouse", "geese": "goose", "teeth": "tooth", "feet": "foot",
    "sadder": "sad", "redder": "red", "hotter": "hot", "bigger": "big", "wetter": "wet",
}  # fmt: skip
"""Forms that no ending explains."""

LOOKALIKES = frozenset(
    [
        "army",
        "berry",
        "bunny",
        "carry",
        "cherry",
        "country",
        "county",
        "dressed",
        "dressing",
        "early",
        "factory",
        "ferry",
        "kitten",
        "merry",
        "mitten",
        "party",
        "penny",
        "pony",
        "slippery",
        "story",
    ]
)
"""Words that end like an inflection of another word (carry of car, story of store) and are none, or no longer."""

OWN_WORDS = frozenset(["brief", "glass", "overall", "short", "tight", "trunk"])
"""Words of another meaning than the plurals that are made of them: a short sleeve is not a pair of shorts."""

_ADDED = ("ness", "less", "ful", "some", "ly", "ment")  # begin with a consonant: nothing before them changes but y to i
_VOWEL = ("ing", "ed", "ous", "ish", "ity", "y")  # may have dropped an e or doubled a consonant


def words(text: str) -> Iterator[str]:
    """The words of a text, case folded: runs of letters and runs of digits; an apostrophe, a hyphen or an underscore
    separates.
    """
    return (match.group() for match in _WORD.finditer(text.casefold()))


def spans(text: str) -> Iterator[tuple[str, int, int]]:
    """``words`` with where each begins and ends in the case-folded text."""
    return ((match.group(), match.start(), match.end()) for match in _WORD.finditer(text.casefold()))


def same_word(said: str, name: str) -> bool:
    """Whether ``said`` is an inflection of ``name``, or the other way round; both case folded.

    A name in the plural is met by its plural and its singular alone, since what else its stem may form is mostly
    another word: neither ``panting`` nor ``slippery`` names pants or slippers, nor ``short`` shorts.
    """
    if not _plural(name):
        return bool(stems(said) & stems(name))
    return bool(({said} | _plural(said)) & ({name} | _plural(name)) - OWN_WORDS)


@lru_cache(maxsize=65536)
def stems(word: str) -> frozenset[str]:
    """The case-folded ``word`` itself and every shorter form that its endings allow."""
    found = {word}
    layer = {word}
    for _ in range(3):
        layer = {shorter for longer in layer for shorter in _shorter(longer)} - found
        found |= layer
    return frozenset(found)


def _shorter(word: str) -> set[str]:
    """The forms that taking one ending off may leave."""
    if word in IRREGULAR:
        return {IRREGULAR[word]}
    if word in LOOKALIKES or len(word) > 40:
        return set()
    forms = _plural(word) | _changed(word)
    for ending in _ADDED:
        if word.endswith(ending):
            rest = word[: -len(ending)]
            forms |= {rest, rest[:-1] + "y"} if rest.endswith("i") else {rest}
    for ending in _VOWEL:
        if word.endswith(ending):
            forms |= _before_vowel(word[: -len(ending)])
    return {form for form in forms if len(form) >= MIN_STEM and re.search("[aeiouy]", form)}


def _plural(word: str) -> set[str]:
    """dogs, boxes, berries, knives, women."""
    if word.endswith("men"):
        return {word[:-3] + "man"}
    if not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return set()
    forms = {word[:-1]}
    if word.endswith("es") and word[:-2].endswith(("s", "x", "z", "ch", "sh", "o")):
        forms.add(word[:-2])
    if word.endswith("ies"):
        forms.add(word[:-3] + "y")
    if word.endswith("ves"):
        forms |= {word[:-3] + "f", word[:-3] + "fe"}
    return forms


def _changed(word: str) -> set[str]:
    """happily, worried, happier, happiest, angry of anger, sadden and saddest of sad."""
    forms = {word[: -len(end)] + "y" for end in ("ily", "ied", "ier", "iest") if word.endswith(end)}
    if word.endswith("ry") and len(word) > 4 and word[-3] not in "aeiour":
        forms.add(word[:-2] + "er")
    for ending in ("en", "est"):
        rest = word[: -len(ending)]
        if word.endswith(ending) and _doubled(rest):
            forms.add(rest[:-1])
    return forms


def _before_vowel(rest: str) -> set[str]:
    """What stood before an ending that begins with a vowel: the rest itself, with its e restored, or with its doubled
    consonant single.

    A short word with one vowel between consonants doubles the last one (sad, saddish), so ``car`` is not what is left
    of ``caring``.
    """
    forms = {rest + "e"}
    if _doubled(rest):
        forms.add(rest[:-1])
    short_closed = len(rest) == 3 and re.fullmatch("[^aeiou][aeiou][^aeiouwxy]", rest)
    return forms if short_closed else forms | {rest}


def _doubled(rest: str) -> bool:
    return len(rest) > MIN_STEM and rest[-1] == rest[-2] and rest[-1] not in "aeiou"
