"""Reading one written number, strictly: the whole text has to be the number.

``2``, ``2.0``, ``1,024``, ``two``, ``minus two`` are plain, also in ``\\boxed{}`` or after ``Answer:``, as models write
them; ``3/4``, ``1 1/2``, ``\\frac{3}{4}``, ``\\frac34``, ``5\\sqrt{3}``, ``12\\pi``, ``2\\times10^3``, ``140 degrees``,
``x = 7`` are read too where ``exact_forms`` is set. Nothing is computed that is still to be computed (``2+2`` is no
number), nothing is searched for inside other text. A per cent sign is a unit: ``50%`` is 50. Left out: other powers,
converting units.
"""

from __future__ import annotations

import math
import re
import unicodedata

from rise_vlm.tasks.numerals import numbers_in

LONGEST = 100
"""Characters of the longest text that is looked at; a number needs far fewer."""

LARGEST = 2**53
"""Beyond this a float no longer tells whole numbers apart."""

_PLAIN = re.compile(r"([+-]?)((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)(?:e([+-]?[0-9]{1,4}))?")
_SPACES = re.compile(r"\\[,;: !]|~|\\(?:left|right)(?![a-z])")
_NAMED = re.compile(r"^(?:[a-z]|m\s?(?:\\?angle|∠)\s?[a-z0-9]{1,3}|(?:\\?angle|∠)\s?[a-z0-9]{1,3}|[a-z]{2})\s*=\s*")
_LENGTH = r"(?:units?|cm|mm|km|m|met(?:er|re)s?|centimet(?:er|re)s?|in(?:ch(?:es)?)?|f(?:oo|ee)?t|y(?:ar)?ds?|miles?)"
_UNIT = re.compile(
    rf"(?:\s*(?:°|\\?%|per\s?cent|\\?degrees?|deg|\^\s?\\circ|\^\s?{{\s?\\circ\s?}})|\s+(?:sq(?:uare|\.)?\s)?{_LENGTH}|\s*(?:cm|mm|km|m)"
    r"(?![a-z]))\.?(?:\s?\^?\s?(?:2|\{2\}))?$"
)
_MIXED = re.compile(
    r"([+-]?)([0-9]{1,9})(?: +([0-9]{1,9}) ?/ ?([0-9]{1,9})| ?\\frac ?\{([0-9]{1,9})\} ?\{([0-9]{1,9})\})"
)
_POWER = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?) ?(?:\\times|\\cdot|[×·*x]) ?10 ?\^ ?\{?([+-]?[0-9]{1,2})\}?")
_PLAIN_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2044": "/"})
_RAISED = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+")
_TOKEN = re.compile(r"\s*([0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?|\.[0-9]+|\\[a-z]+|√|π|pi|sqrt|[-+*/(){}·×])")
_TIMES = ("*", "·", "×", "\\cdot", "\\times")


def read_quantity(text: str, exact_forms: bool = False) -> tuple[int | float | None, str]:
    """(the number, '') or (None, why ``text`` is none). Whole numbers are ints. Never raises."""
    folded = without_lead(_folded(text))
    if not folded:
        return None, "the answer is empty"
    if len(folded) > LONGEST:
        return None, f"the answer is longer than {LONGEST} characters, which no number is"
    folded = _bare(folded) if exact_forms else _undelimited(folded)
    folded = folded if folded.endswith("..") else folded.removesuffix(".")
    value = _plain(folded)
    if value is None:
        value = _words(folded)
    if value is None and exact_forms:
        value = _mixed(folded)
    if value is None and exact_forms:
        value = _scientific(folded)
    if value is None and exact_forms:
        value = _Reader(folded).read()
    if value is None:
        return None, f"'{text.strip()[:60]}' is not one number"
    if not abs(value) <= LARGEST:
        return None, f"'{text.strip()[:20]}' is larger than any answer can be"
    return (int(value) if value == int(value) else value), ""


def without_lead(text: str) -> str:
    """An answer without what models put around it: ``Answer: 7`` and ``\\boxed{7}``, alone or both."""
    text = re.sub(r"^(?:final\s+)?answer\s*[:=]\s*", "", text.strip(), flags=re.IGNORECASE)
    boxed = re.fullmatch(r"(\$?)\s*\\boxed\s*\{(.*)\}\s*\1", text, re.DOTALL)
    return boxed[2].strip() if boxed and _balanced(boxed[2]) else text


def _balanced(text: str) -> bool:
    """Whether no brace closes before it opens."""
    depth = 0
    for sign in text:
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            return False
    return depth == 0


