"""Rows of pre-training about `blocks`, `figures` and `moves`: what there is, how many, where, and what is written.

Names, numbers of like things, marks of figures, small sums, and the forms of counting and structure tasks on plain
questions. Left out: the downstream questions (programs of adding and taking away, measures to be worked out, functions
that change a scene).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from rise_vlm.policy.tiny.row_makers import Row, any_role, in_role, record_of
from rise_vlm.tasks.counting import Counting
from rise_vlm.tasks.structure import Structure
from rise_vlm.worlds import blocks, figures, moves
from rise_vlm.worlds.blocks_words import PLACES, Description, Seen, caption, fits, phrase
from rise_vlm.worlds.figures_plan import Mark, plain

SHAPES_OF = {"solids": blocks.SOLIDS, "vehicles": blocks.VEHICLES}


def _in_order(seen: Sequence[Seen]) -> str:
    """All things, by their places and names: what to say is settled."""
    told = sorted((PLACES.index(one.place), phrase(one.full)) for one in seen)
    return ", ".join(f"{name} {PLACES[at]}" for at, name in told)


def block_list_row(scene: blocks.Scene, rng: random.Random) -> Row:
    """Every thing with its looks and place; or how many there are of each shape or colour."""
    seen = blocks.seen(scene)
    kind = rng.choice(("all", "all", "shape", "colour"))
    if kind == "all":
        return Row("List every thing.", 1, f"{_in_order(seen)}.")
    values = sorted({getattr(one, kind) for one in seen})
    told = [f"{sum(getattr(one, kind) == value for one in seen)} {value}" for value in values]
    return Row(f"How many are there of each {kind}?", 1, f"{', '.join(told)}, {len(seen)} in all.")


def block_count_row(scene: blocks.Scene, rng: random.Random) -> Row:
    """How many things fit a description? In the roles of counting, with those things named as the reason."""
    seen = blocks.seen(scene)
    wanted = _description(seen, rng)
    fitting = [one for one in seen if fits(one, wanted)]
    named = [phrase(one.full, 1, rng) for one in fitting]
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


# --- figures ---------------------------------------------------------------------------------------------------------


def _written(scene: figures.Scene) -> list[tuple[str, str]]:
    """(Name, what is written) of all marks that carry a number, letters or algebra, by name."""
    plan = figures.plan(scene)
    marks: list[Mark] = [*plan.marks, *([plan.asked] if plan.asked else [])]
    known = {mark.fact: plain(mark.text) for mark in marks if mark.fact and mark.text}
    return sorted((fact.replace(".", " "), text) for fact, text in known.items())


def figure_list_row(scene: figures.Scene, rng: random.Random) -> Row:
    """Shape, letters and marks in a fixed order, or one mark."""
    plan, written = figures.plan(scene), _written(scene)
    if written and rng.random() < 0.4:
        name, text = rng.choice(written)
        return Row(f"What is written at {name}?", 1, f"{text}.")
    if rng.random() < 0.2:
        return Row("Read the numbers.", 1, f"{', '.join(sorted(text for _, text in written)) or 'none'}.")
    letters = " ".join(sorted(name for name in plan.points if name not in plan.hidden))
    right = [f"right {mark.points[1]}" for mark in plan.marks if mark.kind == "right"]
    told = [*(f"{name} {text}" for name, text in written), *sorted(right)]
    return Row("List the facts of this picture.", 1, f"{plan.shape}, {letters}, {', '.join(told) or 'no marks'}.")


def figure_read_row(scene: figures.Scene, rng: random.Random) -> Row:
    """What a mark says, as a number or as a choice, in the roles of structure."""
    written = [(name, text) for name, text in _written(scene) if text.isdigit()]
    if not written:
        return figure_list_row(scene, rng)
    name, text = rng.choice(written)
    question, answer = f"What is written at {name}?", text
    if rng.random() < 0.5:
        options = [text, *rng.sample([str(n) for n in range(2, 150) if str(n) != text], 3)]
        rng.shuffle(options)
        listed = " ".join(f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True))
        question, answer = f"{question} Choices: {listed}", "ABCD"[options.index(text)]
    kind, _, points = name.partition(" ")
    rationale = f"{kind.capitalize()} {points} is marked {text}."
    record = record_of(question, answer if answer.isalpha() else int(answer))
    return in_role(Structure(), record, any_role(rng), rationale)


# --- moves -----------------------------------------------------------------------------------------------------------


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
    return Row(f"List every thing of the {name} picture.", 2, f"{_in_order(seen)}.")


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
