"""Self-consistency: what the samples agree on, and a confidence that means the same for every task."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.rewards.distributions import jsd
from rise_vlm.stages.consistency import agree, by_certainty, certainty, needs_review
from rise_vlm.tasks import TASKS
from rise_vlm.tasks.base import Task

CLASSES = ["cat", "dog", "bird"]


def task(name: str) -> Task:
    return TASKS[name](CLASSES if name in ("classification", "distribution", "detection") else (), "What?")


def things(*boxes: tuple[str, list[float]]) -> list[dict[str, Any]]:
    return [{"label": label, "box": box} for label, box in boxes]


def test_classes_are_voted_on_and_the_confidence_is_the_share_of_votes() -> None:
    agreed = agree(task("classification"), ["cat", "dog", "dog", None])
    assert (agreed.value, agreed.confidence, agreed.like) == ("dog", 0.5, 1)


def test_of_equal_votes_the_first_wins() -> None:
    assert agree(task("classification"), ["bird", "cat", "cat", "bird"]).value == "bird"


def test_a_letter_and_equal_numbers_are_voted_on() -> None:
    assert agree(task("structure"), ["B", "A", "B"]).value == "B"
    assert agree(task("structure"), [2, 2.0, 9]).value == 2


def test_functions_are_voted_on_as_text() -> None:
    calls = "change_color(0, red)"
    agreed = agree(task("transformation"), [calls, calls, "change_size(1, small)"])
    assert agreed.value == calls and 2 / 3 <= agreed.confidence < 1


@pytest.mark.parametrize(
    ("counts", "answer", "confidence"), [([3, 3, 7], 3, 2 / 3), ([1, 4, 5, 9], 4, 1 / 4), ([5, None, None], 5, 1 / 3)]
)
def test_counts_take_the_most_frequent_and_else_the_middle(counts: list[Any], answer: int, confidence: float) -> None:
    agreed = agree(task("counting"), counts)
    assert agreed.value == answer and agreed.confidence == pytest.approx(confidence)


def test_distributions_are_averaged_and_the_confidence_falls_with_their_divergence() -> None:
    one, other = {"cat": 1.0}, {"cat": 0.5, "dog": 0.5}
    agreed = agree(task("distribution"), [one, other])
    assert agreed.value == pytest.approx({"cat": 0.75, "dog": 0.25})
    mean = [0.75, 0.25, 0.0]
    divergence = (jsd(mean, [1, 0, 0]) + jsd(mean, [0.5, 0.5, 0])) / 2
    assert agreed.confidence == pytest.approx(1 - divergence)


def test_regions_that_overlap_are_averaged_and_a_stray_one_is_not() -> None:
    agreed = agree(task("grounding"), [[10, 10, 30, 30], [100, 100, 120, 120], [12, 10, 32, 30]])
    assert agreed.value == [11, 10, 31, 30]
    shifted = 19 / 21  # the IoU of a box of 20 with itself moved by 1
    assert agreed.confidence == pytest.approx(2 * shifted / 3) and agreed.like == 0


def test_a_thing_that_most_samples_have_stays_with_its_own_confidence() -> None:
    cat, near, dog = [0, 0, 10, 10], [0, 0, 10, 12], [50, 50, 60, 60]
    samples = [things(("cat", cat), ("dog", dog)), things(("cat", near)), things(("cat", cat), ("bird", cat))]
    agreed = agree(task("detection"), samples)
    assert [thing["label"] for thing in agreed.value] == ["cat"]
    x1, y1, x2, y2 = agreed.value[0]["box"]
    assert (x1, y1, x2) == (0, 0, 10) and y2 == pytest.approx(32 / 3)
    assert agreed.scores == [pytest.approx((2 * 30 / 32 + 32 / 36) / 3, abs=1e-6)]
    assert 0 < agreed.confidence < 1


def test_two_things_of_one_class_stay_two() -> None:
    left, right = [0, 0, 10, 10], [40, 0, 50, 10]
    agreed = agree(task("detection"), [things(("cat", left), ("cat", right)), things(("cat", right), ("cat", left))])
    assert [thing["box"] for thing in agreed.value] == [left, right]
    assert agreed.scores == [1, 1] and agreed.confidence == 1


def test_samples_that_find_nothing_agree_on_nothing() -> None:
    agreed = agree(task("detection"), [[], [], []])
    assert (agreed.value, agreed.confidence, agreed.scores) == ([], 1.0, [])
    scattered = [things(("cat", [20 * i, 0, 20 * i + 9, 9])) for i in range(3)]
    agreed = agree(task("detection"), scattered)
    assert (agreed.value, agreed.confidence) == ([], 0.0)


def test_without_a_readable_sample_there_is_no_answer() -> None:
    for name in TASKS:
        agreed = agree(task(name), [None, None])
        assert (agreed.value, agreed.confidence) == (None, 0.0)


SIDES = st.lists(st.integers(0, 40), min_size=4, max_size=4)
BOX = SIDES.map(
    lambda s: [float(n) for n in (min(s[0], s[1]), min(s[2], s[3]), max(s[0], s[1]) + 1, max(s[2], s[3]) + 1)]
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "classification": st.sampled_from(CLASSES),
    "counting": st.integers(0, 5),
    "grounding": BOX,
    "detection": st.lists(st.fixed_dictionaries({"label": st.sampled_from(CLASSES), "box": BOX}), max_size=4),
    "distribution": st.lists(st.integers(1, 9), min_size=3, max_size=3).map(
        lambda parts: {name: part / sum(parts) for name, part in zip(CLASSES, parts, strict=True)}
    ),
    "structure": st.sampled_from(["A", "B", 2, 2.5]),
}


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
def test_the_confidence_is_a_share_and_whole_only_where_all_say_the_same(name: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[name], min_size=2, max_size=6))
    agreed = agree(task(name), values)
    assert 0 <= agreed.confidence <= 1 and 0 <= agreed.like < len(values)
    if agreed.value is None:
        assert values == [None] * len(values)
        return
    assert values[agreed.like] is not None
    if None in values:
        assert agreed.confidence <= 1 - 1 / len(values) + 1e-9
    alike = agree(task(name), [values[agreed.like]] * 3)
    if name != "detection":  # of which a sample may list one box twice
        assert alike.confidence == pytest.approx(1)


@pytest.mark.parametrize("name", ["counting", "grounding", "detection", "distribution"])
@given(data=st.data())
def test_the_order_of_the_samples_does_not_matter(name: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(VALUES[name], min_size=2, max_size=5))
    mixed = list(values)
    random.Random(data.draw(st.integers(0, 99))).shuffle(mixed)
    one, other = agree(task(name), values), agree(task(name), mixed)
    if name == "distribution":
        assert all(math.isclose(one.value[c], other.value[c], abs_tol=1e-9) for c in CLASSES)
    elif name != "counting":
        assert str(one.value) == str(other.value)
    else:
        assert one.value == other.value
    assert one.confidence == pytest.approx(other.confidence)


@given(samples=st.lists(VALUES["detection"], min_size=2, max_size=5))
def test_fused_boxes_are_an_annotation_of_their_own(samples: list[Any]) -> None:
    from rise_vlm.data import Record

    agreed = agree(task("detection"), samples)
    record = Record(id="a", images=("a.png",), annotation=[], width=41, height=41)
    assert task("detection").check(agreed.value, record) is None
    assert agreed.scores is not None and len(agreed.scores) == len(agreed.value)
    assert all(0 < score <= 1 for score in agreed.scores)


def test_the_least_certain_come_first() -> None:
    rows: list[dict[str, Any]] = [
        {"annotation": "sure", "confidence": 0.9, "reconstruction": 1.0, "review": False},
        {"annotation": "unchecked", "confidence": None, "reconstruction": None, "review": False},
        {"annotation": "elsewhere", "confidence": 1.0, "reconstruction": 0.0, "review": True},
        {"annotation": None, "confidence": 0.0, "reconstruction": None, "review": True},
        {"annotation": "split", "confidence": 0.4, "reconstruction": 1.0, "review": True},
        {"annotation": "both", "confidence": 0.4, "reconstruction": 0.5, "review": True},
    ]
    ordered = [row["annotation"] for row in sorted(rows, key=by_certainty)]
    assert ordered == [None, "elsewhere", "both", "split", "sure", "unchecked"]


@pytest.mark.parametrize(
    ("row", "check", "due"),
    [
        ({"annotation": "cat", "confidence": 0.5, "reconstruction": None}, False, False),
        ({"annotation": "cat", "confidence": 0.49, "reconstruction": None}, False, True),
        ({"annotation": "cat", "confidence": None, "reconstruction": None}, False, False),
        ({"annotation": "cat", "confidence": None, "reconstruction": None}, True, True),
        ({"annotation": "cat", "confidence": 1.0, "reconstruction": 0.2}, True, True),
        ({"annotation": [], "confidence": 1.0, "reconstruction": 1.0}, True, False),
        ({"annotation": None, "confidence": None, "reconstruction": None}, False, True),
    ],
)
def test_what_is_for_review(row: dict[str, Any], check: bool, due: bool) -> None:
    assert needs_review(row, check, 0.5) is due
    assert certainty(row) <= 1
