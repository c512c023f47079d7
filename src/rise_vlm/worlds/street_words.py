"""Captions of streets, and the reader that finds the facts stated in any text.

Captions say what a thing looks like and never what it is called, since its name is the annotation: a car is a low
vehicle, a dog an animal with floppy ears. No digits. The reader takes a text clause by clause; the colour, place and
depth in a clause belong to the one kind of thing that it speaks of. Left out: negation, what hides what.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from rise_vlm.worlds.things import COLOURS

if TYPE_CHECKING:
    from rise_vlm.worlds.street import Placed, Scene

HEADS: dict[str, tuple[tuple[str, str], ...]] = {
    "person": (("figure", "figures"), ("walker", "walkers"), ("passer-by", "passers-by")),
    "bicycle": (("pair of thin wheels", "pairs of thin wheels"), ("thin frame on wheels", "thin frames on wheels"),
                ("two-wheeler", "two-wheelers")),
    "car": (("low vehicle", "low vehicles"), ("short vehicle", "short vehicles"),
            ("little round vehicle", "little round vehicles")),
    "bus": (("tall vehicle", "tall vehicles"), ("long vehicle", "long vehicles"),
            ("big square vehicle", "big square vehicles")),
    "dog": (("animal", "animals"), ("pet", "pets"), ("furry creature", "furry creatures")),
    "bench": (("plank seat", "plank seats"), ("wide seat", "wide seats"), ("seat with a back", "seats with backs")),
    "traffic light": (("signal post", "signal posts"), ("post with lamps", "posts with lamps"),
                      ("tall dark signal", "tall dark signals")),
    "fire hydrant": (("squat iron post", "squat iron posts"), ("short iron pipe", "short iron pipes"),
                     ("stubby metal plug", "stubby metal plugs")),
}  # fmt: skip
"""What a kind is called instead of its name: (one, several)."""

_WEAR: dict[str, tuple[str, ...]] = {
    "person": ("{a} in {ac} coat", "{a} wearing {c}", "{a} dressed in {c}"),
    "dog": ("{a} in {ac} vest", "{a} wearing {ac} cloth", "{a} with {ac} blanket"),
    "traffic light": ("{a} showing {c}", "{a} with its {c} lamp lit", "{a} that glows {c}"),
}
_PARTS: dict[str, tuple[str, ...]] = {
    "person": ("two legs", "a round head"),
    "bicycle": ("spokes and a saddle", "a thin frame"),
    "car": ("a round roof", "a short body"),
    "bus": ("a row of windows", "a long flat roof"),
    "dog": ("floppy ears", "a tail"),
    "bench": ("flat planks", "iron legs"),
    "traffic light": ("a dark case", "lamps one above the other"),
    "fire hydrant": ("a domed cap", "short side pipes"),
}
BACKDROP_WORDS: dict[str, tuple[str, ...]] = {
    "houses": ("small houses stand behind", "homes with pointed roofs line the street", "there is a row of houses"),
    "shops": ("there are shops behind", "striped awnings hang over shop windows", "a row of shops lines the street"),
    "towers": ("tall towers rise behind", "high office blocks line the street", "there are towers behind"),
    "park": ("there is a park behind", "trees and a hedge stand behind", "the street runs along a park"),
}
SKY_WORDS: dict[str, tuple[str, ...]] = {
    "clear": ("the sky is clear", "the sun is high", "it is a fine day"),
    "cloudy": ("the sky is full of clouds", "it is a cloudy day", "clouds hang over the street"),
    "evening": ("it is evening", "the sun is low", "the day is ending"),
}
EMPTY_WORDS = ("the street is empty", "the road and both pavements are bare", "the street is quite deserted")
_DEPTH_WORDS = {"near": ("close by", "in front", "near the front"), "far": ("far off", "farther back", "at the back")}
_NUMBERS = {2: "two", 3: "three"}


def true_facts(scene: Scene) -> frozenset[str]:
    """All that `stated_facts` may rightly find: thing=car, car.colour=red, car.place=left, car.depth=near,
    car.count=two (so many of them), backdrop=shops, sky=clear, and empty=yes where nothing is in the street.
    """
    facts = {f"backdrop={scene.backdrop}", f"sky={scene.sky}"}
    for thing in scene.things:
        kind = thing.kind
        facts |= {f"thing={kind}", f"{kind}.colour={thing.colour}", f"{kind}.place={thing.column}",
                  f"{kind}.depth={thing.depth}"}  # fmt: skip
        count = sum(other.kind == kind for other in scene.things)
        if count > 1:
            facts.add(f"{kind}.count={_NUMBERS[count]}")
    return frozenset(facts if scene.things else facts | {"empty=yes"})


# --- reading ---------------------------------------------------------------------------------------------------------


def _pattern(phrases: dict[str, str]) -> re.Pattern[str]:
    longest_first = sorted(phrases, key=len, reverse=True)
    return re.compile(r"\b(?:" + "|".join(map(re.escape, longest_first)) + r")\b")


_KINDS = {form: kind for kind, heads in HEADS.items() for head in heads for form in head}
_PLURALS = frozenset(several for heads in HEADS.values() for _, several in heads)
_ROLES: dict[str, tuple[str, str]] = {
    **{colour: ("colour", colour) for colour in COLOURS},
    **{place: ("place", place) for place in ("left", "middle", "right", "centre")},
    **{phrase: ("depth", depth) for depth, phrases in _DEPTH_WORDS.items() for phrase in phrases},
    **{word: ("count", word) for word in _NUMBERS.values()},
} | {"centre": ("place", "middle")}
_WHOLE = {phrase: f"backdrop={name}" for name, phrases in BACKDROP_WORDS.items() for phrase in phrases}
_WHOLE |= {phrase: f"sky={name}" for name, phrases in SKY_WORDS.items() for phrase in phrases}
_WHOLE |= dict.fromkeys(EMPTY_WORDS, "empty=yes")
_KIND, _ROLE, _SCENE = _pattern(_KINDS), _pattern(dict.fromkeys(_ROLES, "")), _pattern(_WHOLE)


def stated_facts(text: str) -> frozenset[str]:
    """The facts that `text` states, in the form of `true_facts`; other words are passed over."""
    text = " ".join(text.lower().split())
    facts = {_WHOLE[match.group()] for match in _SCENE.finditer(text)}
    last: str | None = None
    for clause in re.split(r"[.!?;,]| while | and (?=a |an |the |two |three |on |in |it )", _SCENE.sub(" ", text)):
        named = [match.group() for match in _KIND.finditer(clause)]
        kinds = {_KINDS[form] for form in named}
        facts |= {f"thing={kind}" for kind in kinds}
        if not kinds and last and re.match(r" ?(?:it|they)\b", clause):
            kinds = {last}
        last = next(iter(kinds)) if len(kinds) == 1 else None
        if last is None:
            continue
        roles = [_ROLES[match.group()] for match in _ROLE.finditer(_KIND.sub(" ", clause))]
        facts |= {f"{last}.{role}={value}" for role, value in roles if role != "count" or _PLURALS & set(named)}
    return frozenset(facts)


# --- writing ---------------------------------------------------------------------------------------------------------


def _start(text: str) -> str:
    return text[0].upper() + text[1:]


def _article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _noun(rng: random.Random, thing: Placed, colour: bool) -> str:
    """A noun phrase with its article, with the colour where asked."""
    head = rng.choice(HEADS[thing.kind])[0]
    if not colour:
        return _article(head)
    if thing.kind in _WEAR:
        return rng.choice(_WEAR[thing.kind]).format(a=_article(head), c=thing.colour, ac=_article(thing.colour))
    return _article(f"{thing.colour} {head}")


def _where(rng: random.Random, thing: Placed) -> str:
    side = f"{'in' if thing.column == 'middle' else 'on'} the {thing.column}"
    deep = rng.choice(_DEPTH_WORDS[thing.depth])
    return rng.choice((side, side, deep, f"{deep} {side}", f"{side} {deep}"))


def _sentence(rng: random.Random, thing: Placed) -> str:
    """One sentence about one thing."""
    noun, where = _noun(rng, thing, rng.random() < 0.75), _where(rng, thing)
    kind = rng.randrange(7)
    if kind == 0:
        return f"There is {noun} {where}."
    if kind == 1:
        return f"I see {noun}."
    if kind == 2:
        return _start(f"{where} there is {noun}.")
    if kind == 3:
        return _start(f"{noun} is {where}.")
    if kind == 4:
        return f"The picture shows {noun} {where}."
    if kind == 5:
        return _start(f"{noun} with {rng.choice(_PARTS[thing.kind])} is {where}.")
    return _start(f"{noun} can be seen. It is {where}.")


def _several(rng: random.Random, scene: Scene, kind: str) -> str:
    count = sum(thing.kind == kind for thing in scene.things)
    noun = f"{_NUMBERS[count]} {rng.choice(HEADS[kind])[1]}"
    return rng.choice((f"There are {noun}.", f"I see {noun}.", f"The picture shows {noun}."))


def _around(scene: Scene, rng: random.Random) -> list[str]:
    """A sentence about the backdrop and one about the sky, in either order."""
    told = [f"{_start(rng.choice(words))}." for words in (BACKDROP_WORDS[scene.backdrop], SKY_WORDS[scene.sky])]
    rng.shuffle(told)
    return told


def describe_around(scene: Scene, rng: random.Random) -> str:
    """A true caption of the place and the day that names none of the things."""
    return " ".join(_around(scene, rng))


def describe(scene: Scene, rng: random.Random, facts: int | None = None) -> str:
    """A true caption of 12 to 45 words that names `facts` (else up to four) of the things, with a random share of what
    could be said of them, and perhaps the backdrop and the sky.
    """
    kinds = [thing.kind for thing in scene.things]
    many = [kind for kind in dict.fromkeys(kinds) if kinds.count(kind) > 1]
    while True:
        count = min(facts or rng.choice((2, 3, 3, 4)), len(scene.things))
        parts = [_sentence(rng, thing) for thing in rng.sample(scene.things, count)]
        if many and rng.random() < 0.4:
            parts.append(_several(rng, scene, rng.choice(many)))
        around = _around(scene, rng)
        parts += around[: rng.choice((0, 1, 1, 2)) if len(parts) > 1 else 2]
        if not scene.things:
            parts.append(f"{_start(rng.choice(EMPTY_WORDS))}.")
        rng.shuffle(parts)
        text = " ".join(parts)
        if 12 <= len(text.split()) <= 45 or (facts is not None and len(text.split()) <= 45 + 14 * facts):
            return text
