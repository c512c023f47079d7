"""Rows of pre-training about `moves`: both pictures described, and tables of things read.

Left out: the downstream question, which functions change the one picture into the other.
"""

from __future__ import annotations

import random
from itertools import product

from rise_vlm.policy.tiny.blocks_rows import listed
from rise_vlm.policy.tiny.rows import Row
from rise_vlm.worlds import moves
from rise_vlm.worlds.blocks_words import COLOURS, MATERIALS, SIZES, Description, Seen, caption, phrase
from rise_vlm.worlds.moves_scene import SHAPES

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
    """Which of the things in a table of all ten are in one of the pictures, and where."""
    which = rng.randrange(2)
    name, state, view = (("first", scene.initial, "center"), ("second", scene.final, scene.view))[which]
    table = moves.table(map(moves.looks, scene.initial))
    return Row(f"{table}\nList every thing of the {name} picture.", 2, f"{moves.listed(scene, state, view)}.")


def table_row(rng: random.Random, things: int) -> Row:
    """A table of so many things, and some of them to find in it; no picture."""
    drawn = rng.sample(LOOKS, things)
    asked = rng.sample(range(things), rng.randint(1, things))
    names = [phrase(drawn[number]) for number in asked]
    told = ", ".join(f"{name} ({number})" for name, number in zip(names, asked, strict=True))
    return Row(f"{moves.table(drawn)}\nWhich numbers have the {', the '.join(names)}?", 0, f"{told}.")
