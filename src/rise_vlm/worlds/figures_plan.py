"""A plane figure as data: named points, lines, circles, marks, what is asked and why the answer is what it is.

Points are in free units with y up, to scale; `figures_draw` turns and fits them. A mark is a length, an angle, a right
angle, ticks of equal sides or arrows of parallels; it carries the name and value that facts use, such as angle.C=80.
Left out: solids, functions, charts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

Point = tuple[float, float]


@dataclass(frozen=True)
class Mark:
    """`kind` is length, angle, right, ticks or arrow; `points` are names (of an angle the middle one is the vertex).
    Logic forms have more kinds: span (the length of a line with points between), number (of an angle), arcs (of equal
    angles) and arc (of a circle: end, centre, end, and at times a point between).

    `text` is what is written ('' for nothing); `fact` the quantity's name, such as `side.AB`; `value` its true number.
    """

    kind: str
    points: tuple[str, ...]
    text: str = ""
    fact: str = ""
    value: float = 0.0


@dataclass
class Plan:
    """A figure being made by a family. `shape` is the word for it; `asked` the mark that is to be found."""

    shape: str
    points: dict[str, Point] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    lines: list[tuple[str, str]] = field(default_factory=list)
    dashed: list[tuple[str, str]] = field(default_factory=list)
    circles: list[tuple[str, float]] = field(default_factory=list)
    areas: list[tuple[str, ...]] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    facts: set[str] = field(default_factory=set)
    asked: Mark | None = None
    question: str = ""
    reasons: str = ""
    answer: float = 0

    def point(self, name: str, x: float, y: float, hidden: bool = False) -> None:
        """A point; a hidden one has no label."""
        self.points[name] = (x, y)
        if hidden:
            self.hidden.add(name)

    def polygon(self, *names: str) -> None:
        """A closed outline, filled."""
        self.areas.append(names)
        self.lines += list(zip(names, (*names[1:], names[0]), strict=True))

    def length(self, a: str, b: str, value: float) -> None:
        """A side with its length written."""
        self.marks.append(Mark("length", (a, b), number(value), side(a, b), value))

    def angle(self, a: str, v: str, b: str, value: float, wide: bool = False) -> None:
        """An angle with its degrees written; `wide` names it by three letters, where its vertex has several."""
        self.marks.append(Mark("angle", (a, v, b), f"{number(value)}°", corner(a, v, b, wide), value))

    def right(self, a: str, v: str, b: str) -> None:
        """A right angle."""
        self.marks.append(Mark("right", (a, v, b), "", f"right.{v}", 90))

    def equal(self, *pairs: tuple[str, str], ticks: int = 1) -> None:
        """Sides marked as equal."""
        self.marks += [Mark("ticks", pair, str(ticks)) for pair in pairs]
        self.facts |= {f"equal.{join(a)}={join(b)}" for a in pairs for b in pairs if a != b}

    def parallel(self, *pairs: tuple[str, str]) -> None:
        """Lines marked as parallel."""
        self.marks += [Mark("arrow", pair) for pair in pairs]
        self.facts.add("lines=parallel")

    def find_angle(self, a: str, v: str, b: str, value: float, wide: bool = False) -> None:
        """What is asked: an angle, drawn with its arc."""
        self.asked, self.answer = Mark("angle", (a, v, b), "?", corner(a, v, b, wide), value), value
        self.question = f"How large is angle {corner(a, v, b, wide)[6:]}, in degrees?"

    def find_length(self, a: str, b: str, value: float) -> None:
        """What is asked: a side."""
        self.asked, self.answer = Mark("length", (a, b), "?", side(a, b), value), value
        self.question = f"How long is {join((a, b))}?"

    def find(self, question: str, value: float) -> None:
        """What is asked and has no mark, such as an area."""
        self.question, self.answer = question, value

    def true_facts(self) -> set[str]:
        """All that may be said of the figure: what is drawn, and what is asked with its true value."""
        facts = {f"shape={self.shape}", *self.facts, *(f"point={name}" for name in self.points if len(name) == 1)}
        for mark in self.marks:
            if mark.kind == "right":
                facts |= {mark.fact, f"angle.{mark.points[1]}=90"}
            elif mark.fact:
                facts.add(f"{mark.fact}={plain(mark.text)}")
        if self.asked is not None:
            facts |= {f"{self.asked.fact}={number(self.asked.value)}", f"{self.asked.fact}={plain(self.asked.text)}"}
        return facts


def number(value: float) -> str:
    """A number as it is written: whole where it is whole, else with one digit after the point."""
    return str(round(value)) if abs(value - round(value)) < 1e-9 else f"{value:.1f}"


def plain(text: str) -> str:
    """A mark's text as facts hold it: no degree sign, brackets or blanks."""
    return text.replace("°", "").replace("(", "").replace(")", "").replace(" ", "")


def join(pair: Sequence[str]) -> str:
    """The name of a side, its letters in order."""
    return "".join(sorted(pair))


def side(a: str, b: str) -> str:
    """The fact name of a side."""
    return f"side.{join((a, b))}"


def corner(a: str, v: str, b: str, wide: bool = False) -> str:
    """The fact name of an angle, by its vertex or by three letters."""
    return f"angle.{min(a, b)}{v}{max(a, b)}" if wide else f"angle.{v}"


def polar(degrees: float, radius: float = 1.0, at: Point = (0.0, 0.0)) -> Point:
    """The point at that distance and direction from `at`."""
    return at[0] + radius * math.cos(math.radians(degrees)), at[1] + radius * math.sin(math.radians(degrees))
