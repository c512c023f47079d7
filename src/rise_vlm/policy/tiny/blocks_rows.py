"""Rows of pre-training about `blocks`: what there is, where, how many of a kind, and small sums.

Left out: the downstream questions, programs of adding and taking away.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from rise_vlm.policy.tiny.rows import Row, any_role, in_role, record_of
from rise_vlm.tasks.counting import Counting
from rise_vlm.worlds import blocks
from rise_vlm.worlds.blocks_words import Description, Seen, fits, in_order, phrase, where


def listed(seen: Sequence[Seen]) -> str:
    """All things, by their places and names: what to say is settled."""
    return ", ".join(f"{name} {place}" for name, place in in_order(seen))


def block_list_row(scene: blocks.Scene, rng: random.Random) -> Row:
    """Every thing with its looks and place; or how many there are of each shape or colour."""
    seen = blocks.seen(scene)
    kind = rng.choice(("all", "all", "shape", "colour"))
    if kind == "all":
        return Row("List every thing.", 1, f"{listed(seen)}.")
    values = sorted({getattr(one, kind) for one in seen})
    told = [f"{sum(getattr(one, kind) == value for one in seen)} {value}" for value in values]
    return Row(f"How many are there of each {kind}?", 1, f"{', '.join(told)}, {len(seen)} in all.")


def block_count_row(scene: blocks.Scene, rng: random.Random) -> Row:
    """How many things fit a description? In the roles of counting, with those things named as the reason."""
    seen = blocks.seen(scene)
    wanted = _description(seen, rng)
    fitting = [one for one in seen if fits(one, wanted)]
    named = [f"{name} {where(place)}" for name, place in in_order(fitting)]
    words = phrase(wanted, 2, rng)
    rationale = f"I look for {words}. " + (f"There is a {', a '.join(named)}." if named else "There is none.")
    return in_role(Counting(), record_of(f"How many {words} are there?", len(fitting)), any_role(rng), rationale)


def _description(seen: Sequence[Seen], rng: random.Random) -> Description:
    """One that fits some of the things, mostly."""
    one = rng.choice(list(seen))
    other = rng.choice(list(seen)) if rng.random() < 0.2 else one
    size, colour, material = (value if rng.random() < 0.3 else "" for value in one.full[:3])
    return size, colour, material, rng.choice((other.shape, other.shape, "thing"))


def sum_row(scene: object, rng: random.Random) -> Row:
    """A small sum in digits or words, without a picture."""
    if rng.random() < 0.5:
        first, second = rng.randint(0, 12), rng.randint(0, 12)
        total, asked = first + second, f"{first} + {second}"
        if rng.random() < 0.5:
            total, asked = first, f"{first + second} - {second}"
        elif rng.random() < 0.3:
            third = rng.randint(0, total)
            total, asked = total - third, f"{asked} - {third}"
    else:
        first, second = rng.randint(0, 99), rng.randint(0, 99)
        total, asked = (first + second, f"{first} + {second}")
        if rng.random() < 0.5:
            whole = rng.choice((90, 180, 180, 360, rng.randint(20, 199)))
            first = rng.randint(5, whole - 5)
            total, asked = whole - first, f"{whole} - {first}"
        elif rng.random() < 0.3:
            first, second = rng.randint(2, 12), rng.randint(2, 12)
            total, asked = first * second, f"{first} x {second}"
    if rng.random() < 0.5:
        return Row(f"What is {asked}?", 0, f"{asked} = {total}.")
    return in_role(Counting(), record_of(f"What is {asked}?", total), "reconstruct", f"{asked} = {total}.")
