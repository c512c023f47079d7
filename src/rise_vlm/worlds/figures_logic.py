"""A logic form of Geometry3K (Inter-GPS) as a plan that is drawn.

A form holds where its points are, its lines and circles, and predicates such as Equals(LengthOf(Line(A, B)), x+21).
All of it is read, or `Unreadable` says why not: a figure never lacks a mark that its form tells. Points that lie on a
circle are moved onto it, since the places are those of clicks on a scan. Left out: forms of the problem's text, areas,
heights, perimeters and diameters, points without a place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from rise_vlm.worlds.figures_plan import Mark, Plan, Point, corner, join, side
from rise_vlm.worlds.figures_text import settable

MOST_POINTS, MOST_LINES, MOST_FORMS = 60, 600, 2000
"""More than any of the 3,002 forms has; what has more means ill."""

MOST_MARKS = 60
"""The richest figure has 24. To find room for texts takes a time that grows with the square of their number."""

DEEPEST, LONGEST = 8, 200
"""Nesting and letters of a predicate."""

FARTHEST = 1e5
CLOSEST = 0.01
"""Of the picture's extent: points that are closer to each other cannot be told apart."""

DETOUR = 0.004
"""Of the picture's extent: a point that makes the way along a line no longer than this lies on it."""

UNEVEN = 0.25
"""How far the distances of a circle's points from its centre may be from their median."""

_CALL = re.compile(r"([A-Za-z]+)\((.*)\)")
_NUMBERED = re.compile(r"angle(\d{1,2})|Angle\((\d{1,2})\)")
_RING = re.compile(r"PointLiesOnCircle\(([A-Z]),(?:Circle\(([A-Z])(?:,(\w+))?\)|([A-Z]))\)")
_ON_LINE = re.compile(r"PointLiesOnLine\(([A-Z]),Line\(([A-Z]),([A-Z])\)\)")
_SIGNS = re.compile(r"(?<=[\w}])([+=-])(?=[\w\\-])")
Pair = tuple[str, str]
Term = tuple[str, ...]
"""Letters of a line (two) or an angle (three)."""


class Unreadable(ValueError):
    """Why a form cannot be drawn, in words that fit many forms."""


def read(form: Mapping[str, Any]) -> Plan:
    """The figure of a form with `point_positions` (pixels, y down), `line_instances`, `circle_instances` and
    `diagram_logic_form` (or `_forms`, as the archive of all problems calls them). Raises Unreadable.
    """
    told = form.get("diagram_logic_form", form.get("diagram_logic_forms"))
    lists = [form.get("line_instances"), form.get("circle_instances"), told]
    if not all(isinstance(each, list) and all(isinstance(text, str) for text in each) for each in lists):
        raise Unreadable("a form without lists of lines, circles and predicates")
    lines, circles, forms = ([text.replace(" ", "") for text in each if text.strip()] for each in lists)
    if len(lines) > MOST_LINES or len(forms) > MOST_FORMS or any(len(text) > LONGEST for text in forms):
        raise Unreadable("a form of more lines, predicates or letters than a figure has")
    plan = Plan("figure", points=_points(form.get("point_positions")))
    rings = _rings(plan, circles, forms)
    _need_apart(plan)
    on_line = {(found[1], found[2], found[3]) for text in forms if (found := _ON_LINE.fullmatch(text))}
    plan.lines = _pieces(plan, [_letters(line, plan, 2, "a line") for line in lines], on_line)
    reader = _Reader(plan, rings, on_line)
    for text in forms:
        reader.take(text)
    reader.group()
    if len(plan.marks) > MOST_MARKS:
        raise Unreadable(f"more than {MOST_MARKS} marks")
    return plan


