"""Rows of pre-training about `moves`: both pictures described, and tables of things read.

Left out: the downstream question, which functions change the one picture into the other.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

from rise_vlm.policy.tiny.blocks_rows import listed
from rise_vlm.policy.tiny.rows import Row
from rise_vlm.worlds import moves
from rise_vlm.worlds.blocks_words import COLOURS, MATERIALS, SIZES, Description, Seen, caption, in_order, phrase
from rise_vlm.worlds.moves_scene import SHAPES, Thing

LOOKS: list[Description] = list(product(SIZES, COLOURS, MATERIALS, SHAPES))


def _views(scene: moves.Scene) -> tuple[list[Seen], list[Seen]]:
    return moves.seen(scene.initial, scene), moves.seen(scene.final, scene, scene.view)


def move_describe_row(scene: moves.Scene, rng: random.Random) -> Row:
    """The first picture or the second of two, in captions or all things in order."""
    which = rng.randrange(2)
    seen = _views(scene)[which]
    name = ("first", "second")[which]
    if rng.random() < 0.5:
        text = caption(seen, ("cube", "sphere", "cylinder"), rng)
        return Row(f"Describe the {name} picture in at most 100 words.", 2, text)
    return Row(f"List every thing of the {name} picture.", 2, f"{listed(seen)}.")


def move_table_row(scene: moves.Scene, rng: random.Random) -> Row:
    """What is in one of the pictures, from left to right, each by its number in the table of all ten."""
    which = rng.randrange(2)
    name, state = (("first", scene.initial), ("second", scene.final))[which]
    seen = list(dict.fromkeys(told for told, _ in in_order(_views(scene)[which])))
    numbers = {phrase(_looks(thing)): number for number, thing in enumerate(state) if thing.visible}
    lines = moves.table(list(map(_looks, state)))  # as they look in that picture
    return Row(f"{lines}\nWhich objects are in the {name} picture?", 2, _told([(one, numbers[one]) for one in seen]))


def _looks(thing: Thing) -> Description:
    return thing.size, thing.color, thing.material, thing.shape


def table_row(rng: random.Random, things: int) -> Row:
    """A table of so many things, no two alike, and some of them to find in it by number or by looks; no picture."""
    drawn = rng.sample(LOOKS, things)
    asked = rng.sample(range(things), rng.randint(1, things))
    names = [phrase(drawn[number]) for number in asked]
    if rng.random() < 0.5:
        question = f"What are the objects {', '.join(map(str, asked))}?"
        answer = " ".join(f"Object {number} is a {name}." for number, name in zip(asked, names, strict=True))
    else:
        question = f"Which numbers have the {', the '.join(names)}?"
        answer = _told(list(zip(names, asked, strict=True)))
    return Row(f"{moves.table(drawn)}\n{question}", 0, answer)


def _told(numbered: Sequence[tuple[str, int]]) -> str:
    return " ".join(f"The {name} is object {number}." for name, number in numbered)