def _folded(text: str) -> str:
    """In lower case and plain signs; raised digits and fractions of one sign stay apart from what is before them."""
    text = re.sub("[\u00ba\u02da]", "\u00b0", text)  # the signs that are taken for the degree sign
    text = _RAISED.sub(lambda match: "^" + match.group(), text)
    text = re.sub(r"(?<=[0-9])(?=[\u00bc-\u00be\u2150-\u215e])", " ", text)
    return unicodedata.normalize("NFKC", text).casefold().translate(_PLAIN_SIGNS).strip()


def decimals(number: str) -> int:
    """How many digits follow the decimal point of a number as written."""
    return len(number.partition(".")[2]) if re.fullmatch(r"[+-]?[0-9,]*\.[0-9]+", number.strip()) else 0


def _bare(text: str) -> str:
    """Without dollar signs, a name in front (``x =``) and a unit behind."""
    text = re.sub(r"\\(?:text|mathrm|textrm)\s?\{([^{}]*)\}", r" \1", text)
    text = _SPACES.sub(" ", text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")).strip()
    text = re.sub(r"\\frac\s?([0-9])\s?([0-9])(?![0-9])", r"\\frac{\1}{\2}", text)
    return _UNIT.sub("", _NAMED.sub("", _undelimited(text))).strip()


def _undelimited(text: str) -> str:
    """Without the signs around a formula: ``$7$``."""
    for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening + closing):
            text = text[len(opening) : -len(closing)].strip()
    return text


def _plain(text: str) -> float | None:
    match = _PLAIN.fullmatch(text)
    if match is None:
        return None
    sign, digits, power = match.groups()
    if power and not -18 <= int(power) <= 400:
        return None
    value = float(digits.replace(",", "") + (f"e{power}" if power else ""))
    return -value if sign == "-" else value


def _words(text: str) -> float | None:
    """``twenty-one``, ``minus two``: one number in words that fills the text."""
    below = re.match(r"(?:minus|negative)\s+(?=[a-z])", text)
    if below:
        value = _words(text[below.end() :])
        return None if value is None else -value
    found = numbers_in(text)
    if len(found) == 1 and found[0][1:] == (0, len(text), True):
        return found[0][0]
    return None


def _mixed(text: str) -> float | None:
    """``1 1/2`` and ``1\\frac{1}{2}``: a whole number and a fraction below one."""
    match = _MIXED.fullmatch(text)
    if match is None:
        return None
    sign, whole, *parts = match.groups()
    above, below = (int(part) for part in parts if part is not None)
    return None if above >= below else (-1 if sign == "-" else 1) * (int(whole) + above / below)


def _scientific(text: str) -> float | None:
    """``2\\times10^3``: a number times a power of ten."""
    match = _POWER.fullmatch(text)
    return None if match is None else float(f"{match[1]}e{match[2]}")


class _Reader:
    """Reads fractions, roots and multiples of pi by descent; sums and products only where a root or pi is in them."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                self.tokens = []
                return
            self.tokens.append(match.group(1))
            at = match.end()
        self.irrational = any(token in ("√", "π", "pi", "sqrt", "\\sqrt", "\\pi") for token in self.tokens)

    def read(self) -> float | None:
        """The value of the whole text, or None."""
        if not self.tokens:
            return None
        try:
            value = self._sum()
        except (ValueError, ZeroDivisionError, OverflowError, IndexError):
            return None
        return value if not self.tokens and math.isfinite(value) else None

    def _next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def _take(self, wanted: str) -> None:
        if self.tokens.pop(0) != wanted:
            raise ValueError(wanted)

    def _sum(self) -> float:
        value = self._product()
        while self._next() in ("+", "-") and self.irrational:
            sign = 1 if self.tokens.pop(0) == "+" else -1
            value += sign * self._product()
        return value

    def _product(self) -> float:
        value = self._factor()
        while True:
            token = self._next()
            if token == "/":
                self.tokens.pop(0)
                value /= self._factor()
            elif token in _TIMES and self.irrational:
                self.tokens.pop(0)
                value *= self._factor()
            elif token in ("√", "π", "pi", "sqrt", "\\sqrt", "\\pi"):
                value *= self._factor()
            else:
                return value

    def _factor(self) -> float:
        token = self.tokens.pop(0)
        if token == "-":
            return -self._factor()
        if token in ("π", "pi", "\\pi"):
            return math.pi
        if token in ("√", "sqrt", "\\sqrt"):
            return math.sqrt(self._factor())
        if token == "\\frac":
            above = self._factor()
            return above / self._factor()
        if token in ("(", "{"):
            value = self._sum()
            self._take(")" if token == "(" else "}")
            return value
        return float(token.replace(",", ""))