def _points(told: Any) -> dict[str, Point]:
    """Points by name, y up; those at (-1, -1) have no place."""
    if not isinstance(told, dict) or len(told) > MOST_POINTS:
        raise Unreadable("a form without the places of its points")
    points: dict[str, Point] = {}
    for name, at in told.items():
        if not (
            isinstance(at, list) and len(at) == 2 and all(type(v) in (int, float) and abs(v) < FARTHEST for v in at)
        ):
            raise Unreadable("a point whose place is not two numbers")
        if at != [-1, -1] and re.fullmatch("[A-Z]", name):
            points[name] = (at[0], -at[1])
    if len(points) < 2:
        raise Unreadable("fewer than two points with a place")
    return points


def _need_apart(plan: Plan) -> None:
    places = list(plan.points.values())
    xs, ys = zip(*places, strict=True)
    least = CLOSEST * max(max(xs) - min(xs), max(ys) - min(ys))
    if any(math.dist(a, b) <= least for i, a in enumerate(places) for b in places[:i]):
        raise Unreadable("two points in one place")


def _letters(text: str, plan: Plan, count: int, what: str) -> Any:
    """The points that a run of letters names. Raises Unreadable where one has no place."""
    names = tuple(text)
    if len(names) != count or len(set(names)) != count or any(name not in plan.points for name in names):
        raise Unreadable(f"{what} with a point that has no place")
    return names


def _rings(plan: Plan, centres: Iterable[str], forms: Iterable[str]) -> list[tuple[str, set[str]]]:
    """Each circle's centre and the points on it. Adds the circles to the plan, and moves their points onto them."""
    on: dict[tuple[str, str], set[str]] = {}
    for text in forms:
        if found := _RING.fullmatch(text):
            name, centre, radius = found[1], found[2] or found[4], found[3] or ""
            on.setdefault((_letters(centre, plan, 1, "a circle")[0], radius), set()).update(
                _letters(name, plan, 1, "a circle")
            )
    if any(centre not in {name for name, _ in on} for centre in centres):
        raise Unreadable("a circle without a point on it")
    moved: set[str] = set()
    for (centre, _), names in on.items():
        at = plan.points[centre]
        far = {name: math.dist(plan.points[name], at) for name in names}
        radius = median(far.values())
        if min(far.values()) <= 0 or any(abs(d / radius - 1) > UNEVEN for d in far.values()):
            raise Unreadable("a circle whose points are at different distances from its centre")
        plan.circles.append((centre, radius))
        for name in sorted(names - moved - {centre for centre, _ in on}):
            x, y = plan.points[name]
            grow = radius / far[name]
            plan.points[name] = (at[0] + (x - at[0]) * grow, at[1] + (y - at[1]) * grow)
        moved |= names
    return [(centre, names) for (centre, _), names in on.items()]


def _pieces(plan: Plan, lines: Iterable[Pair], on_line: set[tuple[str, str, str]]) -> list[Pair]:
    """The lines without those that others make up: a form tells every part of a line, and the whole, by itself."""
    told = {frozenset(line): line for line in lines}
    reach = max(math.dist(a, b) for a in plan.points.values() for b in plan.points.values())

    def made_up(a: str, b: str) -> bool:
        return any(
            frozenset((a, p)) in told
            and frozenset((p, b)) in told
            and ({(p, a, b), (p, b, a)} & on_line or _detour(plan, a, p, b) < DETOUR * reach)
            for p in plan.points
        )

    return [(a, b) for a, b in told.values() if not made_up(a, b)]


def _detour(plan: Plan, a: str, p: str, b: str) -> float:
    """How much longer the way from a to b is by p."""
    first, by, last = (plan.points[name] for name in (a, p, b))
    return math.dist(first, by) + math.dist(by, last) - math.dist(first, last)


