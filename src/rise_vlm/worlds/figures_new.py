"""Families of figures for the out-of-domain test alone, in the manner of Geometry3K. See `figures_families`."""

from __future__ import annotations

import math
import random

from rise_vlm.worlds.figures_families import TRIPLES, Family, Values, draw_triangle, two_angles
from rise_vlm.worlds.figures_plan import Plan, join, polar


def _exterior(v: Values, n: str) -> Plan:
    """One side of a triangle runs on; the outer angle is the sum of the two far ones."""
    plan, a, c = Plan("triangle"), v["a"], 180 - v["a"] - v["b"]
    draw_triangle(plan, n, a, v["b"])
    plan.point(n[3], 1.55, 0)
    plan.lines.append((n[1], n[3]))
    plan.angle(n[1], n[0], n[2], a)
    plan.angle(n[0], n[2], n[1], c)
    plan.find_angle(n[2], n[1], n[3], a + c, wide=True)
    plan.reasons = (f"In the triangle angle {n[0]} is {a} and angle {n[2]} is {c}. The outer angle is the sum of the "
                    f"two far "
                    f"ones: {a} + {c} = {a + c}.")  # fmt: skip
    return plan


def _cyclic(v: Values, n: str) -> Plan:
    """A quadrilateral in a circle."""
    plan, a = Plan("circle"), v["a"]
    plan.point("o", 0, 0, hidden=True)
    plan.circles.append(("o", 1.0))
    for name, way in zip(n, (90 + v["lean"], 180 - 90 + a, -90 - v["lean"] // 2, 90 - a), strict=True):
        plan.point(name, *polar(way))
    plan.lines += list(zip(n, (*n[1:], n[0]), strict=True))
    plan.angle(n[1], n[2], n[3], a)
    plan.find_angle(n[1], n[0], n[3], 180 - a)
    plan.reasons = (f"The four corners lie on a circle, so opposite angles add up to 180. Angle {n[2]} is {a}, which "
                    f"leaves "
                    f"180 - {a} = {180 - a}.")  # fmt: skip
    return plan


def _tangent(v: Values, n: str) -> Plan:
    """The radius to a tangent makes a right angle."""
    plan, (a, b, c) = Plan("circle"), (v["a"], v["b"], v["c"])
    plan.point("O", 0, 0)
    plan.circles.append(("O", a))
    plan.point(n[0], 0, -a)
    plan.point(n[1], b, -a)
    plan.lines += [("O", n[0]), (n[0], n[1]), ("O", n[1])]
    plan.length("O", n[0], a)
    plan.length(n[0], n[1], b)
    plan.find_length("O", n[1], c)
    plan.reasons = (f"Side {join(('O', n[0]))} is {a}, a radius of the circle, and side {join(n[:2])} is {b} and "
                    f"touches it, so "
                    f"they meet at a right angle. The squares give {a * a} + {b * b} = {c * c}, its root is "
                    f"{c}.")  # fmt: skip
    return plan


def _chords(v: Values, n: str) -> Plan:
    """Two chords cut each other in pieces of equal product."""
    plan, (p, q, r, s) = Plan("circle"), (v["p"], v["q"], v["r"], v["s"])
    lean = math.radians(v["lean"])
    # the cut at 0, the first chord along x; the centre lies above the middle of each
    x = (q - p) / 2
    along = (s - r) / 2
    y = (along - x * math.cos(lean)) / math.sin(lean)
    radius = math.hypot(x - q, y)
    plan.point("o", x, y, hidden=True)
    plan.circles.append(("o", radius))
    plan.point(n[4], 0, 0)
    for name, at in zip(n, ((-p, 0), (q, 0), polar(v["lean"] + 180, r), polar(v["lean"], s)), strict=False):
        plan.point(name, *at)
    plan.lines += [(n[0], n[1]), (n[2], n[3])]
    plan.length(n[0], n[4], p)
    plan.length(n[1], n[4], q)
    plan.length(n[2], n[4], r)
    plan.find_length(n[3], n[4], s)
    sides = f"{join((n[0], n[4]))} is {p}, side {join((n[1], n[4]))} is {q} and side {join((n[2], n[4]))} is {r}"
    plan.reasons = (f"The chords of a circle cut each other in pieces of equal product. Side {sides}, and {p} * {q} "
                    f"= {p * q}, "
                    f"so it is {p * q} / {r} = {s}.")  # fmt: skip
    return plan


def _midsegment(v: Values, n: str) -> Plan:
    """The line between the middles of a trapezoid's sides."""
    plan, low, top = Plan("trapezoid"), v["low"], v["top"]
    tall, lean = 0.55 * low, (low - top) * v["lean"] / 10
    for name, x, y in zip(n, (0, low, lean + top, lean), (0, 0, tall, tall), strict=False):
        plan.point(name, x, y)
    plan.polygon(*n[:4])
    plan.point(n[4], lean / 2, tall / 2)
    plan.point(n[5], (low + lean + top) / 2, tall / 2)
    plan.lines.append((n[4], n[5]))
    plan.equal((n[0], n[4]), (n[4], n[3]))
    plan.equal((n[1], n[5]), (n[5], n[2]), ticks=2)
    plan.length(n[0], n[1], low)
    plan.length(n[2], n[3], top)
    plan.find_length(n[4], n[5], (low + top) // 2)
    plan.reasons = (f"In the trapezoid side {join(n[:2])} is {low} and side {join(n[2:4])} is {top}. The line "
                    f"between the middles "
                    f"is half of {low} + {top} = {low + top}, which is {(low + top) // 2}.")  # fmt: skip
    return plan


def _kite(v: Values, n: str) -> Plan:
    """Two pairs of equal sides; the side angles are equal."""
    plan, a, b = Plan("kite"), v["a"], v["b"]
    side = (360 - a - b) // 2
    wide = math.tan(math.radians(a / 2))
    for name, x, y in zip(n, (0, wide, 0, -wide), (1, 0, -wide / math.tan(math.radians(b / 2)), 0), strict=True):
        plan.point(name, x, y)
    plan.polygon(*n)
    plan.equal((n[0], n[1]), (n[0], n[3]))
    plan.equal((n[2], n[1]), (n[2], n[3]), ticks=2)
    plan.angle(n[1], n[0], n[3], a)
    plan.angle(n[1], n[2], n[3], b)
    plan.find_angle(n[0], n[1], n[2], side)
    plan.reasons = (f"In the kite angle {n[0]} is {a} and angle {n[2]} is {b}. The two others are equal and make 360 "
                    f"- {a} - {b} = "
                    f"{360 - a - b}, so each is {side}.")  # fmt: skip
    return plan


def _chord_pieces(rng: random.Random) -> Values:
    while True:
        p, q, r = rng.randint(4, 9), rng.randint(4, 9), rng.randint(4, 9)
        if p * q % r == 0 and 4 <= p * q // r <= 12 and r not in (p, q):
            return {"p": p, "q": q, "r": r, "s": p * q // r, "lean": rng.randint(60, 120)}


def _bases(rng: random.Random) -> Values:
    low, top = rng.randint(10, 24), rng.randint(5, 14)
    low = max(low, top + 5)
    return {"low": low + (low + top) % 2, "top": top, "lean": rng.randint(2, 8)}


def _triple(rng: random.Random) -> Values:
    a, b, c = rng.choice([t for t in TRIPLES if t[1] < 2.2 * t[0]])
    return {"a": a, "b": b, "c": c}


NEW: dict[str, Family] = {
    "exterior": Family(4, two_angles, _exterior),
    "cyclic": Family(
        4, lambda r: {"a": r.choice((*range(62, 84), *range(97, 119))), "lean": r.randint(-16, 16)}, _cyclic
    ),
    "tangent": Family(2, _triple, _tangent),
    "chords": Family(5, _chord_pieces, _chords),
    "midsegment": Family(6, _bases, _midsegment),
    "kite": Family(4, lambda r: {"a": 2 * r.randint(36, 54), "b": 2 * r.randint(22, 33)}, _kite),
}  # fmt: skip
