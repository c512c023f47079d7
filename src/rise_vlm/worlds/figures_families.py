"""The families of figures: what numbers one has, how it is built, what is asked and the reasons for the answer.

A family picks whole numbers and builds a `Plan` to scale from them and from letters for its points. `KNOWN` families
are those of train, val and test; `figures_new` has the others. Left out: proofs, coordinates.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from rise_vlm.worlds.figures_plan import Plan, join, number, polar

Values = dict[str, int]
TRIPLES = ((3, 4, 5), (5, 12, 13), (8, 15, 17), (6, 8, 10), (9, 12, 15), (7, 24, 25), (12, 16, 20), (20, 21, 29))


@dataclass(frozen=True)
class Family:
    """`letters` points are named; `pick` draws the numbers, `build` makes the figure."""

    letters: int
    pick: Callable[[random.Random], Values]
    build: Callable[[Values, str], Plan]


def draw_triangle(plan: Plan, names: str, first: float, second: float) -> None:
    """The points of a triangle with the angles `first` and `second` (degrees) at its first two corners."""
    a, b = math.radians(first), math.radians(second)
    reach = math.sin(b) / math.sin(a + b)
    plan.point(names[0], 0, 0)
    plan.point(names[1], 1, 0)
    plan.point(names[2], reach * math.cos(a), reach * math.sin(a))
    plan.polygon(*names[:3])


def two_angles(rng: random.Random) -> Values:
    """Two angles of a triangle none of whose angles is small."""
    while True:
        a, b = rng.randint(35, 105), rng.randint(35, 105)
        if 180 - a - b >= 35:
            return {"a": a, "b": b}


def _angle_sum(v: Values, n: str) -> Plan:
    plan = Plan("triangle")
    draw_triangle(plan, n, v["a"], v["b"])
    c = 180 - v["a"] - v["b"]
    plan.angle(n[1], n[0], n[2], v["a"])
    plan.angle(n[0], n[1], n[2], v["b"])
    plan.find_angle(n[0], n[2], n[1], c)
    plan.reasons = (f"In the triangle angle {n[0]} is {v['a']} and angle {n[1]} is {v['b']}. The angles of a "
                    f"triangle add "
                    f"up to 180, so it is 180 - {v['a']} - {v['b']} = {c}.")  # fmt: skip
    return plan


def _legs(rng: random.Random) -> Values:
    a, b, c = rng.choice(TRIPLES)
    return {"a": a, "b": b, "c": c, "leg": rng.randrange(2)}


def _pythagoras(v: Values, n: str) -> Plan:
    plan, (a, b, c) = Plan("right triangle"), (v["a"], v["b"], v["c"])
    plan.point(n[2], 0, 0)
    plan.point(n[0], b, 0)
    plan.point(n[1], 0, a)
    plan.polygon(n[0], n[1], n[2])
    plan.right(n[0], n[2], n[1])
    plan.length(n[1], n[2], a)
    begin = f"There is a right angle at {n[2]}. Side {join(n[1:3])} is {a} and"
    if v["leg"]:
        plan.length(n[0], n[1], c)
        plan.find_length(n[0], n[2], b)
        plan.reasons = (f"{begin} side {join(n[:2])} is {c}. The squares give {c * c} - {a * a} = {b * b}, its root "
                        f"is {b}.")  # fmt: skip
    else:
        plan.length(n[0], n[2], b)
        plan.find_length(n[0], n[1], c)
        plan.reasons = (f"{begin} side {join((n[0], n[2]))} is {b}. The squares give {a * a} + {b * b} = {c * c}, "
                        f"its root "
                        f"is {c}.")  # fmt: skip
    return plan


def _isosceles(v: Values, n: str) -> Plan:
    """Two equal sides meet in the last corner; its angle or one at the base is given."""
    base, top = v["base"], 180 - 2 * v["base"]
    plan = Plan("triangle")
    draw_triangle(plan, n, base, base)
    plan.equal((n[0], n[2]), (n[1], n[2]))
    equal = (f"The sides {join((n[0], n[2]))} and {join(n[1:3])} are equal, so the angles at {n[0]} and {n[1]} are "
             f"equal.")  # fmt: skip
    if v["top"]:
        plan.angle(n[1], n[0], n[2], base)
        plan.find_angle(n[0], n[2], n[1], top)
        plan.reasons = f"{equal} Angle {n[0]} is {base}, which leaves 180 - {base} - {base} = {top}."
    else:
        plan.angle(n[0], n[2], n[1], top)
        plan.find_angle(n[1], n[0], n[2], base)
        plan.reasons = f"{equal} Angle {n[2]} is {top}, so both have 180 - {top} = {180 - top}, and each is {base}."
    return plan


def _straight(v: Values, n: str) -> Plan:
    """A ray from a point on a line."""
    plan, a = Plan("line with a ray"), v["a"]
    plan.point(n[0], *polar(180))
    plan.point(n[1], *polar(0))
    plan.point(n[2], *polar(180 - a, 0.95))
    plan.point(n[3], 0, 0)
    plan.lines += [(n[0], n[1]), (n[3], n[2])]
    plan.angle(n[0], n[3], n[2], a, wide=True)
    plan.find_angle(n[1], n[3], n[2], 180 - a, wide=True)
    first = "".join((min(n[0], n[2]), n[3], max(n[0], n[2])))
    plan.reasons = f"Angle {first} is {a}. Both angles make a straight line of 180, so it is 180 - {a} = {180 - a}."
    return plan


def _transversal(v: Values, n: str) -> Plan:
    """Two parallels cut by a line; the angles are alternate or lie between on one side."""
    plan, a = Plan("pair of parallel lines"), v["a"]
    lean = math.radians(a)
    foot, head = (-0.45 / math.tan(lean), -0.45), (0.45 / math.tan(lean), 0.45)
    for name, x, y in (("l1", -1, 0.45), ("l2", 1, 0.45), ("m1", -1, -0.45), ("m2", 1, -0.45)):
        plan.point(name, x, y, hidden=True)
    for name, at, way in (("t1", foot, 180 + a), ("t2", head, a)):
        plan.point(name, *polar(way, 0.42, at), hidden=True)
    plan.point(n[0], *head)
    plan.point(n[1], *foot)
    plan.lines += [("l1", "l2"), ("m1", "m2"), ("t1", "t2")]
    plan.parallel(("l1", "l2"), ("m1", "m2"))
    plan.angle("m2", n[1], n[0], a)
    if v["alternate"]:
        plan.find_angle("l1", n[0], n[1], a)
        plan.reasons = f"The lines are parallel and angle {n[1]} is {a}. The angles are alternate, so both are {a}."
    else:
        plan.find_angle("l2", n[0], n[1], 180 - a)
        plan.reasons = (f"The lines are parallel and angle {n[1]} is {a}. The angles lie between the lines on one "
                        f"side and "
                        f"add up to 180: 180 - {a} = {180 - a}.")  # fmt: skip
    plan.question = f"How large is the angle marked at {n[0]}, in degrees?"
    return plan


def _rectangle(v: Values, n: str) -> Plan:
    plan, w, h = Plan("rectangle"), v["w"], v["h"]
    for name, x, y in zip(n, (0, w, w, 0), (0, 0, h, h), strict=True):
        plan.point(name, x, y)
    plan.polygon(*n)
    plan.right(n[0], n[1], n[2])
    plan.length(n[0], n[1], w)
    plan.length(n[1], n[2], h)
    begin = f"The sides of the rectangle are {w} and {h}."
    if v["area"]:
        plan.find("What is the area of the rectangle?", w * h)
        plan.reasons = f"{begin} The area is {w} * {h} = {w * h}."
    else:
        plan.find("How long is the way around the rectangle?", 2 * (w + h))
        plan.reasons = f"{begin} Half the way around is {w} + {h} = {w + h}, so all of it is {2 * (w + h)}."
    return plan


def _height(v: Values, n: str) -> Plan:
    """A triangle with its dashed height."""
    plan, b, h = Plan("triangle"), v["b"], v["h"]
    foot = b * v["foot"] / 10
    plan.point(n[0], 0, 0)
    plan.point(n[1], b, 0)
    plan.point(n[2], foot, h)
    plan.point(n[3], foot, 0)
    plan.polygon(*n[:3])
    plan.dashed.append((n[2], n[3]))
    plan.right(n[1], n[3], n[2])
    plan.length(n[2], n[3], h)
    plan.length(n[0], n[1], b)
    plan.find(f"What is the area of triangle {''.join(sorted(n[:3]))}?", b * h // 2)
    plan.reasons = (f"The base of the triangle, side {join(n[:2])}, is {b} and its height {join(n[2:4])} is {h}. The "
                    f"area is "
                    f"half of {b} * {h} = {b * h}, which is {b * h // 2}.")  # fmt: skip
    return plan


def _inscribed(v: Values, n: str) -> Plan:
    """The angle at the centre and that at the rim over the same arc."""
    plan, half = Plan("circle"), v["half"]
    plan.point("O", 0, 0)
    plan.circles.append(("O", 1.0))
    plan.point(n[0], *polar(-90 - half))
    plan.point(n[1], *polar(-90 + half))
    plan.point(n[2], *polar(90 + v["lean"]))
    plan.lines += [("O", n[0]), ("O", n[1]), (n[2], n[0]), (n[2], n[1])]
    middle = "".join((min(n[:2]), "O", max(n[:2])))
    if v["rim"]:
        plan.angle(n[0], "O", n[1], 2 * half, wide=True)
        plan.find_angle(n[0], n[2], n[1], half)
        plan.reasons = (f"Angle {middle} at the centre of the circle is {2 * half}. The angle at the rim over the "
                        f"same arc is "
                        f"half of it, {half}.")  # fmt: skip
    else:
        plan.angle(n[0], n[2], n[1], half)
        plan.find_angle(n[0], "O", n[1], 2 * half, wide=True)
        plan.reasons = (f"Angle {n[2]} at the rim of the circle is {half}. The angle at the centre over the same arc "
                        f"is twice "
                        f"as large, {2 * half}.")  # fmt: skip
    return plan


def _thales(v: Values, n: str) -> Plan:
    """A triangle over a diameter."""
    plan, a = Plan("circle"), v["a"]
    plan.point("O", 0, 0)
    plan.circles.append(("O", 1.0))
    plan.point(n[0], -1, 0)
    plan.point(n[1], 1, 0)
    plan.point(n[2], *polar(2 * a))
    plan.lines += [(n[0], n[1]), (n[1], n[2]), (n[2], n[0])]
    plan.angle(n[1], n[0], n[2], a)
    plan.find_angle(n[0], n[1], n[2], 90 - a)
    plan.reasons = (f"{join(n[:2])} runs through the centre O of the circle, so the angle at {n[2]} is right. Angle "
                    f"{n[0]} is "
                    f"{a}, which leaves 90 - {a} = {90 - a}.")  # fmt: skip
    return plan


def _parallelogram(v: Values, n: str) -> Plan:
    plan, a = Plan("parallelogram"), v["a"]
    up = polar(a, 0.7)
    for name, x, y in zip(n, (0, 1, 1 + up[0], up[0]), (0, 0, up[1], up[1]), strict=True):
        plan.point(name, x, y)
    plan.polygon(*n)
    plan.angle(n[1], n[0], n[3], a)
    if v["opposite"]:
        plan.find_angle(n[1], n[2], n[3], a)
        plan.reasons = f"In the parallelogram angle {n[0]} is {a}. Opposite angles are equal, so it is {a} too."
    else:
        plan.find_angle(n[0], n[1], n[2], 180 - a)
        plan.reasons = (f"In the parallelogram angle {n[0]} is {a}. Its neighbour makes 180 with it: 180 - {a} = "
                        f"{180 - a}.")  # fmt: skip
    return plan


def _similar(v: Values, n: str) -> Plan:
    """A line parallel to a side cuts the two other sides."""
    plan, k = Plan("triangle"), v["part"] / (v["part"] + v["rest"])
    plan.point(n[0], 0, 0)
    ends = polar(-22), polar(-92, v["twice"] / 2)
    for name, (x, y) in zip(n[1:3], ends, strict=True):
        plan.point(name, x, y)
    plan.polygon(*n[:3])
    for name, (x, y) in zip(n[3:5], ends, strict=True):
        plan.point(name, x * k, y * k)
    plan.lines.append((n[3], n[4]))
    plan.parallel((n[3], n[4]), (n[1], n[2]))
    times = v["twice"] / 2
    other = v["part"] * v["twice"] // 2
    found = v["rest"] * v["twice"] // 2
    plan.length(n[0], n[3], v["part"])
    plan.length(n[3], n[1], v["rest"])
    plan.length(n[0], n[4], other)
    plan.find_length(n[4], n[2], found)
    parts = (f"{join((n[0], n[3]))} is {v['part']}, side {join((n[3], n[1]))} is {v['rest']} and side "
             f"{join((n[0], n[4]))} is")  # fmt: skip
    plan.reasons = (f"The lines are parallel, so they cut both sides alike. Side {parts} {other}, {number(times)} "
                    f"times as long "
                    f"as {v['part']}. So it is {number(times)} * {v['rest']} = {found}.")  # fmt: skip
    return plan


KNOWN: dict[str, Family] = {
    "angle_sum": Family(3, two_angles, _angle_sum),
    "pythagoras": Family(3, _legs, _pythagoras),
    "isosceles": Family(3, lambda r: {"base": r.randint(40, 72), "top": r.randrange(2)}, _isosceles),
    "straight": Family(4, lambda r: {"a": r.choice([a for a in range(35, 146) if abs(a - 90) > 8])}, _straight),
    "transversal": Family(2, lambda r: {"a": r.choice((*range(42, 80), *range(101, 139))), "alternate": r.randrange(2)},
                          _transversal),
    "rectangle": Family(4, lambda r: {"w": r.randint(8, 14), "h": r.randint(4, 9), "area": r.randrange(2)}, _rectangle),
    "height": Family(4, lambda r: {"b": 2 * r.randint(4, 8), "h": r.randint(5, 11), "foot": r.randint(3, 7)}, _height),
    "inscribed": Family(3, lambda r: {"half": r.randint(34, 72), "lean": r.randint(-18, 18), "rim": r.randrange(2)},
                        _inscribed),
    "thales": Family(3, lambda r: {"a": r.choice((*range(30, 44), *range(47, 61)))}, _thales),
    "parallelogram": Family(
        4, lambda r: {"a": r.choice((*range(48, 80), *range(101, 133))), "opposite": r.randrange(2)}, _parallelogram
    ),
    "similar": Family(
        5, lambda r: {"part": r.choice((4, 6, 8)), "rest": r.choice((4, 6, 8)), "twice": r.choice((3, 4))}, _similar
    ),
}  # fmt: skip
