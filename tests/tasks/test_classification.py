"""Classification: exact names only, figures by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.errors import UserError
from rise_vlm.tasks.classification import Classification

CLASSES = ["frying pan", "remote control", "dog", "Boeing 737-200", "Boeing 737-300", "猫"]
TASK = Classification(CLASSES)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("dog", "dog"),
        (" Dog\n", "dog"),
        ("FRYING_PAN", "frying pan"),
        ("frying-pan", "frying pan"),
        ("boeing 737 200", "Boeing 737-200"),
        ("猫", "猫"),
    ],
)
def test_a_name_is_read_whatever_its_case_and_joints(text, value):
    assert TASK.parse(text, None, None).value == value


@pytest.mark.parametrize(
    "text",
    ["", " ", "d", "do", "pan", "dogs", "the dog", "dog.", "'dog'", "Boeing", "Boeing 737", "cat", "None", "0"],
)
def test_anything_else_is_a_failure_with_a_reason(text):
    parsed = TASK.parse(text, None, None)
    assert parsed.value is None
    assert parsed.reason


@pytest.mark.parametrize("text", ["dog, frying pan", "dog or frying pan", "dog dog", "frying pan, remote control, dog"])
def test_several_names_are_a_failure(text):
    parsed = TASK.parse(text, None, None)
    assert parsed.value is None
    assert parsed.reason


@given(st.sampled_from(CLASSES))
def test_render_is_read_back(name):
    assert TASK.parse(TASK.render(name, None, None), None, None).value == name


@given(st.sampled_from(CLASSES), st.sampled_from([*CLASSES, None]))
def test_the_score_is_one_at_equality_and_zero_elsewhere(truth, guess):
    assert TASK.score(truth, guess) == (1.0 if truth == guess else 0.0)


def test_metrics_by_hand():
    pairs = [("dog", "dog"), ("dog", "frying pan"), ("frying pan", "frying pan"), ("frying pan", None)]
    metrics = TASK.metrics(pairs)
    # dog: TP 1, FP 0, FN 1 -> 2/3; frying pan: TP 1, FP 1, FN 1 -> 1/2; the classes that occur nowhere do not count
    assert metrics == {"score": 0.5, "parsed": 0.75, "top1": 0.5, "macro_f1": pytest.approx((2 / 3 + 1 / 2) / 2)}


def test_macro_f1_shows_what_always_naming_the_majority_is_worth():
    pairs = [("dog", "dog")] * 9 + [("frying pan", "dog")]
    metrics = TASK.metrics(pairs)
    assert metrics["top1"] == 0.9
    assert metrics["macro_f1"] == pytest.approx((18 / 19 + 0) / 2)


def test_metrics_of_nothing_are_refused():
    for measure in (TASK.metrics, TASK.floors):
        with pytest.raises(UserError, match="no answers to measure"):
            measure([])


def test_floors():
    truth = ["dog", "dog", "frying pan", "猫"]
    assert TASK.floors(truth) == {"uniform": 1 / 6, "majority": 0.5}
    assert TASK.floors(truth, train=["frying pan", "frying pan", "dog"])["majority"] == 0.25


def test_check_names_what_is_wrong():
    assert TASK.check("dog", None) is None
    assert "Did you mean 'dog'" in TASK.check("dogg", None)
    assert "got int" in TASK.check(3, None)
    assert TASK.check("Dog", None)
