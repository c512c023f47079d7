"""The words of figures: captions of what is drawn, and the reader that finds facts in any text.

Captions hold digits, for the marks do; they give what is written in the picture, never what is asked. Facts: shape,
point=A, side.AB=5, angle.C=80 (angle.ABC=80 where a vertex has several), right.C, equal.AB=AC, lines=parallel. A mark
may be algebra, such as angle.C=3x+5. Left out: negation, and statements about areas.
"""

from __future__ import annotations

import random
import re

from rise_vlm.worlds.figures_plan import Mark, Plan, join, plain

SHAPES = ("right triangle", "triangle", "circle", "rectangle", "parallelogram", "trapezoid", "kite", "line with a ray",
          "pair of parallel lines")  # fmt: skip
_VALUE = r"(-?[0-9]+(?:\.[0-9]+)?[a-z]?(?:\s?[+-]\s?[0-9]+)?|\?)"
_IS = r"(?:is marked(?: with)?|is labelled|is|measures|has(?: length)?|shows|of|=|:)"
_ANGLE = re.compile(rf"\b[Aa]ngle ([A-Z]{{3}}|[A-Z])(?: at the (?:rim|centre)(?: of the circle)?)? {_IS} \(?{_VALUE}")
_SIDE = re.compile(rf"\b(?:[Ss]ide|[Ss]egment|[Ll]ine|[Hh]eight) ([A-Z]{{2}}) {_IS} {_VALUE}")
_RIGHT = re.compile(r"\bright angle at ([A-Z])\b|\bangle ([A-Z]) is (?:a )?right\b")
_EQUAL = re.compile(r"\b(?:sides )?([A-Z]{2}) and ([A-Z]{2}) (?:are equal|are equally long|have the same)")
_POINT = re.compile(r"\b(?:point|corner|named|labelled) ([A-Z])\b")
_SHAPE = re.compile(r"\b(" + "|".join(SHAPES) + r")s?\b")

_SHAPE_CLAUSES = ("the picture shows a {x}", "there is a {x}", "one can see a {x}", "the figure is a {x}")
_POINT_CLAUSES = ("there is a point {x}", "one point is labelled {x}", "a corner is named {x}")
_SIDE_CLAUSES = ("side {x} is marked {v}", "side {x} is {v} long", "side {x} has length {v}",
                 "side {x} has {v} written on it")  # fmt: skip
_ANGLE_CLAUSES = ("angle {x} is marked {v}", "angle {x} is {v} degrees", "angle {x} measures {v} degrees",
                  "angle {x} shows {v}")  # fmt: skip
_RIGHT_CLAUSES = ("there is a right angle at {x}", "a small square marks the right angle at {x}",
                  "one can see a right angle at {x}")  # fmt: skip
_EQUAL_CLAUSES = ("{a} and {b} are equal by their ticks", "sides {a} and {b} are equal",
                  "ticks tell that sides {a} and {b} are equally long")  # fmt: skip
_PARALLEL = ("two lines are parallel", "small arrows mark two parallel lines", "arrows show that lines are parallel")
_FILLER = ("thin lines join the points on a pale page", "the letters stand beside the points and lines")

_TURNS = tuple((re.compile(pattern), words) for pattern, words in (
    (r"(?<=[Aa]ngle )([A-Z]{1,3}) is (?=[0-9])", (r"\1 is ", r"\1 measures ", r"\1 shows ")),
    (r"(?<=[Ss]ide )([A-Z]{2}) is (?=[0-9])", (r"\1 is ", r"\1 has length ", r"\1 is marked ")),
    (r"\bof the circle is (?=[0-9])", ("of the circle is ", "of the circle measures ", "of the circle shows ")),
    (r"\bso it is (?=[0-9.]+ [-+*/])", ("so it is ", "which makes ", "and that gives ")),
    (r"\bwhich leaves\b", ("which leaves", "so there remain", "and what is left is")),
    (r"\bThe squares give\b", ("The squares give", "By Pythagoras", "Pythagoras gives")),
    (r"\bits root is\b", ("its root is", "whose root is", "and the root of that is")),
    (r"\badd up to 180\b", ("add up to 180", "sum to 180", "make 180 together")),
    (r"\bThe lines are parallel\b", ("The lines are parallel", "Two lines are parallel", "Arrows mark parallel lines")),
    (r"\bThe sides of the rectangle are\b", ("The sides of the rectangle are", "The rectangle has the sides")),
    (r"\bThe area is\b", ("The area is", "So the area is", "That makes the area")),
    (r"\bOpposite angles are equal\b", ("Opposite angles are equal", "Angles across from each other are equal")),
    (r"\bHalf the way around is\b", ("Half the way around is", "Two neighbouring sides make")),
    (r"\bThe angles are alternate\b", ("The angles are alternate", "They are alternate angles")),
    (r"\bThe angle at the (rim|centre) over the same arc is\b",
     (r"The angle at the \1 over the same arc is", r"Over the same arc the angle at the \1 is")),
))  # fmt: skip
"""Turns of phrase in rationales, and what says the same."""