class _Reader:
    """Makes marks of predicates, one after the other; `group` makes those of equal and of parallel things."""

    def __init__(self, plan: Plan, rings: list[tuple[str, set[str]]], on_line: set[tuple[str, str, str]]) -> None:
        self.plan, self.rings, self.on_line = plan, rings, on_line
        self.equal: dict[str, list[set[Term]]] = {"ticks": [], "arcs": [], "arrow": []}

    def take(self, text: str) -> None:
        """Read one predicate."""
        if text.startswith(("PointLiesOn", "Tangent")):
            return  # read already, or nothing that is written
        name, inner = _call(text)
        if name == "Perpendicular" and len(inner) == 2:
            self._right(self._line(inner[0]), self._line(inner[1]))
        elif name == "Parallel" and len(inner) == 2:
            self._alike("arrow", self._line(inner[0]), self._line(inner[1]))
        elif name == "Equals" and len(inner) == 2:
            left, right = inner
            self._equals(*((right, left) if _NUMBERED.search(left) else (left, right)))
        else:
            raise Unreadable(f"a predicate {name[:20]}, which is not drawn")

    def _equals(self, left: str, right: str) -> None:
        """Something written at a line, an angle, an arc or in a shape; or two of them that are equal."""
        what, thing = _bare(left)
        other, same = _bare(right)
        if (what, other) == ("Line", "Line"):
            self._alike("ticks", self._line(thing), self._line(same))
        elif (what, other) == ("Angle", "Angle") and not _NUMBERED.search(right):
            self._alike("arcs", self._angle(thing), self._angle(same))
        elif what == "Angle" and (numbered := _NUMBERED.search(right)):
            names = self._angle(thing)
            self._add(Mark("number", names, numbered[1] or numbered[2], corner(*names, wide=True)))
        elif what == "Line":
            a, b = self._line(thing)
            whole = any({a, b} == {first, last} for _, first, last in self.on_line)
            self._add(Mark("span" if whole else "length", (a, b), _text(right), side(a, b)))
        elif what == "Angle":
            names = self._angle(thing)
            self._add(Mark("angle", names, _degrees(_text(right)), corner(*names, wide=True)))
        elif what == "Arc":
            text = _text(right)
            self._add(
                Mark(
                    "arc",
                    self._arc(thing),
                    _degrees(text) if left.startswith("Measure") else text,
                    f"arc.{join(_inner(thing))}",
                )
            )
        else:
            raise Unreadable(f"a predicate Equals of {what[:20] or 'unknown things'}, which is not drawn")

    def _add(self, mark: Mark) -> None:
        if mark not in self.plan.marks:
            self.plan.marks.append(mark)

    def _line(self, text: str) -> Pair:
        return _letters("".join(_inner(text)), self.plan, 2, "a line")

    def _angle(self, text: str) -> tuple[str, str, str]:
        return _letters("".join(_inner(text)), self.plan, 3, "an angle")

    def _arc(self, text: str) -> Term:
        """Ends, centre, and the point between where the arc is named by three that are on the circle."""
        names = _inner(text)
        a, b, middle = names[0], names[-1], names[1:-1]
        _letters(a + b, self.plan, 2, "an arc")
        centres = [centre for centre, on in self.rings if {a, b} <= on]
        if not centres or len(names) > 3:
            raise Unreadable("an arc on no circle")
        on = next(on for centre, on in self.rings if centre == centres[0])
        return (a, centres[0], b, *(name for name in middle if name in on))

    def _right(self, one: Pair, other: Pair) -> None:
        """The square where two lines meet: at a point of both, else where they cross."""
        meet = [name for name in self.plan.points if self._on(name, one) and self._on(name, other)]
        vertex = meet[0] if meet else self._crossing(one, other)
        a = next(name for name in reversed(one) if name != vertex)
        b = next(name for name in reversed(other) if name != vertex)
        if a != b and not any(mark.kind == "right" and mark.points[1] == vertex for mark in self.plan.marks):
            self.plan.right(a, vertex, b)

    def _on(self, name: str, line: Pair) -> bool:
        return name in line or (name, *line) in self.on_line or (name, *line[::-1]) in self.on_line

    def _crossing(self, one: Pair, other: Pair) -> str:
        """A point without a letter where two lines cross, or would."""
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = (self.plan.points[name] for name in (*one, *other))
        across = (bx - ax) * (dy - cy) - (by - ay) * (dx - cx)
        share = ((cx - ax) * (dy - cy) - (cy - ay) * (dx - cx)) / across if abs(across) > 1e-9 else -1.0
        if not -0.3 <= share <= 1.3:
            raise Unreadable("perpendicular lines that do not meet")
        x, y = ax + share * (bx - ax), ay + share * (by - ay)
        name = f"crossing {len(self.plan.hidden)}"
        near = [
            each
            for each in (*one, *other)
            if math.dist(self.plan.points[each], (x, y)) < 0.05 * math.dist((ax, ay), (bx, by))
        ]
        if near:
            return near[0]
        self.plan.point(name, x, y, hidden=True)
        return name

    def _alike(self, kind: str, one: Term, other: Term) -> None:
        """Keep that two are equal (or parallel), joining what they were equal to before."""
        names = {_sorted(one), _sorted(other)}
        joined = [group for group in self.equal[kind] if group & names]
        self.equal[kind] = [group for group in self.equal[kind] if not group & names] + [names.union(*joined)]

    def group(self) -> None:
        """Marks of equal and parallel things: one stroke for the first group, two for the next."""
        for kind, groups in self.equal.items():
            for number, group in enumerate(groups, start=1):
                if number > 5:
                    raise Unreadable("more kinds of equal or parallel things than strokes can tell")
                marks: list[Mark] = []
                for names in sorted(group):
                    if kind != "arrow" or not any(along(self.plan, mark, *names) for mark in marks):
                        marks.append(Mark(kind, names, str(number)))
                self.plan.marks += marks


