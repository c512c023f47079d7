"""The words of affect: captions that name a random few facts, and the reader that finds facts in any text.

Captions say what can be seen (a mouth, arms, weather), never what it makes one feel. Every clause of `CLAUSES` is
found again by exactly its own pattern in `PATTERNS`, also inside sentences a model has mixed. Left out: negation,
other than the clauses that state that there is no hat or no tree.
"""

from __future__ import annotations

import random
import re

from rise_vlm.worlds.affect_scene import Scene, true_facts

PEOPLE = ("person", "child", "figure")

# {p} is one of PEOPLE; {t} is the noun phrase of a thing.
CLAUSES: dict[str, tuple[str, ...]] = {
    "face=smile": (
        "the mouth curves up",
        "the lips turn up at both corners",
        "the eyes are arcs above an upturned mouth",
    ),
    "face=frown": (
        "the mouth curves down",
        "the lips turn down at both corners",
        "the brows slant above a drooping mouth",
    ),
    "face=crying": (
        "tears run down the cheeks",
        "the cheeks of the {p} are wet with tears",
        "big drops fall from both eyes",
    ),
    "face=shocked": (
        "the eyes are wide open",
        "the mouth is a round hole",
        "the brows are high above wide eyes",
    ),
    "face=gritted": (
        "the teeth are clenched",
        "rows of teeth are pressed together",
        "the {p} shows bare teeth under lowered brows",
    ),
    "face=calm": (
        "the mouth is a straight line",
        "the face of the {p} is still",
        "the lips are flat and level",
    ),
    "posture=raised": (
        "both arms are raised",
        "the hands are up in the air",
        "the {p} throws the arms up high",
    ),
    "posture=crossed": (
        "the arms are crossed",
        "the arms are folded over the chest",
        "the {p} keeps both arms folded",
    ),
    "posture=slumped": (
        "the {p} sits on the ground",
        "the knees are drawn up",
        "the {p} is slumped low",
    ),
    "posture=standing": (
        "the arms hang at the sides",
        "both arms hang down",
        "the {p} lets the hands hang",
    ),
    "weather=clear": (
        "the sky is clear",
        "the sky has no clouds",
        "the weather is fine",
    ),
    "weather=rain": (
        "rain falls",
        "it is raining",
        "streaks of rain come down",
    ),
    "weather=storm": (
        "lightning flashes",
        "a storm is overhead",
        "a bolt of lightning splits the clouds",
    ),
    "weather=snow": (
        "snow falls",
        "it is snowing",
        "white flakes drift down on the snow",
    ),
    "weather=fog": (
        "fog hangs in the air",
        "the air is thick with fog",
        "bands of mist drift by",
    ),
    "light=day": (
        "it is day",
        "the scene is in full daylight",
        "daylight fills the picture",
    ),
    "light=dusk": (
        "it is dusk",
        "the evening sky glows orange",
        "dusk colours the sky",
    ),
    "light=night": (
        "it is night",
        "the scene is dark",
        "the night sky is dark",
    ),
    "setting=park": (
        "the place is a park",
        "a park with a bench is behind",
        "this is in a park",
    ),
    "setting=street": (
        "the place is a street",
        "a street with houses is behind",
        "this is on a street",
    ),
    "setting=beach": (
        "the place is a beach",
        "a beach by the sea is behind",
        "this is on a beach",
    ),
    "setting=ruins": (
        "the place is a ruin",
        "broken columns of a ruin are behind",
        "this is among ruins",
    ),
    "hat=yes": (
        "the {p} wears a hat",
        "a hat is on the head",
        "the {p} has a hat",
    ),
    "hat=no": (
        "the {p} wears no hat",
        "no hat is on the head",
        "the {p} has no hat",
    ),
    "tree=yes": (
        "a tree grows behind",
        "there is a tree",
        "a tree is at the edge",
    ),
    "tree=no": (
        "no tree grows behind",
        "there is no tree",
        "no tree is at the edge",
    ),
    "side=left": (
        "the {p} is on the left",
        "on the left is the {p}",
        "the left side shows the {p}",
    ),
    "side=right": (
        "the {p} is on the right",
        "on the right is the {p}",
        "the right side shows the {p}",
    ),
}

_SHIRT = ("the shirt is {c}", "the {p} wears a {c} shirt", "the {p} has a {c} shirt", "the {p} is dressed in {c}")
_PLACE = ("{t} BE nearby", "there BE {t}", "next to the {p} BE {t}", "{t} can be seen", "the {p} is beside {t}")
NOUNS: dict[str, tuple[str, ...]] = {
    "cake": ("a cake", "a cake with candles"),
    "balloons": ("balloons", "some balloons on strings"),
    "gift": ("a gift", "a gift with a ribbon"),
    "flowers": ("flowers", "some flowers in a pot"),
    "dog": ("a dog", "a spotted dog"),
    "teddy": ("a teddy bear", "a brown teddy bear"),
    "spider": ("a spider", "a big spider with long legs"),
    "snake": ("a snake", "a green snake"),
    "ghost": ("a ghost", "a white ghost"),
    "gravestone": ("a gravestone", "a grey gravestone"),
    "vase": ("a broken vase", "the pieces of a vase"),
    "rubbish": ("a heap of rubbish", "rubbish with flies"),
}
_PLURAL = ("balloons", "flowers")

