"""Captions of icons, and the reader that finds the facts stated in any text.

Captions name parts, colour, size and place of the large thing, the ground, and the small things about it; never the
class, which is the annotation. A part belongs to several classes where it can, so that one part seldom tells the
class and two mostly do. No digits. Left out: negation, numbers of parts, where the small things lie.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from rise_vlm.worlds.things import COLOURS

if TYPE_CHECKING:
    from rise_vlm.worlds.icons import Scene

CLUTTER = ("key", "cup", "book", "ball", "hat", "boot", "candle", "camera", "bucket", "pencil", "drum", "kite")
"""The small things that lie about: household things that are no class of this world."""

PARTS: dict[str, tuple[str, ...]] = {
    "fish": ("fins", "tail", "scales"),
    "owl": ("beak", "wide eyes", "wings", "ear tufts"),
    "snail": ("spiral", "feelers", "soft foot"),
    "turtle": ("tail", "domed back", "stumpy legs"),
    "butterfly": ("wings", "feelers", "spots"),
    "penguin": ("beak", "wings", "pale chest"),
    "crab": ("claws", "stalked eyes", "thin legs"),
    "cactus": ("spines", "side arms", "pot"),
    "mushroom": ("spots", "round cap", "stem"),
    "pineapple": ("leaves", "crossing lines"),
    "pear": ("leaves", "stem", "narrow neck"),
    "rocket": ("fins", "pointed tip", "flames", "round window"),
    "sailboat": ("mast", "cloth triangles", "flag"),
    "lighthouse": ("stripes", "lamp on top", "door"),
    "windmill": ("door", "pointed tip", "turning blades"),
    "anchor": ("ring", "barbed hooks", "crossbar"),
    "crown": ("gems", "spikes", "band"),
    "hot air balloon": ("stripes", "basket", "ropes"),
    "trumpet": ("flared end", "valves", "tubes"),
    "robot": ("buttons", "aerial", "square head", "side arms"),
}
PART_WORDS: dict[str, tuple[str, ...]] = {
    "fins": ("fins", "small fins"), "tail": ("a tail", "a short tail"), "scales": ("scales", "rows of scales"),
    "beak": ("a beak", "a bill"), "wide eyes": ("wide eyes", "huge round eyes"), "wings": ("wings", "a pair of wings"),
    "ear tufts": ("ear tufts", "tufted ears"), "spiral": ("a spiral", "a coiled spiral"),
    "feelers": ("feelers", "two feelers"), "soft foot": ("a soft foot", "one long soft foot"),
    "domed back": ("a domed back", "a hard domed back"), "stumpy legs": ("stumpy legs", "short thick legs"),
    "spots": ("spots", "pale spots"), "pale chest": ("a pale chest", "a light chest"),
    "claws": ("claws", "two claws"), "stalked eyes": ("stalked eyes", "eyes on stalks"),
    "thin legs": ("thin legs", "many thin legs"), "spines": ("spines", "sharp spines"),
    "side arms": ("side arms", "an arm on each side"), "pot": ("a pot", "a clay pot"),
    "round cap": ("a round cap", "a dome on top"), "stem": ("a stem", "a short stem"),
    "leaves": ("leaves", "a leaf or more"), "crossing lines": ("crossing lines", "a net of lines"),
    "narrow neck": ("a narrow neck", "a slim top"), "pointed tip": ("a pointed tip", "a sharp tip"),
    "flames": ("flames", "fire below"), "round window": ("a round window", "one round window"),
    "mast": ("a mast", "a tall mast"), "cloth triangles": ("cloth triangles", "triangles of cloth"),
    "flag": ("a flag", "a little flag"), "stripes": ("stripes", "wide stripes"),
    "lamp on top": ("a lamp on top", "a bright top"), "door": ("a door", "a small door"),
    "turning blades": ("turning blades", "four wide blades"), "ring": ("a ring", "a ring on top"),
    "barbed hooks": ("barbed hooks", "two curved hooks"), "crossbar": ("a crossbar", "a bar across"),
    "gems": ("gems", "a row of gems"), "spikes": ("spikes", "tall spikes"), "band": ("a band", "a broad band"),
    "basket": ("a basket", "a small basket"), "ropes": ("ropes", "a few ropes"),
    "flared end": ("a flared end", "a wide flared end"), "valves": ("valves", "a set of valves"),
    "tubes": ("tubes", "bent tubes"), "buttons": ("buttons", "a few buttons"),
    "aerial": ("an aerial", "an aerial on top"), "square head": ("a square head", "a head like a box"),
}  # fmt: skip
GROUND_WORDS: dict[str, tuple[str, ...]] = {
    "stripes": ("slanted bands run behind", "the back is full of slanted bands", "pale bands slant behind"),
    "dots": ("the back is dotted", "dots fill the back", "there are dots behind"),
    "checks": ("the back is a board of squares", "squares fill the back", "there are squares behind"),
    "waves": ("wavy lines run behind", "the back is full of wavy lines", "there are wavy lines behind"),
    "hills": ("there are hills behind", "hills rise behind", "the sun stands over hills"),
    "bricks": ("there is a brick wall behind", "bricks fill the back", "the back is a brick wall"),
}


def true_facts(scene: Scene) -> frozenset[str]:
    """All that `stated_facts` may rightly find: part=wings, colour=red, size=big, place=left, ground=dots, thing=cup,
    cup.colour=blue.
    """
    facts = {f"part={part}" for part in PARTS[scene.kind]}
    facts |= {f"colour={scene.colour}", f"size={scene.size}", f"place={scene.place}", f"ground={scene.ground}"}
    for small in scene.about:
        facts |= {f"thing={small.kind}", f"{small.kind}.colour={small.colour}"}
    return frozenset(facts)


# --- reading ---------------------------------------------------------------------------------------------------------


def _bare(phrase: str) -> str:
    return re.sub(r"^(?:an?|the) ", "", phrase)


_FOUND: dict[str, tuple[str, str]] = {
    _bare(phrase): ("part", part) for part, phrases in PART_WORDS.items() for phrase in phrases
}
_FOUND |= {phrase: ("ground", name) for name, phrases in GROUND_WORDS.items() for phrase in phrases}
_FOUND |= {kind: ("thing", kind) for kind in CLUTTER} | {colour: ("colour", colour) for colour in COLOURS}
_FOUND |= {"big": ("size", "big"), "large": ("size", "big"), "small": ("size", "small"), "little": ("size", "small")}
_FOUND |= {place: ("place", place) for place in ("left", "middle", "right")} | {"centre": ("place", "middle")}
_TOKEN = re.compile(r"\b(?:" + "|".join(map(re.escape, sorted(_FOUND, key=len, reverse=True))) + r")\b")


def stated_facts(text: str) -> frozenset[str]:
    """The facts that `text` states, in the form of `true_facts`; other words are passed over.

    A clause that names a small thing speaks of it alone; all other clauses speak of the large one.
    """
    facts: set[str] = set()
    for clause in re.split(r"[.!?;,]| while | and (?=a |an |the )", " ".join(text.lower().split())):
        found = [_FOUND[match.group()] for match in _TOKEN.finditer(clause)]
        things = [value for role, value in found if role == "thing"]
        facts |= {f"{role}={value}" for role, value in found if role in ("part", "ground", "thing")}
        colours = [value for role, value in found if role == "colour"]
        if things:
            facts |= {f"{things[0]}.colour={colour}" for colour in colours if len(things) == 1}
        else:
            facts |= {f"{role}={value}" for role, value in found if role in ("colour", "size", "place")}
    return frozenset(facts)


# --- writing ---------------------------------------------------------------------------------------------------------


def _start(text: str) -> str:
    return text[0].upper() + text[1:]


def _article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _main(rng: random.Random, scene: Scene) -> str:
    """A sentence on colour, size or place of the large thing."""
    side = f"{'in' if scene.place == 'middle' else 'on'} the {scene.place}"
    look = rng.choice((scene.colour, f"{scene.size} and {scene.colour}", scene.colour, scene.size))
    adjectives = look.replace(" and", "")
    return rng.choice((
        f"The main thing is {look}.",
        f"The picture shows {_article(f'{adjectives} thing')}.",
        f"There is {_article(f'{adjectives} thing')} {side}.",
        _start(f"{side} there is {_article(f'{adjectives} thing')}."),
        f"The main thing is {look} and is {side}.",
    ))  # fmt: skip


def _part(rng: random.Random, parts: list[str]) -> str:
    """A sentence on some parts of the large thing."""
    words = [rng.choice(PART_WORDS[part]) for part in parts]
    phrase = " and ".join(words) if len(words) < 3 else ", ".join(words[:-1]) + f" and {words[-1]}"
    many = len(words) > 1 or not words[0].startswith(("a ", "an ", "one "))
    return rng.choice((
        f"It has {phrase}.",
        f"The main thing has {phrase}.",
        f"I see {phrase}.",
        _start(f"{phrase} can be seen."),
        f"There {'are' if many else 'is'} {phrase}.",
    ))  # fmt: skip


def _beside(rng: random.Random, scene: Scene) -> str:
    """A sentence on one or all of the small things."""
    chosen = rng.sample(scene.about, rng.choice((1, len(scene.about))))
    nouns = [_article(f"{small.colour} {small.kind}" if rng.random() < 0.6 else small.kind) for small in chosen]
    phrase = " and ".join(nouns) if len(nouns) < 3 else ", ".join(nouns[:-1]) + f" and {nouns[-1]}"
    verb = "lie" if len(nouns) > 1 else "lies"
    return rng.choice((f"Beside it {verb} {phrase}.", _start(f"{phrase} {verb} about."), f"Near it I see {phrase}."))


def describe(scene: Scene, rng: random.Random, facts: int | None = None) -> str:
    """A true caption of 12 to 45 words that names `facts` (else mostly two or three) parts of the large thing, and a
    random share of all else.
    """
    every = PARTS[scene.kind]
    while True:
        parts = rng.sample(every, min(facts or rng.choice((1, 2, 2, 3, 3)), len(every)))
        cut = rng.randint(1, len(parts))
        told = [_main(rng, scene), *(_part(rng, some) for some in (parts[:cut], parts[cut:]) if some)]
        if scene.about and rng.random() < 0.5:
            told.append(_beside(rng, scene))
        if rng.random() < 0.5:
            told.append(f"{_start(rng.choice(GROUND_WORDS[scene.ground]))}.")
        head, rest = told[0], told[1:]
        rng.shuffle(rest)
        text = " ".join([head, *rest])
        if 12 <= len(text.split()) <= 45:
            return text
