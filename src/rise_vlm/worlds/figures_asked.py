"""What can be asked of a redrawn figure without solving it: what is written somewhere, or where something is written.

A number that is written at a side, an angle or an arc is asked for itself; of any other text it is asked at which side
or angle it stands, with choices of the same figure. Left out: all that would have to be worked out.
"""

from __future__ import annotations

import random

from rise_vlm.worlds.figures_logic import along
from rise_vlm.worlds.figures_plan import Mark, Plan, corner, join


def asked(plan: Plan, rng: random.Random) -> tuple[str, str | float] | None:
    """A question and its answer, a number or the letter of a choice. None where nothing is written that can be told
    from all else in the figure.
    """
    places = [mark.fact for mark in plan.marks if mark.text and mark.kind != "right"]
    kinds = ("length", "span", "angle", "number", "arc")
    known = [mark for mark in plan.marks if mark.kind in kinds and places.count(mark.fact) == 1]
    rng.shuffle(known)
    return next((found for mark in known if (found := _what(mark) or _where(plan, mark, rng))), None)


def _what(mark: Mark) -> tuple[str, float] | None:
    """What number is written at a place; None where it is no number."""
    text = mark.text.rstrip("°")
    if not text.replace(".", "", 1).isdecimal():
        return None
    value = float(text)
    return f"What number is written at {_named(mark)}?", int(value) if value.is_integer() else value


def _where(plan: Plan, mark: Mark, rng: random.Random) -> tuple[str, str] | None:
    """At which side or angle a text is written; None where it is written twice, or there are not two other places."""
    if mark.kind == "arc" or [other.text for other in plan.marks].count(mark.text) > 1:
        return None
    others = _others(plan, mark)
    if len(others) < 2:
        return None
    names = sorted([_named(mark), *rng.sample(others, min(3, len(others)))])
    kind = "angle" if mark.kind == "angle" else "side"
    what = mark.text.removesuffix("°").removeprefix("(").removesuffix(")")
    listed = " ".join(f"{letter}. {name.split()[1]}" for letter, name in zip("ABCD", names, strict=False))
    return f"At which {kind} is {what} written?\nChoices: {listed}", "ABCD"[names.index(_named(mark))]


def _named(mark: Mark) -> str:
    kind, _, name = mark.fact.partition(".")
    return f"{kind} {name}"


def _others(plan: Plan, mark: Mark) -> list[str]:
    """Other sides that are not along the same line, or other angles at other points."""
    if mark.kind != "angle":
        return [f"side {join(pair)}" for pair in plan.lines if not along(plan, mark, *pair)]
    ends: dict[str, list[str]] = {}
    for a, b in plan.lines:
        ends.setdefault(a, []).append(b)
        ends.setdefault(b, []).append(a)
    return [
        corner(names[0], v, names[1], wide=True).replace(".", " ")
        for v, names in ends.items()
        if v != mark.points[1] and len(names) >= 2
    ]
