"""Grounding: one box, strictly, in the frame of either model family."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.policy.frames import ResizedPixels, Thousand
from rise_vlm.tasks.grounding import Grounding

TASK = Grounding(question="Where?")
FRAME = Thousand()


class Photo:
    id, question = "one", "Where?"

    def __init__(self, width=800, height=600):
        self.width, self.height = width, height


@st.composite
def photos_and_boxes(draw):
    width, height = draw(st.integers(60, 6000)), draw(st.integers(60, 6000))
    x1, y1 = draw(st.integers(0, width - 30)), draw(st.integers(0, height - 30))
    return Photo(width, height), [x1, y1, draw(st.integers(x1 + 20, width)), draw(st.integers(y1 + 20, height))]


@pytest.mark.parametrize("text", ["[100, 200, 500, 1000]", " [100,200,500,1000]\n", "[ 100.0 , 200, 500, 1000 ]"])
def test_a_box_is_read_into_pixels(text):
    assert TASK.parse(text, Photo(), FRAME).value == pytest.approx([80, 120, 400, 600])


def test_the_frame_decides_what_the_numbers_mean():
    resized = ResizedPixels()  # 800 x 600 -> 812 x 588
    assert TASK.parse("[0, 0, 812, 588]", Photo(), resized).value == pytest.approx([0, 0, 800, 600])
    assert TASK.render([0, 0, 800, 600], Photo(), resized) == "[0, 0, 812, 588]"
    assert TASK.render([0, 0, 800, 600], Photo(), FRAME) == "[0, 0, 1000, 1000]"


FAILURES = [
    "",
    "none",
    "100, 200, 500, 1000",
    "(100, 200, 500, 1000)",
    "[100, 200, 500]",
    "[100, 200, 500, 1000, 0.9]",
    "[[100, 200, 500, 1000]]",
    "[100, 200, 500, 1000], [0, 0, 10, 10]",
    "[100, 200, 500, 1000] or so",
    "The box is [100, 200, 500, 1000]",
    "[500, 200, 100, 1000]",
    "[100, 1000, 500, 200]",
    "[100, 200, 100, 1000]",
    "[100, 200, 500, 1001]",
    "[-1, 200, 500, 1000]",
    "[nan, 200, 500, 1000]",
    "[100, 200, inf, 1000]",
    "[1e2, 200, 500, 1000]",
    "[x1, y1, x2, y2]",
    "[100, 200, 500, " + "9" * 5000 + "]",
    "[" * 10000,
    "{'Position': [100, 200, 500, 1000], 'Confidence': nan}",
]


@pytest.mark.parametrize("text", FAILURES, ids=range(len(FAILURES)))
def test_anything_else_is_a_failure_with_a_reason(text):
    parsed = TASK.parse(text, Photo(), FRAME)
    assert parsed.value is None
    assert parsed.reason


@given(photos_and_boxes(), st.sampled_from([Thousand(), ResizedPixels()]))
def test_render_is_read_back_within_the_frames_rounding(drawn, frame):
    photo, box = drawn
    value = TASK.parse(TASK.render(box, photo, frame), photo, frame).value
    full = frame.encode([0, 0, photo.width, photo.height], photo.width, photo.height)
    unit = [photo.width / full[2], photo.height / full[3]] * 2
    assert all(abs(a - b) <= u + 1e-6 for a, b, u in zip(value, box, unit, strict=True))
    assert 0 <= value[0] < value[2] <= photo.width
    assert 0 <= value[1] < value[3] <= photo.height


@given(photos_and_boxes(), photos_and_boxes())
def test_scores_are_bounded_and_one_at_equality_only(first, second):
    score = TASK.score(first[1], second[1])
    assert 0 <= score <= 1
    assert TASK.score(first[1], first[1]) == 1
    assert (score == 1) == (first[1] == second[1])


def test_metrics_by_hand():
    small, large = [0, 0, 10, 10], [0, 0, 100, 100]
    metrics = TASK.metrics([(small, [0, 0, 10, 5]), (large, large), (small, None)])
    assert metrics["score"] == metrics["miou"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert metrics["ciou"] == pytest.approx((50 + 10000) / (100 + 10000 + 100))
    assert metrics["acc50"] == pytest.approx(2 / 3)
    assert metrics["parsed"] == pytest.approx(2 / 3)


def test_the_floor_is_the_mean_box():
    truth = [[0, 0, 10, 10], [10, 10, 20, 20]]
    assert TASK.floors(truth) == {"mean_box": pytest.approx(25 / 175)}
    assert TASK.floors(truth, train=[[0, 0, 10, 10]]) == {"mean_box": 0.5}


def test_check_names_what_is_wrong():
    photo = Photo()
    assert TASK.check([0, 0, 800, 600], photo) is None
    assert TASK.check((0.5, 0.5, 10, 10), photo) is None
    assert "swapped" in TASK.check([400, 100, 50, 60], photo)
    assert "no area" in TASK.check([10, 10, 10, 60], photo)
    assert "leaves the image of 800 x 600" in TASK.check([10, 10, 810, 60], photo)
    assert "leaves the image" in TASK.check([-5, 10, 80, 60], photo)
    for bad in (math.nan, math.inf, "1", None, True):
        assert "not a finite number" in TASK.check([0, 0, bad, 10], photo)
    for bad in (None, "0, 0, 10, 10", [1, 2, 3], {"x1": 0}, [[0, 0, 10, 10]]):
        assert "must be a box" in TASK.check(bad, photo)


def test_check_asks_for_a_question():
    photo = Photo()
    photo.question = None
    assert "needs a question" in Grounding().check([0, 0, 10, 10], photo)
    assert TASK.check([0, 0, 10, 10], photo) is None


@pytest.mark.parametrize("rationale", ["The red cup.", ""])
def test_the_lead_in_is_no_part_of_a_rationale(rationale):
    text = f"<think>{rationale} {TASK.lead_in}</think><answer>[100, 200, 500, 1000]</answer>"
    read = TASK.parse_completion(text, Photo(), FRAME, "think")
    assert (read.rationale, read.well_formed) == (rationale, bool(rationale))
    assert read.parsed.value == pytest.approx([80, 120, 400, 600])
    asked = TASK.reconstruct_prompt(Photo(), FRAME, "The red cup.")
    assert f"The red cup.\n{TASK.lead_in}" in asked