for _colour in ("red", "blue", "green", "yellow", "purple"):
    CLAUSES[f"shirt={_colour}"] = tuple(clause.replace("{c}", _colour) for clause in _SHIRT)
for _thing, _nouns in NOUNS.items():
    _be = "are" if _thing in _PLURAL else "is"
    CLAUSES[f"thing={_thing}"] = tuple(
        clause.replace("BE", _be).replace("{t}", noun) for clause in _PLACE for noun in _nouns
    )

_WHO = "(?:person|child|figure)"
_SOURCES: dict[str, str] = {
    "face=smile": r"mouth curves up|lips turn up|upturned mouth",
    "face=frown": r"mouth curves down|lips turn down|drooping mouth",
    "face=crying": r"tears|drops fall from both eyes",
    "face=shocked": r"eyes are wide|mouth is a round hole|wide eyes",
    "face=gritted": r"teeth",
    "face=calm": rf"mouth is a straight line|face(?: of the {_WHO})? is still|lips are flat",
    "posture=raised": r"arms are raised|hands are up|arms up",
    "posture=crossed": r"arms are crossed|arms are folded|arms folded",
    "posture=slumped": r"sits on the ground|knees are drawn up|slumped",
    "posture=standing": r"arms hang|hands hang",
    "weather=clear": r"sky is clear|sky has no clouds|weather is fine",
    "weather=rain": r"rain|raining",
    "weather=storm": r"lightning|storm",
    "weather=snow": r"snow|snowing|flakes",
    "weather=fog": r"fog|mist",
    "light=day": r"day|daylight",
    "light=dusk": r"dusk|evening",
    "light=night": r"night|dark",
    "setting=park": r"park",
    "setting=street": r"street|houses",
    "setting=beach": r"beach|sea",
    "setting=ruins": r"ruin|ruins|broken columns",
    "hat=yes": r"(?<!\bno )hat",
    "hat=no": r"no hat",
    "tree=yes": r"(?<!\bno )tree",
    "tree=no": r"no tree",
    "side=left": r"left",
    "side=right": r"right",
    "thing=cake": r"cake",
    "thing=balloons": r"balloons?",
    "thing=gift": r"gift",
    "thing=flowers": r"flowers?",
    "thing=dog": r"dog",
    "thing=teddy": r"teddy",
    "thing=spider": r"spider",
    "thing=snake": r"snake",
    "thing=ghost": r"ghost",
    "thing=gravestone": r"gravestone",
    "thing=vase": r"vase",
    "thing=rubbish": r"rubbish",
}
for _colour in ("red", "blue", "green", "yellow", "purple"):
    _SOURCES[f"shirt={_colour}"] = rf"shirt is {_colour}|{_colour} shirt|dressed in {_colour}"
PATTERNS = {fact: re.compile(rf"\b(?:{source})\b") for fact, source in _SOURCES.items()}

FEWEST_WORDS = 12


def describe(scene: Scene, rng: random.Random, facts: int | None = None) -> str:
    """A true caption in one to four sentences. Names `facts` facts (3 to 5 by default, and one more where the
    caption would stay under 12 words), in random order and wording."""
    known = sorted(true_facts(scene))
    if facts is None and "tree=no" in known and rng.random() < 0.7:  # what is absent is seldom worth a word
        known.remove("tree=no")
    rng.shuffle(known)
    count = rng.randint(3, 5) if facts is None else facts
    person = rng.choice(PEOPLE)
    clauses = [rng.choice(CLAUSES[fact]).replace("{p}", person) for fact in known]
    while facts is None and sum(len(clause.split()) for clause in clauses[:count]) < FEWEST_WORDS:
        count += 1
    return _join(clauses[:count], rng)


def _join(clauses: list[str], rng: random.Random) -> str:
    """Sentences of one to three clauses."""
    sentences: list[str] = []
    rest = list(clauses)
    while rest:
        take = min(len(rest), rng.choice((1, 2, 2, 3)))
        part, rest = rest[:take], rest[take:]
        text = part[0] if take == 1 else ", ".join(part[:-1]) + rng.choice((" and ", ", and ", " while ")) + part[-1]
        sentences.append(text[0].upper() + text[1:] + ".")
    return " ".join(sentences)


def stated_facts(text: str) -> frozenset[str]:
    """The facts a text states, by the patterns of this world; contradictory text states both."""
    plain = " ".join(text.lower().split())
    return frozenset(fact for fact, pattern in PATTERNS.items() if pattern.search(plain))
