"""Rows of pre-training about `street`: looks, places and boxes, and the words of invented people for kinds of things.

A thing is known by its looks; what it is called stays out. The form of detection is taught on colours, places and
people of whom each has a fixed word for some kinds of thing. Left out: the downstream classes, which appear as words by
lot alone (``rows``).
"""

from __future__ import annotations

import random
from functools import lru_cache

from rise_vlm.policy.tiny.rows import FRAME, LABELS, PEOPLE, SIDE, Row, any_role, crowd, in_role, record_of
from rise_vlm.tasks.detection import Detection
from rise_vlm.tasks.grounding import Grounding
from rise_vlm.worlds import street
from rise_vlm.worlds.street_words import HEADS
from rise_vlm.worlds.things import COLOURS


@lru_cache(maxsize=4)
def _boxes(scene: street.Scene) -> tuple[tuple[int, int, int, int], ...]:
    return street.seen(scene, SIDE)


def _alias(thing: street.Placed, rng: random.Random | None = None) -> str:
    """What a thing is called instead of its name."""
    heads = HEADS[thing.kind]
    return (rng.choice(heads) if rng else heads[0])[0]


def street_list_row(scene: street.Scene, rng: random.Random) -> Row:
    """Every thing from left to right: with its box, or with its place in words."""
    things = sorted(zip(_boxes(scene), scene.things, strict=True), key=lambda pair: pair[0])
    if rng.random() < 0.3:
        told = [f"{thing.colour} {_alias(thing)} {thing.column} {thing.depth}" for _, thing in things]
        around = f"{scene.backdrop}, {scene.sky}"
        return Row("List the facts of this picture.", 1, f"{', '.join([around, *told])}.")
    told = []
    for box, thing in things:
        # The box comes first: to find a spot and then to name what is there is learned far sooner than the reverse.
        corners = ", ".join(map(str, FRAME.encode(box, SIDE, SIDE)))
        told.append(f"[{corners}] {thing.colour} {_alias(thing)}")
    return Row(f"List every thing with its box. {FRAME.hint}", 1, f"{', '.join(told) or 'nothing'}.")


def street_box_row(scene: street.Scene, rng: random.Random) -> Row:
    """Where is a thing, asked by its looks? Only of those of which there is one."""
    kinds = [thing.kind for thing in scene.things]
    alone = [i for i, kind in enumerate(kinds) if kinds.count(kind) == 1]
    if not alone:
        return street_list_row(scene, rng)
    chosen = rng.choice(alone)
    thing, box = scene.things[chosen], list(_boxes(scene)[chosen])
    question = rng.choice((f"Where is the {_alias(thing, rng)}?", f"Find the {thing.colour} {_alias(thing, rng)}."))
    alike = street.Scene(scene.style, scene.backdrop, scene.sky, (thing,), scene.seed)
    return in_role(Grounding(), record_of(question, box), any_role(rng), street.describe(alike, rng))


def _words_of(person: str) -> dict[str, str]:
    """The person's own word for each kind of thing that counts for it; most things, or a few."""
    rng = random.Random(f"words of {person}")
    kinds = rng.sample(street.CLASSES, rng.randint(4, len(street.CLASSES)))
    return dict(zip(kinds, rng.sample(LABELS, len(kinds)), strict=True))


WORDS_OF = {person: _words_of(person) for person in (*PEOPLE, *crowd(200, 24))}


def street_find_row(scene: street.Scene, rng: random.Random) -> Row:
    """Every thing of some classes with its box: the classes are an invented person's words for kinds of thing, or
    colours, places or depths.
    """
    by = rng.choices(("words", "colour", "column", "depth"), (70, 15, 8, 7))[0]
    if by == "words":
        person = rng.choice(tuple(WORDS_OF))
        words, question = WORDS_OF[person], f"Which things does {person} see here, and where?"
        labels = [words.get(thing.kind) for thing in scene.things]
        classes = [*words.values()]
    else:
        question = f"Which things are here, by {by}, and where?"
        values = {"colour": tuple(COLOURS), "column": ("left", "middle", "right"), "depth": ("near", "far")}[by]
        classes = rng.sample(values, rng.randint(2, min(6, len(values))))
        labels = [getattr(thing, by) for thing in scene.things]
    rng.shuffle(classes)
    found = [
        {"label": label, "box": list(box)}
        for label, box in zip(labels, _boxes(scene), strict=True)
        if label is not None and label in classes
    ]
    role = any_role(rng)
    wanted = tuple(thing for thing, label in zip(scene.things, labels, strict=True) if label in classes)
    told = street.Scene(scene.style, scene.backdrop, scene.sky, wanted, scene.seed)
    rationale = street.describe(told, rng, len(wanted) or None) if wanted or not scene.things else ""
    if not rationale or (by != "words" and role != "answer"):
        role, rationale = "answer", ""
    return in_role(Detection(classes), record_of(question, found), role, rationale)
