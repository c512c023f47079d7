"""Geometry3K's logic forms: every real one is drawn or says why not; what is asked of a figure is true of its form."""

from __future__ import annotations

import copy
import json
import math
import random
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rise_vlm.worlds import figures_text
from rise_vlm.worlds.canvas import Canvas
from rise_vlm.worlds.figures_asked import asked
from rise_vlm.worlds.figures_logic import Unreadable, read
from rise_vlm.worlds.figures_plan import Plan
from rise_vlm.worlds.figures_redraw import Redrawn, redraw

ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "geo-geometry3k-samples" / "logic_forms.zip"

TRIANGLE: dict[str, Any] = {
    "point_positions": {"A": [0.0, 0.0], "B": [40.0, 0.0], "C": [0.0, 30.0], "M": [20.0, 0.0]},
    "line_instances": ["AB", "AM", "MB", "BC", "CA", "CM"],
    "circle_instances": [""],
    "diagram_logic_form": [
        "PointLiesOnLine(M, Line(A, B))",
        "Equals(LengthOf(Line(B, C)), 2x+10)",
        "Equals(LengthOf(Line(A, B)), 40)",
        "Equals(MeasureOf(Angle(A, B, C)), y)",
        "Equals(MeasureOf(Angle(A, C, B)), MeasureOf(angle 2))",
        "Equals(LengthOf(Line(A, M)), LengthOf(Line(M, B)))",
        "Perpendicular(Line(A, B), Line(C, A))",
        "",
    ],
}  # fmt: skip
"""A right triangle with the middle of a side."""

CIRCLE: dict[str, Any] = {
    "point_positions": {"O": [50.0, 50.0], "A": [101.0, 50.0], "B": [50.0, 0.0], "C": [0.0, 50.0]},
    "line_instances": ["OA", "OB"],
    "circle_instances": ["O"],
    "diagram_logic_form": [
        *(f"PointLiesOnCircle({name}, Circle(O, radius_0_0))" for name in "ABC"),
        "Equals(MeasureOf(Arc(A, B)), 3x)",
    ],
}


@pytest.fixture(scope="module")
def forms() -> dict[str, dict[str, Any]]:
    if not ARCHIVE.is_file():
        pytest.skip(f"the real logic forms are not here: {ARCHIVE}")
    with zipfile.ZipFile(ARCHIVE) as archive:
        return json.loads(archive.read("logic_forms/diagram_logic_forms_annot.json"))


def told(form: dict[str, Any], *more: str, **changes: Any) -> dict[str, Any]:
    """A form with further predicates and other values."""
    changed = copy.deepcopy(form) | changes
    changed["diagram_logic_form"] += more
    return changed


def marks(plan: Plan) -> Counter[tuple[str, str, str]]:
    return Counter((mark.kind, "".join(mark.points), mark.text) for mark in plan.marks)


def overlap(boxes: np.ndarray) -> float:
    """The largest share of a box that another one covers."""
    most = 0.0
    for i, (left, top, right, bottom) in enumerate(boxes):
        for a, b, c, d in boxes[:i]:
            both = max(0, min(right, c) - max(left, a)) * max(0, min(bottom, d) - max(top, b))
            most = max(most, both / min((right - left) * (bottom - top), (c - a) * (d - b)))
    return most


def test_every_kind_of_predicate_becomes_its_mark() -> None:
    plan = read(TRIANGLE)
    assert marks(plan) == Counter(
        {
            ("length", "BC", "2x + 10"): 1,
            ("span", "AB", "40"): 1,  # a line with a point between: how far it reaches is drawn
            ("angle", "ABC", "y°"): 1,
            ("number", "ACB", "2"): 1,
            ("right", "BAC", ""): 1,
            ("ticks", "AM", "1"): 1,
            ("ticks", "BM", "1"): 1,
        }
    )
    assert {frozenset(line) for line in plan.lines} == set(map(frozenset, ("AM", "MB", "BC", "CA", "CM")))  # no AB
    assert plan.points["C"] == (0.0, -30.0)  # up in the plan, down in the form