def reworded(reasons: str, rng: random.Random) -> str:
    """A rationale in other words that say the same, each turn of phrase drawn anew."""
    for pattern, words in _TURNS:
        reasons = pattern.sub(lambda match, words=words: match.expand(rng.choice(words)), reasons)
    return reasons


def stated_in(text: str) -> frozenset[str]:
    """The facts a text states."""
    text = " ".join(text.split())
    facts = {f"shape={shape}" for shape in _SHAPE.findall(text.lower())}
    facts = {fact for fact in facts if fact != "shape=pair of parallel lines"} | (
        {"lines=parallel"} if re.search(r"\bparallel\b", text.lower()) else set()
    )
    facts |= {f"point={name}" for name in _POINT.findall(text)}
    facts |= {f"right.{a or b}" for a, b in _RIGHT.findall(text)}
    for a, b in _EQUAL.findall(text):
        facts.add(f"equal.{join(a)}={join(b)}")
    for name, value in _ANGLE.findall(text):
        facts.add(f"angle.{_corner(name)}={plain(value)}")
    facts |= {f"side.{join(name)}={plain(value)}" for name, value in _SIDE.findall(text)}
    return frozenset(facts)


def _corner(name: str) -> str:
    """A three-letter angle with its arms in order."""
    return name if len(name) == 1 else min(name[0], name[2]) + name[1] + max(name[0], name[2])


def true_of(plan: Plan) -> frozenset[str]:
    """All that may be said of a figure."""
    facts = plan.true_facts()
    if plan.shape == "right triangle":
        facts.add("shape=triangle")
    if plan.shape == "pair of parallel lines":
        facts.add("lines=parallel")
    extra = {"circle": ("triangle",)}.get(plan.shape, ())
    corners = [name for name in plan.points if name not in plan.hidden]
    return frozenset(facts | ({f"shape={shape}" for shape in extra} if len(corners) >= 3 else set()))


def caption(plan: Plan, rng: random.Random, facts: int | None = None) -> str:
    """A true caption: the shape and a random few of the marks and points."""
    wanted = rng.choice((3, 4)) if facts is None else facts
    clauses = [rng.choice(_SHAPE_CLAUSES).replace("{x}", plan.shape)]
    rest = [_mark(mark, rng) for mark in plan.marks if mark.kind != "arrow"]
    rest += [rng.choice(_POINT_CLAUSES).replace("{x}", name) for name in plan.points if name not in plan.hidden]
    if "lines=parallel" in plan.facts:
        rest.append(rng.choice(_PARALLEL))
    rest = [clause for clause in rest if clause]
    rng.shuffle(rest)
    rest.sort(key=lambda clause: "point" in clause or "corner" in clause)  # what is written tells more than a letter
    if plan.facts and any(mark.kind == "ticks" for mark in plan.marks):
        rest.insert(0, _equal(plan, rng))
    clauses = [*clauses, *rest][: max(1, wanted)]
    left = [clause for clause in rest if clause not in clauses]
    while facts is None and sum(len(clause.split()) for clause in clauses) < 12:
        clauses.append(left.pop(0) if left else rng.choice(_FILLER))
    rng.shuffle(clauses)
    return " ".join(clause[0].upper() + clause[1:] + "." for clause in clauses)


def _mark(mark: Mark, rng: random.Random) -> str:
    """A clause about a mark, '' for ticks."""
    value = plain(mark.text)
    if mark.kind == "right":
        return rng.choice(_RIGHT_CLAUSES).replace("{x}", mark.points[1])
    if mark.kind == "length":
        return rng.choice(_SIDE_CLAUSES).replace("{x}", join(mark.points)).replace("{v}", value)
    if mark.kind == "angle":
        return rng.choice(_ANGLE_CLAUSES).replace("{x}", mark.fact.removeprefix("angle.")).replace("{v}", value)
    return ""


def _equal(plan: Plan, rng: random.Random) -> str:
    """A clause about two sides with the same ticks."""
    pairs = sorted(fact.removeprefix("equal.").split("=") for fact in plan.facts if fact.startswith("equal."))
    a, b = rng.choice(pairs)
    return rng.choice(_EQUAL_CLAUSES).replace("{a}", a).replace("{b}", b)
