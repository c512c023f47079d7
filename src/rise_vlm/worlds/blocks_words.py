"""Words for solids and vehicles: captions of what is seen, and the reader that finds the facts stated in any text.

A description is a tuple (size, colour, material, shape) with '' for what is left open; shape 'thing' is any. Facts:
`exists=small red metal cube`, `count=three red thing`, `count=no cylinder`, `place=red cube left`. Every part of a
description may be left out, so one object makes many facts true. Left out: relations between objects, negation other
than `no`.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

Description = tuple[str, str, str, str]

SHAPES = ("cube", "sphere", "cylinder", "car", "bus", "motorbike", "aeroplane", "bicycle")
SIZES = ("small", "medium", "large")
COLOURS = ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")
MATERIALS = ("rubber", "metal", "glass")
PLACES = ("left", "middle", "right")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
SYNONYMS: dict[str, tuple[str, ...]] = {
    "thing": ("thing", "object"), "sphere": ("sphere", "ball"), "cube": ("cube", "block"), "large": ("large", "big"),
    "small": ("small", "tiny"), "metal": ("metal", "metallic", "shiny"), "rubber": ("rubber", "matte"),
    "aeroplane": ("aeroplane", "plane"), "bicycle": ("bicycle", "bike"),
}  # fmt: skip
_PLAIN = {word: name for name, words in SYNONYMS.items() for word in words} | {"grey": "gray"}


@dataclass(frozen=True)
class Seen:
    """An object as words know it; `place` is left, middle or right."""

    size: str
    colour: str
    material: str
    shape: str
    place: str

    @property
    def full(self) -> Description:
        """Its complete description."""
        return self.size, self.colour, self.material, self.shape


def fits(seen: Seen, description: Description) -> bool:
    """Whether a description applies."""
    size, colour, material, shape = description
    return (
        size in ("", seen.size) and colour in ("", seen.colour)
        and material in ("", seen.material) and shape in ("thing", seen.shape)
    )  # fmt: skip


def phrase(description: Description, number: int = 1, rng: random.Random | None = None) -> str:
    """`small red metal cubes`, without article; with `rng` in synonyms."""
    *looks, shape = description
    words = [*(word for word in looks if word), shape]
    if rng is not None:
        words = [rng.choice(SYNONYMS.get(word, (word,))) for word in words]
    return " ".join(words) if number == 1 else " ".join([*words[:-1], plural(words[-1])])


def in_order(seen: Sequence[Seen]) -> list[tuple[str, str]]:
    """Full names and places, from left to right and at one place by name: an order that the picture settles."""
    told = sorted((PLACES.index(one.place), phrase(one.full)) for one in seen)
    return [(name, PLACES[at]) for at, name in told]


def plural(noun: str) -> str:
    """`buses`, `cubes`."""
    return noun + ("es" if noun.endswith("s") else "s")


def article(words: str) -> str:
    """`a` or `an` before words."""
    return "an" if words[0] in "aeiou" else "a"


# --- what is true ----------------------------------------------------------------------------------------------------


def _name(description: Description) -> str:
    return " ".join(word for word in description if word)


def true_of(seen: Sequence[Seen]) -> frozenset[str]:
    """Every fact that may be stated of these objects."""
    counts: Counter[Description] = Counter()
    places: set[str] = set()
    for one in seen:
        for parts in product(*((value, "") for value in one.full[:3]), (one.shape, "thing")):
            description: Description = (parts[0], parts[1], parts[2], parts[3])
            counts[description] += 1
            places.add(f"place={_name(description)} {one.place}")
    facts = {f"exists={_name(description)}" for description in counts} | places
    facts |= {f"count={NUMBERS[n] if n < len(NUMBERS) else n} {_name(d)}" for d, n in counts.items() if n > 1}
    for parts in product(("", *SIZES), ("", *COLOURS), ("", *MATERIALS), ("thing", *SHAPES)):
        if parts not in counts:
            facts.add(f"count=no {_name((parts[0], parts[1], parts[2], parts[3]))}")
    return frozenset(facts)


# --- reading ---------------------------------------------------------------------------------------------------------

_LOOKS = {word: (0, word) for word in SIZES} | {word: (1, word) for word in COLOURS}
_LOOKS |= {word: (2, word) for word in MATERIALS}
_LOOKS |= {word: _LOOKS[name] for word, name in _PLAIN.items() if name in _LOOKS}
_NOUNS = {name: name for name in (*SHAPES, "thing")} | {w: n for w, n in _PLAIN.items() if n in (*SHAPES, "thing")}
_NOUNS |= {plural(word): name for word, name in list(_NOUNS.items())}
_AMOUNT = "|".join([*NUMBERS, r"[0-9]{1,3}"])
_PHRASE = re.compile(
    rf"\b(?:({_AMOUNT})\s+)?((?:(?:{'|'.join(_LOOKS)})[\s,]+)*)({'|'.join(sorted(_NOUNS, key=len, reverse=True))})\b"
    rf"(?:\s+\([0-9]\))?(?:\s+(?:is|are|stands?|lies|can be seen)?\s*(?:on|in|at|to) the (left|middle|right)\b)?"
)


def stated_in(text: str) -> frozenset[str]:
    """The facts a text states. `a`, `the`, `one` or no number states that such a thing exists; a digit in brackets
    behind it is what it is called.
    """
    plain = " ".join(text.casefold().split())
    facts: set[str] = set()
    for match in _PHRASE.finditer(plain):
        amount, looks, noun, place = match.groups()
        parts = ["", "", "", _NOUNS[noun]]
        for word in re.findall("[a-z]+", looks):
            at, name = _LOOKS[word]
            parts[at] = name
        name = _name((parts[0], parts[1], parts[2], parts[3]))
        number = NUMBERS[int(amount)] if amount and amount.isdigit() and int(amount) < len(NUMBERS) else amount
        if number == "no":
            facts.add(f"count=no {name}")
            continue
        if number not in (None, "one"):
            facts.add(f"count={number} {name}")
        else:
            facts.add(f"exists={name}")
        if place:
            facts.add(f"place={name} {place}")
    return frozenset(facts)


# --- captions --------------------------------------------------------------------------------------------------------

_PLACED = ("{the} is {place}", "{place} there is {a}", "{a} stands {place}", "there is {a} {place}")
_THERE = ("there is {a}", "one can see {a}", "{a} is there", "the picture shows {a}")
_MANY = ("there are {n}", "{n} can be seen", "the picture shows {n}", "one can see {n}")
_NONE = ("there is no {x}", "no {x} can be seen", "the picture shows no {x}")


def caption(seen: Sequence[Seen], kinds: Sequence[str], rng: random.Random, facts: int | None = None) -> str:
    """A true caption without digits: three or four clauses (or `facts`) about single objects, their place, and numbers
    of like ones; `kinds` are the shapes that could be there.
    """
    wanted = rng.choice((3, 3, 4)) if facts is None else facts
    clauses = [_single(one, rng) for one in rng.sample(list(seen), min(len(seen), wanted))]
    clauses += _numbers(seen, rng)
    absent = [shape for shape in kinds if not any(one.shape == shape for one in seen)]
    if absent and rng.random() < 0.3:
        clauses.append(rng.choice(_NONE).replace("{x}", phrase(("", "", "", rng.choice(absent)), 1, rng)))
    chosen = rng.sample(clauses, min(wanted, len(clauses)))
    rest = [clause for clause in clauses if clause not in chosen]
    while facts is None and rest and sum(len(clause.split()) for clause in chosen) < 12:
        chosen.append(rest.pop())
    if facts is None and sum(len(clause.split()) for clause in chosen) < 12:
        chosen.append("the floor is gray and bare and lies in a soft light")
    return sentences(chosen, rng)


def _single(one: Seen, rng: random.Random) -> str:
    size, colour, material, shape = one.full
    description = (size if rng.random() < 0.6 else "", colour, material if rng.random() < 0.6 else "", shape)
    words = phrase(description, 1, rng)
    form = rng.choice(_PLACED if rng.random() < 0.45 else _THERE).replace("{place}", where(one.place))
    return form.replace("{the}", f"the {words}").replace("{a}", f"{article(words)} {words}")


def where(place: str) -> str:
    """``on the left``."""
    return "in the middle" if place == "middle" else f"on the {place}"


def _numbers(seen: Sequence[Seen], rng: random.Random) -> list[str]:
    """Clauses about groups of two or more: by shape, by colour, by material and all together."""
    groups: Counter[Description] = Counter()
    for one in seen:
        groups.update([("", "", "", one.shape), ("", one.colour, "", "thing"), ("", "", one.material, "thing"),
                       (one.size, "", "", one.shape), ("", "", "", "thing")])  # fmt: skip
    many = [(d, n) for d, n in groups.items() if 2 <= n < len(NUMBERS)]
    chosen = rng.sample(many, min(len(many), 3))
    return [rng.choice(_MANY).replace("{n}", f"{NUMBERS[n]} {phrase(d, n, rng)}") for d, n in chosen]


def sentences(clauses: Sequence[str], rng: random.Random) -> str:
    """Sentences of one or two clauses."""
    out: list[str] = []
    rest = list(clauses)
    while rest:
        take = min(len(rest), rng.choice((1, 1, 2)))
        part, rest = rest[:take], rest[take:]
        text = rng.choice((" and ", ", and ", ", ")).join(part)
        out.append(text[0].upper() + text[1:] + ".")
    return " ".join(out)
