"""Captions of errand scenes, and the reader that finds the facts stated in any text.

Captions name what is seen (kind, colour, size, place, neighbours, room), never what a thing is for, and no digits. The
reader takes a sentence from left to right: adjectives belong to the next thing named, or else to the one before;
a place belongs to the sentence's subject; after a relation ("next to") the next thing is its object. Left out:
negation, plurals, numbers of things.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from rise_vlm.worlds.things import COLOURS, THINGS
from rise_vlm.worlds.things_rooms import ROOMS

if TYPE_CHECKING:
    from rise_vlm.worlds.errand import Placed, Scene

_PLURAL = frozenset({"scissors", "glasses"})
_OPPOSITE = {"next": "next", "above": "below", "below": "above", "left_of": "right_of", "right_of": "left_of"}
_RELATION_WORDS = {
    "next": ("next to", "beside", "near", "close to"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "left_of": ("to the left of", "left of"),
    "right_of": ("to the right of", "right of"),
}
_ALSO = {
    "bike": "bicycle", "mug": "cup", "boots": "boot", "backpack": "bag", "telephone": "phone", "large": "big",
    "little": "small", "centre": "middle", "center": "middle", "upper": "top", "lower": "bottom",
}  # fmt: skip
_PLACES = frozenset({"left", "middle", "right", "top", "bottom"})


def relations(scene: Scene) -> dict[str, list[tuple[str, Placed]]]:
    """For each thing, what it is next to, above, below, left of and right of."""
    found: dict[str, list[tuple[str, Placed]]] = {}
    for a in scene.things:
        pairs: list[tuple[str, Placed]] = []
        for b in scene.things:
            if a is b:
                continue
            if a.row == b.row:
                pairs.append(("left_of" if a.x < b.x else "right_of", b))
                if abs(a.x - b.x) < 0.44:
                    pairs.append(("next", b))
            elif a.column == b.column:
                pairs.append(("above" if a.y < b.y else "below", b))
        found[a.kind] = pairs
    return found


def true_facts(scene: Scene) -> frozenset[str]:
    """All that `stated_facts` may rightly find: thing=cup, cup.colour=red, cup.place=left, cup.next=key, room=hall ...

    one=red: something red is there (for "the red one", which names no thing).
    """
    facts = {f"room={scene.room}"}
    for thing in scene.things:
        name = thing.kind
        facts |= {f"thing={name}", f"{name}.colour={thing.colour}", f"one={thing.colour}", f"{name}.size={thing.size}",
                  f"{name}.place={thing.column}", f"{name}.place={thing.row}"}  # fmt: skip
    for name, pairs in relations(scene).items():
        facts |= {f"{name}.{relation}={other.kind}" for relation, other in pairs}
    return frozenset(facts)


# --- reading ---------------------------------------------------------------------------------------------------------


def _lexicon() -> tuple[re.Pattern[str], dict[str, tuple[str, str]]]:
    words: dict[str, tuple[str, str]] = {}
    for role, names in (("thing", THINGS), ("colour", COLOURS), ("room", ROOMS), ("place", _PLACES),
                        ("size", ("big", "small")), ("one", ("one", "thing")), ("it", ("it", "they"))):  # fmt: skip
        words |= {name: (role, name) for name in names}
    words |= {also: words[name] for also, name in _ALSO.items()}
    for relation, wordings in _RELATION_WORDS.items():
        words |= dict.fromkeys(wordings, ("relation", relation))
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(r"\b(?:" + "|".join(longest_first) + r")\b|[,;:]|\band\b"), words


_TOKEN, _WORDS = _lexicon()


class _Reader:
    """Reads sentences in order; keeps the subject for a following "it"."""

    def __init__(self) -> None:
        self.facts: set[str] = set()
        self.last: str | None = None

    def sentence(self, text: str) -> None:
        self.subject: str | None = None
        self.relation: str | None = None
        self.adjectives: list[tuple[str, str]] = []
        self.places: list[str] = []
        for match in _TOKEN.finditer(text):
            role, value = _WORDS.get(match.group(), ("break", ""))
            if role in ("colour", "size"):
                self.adjectives.append((role, value))
            elif role in ("thing", "one"):
                self._noun(role, value)
            else:
                self._settle(self.subject)
                self._word(role, value)
        self._settle(self.subject)
        self.last = self.subject

    def _word(self, role: str, value: str) -> None:
        if role == "relation":
            self.relation = value
        elif role == "room":
            self.facts.add(f"room={value}")
        elif role == "it":
            self.subject = self.last
        elif role == "place" and self.subject:
            self.facts.add(f"{self.subject}.place={value}")
        elif role == "place":
            self.places.append(value)

    def _settle(self, name: str | None) -> None:
        """Give the waiting adjectives to `name`."""
        if name:
            self.facts |= {f"{name}.{role}={value}" for role, value in self.adjectives}
        self.adjectives = []

    def _noun(self, role: str, value: str) -> None:
        name = value if role == "thing" else None
        if name is None:
            self.facts |= {f"one={colour}" for kind, colour in self.adjectives if kind == "colour"}
        else:
            self.facts.add(f"thing={name}")
        self._settle(name)
        if self.relation:
            if self.subject and name:
                self.facts.add(f"{self.subject}.{self.relation}={name}")
            self.relation = None
            return
        self.subject = name
        if name:
            self.facts |= {f"{name}.place={place}" for place in self.places}
        self.places = []


def stated_facts(text: str) -> frozenset[str]:
    """The facts that `text` states, in the form of `true_facts`; other words are passed over."""
    reader = _Reader()
    for sentence in re.split(r"[.!?\n]+", text.lower()):
        reader.sentence(sentence)
    return frozenset(reader.facts)


# --- writing ---------------------------------------------------------------------------------------------------------


def _noun(rng: random.Random, thing: Placed, detail: float, article: str) -> str:
    """A noun phrase; each of colour and size is named with a chance that grows with `detail` (0 to 1)."""
    words = [thing.kind]
    if rng.random() < detail:
        words.insert(0, thing.colour)
    if rng.random() < detail * 0.3:
        words.insert(0, thing.size)
    phrase = " ".join(words)
    if article == "the":
        return f"the {phrase}"
    if thing.kind in _PLURAL:
        return f"a pair of {phrase}"
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _place(rng: random.Random, thing: Placed) -> str:
    side = f"{'in' if thing.column == 'middle' else 'on'} the {thing.column}"
    kind = rng.random()
    if kind < 0.5:
        return side
    if kind < 0.75 or thing.column == "middle":
        return f"at the {thing.row}"
    return f"at the {thing.row} {thing.column}"


def _neighbour(rng: random.Random, scene: Scene, thing: Placed) -> str | None:
    pairs = relations(scene)[thing.kind]
    if not pairs:
        return None
    relation, other = rng.choice(pairs)
    return f"{rng.choice(_RELATION_WORDS[relation])} {_noun(rng, other, 0.35, rng.choice(('the', 'a')))}"


def _start(text: str) -> str:
    return text[0].upper() + text[1:]


def _tail(where: str, by: str, comma: str) -> str:
    """Place and neighbour after a noun; a comma stands before a bare "right of"."""
    if where and by.startswith(("left", "right")):
        comma = ","
    return (f" {where}" if where else "") + (f"{comma} {by}" if by else "")


def _sentence(rng: random.Random, scene: Scene, thing: Placed) -> str:
    """One sentence about one thing."""
    where, by = _place(rng, thing), _neighbour(rng, scene, thing)
    tail = _tail(where if rng.random() < 0.45 else "", by if by and rng.random() < 0.4 else "", "")
    noun = _noun(rng, thing, 0.75, "a")
    be = "are" if thing.kind in _PLURAL else "is"
    kind = rng.randrange(8)
    if kind == 0:
        return f"There is {noun}{tail}."
    if kind == 1:
        return f"I see {noun}{tail}."
    if kind == 2:
        return f"{_start(where)} there is {noun}."
    if kind == 3:
        return f"{_start(where)} I see {noun}{f' {by}' if by and rng.random() < 0.4 else ''}."
    if kind == 4:
        return f"{_start(noun)} is {where}."
    if kind == 5:
        return f"The {thing.kind} {be} {thing.colour}{f' and {be} {where}' if rng.random() < 0.4 else ''}."
    if kind == 6 and by:
        return f"{_start(noun)} is {by}."
    return f"The picture shows {noun}{tail}."


def _list(rng: random.Random, scene: Scene, things: list[Placed]) -> str:
    """Several things in one sentence."""
    parts: list[str] = []
    for thing in things:
        tail = rng.choice(("", "", f" {_place(rng, thing)}", f" {_neighbour(rng, scene, thing) or ''}")).rstrip()
        parts.append(_noun(rng, thing, 0.75, "a") + tail)
    joined = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    frame = rng.choice(("There is {}.", "I see {}.", "The picture shows {}.", "A {room} with {}.",
                        "In the {room} there is {}.", "This {room} has {}."))  # fmt: skip
    return _start(frame.format(joined, room=scene.room))


def describe(scene: Scene, rng: random.Random, facts: int | None = None) -> str:
    """A true caption of 12 to 45 words that names `facts` (else 2 to 4) of the things, with a random share of what
    could be said of them."""
    while True:
        count = min(facts or rng.choice((2, 2, 3, 3, 4)), len(scene.things))
        things = rng.sample(scene.things, count)
        whole = rng.choice((0, 0, count, rng.randint(0, count)))
        parts = [_list(rng, scene, things[:whole])] if whole else []
        parts += [_sentence(rng, scene, thing) for thing in things[whole:]]
        if not whole and rng.random() < 0.5:
            opening = rng.choice(("This is a {}.", "The place is a {}.", "It is a picture of a {}."))
            parts.insert(rng.choice((0, 0, len(parts))), opening.format(scene.room))
        text = " ".join(parts)
        if 12 <= len(text.split()) <= 45 or (facts is not None and len(text.split()) <= 45 + 12 * facts):
            return text


def describe_thing(scene: Scene, thing: Placed | str, rng: random.Random) -> str:
    """A short true description that fits only `thing` (a thing of the scene, or its kind)."""
    if isinstance(thing, str):
        thing = next(other for other in scene.things if other.kind == thing)
    if rng.random() < 0.08:
        nameless = _nameless(scene, thing)
        if nameless:
            return _start(rng.choice(("It is the {}.", "The {}.", "Look for the {}.")).format(rng.choice(nameless)))
    where, by = _place(rng, thing), _neighbour(rng, scene, thing)
    tail = _tail(where if rng.random() < 0.55 else "", by if by and rng.random() < 0.4 else "", rng.choice((",", "")))
    the, an = _noun(rng, thing, 0.8, "the"), _noun(rng, thing, 0.8, "a")
    be = "are" if thing.kind in _PLURAL else "is"
    return _start(rng.choice((
        f"It is {the}{tail}.",
        f"{the}{tail}.",
        f"This is {an}{tail}.",
        f"Look for {the}{tail}.",
        f"The region shows {an}{tail}.",
        f"{where} there is {an}.",
        f"{an}{tail}.",
        f"The {thing.kind} {be} {thing.colour}. It is {where}.",
        f"The {thing.kind} {be} {thing.colour} and {be} {where}.",
        f"{the} {be} {by or where}.",
    )))  # fmt: skip


def _nameless(scene: Scene, thing: Placed) -> list[str]:
    """Descriptions without the kind that fit this thing alone."""
    others = [other for other in scene.things if other is not thing]
    same = [other for other in others if other.colour == thing.colour]
    side = f"{'in' if thing.column == 'middle' else 'on'} the {thing.column}"
    found: list[str] = []
    if not same:
        found += [f"{thing.colour} one", f"{thing.colour} thing", f"{thing.colour} thing {side}"]
    if not any(other.column == thing.column for other in same):
        found.append(f"{thing.colour} one {side}")
    if not any(other.size == thing.size for other in same):
        found.append(f"{thing.size} {thing.colour} one")
    return found
