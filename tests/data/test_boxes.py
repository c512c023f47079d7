"""What is wrong with a box, and what it may be meant to be."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rise_vlm.data import Record
from rise_vlm.data.boxes import Box, Layout, as_box, as_size, boxes_of, diagnose, doubts, faults, fits, iou, transpose
from rise_vlm.data.inspecting import stated_size

WIDTH, HEIGHT = 400, 300


@st.composite
def good_boxes(draw: Any) -> Box:
    x1, y1 = draw(st.integers(0, WIDTH - 2)), draw(st.integers(0, HEIGHT - 2))
    return float(x1), float(y1), float(draw(st.integers(x1 + 1, WIDTH))), float(draw(st.integers(y1 + 1, HEIGHT)))


@pytest.mark.parametrize(
    ("box", "kind", "meant"),
    [
        ((10, 10, 50, 60), None, None),
        ((0, 0, 400.5, 300.5), None, None),
        ((10, 10, 10, 60), "box-empty", None),
        ((10, 10, 500, 60), "box-outside", (10, 10, 400, 60)),
        ((-20, 10, 50, 60), "box-outside", (0, 10, 50, 60)),
        ((500, 310, 600, 390), "box-outside", None),
        ((200, 310, 280, 390), "box-transposed", (310, 200, 390, 280)),
        ((350, 250, 20, 30), "box-as-size", (350, 250, 370, 280)),  # the corners reversed fit too: see below
        ((300, 200, 150, 100), "box-reversed", (150, 100, 300, 200)),
    ],
)
def test_diagnosis(box: Box, kind: str | None, meant: Box | None) -> None:
    found = diagnose(box, WIDTH, HEIGHT, is_size=kind == "box-as-size")
    assert found == (None if kind is None else (kind, meant))


def test_reversed_corners_are_width_and_height_only_where_the_dataset_says_so() -> None:
    box = (350.0, 250.0, 20.0, 30.0)
    assert diagnose(box, WIDTH, HEIGHT) == ("box-reversed", (20, 30, 350, 250))
    assert diagnose((395.0, 250.0, -5.0, 40.0), WIDTH, HEIGHT) == ("box-reversed", None)


@given(good_boxes())
def test_a_box_that_fits_has_no_fault_and_every_guess_fits(box: Box) -> None:
    assert diagnose(box, WIDTH, HEIGHT) is None
    for broken in (transpose(box), (box[2], box[3], box[0], box[1]), (box[0], box[1], box[2] + WIDTH, box[3])):
        found = diagnose(broken, WIDTH, HEIGHT)
        assert found is None or found[1] is None or fits(found[1], WIDTH, HEIGHT)


@given(st.lists(good_boxes(), min_size=40, max_size=60))
def test_a_dataset_is_taken_for_x_y_width_height_only_if_it_is(boxes: list[Box]) -> None:
    right, wrong = Layout(), Layout()
    for box in boxes:
        right.add(box, WIDTH, HEIGHT)
        wrong.add((box[0], box[1], box[2] - box[0], box[3] - box[1]), WIDTH, HEIGHT)
    assert right.findings() == []
    assert wrong.fit_as_size == len(boxes)
    assert wrong.is_size == (wrong.reversed >= max(2, 0.1 * len(boxes)))
    assert all(fits(as_size((b[0], b[1], b[2] - b[0], b[3] - b[1])), WIDTH, HEIGHT) for b in boxes)


def test_a_dataset_whose_boxes_are_all_transposed_is_told() -> None:
    layout = Layout()
    for at in range(20):
        layout.add(transpose((310.0 + at, 10.0, 350.0 + at, 60.0)), WIDTH, HEIGHT)
    assert [finding.kind for finding in layout.findings()] == ["boxes-transposed"]
    layout.add((310.0, 10.0, 350.0, 60.0), WIDTH, HEIGHT)
    assert layout.findings() == []


def test_boxes_of_any_annotation() -> None:
    assert boxes_of([1, 2, 3, 4]) == [("", [1, 2, 3, 4])]
    assert boxes_of([{"label": "a", "box": [1, 2, 3, 4]}, "text"]) == [("a", [1, 2, 3, 4])]
    assert boxes_of("cat") == boxes_of({"a": 1.0}) == boxes_of([]) == boxes_of(None) == []


def test_the_first_fault_names_the_kind_and_all_boxes_are_drawn() -> None:
    good, out = {"label": "a", "box": [1, 1, 9, 9]}, {"label": "b", "box": [1, 1, 999, 9]}
    kind, drawn = faults([good, out, good], WIDTH, HEIGHT)
    assert kind == "box-outside" and [one.role for one in drawn] == ["plain", "stated", "meant", "stated"]
    assert faults([good, good], WIDTH, HEIGHT)[0] == "box-twice"
    assert faults([{"label": "a", "box": [1, "x", 3, None]}], WIDTH, HEIGHT) == (None, ())


def record(*boxes: tuple[str, Box]) -> Record:
    annotation = [{"label": label, "box": list(box)} for label, box in boxes]
    return Record(id="x", images=("x.png",), annotation=annotation, width=WIDTH, height=HEIGHT)


def test_doubts() -> None:
    kinds = [kind for kind, _, _ in doubts(record(("a", (0.1, 0.1, 0.5, 0.5)), ("a", (5, 5, 6, 90))))]
    assert kinds == ["box-fraction", "box-tiny"]
    assert list(doubts(record(("a", (5, 5, 60, 90)), ("b", (5, 5, 60, 90))))) == []


@given(st.lists(st.tuples(st.sampled_from("ab"), good_boxes()), max_size=8))
def test_nearly_equal_boxes_are_found_as_comparing_all_with_all_finds_them(boxes: list[tuple[str, Box]]) -> None:
    boxes += [(label, (box[0], box[1], box[2], box[3] - 0.25)) for label, box in boxes[:1]]
    expected = any(a[0] == b[0] and iou(a[1], b[1]) >= 0.9 for a, b in combinations(boxes, 2))
    assert ("box-nearly-twice" in [kind for kind, _, _ in doubts(record(*boxes))]) == expected


@pytest.mark.parametrize("number", [10**400, -(10**400), 2**53 + 2, float("inf"), float("nan")])
def test_numbers_beyond_all_measure_are_no_box(number: float) -> None:
    assert as_box([0, 0, number, 5]) is None
    assert faults([0, 0, number, 5], WIDTH, HEIGHT) == (None, ())
    assert stated_size({"annotation": 0, "width": number, "height": 5}) is None
    with pytest.raises(ValidationError):
        Record(id="a", images=("a.png",), annotation=[0, 0, 1, 1], width=number, height=5)  # type: ignore[arg-type]