def _sorted(names: Term) -> Term:
    return names if names[0] < names[-1] else names[::-1]


def _call(text: str) -> tuple[str, list[str]]:
    """A predicate's name and arguments. Raises Unreadable where brackets do not fit or nest without end."""
    found = _CALL.fullmatch(text)
    if found is None:
        raise Unreadable("a predicate that cannot be read")
    parts, depth = [""], 0
    for letter in found[2]:
        depth += (letter == "(") - (letter == ")")
        if not 0 <= depth <= DEEPEST:
            raise Unreadable("a predicate that cannot be read")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise Unreadable("a predicate that cannot be read")
    return found[1], parts


def _inner(text: str) -> list[str]:
    """The letters within Line(A,B), or A,B."""
    names = _call(text)[1] if "(" in text else text.split(",")
    if not all(re.fullmatch("[A-Z]", name) for name in names):
        raise Unreadable("a line, an angle or an arc that is not told by its points")
    return names


def _bare(text: str) -> tuple[str, str]:
    """What a term is about (Line, Angle, Arc, a shape) and that term, without LengthOf, MeasureOf, AreaOf, Minor and
    Major around it; ("", text) for a text.
    """
    while (found := _CALL.fullmatch(text)) is not None:
        if found[1] not in ("LengthOf", "MeasureOf", "AreaOf", "Minor", "Major"):
            return found[1], text
        text = found[2]
    return "", text


def _text(right: str) -> str:
    """What is written, set apart at its signs: x+21 as x + 21. Raises Unreadable where it is no such text."""
    found = _CALL.fullmatch(right)
    text = found[2] if found and found[1] in ("LengthOf", "MeasureOf") else right
    if not settable(text):
        raise Unreadable("a value that is no text of a figure")
    return _SIGNS.sub(r" \1 ", text)


def _degrees(text: str) -> str:
    return f"{text}°" if re.fullmatch(r"[\d.]+|[a-z]", text) else f"({text})°"


def along(plan: Plan, mark: Mark, *names: str) -> bool:
    """Whether points are on the straight line of a mark."""
    (ax, ay), (bx, by) = (plan.points[end] for end in mark.points)
    far = 0.05 * math.dist((ax, ay), (bx, by)) ** 2
    return all(abs((bx - ax) * (y - ay) - (by - ay) * (x - ax)) < far for x, y in (plan.points[name] for name in names))
