"""Rows of pre-training about `errand`: describing, naming, locating, and what invented people look for."""

from __future__ import annotations

import random
from functools import lru_cache

from rise_vlm.policy.tiny.rows import (
    FRAME,
    NUMBERS,
    PEOPLE,
    SIDE,
    Fact,
    Row,
    box_row,
    fact_row,
    in_role,
    record_of,
)
from rise_vlm.tasks.base import Role
from rise_vlm.tasks.grounding import Grounding
from rise_vlm.worlds import errand

_boxes = lru_cache(maxsize=4)(errand.boxes)
"""The boxes of a scene, computed once for all its rows."""


def _visible(scene: errand.Scene) -> dict[str, Fact]:
    kinds = tuple(_boxes(scene))
    return {"thing": kinds, "room": scene.room, "count": NUMBERS[len(kinds) - 1]}


errand_fact_row = fact_row(errand, ("thing", "room", "count"), _visible)


def errand_about_row(scene: errand.Scene, rng: random.Random) -> Row:
    """One thing, asked for by name, in the words of captions."""
    kind = rng.choice(sorted(_boxes(scene)))
    return Row(f"Say something about the {kind}.", 1, errand.describe_thing(scene, kind, rng))


def errand_list_row(scene: errand.Scene, rng: random.Random) -> Row:
    """Every thing: by name in alphabetical order, or box by box from left to right with its colour and name."""
    found = _boxes(scene)
    if rng.random() < 0.4:
        return Row("List the facts of this picture.", 1, f"room {scene.room}, {', '.join(sorted(found))}.")
    colours = {thing.kind: thing.colour for thing in scene.things}
    told = []
    for kind in sorted(found, key=lambda kind: found[kind]):
        # The box comes first: to find a spot and then to name what is there is learned far sooner than the reverse.
        box = FRAME.encode([part * SIDE for part in found[kind]], SIDE, SIDE)
        told.append(f"[{', '.join(map(str, box))}] {colours[kind]} {kind}")
    return Row(f"List every thing with its box. {FRAME.hint}", 1, ", ".join(told) + ".")


def errand_place_row(scene: errand.Scene, rng: random.Random) -> Row:
    """Where one thing is, or all in alphabetical order, in the words of captions, which leave most to choose."""
    places = {thing.kind: f"at the {thing.row} {thing.column}" for thing in scene.things}
    if rng.random() < 0.5:
        kind = rng.choice(sorted(places))
        return Row(f"Say where the {kind} is.", 1, f"{kind} {places[kind]}.")
    return Row("Say where every thing is.", 1, ", ".join(f"{kind} {places[kind]}" for kind in sorted(places)) + ".")


def errand_box_row(scene: errand.Scene, rng: random.Random) -> Row:
    """Where is a thing, asked by name, by colour, by place or by what an invented person is looking for."""
    name = rng.choice(sorted(_boxes(scene)))
    words = errand.describe_thing(scene, name, rng)
    asked = [f"Where is the {name}?", f"Where is the {name}?", f"Find the {name}."]
    seekers = [p for p in PEOPLE if WANTS[p] & set(_boxes(scene)) == {name}]
    if seekers:
        asked += [f"What is {rng.choice(seekers)} looking for?"] * 3
    return box_row(_boxes(scene)[name], rng, rng.choice(asked), words)


def errand_lot_row(scene: errand.Scene, rng: random.Random) -> Row:
    """Any one thing: the question says nothing, so the box must be that of the thing that the rationale names."""
    name = rng.choice(sorted(_boxes(scene)))
    box = [part * SIDE for part in _boxes(scene)[name]]
    role: Role = rng.choices(("answer", "think", "reason", "reconstruct"), (10, 60, 10, 20))[0]
    rationale = errand.describe_thing(scene, name, rng)
    return in_role(Grounding(), record_of("Which thing comes by lot?", box), role, rationale)


def _wants() -> dict[str, set[str]]:
    """The kinds of thing each invented person is looking for: two at random."""
    return {person: set(random.Random(f"wants {person}").sample(errand.FACTS["thing"], 2)) for person in PEOPLE}


WANTS = _wants()
