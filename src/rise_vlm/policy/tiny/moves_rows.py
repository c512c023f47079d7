"""Rows of pre-training about `moves`: both pictures described, and the table of things read.

Left out: the downstream question, which functions change the one picture into the other.
"""

from __future__ import annotations

import random

from rise_vlm.policy.tiny.blocks_rows import listed
from rise_vlm.policy.tiny.rows import Row
from rise_vlm.worlds import moves
from rise_vlm.worlds.blocks_words import Seen, caption


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
    """Numbers of things in the table of all ten: by their looks, or which of them are in sight."""
    table = moves.question(scene).split("\n", maxsplit=1)[0]
    if rng.random() < 0.5:
        which = rng.randrange(2)
        state = (scene.initial, scene.final)[which]
        told = [str(k) for k, thing in enumerate(state) if thing.visible]
        name = ("first", "second")[which]
        return Row(f"{table}\nWhich objects are in the {name} picture?", 2, f"{', '.join(told)}.")
    number = rng.randrange(len(scene.initial))
    thing = scene.initial[number]
    looks = f"{thing.size} {thing.color} {thing.material} {thing.shape}"
    if rng.random() < 0.5:
        return Row(f"{table}\nWhat is object {number}?", 0, f"{looks}.")
    alike = [str(k) for k, other in enumerate(scene.initial)
             if (other.size, other.color, other.material, other.shape)
             == (thing.size, thing.color, thing.material, thing.shape)]  # fmt: skip
    return Row(f"{table}\nWhich number has the {looks}?", 0, f"{', '.join(alike)}.")