def test_equal_and_parallel_things_share_their_strokes() -> None:
    square = {
        "point_positions": {"A": [0, 0], "B": [9, 0], "C": [9, 9], "D": [0, 9]},
        "line_instances": ["AB", "BC", "CD", "DA"],
        "circle_instances": [],
        "diagram_logic_form": [
            "Equals(LengthOf(Line(A, B)), LengthOf(Line(B, C)))",
            "Equals(LengthOf(Line(C, D)), LengthOf(Line(D, A)))",
            "Equals(LengthOf(Line(C, B)), LengthOf(Line(D, C)))",
            "Equals(MeasureOf(Angle(D, A, B)), MeasureOf(Angle(B, C, D)))",
            "Parallel(Line(A, B), Line(D, C))",
            "Parallel(Line(B, C), Line(A, D))",
        ],
    }
    found = marks(read(square))
    assert found == Counter(
        [*(("ticks", side, "1") for side in ("AB", "BC", "CD", "AD")), ("arcs", "BAD", "1"), ("arcs", "BCD", "1"),
         ("arrow", "AB", "1"), ("arrow", "CD", "1"), ("arrow", "BC", "2"), ("arrow", "AD", "2")]
    )  # fmt: skip


def test_a_circle_goes_through_its_points() -> None:
    plan = read(CIRCLE)
    (centre, radius), *others = plan.circles
    assert (centre, others) == ("O", []) and radius == 50
    assert all(math.dist(plan.points["O"], plan.points[name]) == pytest.approx(50) for name in "ABC")
    assert marks(plan) == Counter([("arc", "AOB", "(3x)°")])


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({}, "without lists"),
        (told(TRIANGLE, point_positions=[]), "without the places of its points"),
        (told(TRIANGLE, point_positions={"A": [0, 0], "B": [1, "2"]}), "not two numbers"),
        (told(TRIANGLE, point_positions={"A": [0, 0], "B": [1, float("nan")]}), "not two numbers"),
        (told(TRIANGLE, point_positions={"A": [0, 0], "B": [-1, -1]}), "fewer than two points"),
        (told(TRIANGLE, point_positions=TRIANGLE["point_positions"] | {"C": [-1, -1]}), "point that has no place"),
        (told(TRIANGLE, point_positions=TRIANGLE["point_positions"] | {"C": [0.1, 0]}), "two points in one place"),
        (told(TRIANGLE, line_instances=["AB", "point_26C"]), "line with a point that has no place"),
        (told(TRIANGLE, circle_instances=["A"]), "a circle without a point on it"),
        (told(CIRCLE, "PointLiesOnCircle(Z, Circle(O))"), "a circle with a point that has no place"),
        (told(CIRCLE, point_positions=CIRCLE["point_positions"] | {"C": [20, 50]}), "at different distances"),
        (told(TRIANGLE, "Equals(MeasureOf(Arc(A, B)), 40)"), "an arc on no circle"),
        (told(TRIANGLE, "Equals(AreaOf(Triangle(A, B, C)), 40)"), "Equals of Triangle"),
        (told(TRIANGLE, "Equals(HeightOf(Triangle(A, B, C)), 40)"), "Equals of HeightOf"),
        (told(TRIANGLE, r"Equals(LengthOf(Line(A, C)), \pi)"), "no text of a figure"),
        (told(TRIANGLE, "Similar(A, B)"), "predicate Similar"),
        (told(TRIANGLE, "Perpendicular(Line(A, B), Line(M, B))"), None),
        (told(TRIANGLE, "Equals(" * 20 + "A" + ")" * 20), "cannot be read"),
        (told(TRIANGLE, "Equals(" * 10_000 + "A" + ")" * 10_000), "more lines, predicates or letters"),
        (told(TRIANGLE, *["Parallel(Line(A, B), Line(A, C))"] * 10_000), "more lines, predicates or letters"),
        (told(TRIANGLE, *(f"Equals(MeasureOf(Angle(A, B, C)), {i})" for i in range(60))), "more than 60 marks"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_says_why(form: dict[str, Any], why: str | None) -> None:
    if why is None:
        assert read(form).marks
        return
    with pytest.raises(Unreadable, match=why):
        read(form)


@pytest.mark.parametrize(
    "text", ["x + 21", r"\frac{1}{3}x - 5", r"5\sqrt{2}", "y^2 - 9", "x^{2}", "(3x - 17)°", "7.94"]
)
def test_texts_of_the_forms_are_set(text: str) -> None:
    assert figures_text.settable(text)
    canvas = Canvas(120, 2, "paint", background=(255, 255, 255))
    figures_text.write(canvas.pencil, text, (120, 120), 30, (0, 0, 0))
    dark = np.argwhere(np.asarray(canvas.finish().convert("L")) < 128)
    wide, high = (length / 2 for length in figures_text.extent(text, 30))
    (top, left), (bottom, right) = dark.min(0), dark.max(0)
    assert 60 - wide / 2 - 2 <= left < right <= 60 + wide / 2 + 2
    assert 60 - high / 2 - 2 <= top < bottom <= 60 + high / 2 + 2


@pytest.mark.parametrize("text", ["", " ", r"\pi", "x" * 41, r"\frac{1}{\frac{1}{2}}", "x;y", "√2"])
def test_other_texts_are_refused(text: str) -> None:
    assert not figures_text.settable(text)


def test_questions_ask_for_what_is_written() -> None:
    found = {asked(read(TRIANGLE), random.Random(seed)) for seed in range(30)}
    assert ("What number is written at side AB?", 40) in found
    assert ("What number is written at angle ACB?", 2) in found
    for question, answer in filter(None, found):
        if "2x + 10" in question:
            choices = dict(re.findall(r"([A-D])\. (\w+)", question))
            assert choices[str(answer)] == "BC" and "AB" not in choices.values()  # which is no line that is drawn
    twice = read(told(TRIANGLE, "Equals(LengthOf(Line(A, C)), 2x+10)", "Equals(LengthOf(Line(A, B)), 7)"))
    again = {asked(twice, random.Random(seed)) for seed in range(30)} - {None}
    assert {question for question, _ in filter(None, again)} == {"What number is written at angle ACB?"} | {
        question for question, _ in filter(None, found) if "is y written" in question
    }
    assert asked(read(told(TRIANGLE, diagram_logic_form=[])), random.Random(0)) is None


def test_all_real_forms_are_read_or_say_why_not(forms: dict[str, dict[str, Any]]) -> None:
    drawn, reasons = {}, Counter[str]()
    for number, form in forms.items():
        try:
            drawn[number] = read(form)
        except Unreadable as why:
            reasons[str(why)] += 1
    assert len(drawn) + reasons.total() == len(forms) == 3002
    assert len(drawn) == 2683, reasons
    lost = reasons.total() - sum(number for why, number in reasons.items() if "place" in why)
    assert lost <= 50, reasons  # all others name points whose place the form does not tell
    kinds = Counter(mark.kind for plan in drawn.values() for mark in plan.marks)
    assert kinds["length"] + kinds["span"] > 4000 and kinds["angle"] > 2300 and kinds["right"] > 1300
    answers = [asked(plan, random.Random(number)) for number, plan in drawn.items()]
    letters = Counter(answer[1] for answer in answers if answer and isinstance(answer[1], str))
    assert sum(answer is not None for answer in answers) > 2200
    assert max(letters.values()) < 0.35 * letters.total(), letters


def test_marks_of_real_figures_are_in_the_picture_and_apart(forms: dict[str, dict[str, Any]]) -> None:
    checked = covered = 0
    for number in random.Random(0).sample(sorted(forms), 170):
        try:
            page = Redrawn(Canvas(448, 1, "paint", background=(255, 255, 255)), read(forms[number]))
        except Unreadable:
            continue
        labels, _ = page.labels()
        boxes = np.array([label.box() for label in labels])
        assert boxes.min() > 0 and boxes.max() < 1, number
        assert len(labels) >= len([mark for mark in page.plan.marks if mark.kind in ("length", "angle", "number")])
        checked, covered = checked + 1, covered + (overlap(boxes) > 0.05)
    assert checked >= 130 and covered <= 1


def test_a_real_figure_is_drawn_the_same_again(forms: dict[str, dict[str, Any]]) -> None:
    for number in ("12", "14", "19", "1850"):
        image = redraw(read(forms[number]))
        assert image.size == (448, 448) and image.mode == "RGB"
        assert image.tobytes() == redraw(read(forms[number])).tobytes()
        shown = np.asarray(image, dtype=int)
        assert shown.mean() > 200 and (shown.max(2) < 90).any() and (shown[..., 2] > shown[..., 0] + 100).any()
