"""Distributions: canonical text, strict parsing, scores and metrics with their bounds."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.errors import UserError
from rise_vlm.tasks.distribution import Distribution, hundredths

CLASSES = ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral")
TASK = Distribution(CLASSES)
OFFICIAL = Distribution(CLASSES, score="official")

votes = st.lists(st.integers(0, 15), min_size=7, max_size=7).filter(any)


def shares(counts):
    return {name: n / sum(counts) for name, n in zip(CLASSES, counts, strict=True) if n}


def test_canonical_form():
    annotation = {"neutral": 2 / 15, "joy": 9 / 15, "surprise": 4 / 15, "fear": 0.0}
    assert TASK.render(annotation, None, None) == "joy: 0.60, surprise: 0.27, neutral: 0.13"


def test_the_most_probable_class_comes_first_and_ties_stand_in_class_order():
    assert TASK.render({"anger": 0.1, "sadness": 0.9}, None, None) == "sadness: 0.90, anger: 0.10"
    assert TASK.render({"sadness": 0.5, "anger": 0.5}, None, None) == "anger: 0.50, sadness: 0.50"
    assert TASK.render({"joy": 1}, None, None) == "joy: 1.00"


def test_thirds_sum_to_one():
    thirds = {"anger": 1 / 3, "fear": 1 / 3, "joy": 1 / 3}
    assert TASK.render(thirds, None, None) == "anger: 0.34, fear: 0.33, joy: 0.33"


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40).filter(lambda p: sum(p) > 1e-3))
def test_hundredths_sum_to_a_hundred_and_stay_within_one(weights):
    vector = np.array(weights) / np.sum(weights)
    cents = hundredths(vector)
    assert sum(cents) == 100
    assert all(abs(c / 100 - p) < 0.01 + 1e-9 for c, p in zip(cents, vector, strict=True))


@given(votes)
def test_render_is_read_back_to_a_hundredth(counts):
    annotation = shares(counts)
    value = TASK.parse(TASK.render(annotation, None, None), None, None).value
    assert list(value) == list(CLASSES)
    assert math.fsum(value.values()) == pytest.approx(1)
    assert all(abs(value[name] - annotation.get(name, 0)) < 0.01 + 1e-9 for name in CLASSES)


@pytest.mark.parametrize(
    "text",
    [
        "joy: 0.6, surprise: 0.4",
        "Joy:0.60,SURPRISE:.4",
        "surprise: 0.40,\njoy: 0.60",
        '{"joy": 0.6, "surprise": 0.4}',
        '{"surprise": 0.4, "joy": 0.6, "fear": 0}',
        "joy: 0.60, surprise: 0.40, neutral: 0",
    ],
)
def test_ways_to_write_the_same(text):
    value = TASK.parse(text, None, None).value
    assert value == pytest.approx({**dict.fromkeys(CLASSES, 0.0), "joy": 0.6, "surprise": 0.4})


def test_a_sum_within_two_hundredths_is_normalised():
    value = TASK.parse("joy: 0.61, surprise: 0.41", None, None).value
    assert value["joy"] == pytest.approx(0.61 / 1.02)


FAILURES = {
    "": "empty",
    "joy": "not of the form",
    "joy 0.6, surprise 0.4": "not of the form",
    "joy: 0.60, surprise: 0.27": "sum to 0.87",
    "joy: 1.00, surprise: 1.00": "sum to 2.00",
    "joy: 0.5, joy: 0.5": "given twice",
    "joy: 0.5, JOY: 0.5": "given twice",
    "joy: 0.6, bliss: 0.4": "'bliss' is not one of the classes",
    "joy: 1.2, surprise: -0.2": "not",
    "joy: nan": "not a probability",
    "joy: inf": "not a probability",
    "joy: 60%, surprise: 40%": "not a probability",
    "joy: 1.5": "between 0 and 1",
    "joy: 0.60; surprise: 0.40": "not a probability",
    "joy: 0.60, surprise: 0.40,": "not of the form",
    "joy: 1.00. It is joy.": "not a probability",
    "{joy: 1.0}": "not a JSON object",
    '{"joy": 1.0} {"joy": 1.0}': "not a JSON object",
    '{"joy": NaN}': "not between 0 and 1",
    '{"joy": -1, "fear": 2}': "not between 0 and 1",
    '{"joy": true}': "not a number",
    '{"joy": "1.0"}': "not a number",
    '{"joy": 0.5, "joy": 0.5}': "given twice",
    '{"joy": {"joy": 1}}': "not a number",
    "{}": "sum to 0.00",
    '{"a":' * 5000: "not a JSON object",
    '{"joy": ' + "9" * 5000 + "}": "not",
    "joy: " + "9" * 5000: "not a probability",
}


@pytest.mark.parametrize("text", FAILURES, ids=range(len(FAILURES)))
def test_anything_else_is_a_failure_with_its_reason(text):
    parsed = TASK.parse(text, None, None)
    assert parsed.value is None
    assert FAILURES[text] in parsed.reason


@given(votes, votes)
def test_scores_are_bounded_finite_and_one_at_equality_only(truth, guess):
    p, q = shares(truth), shares(guess)
    for task in (TASK, OFFICIAL):
        score = task.score(p, q)
        assert math.isfinite(score)
        assert 0 <= score <= 1
        assert task.score(p, p) == pytest.approx(1, abs=1e-12)
        if max(abs(p.get(name, 0) - q.get(name, 0)) for name in CLASSES) > 1e-3:
            assert score < 1 - 1e-9


@given(votes, votes, st.randoms(use_true_random=False))
def test_the_order_of_the_classes_does_not_matter(truth, guess, rng: random.Random):
    other = list(CLASSES)
    rng.shuffle(other)
    pairs = [(shares(truth), shares(guess)), (shares(guess), None)]
    assert Distribution(other).metrics(pairs) == pytest.approx(TASK.metrics(pairs), abs=1e-12)


def test_a_missing_answer_is_the_worst_answer():
    p = {"joy": 0.6, "fear": 0.4}
    missing = TASK.metrics([(p, None)])
    worst = TASK.metrics([(p, {"anger": 1.0})])
    assert missing["score"] == worst["score"] == pytest.approx(0)
    assert missing["parsed"] == 0
    for metric, value in missing.items():
        better = max if metric in TASK.lower_is_better else min
        assert better(value, worst[metric]) == pytest.approx(value, abs=1e-9)


def test_metrics_by_hand():
    metrics = TASK.metrics([({"joy": 1.0}, {"joy": 0.5, "fear": 0.5})])
    # M = (0.75, 0.25): H(M) - (0 + 1) / 2 = 0.8113 - 0.5; top-1: one of the two tied classes is right
    assert metrics["jsd"] == pytest.approx(0.81127812 - 0.5)
    assert metrics["score"] == pytest.approx(1.5 - 0.81127812)
    assert metrics["emd"] == pytest.approx(0.5)
    assert metrics["cosine"] == pytest.approx(math.sqrt(0.5))
    assert metrics["top1"] == 0.5


def test_a_tie_in_truth_is_met_by_either_class():
    truth = {"joy": 0.5, "fear": 0.5}
    assert TASK.metrics([(truth, {"fear": 0.9, "joy": 0.1})])["top1"] == 1


def test_floors_are_the_scores_of_constant_answers():
    truth = [{"joy": 1.0}, {"fear": 1.0}]
    floors = TASK.floors(truth)
    assert floors["uniform"] == pytest.approx(TASK.score({"joy": 1.0}, dict.fromkeys(CLASSES, 1 / 7)))
    assert floors["dataset_mean"] == pytest.approx(TASK.score({"joy": 1.0}, {"joy": 0.5, "fear": 0.5}))
    assert TASK.floors(truth, train=[{"joy": 1.0}])["dataset_mean"] == pytest.approx(0.5)


def test_check_names_what_is_wrong():
    assert TASK.check({"joy": 0.6, "fear": 0.4}, None) is None
    assert "sum to 0.9" in TASK.check({"joy": 0.5, "fear": 0.4}, None)
    assert "sum to 0" in TASK.check({}, None)
    assert "Did you mean 'joy'" in TASK.check({"joi": 1.0}, None)
    for bad in (math.nan, -0.5, 1.5, "1", None, True):
        assert "'joy' must be a number from 0 to 1" in TASK.check({"joy": bad}, None)
    assert "got list" in TASK.check([0.5, 0.5], None)


def test_a_truth_that_the_task_does_not_know_never_becomes_a_score():
    with pytest.raises(UserError, match="not a class"):
        TASK.score({"bliss": 1.0}, {"joy": 1.0})
    with pytest.raises(UserError, match="no class"):
        TASK.score({}, {"joy": 1.0})


def test_names_that_the_answer_form_uses_are_refused():
    for name in ("a, b", "a: b", "{a}", '"a"'):
        with pytest.raises(UserError, match="rename it"):
            Distribution(["dog", name])


def test_an_unknown_score_is_refused():
    with pytest.raises(UserError, match="neither"):
        Distribution(CLASSES, score="kl")
