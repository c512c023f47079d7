"""Class names in other scripts and languages than English: how their forms are found in a text.

Cyrillic, Greek, Arabic and Hangul names are told by their script, and found with the endings (and the prefixes) that
nouns take there. Scripts without blanks between words are searched as substrings. German, French and Spanish share
their script with English, so a card says ``language``, and the plurals are made from the name.
Left out: adjectives and verbs, irregular nouns, compounds: list such forms as ``synonyms``.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Language = Literal["en", "de", "fr", "es"]

UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Burmese, Khmer, kana, Han: no blanks between words."""

_CYRILLIC, _GREEK = re.compile("[\u0400-\u052f]"), re.compile("[\u0370-\u03ff\u1f00-\u1fff]")
_ARABIC, _HANGUL = re.compile("[\u0600-\u06ff]"), re.compile("[\uac00-\ud7a3]")

_ARABIC_MARKS = re.compile("[\u0640\u064b-\u0652\u0670]")
_ARABIC_LETTERS = str.maketrans("آأإٱىة", "اااايه")
"""Forms of alef, ya and the closing t -> the plain letter."""

_ENDINGS = {
    "cyrillic": "а я ы и у ю е о ё ь й ой ою ей ею ёй ом ем ём ам "
    "ям ами ями ах ях ов ев ёв ия ии ий ией ию ью і ї ів ові",
    "greek": "ος ου ο ον οι ων ους ε α ας ες η ης ι ια ιου ιων υ εις εων εως",
}  # fmt: skip
_FINAL = {
    "cyrillic": re.compile("(?:[аяоеёыиьйії]|ия|ие)$"),
    "greek": re.compile("(?:ος|ας|ης|[οαηιυ])$"),
}  # fmt: skip
"""What a name in the nominative ends with, which other forms replace."""

_PREFIX = "(?:[وف])?(?:[بكل])?(?:ال|ل)?"
_SUFFIX = "(?:ان|ين|ون|ات|تان|تين|ت?ها|ت?هما?|ت?ه|ت?ي|ت?ك|ت?نا)?"
_PARTICLES = (
    "이|가|은|는|을|를|과|와|의|에|에서|에게|에는|에도|로|으로|도|만|까지|부터|처럼|보다|"
    "이나|나|랑|이랑|이다|다|입니다|이며|이고"
)


def plain(text: str) -> str:
    """A text in compatibility form and lower case, without invisible characters and Arabic vowel marks; accents off
    Greek, which moves them."""
    folded = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf").casefold()
    folded = _ARABIC_MARKS.sub("", folded).translate(_ARABIC_LETTERS)
    return _without_accents(folded) if _GREEK.search(folded) else folded


def _without_accents(text: str) -> str:
    bare = (unicodedata.normalize("NFD", c)[0] if _GREEK.match(c) else c for c in text)
    return "".join("σ" if c == "ς" else c for c in bare)


def pattern(name: str) -> re.Pattern[str] | None:
    """What finds the forms of a name in a ``plain`` text; None for a name whose script is not one of these."""
    text = plain(name).strip()
    if len(text) == 1 and not (UNSPACED.search(text) or _HANGUL.search(text)):
        return None  # a letter
    if UNSPACED.search(text):
        return re.compile(re.escape(text))
    if _HANGUL.search(text):
        return re.compile(rf"(?<!\w){re.escape(text)}들?(?:{_PARTICLES})?(?!\w)")
    if _ARABIC.search(text):
        return re.compile(rf"(?<!\w){_PREFIX}{_SPACE.join(map(_arabic, text.split()))}{_SUFFIX}(?!\w)")
    for script, letters in (("cyrillic", _CYRILLIC), ("greek", _GREEK)):
        if letters.search(text):
            return re.compile(rf"(?<!\w){_SPACE.join(_inflected(word, script) for word in text.split())}(?!\w)")
    return None


_SPACE = r"[\s_-]{1,3}"


def _arabic(word: str) -> str:
    """The closing t of a name is written so before a suffix."""
    return f"{re.escape(word[:-1])}[هت]?" if word.endswith("ه") and len(word) > 2 else re.escape(word)


def _inflected(word: str, script: str) -> str:
    """A word whose final vowel may be another ending, and in Cyrillic a vowel before the last consonant come or go."""
    stem = _FINAL[script].sub("", word)
    if len(stem) < 2 or not stem.isalpha():
        return re.escape(word)
    endings = "|".join(_without_accents(ending) for ending in _ENDINGS[script].split())
    stems = [stem]
    if script == "cyrillic" and len(stem) >= 4:
        if stem[-2] in "еоё":  # перец -> перца
            stems.append(stem[:-2] + stem[-1])
        elif stem != word:  # кошка -> кошек
            stems += [stem[:-1] + vowel + stem[-1] for vowel in "еоё"]
    return f"(?:{'|'.join(stems)})(?:{endings})?"


def plurals(name: str, language: Language) -> list[str]:
    """Forms that a German, French or Spanish name takes, its last word (in French and Spanish each word) inflected.

    They are made by rule: some are no words, which no text says.
    """
    *before, last = name.split() or [""]
    if not last or language == "en" or not last[-1].isalpha():
        return []
    if language == "de":
        return [" ".join([*before, form]) for form in _german(last)]
    other = _french if language == "fr" else _spanish
    whole = " ".join(other(word) for word in name.split())
    return list(dict.fromkeys([whole, " ".join([other(name.split()[0]), *name.split()[1:]])]))


def _german(word: str) -> list[str]:
    """Hund: Hunde, Hunden, Hunds, Hundes; Katze: Katzen; Haus: Häuser; Apfel: Äpfel."""
    endings = ("n", "s") if word.endswith("e") else ("e", "en", "er", "ern", "n", "s", "es", "nen", "se", "sen")
    return [
        form + ending
        for form in dict.fromkeys([word, _umlaut(word)])
        for ending in ("", *endings)
        if form + ending != word
    ]


def _umlaut(word: str) -> str:
    """With the last a, o or u changed; of au the a."""
    at = max((word.lower().rfind(vowel) for vowel in ("au", "a", "o", "u")), default=-1)
    if at > 0 and word[at].lower() == "u" and word[at - 1].lower() == "a":
        at -= 1
    if at < 0:
        return word
    return word[:at] + word[at].translate(str.maketrans("aouAOU", "äöüÄÖÜ")) + word[at + 1 :]


def _french(word: str) -> str:
    """chat: chats; oiseau: oiseaux; cheval: chevaux."""
    if word.endswith(("s", "x", "z")):
        return word
    if word.endswith(("eau", "eu", "au")):
        return f"{word}x"
    return f"{word[:-2]}aux" if word.endswith("al") else f"{word}s"


def _spanish(word: str) -> str:
    """perro: perros; flor: flores; luz: luces; camión: camiones."""
    if word[-1] in "aeiouáéó":
        return f"{word}s"
    if word.endswith("z"):
        return f"{word[:-1]}ces"
    if len(word) > 2 and word[-2] in "áéíóú" and word[-1] in "ns":
        return f"{word[:-2]}{word[-2].translate(str.maketrans('áéíóú', 'aeiou'))}{word[-1]}es"
    return word if word.endswith("s") else f"{word}es"
