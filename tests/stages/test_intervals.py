"""Bootstrap intervals: right for means, right for other metrics, and covering what they should."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.stages.intervals import drawn_together, intervals, split_intervals
from rise_vlm.tasks.detection import Detection


def mean_metric(pairs):
    return {"score": sum(guess for _, guess in pairs) / len(pairs)}


def spread_metric(pairs):
    """Not a mean over records: the standard deviation."""
    return {"spread": float(np.std([guess for _, guess in pairs]))}


@given(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=30))
def test_an_interval_lies_within_the_values_and_around_the_mean(values: list[float]) -> None:
    pairs = [(None, value) for value in values]
    low, high = intervals(mean_metric, pairs, resamples=200, seed=0)["score"]
    assert min(values) - 1e-6 <= low <= high <= max(values) + 1e-6
    assert low - 1e-6 <= sum(values) / len(values) <= high + 1e-6


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(0).random(400)
    low, high = intervals(mean_metric, [(None, v) for v in values], resamples=2000, seed=1)["score"]
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.004)
    assert high == pytest.approx(values.mean() + half, abs=0.004)


def test_a_metric_that_is_no_mean_is_recomputed_on_each_resample() -> None:
    values = np.random.default_rng(0).normal(size=100)
    low, high = intervals(spread_metric, [(None, v) for v in values], resamples=1000, seed=1)["spread"]
    assert low < values.std() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(200), rel=0.35)


def test_means_cover_the_truth_about_as_often_as_promised() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(120):
        pairs = [(None, value) for value in rng.random(60)]
        low, high = intervals(mean_metric, pairs, resamples=200, seed=trial)["score"]
        hits += low <= 0.5 <= high
    assert 0.87 <= hits / 120 <= 1.0


def test_one_picture_has_no_interval_and_undefined_metrics_have_none() -> None:
    def metrics(pairs):
        return {"a": 1.0, "b": math.nan}

    assert intervals(metrics, [(0, 0)], resamples=10, seed=0) == {}
    assert intervals(metrics, [(0, 0)] * 3, resamples=10, seed=0, pictures=["a"] * 3) == {}
    assert set(intervals(metrics, [(0, 0)] * 3, resamples=10, seed=0)) == {"a"}


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_share_without_exception_is_not_taken_for_certain(value: float) -> None:
    """scipy's Wilson interval, which also is what 8 of 8 right answers are worth."""
    from scipy.stats import binomtest

    wanted = binomtest(8 if value else 0, 8).proportion_ci(0.95, method="wilson")
    found = intervals(mean_metric, [(None, value)] * 8, resamples=50, seed=0)["score"]
    assert found == pytest.approx([wanted.low, wanted.high], abs=1e-5)


@pytest.mark.parametrize(("metric", "name"), [(mean_metric, "score"), (spread_metric, "spread")])
def test_records_of_one_picture_are_drawn_together(metric, name: str) -> None:
    """Four copies of each record say no more than one: the interval of the pictures."""
    values = np.random.default_rng(0).random(60)
    pairs = [(None, value) for value in values for _ in range(4)]
    pictures = [str(i) for i in range(60) for _ in range(4)]

    def width(found) -> float:
        low, high = found[name]
        return high - low

    once = width(intervals(metric, [(None, value) for value in values], resamples=800, seed=1))
    together = width(intervals(metric, pairs, resamples=800, seed=1, pictures=pictures))
    apart = width(intervals(metric, pairs, resamples=800, seed=1))
    assert together == pytest.approx(once, rel=0.15)
    assert apart < 0.65 * once


def test_the_same_seed_gives_the_same_interval() -> None:
    pairs = [(None, value) for value in np.random.default_rng(0).random(20)]
    assert intervals(mean_metric, pairs, resamples=50, seed=4) == intervals(mean_metric, pairs, resamples=50, seed=4)
    assert intervals(mean_metric, pairs, resamples=50, seed=4) != intervals(mean_metric, pairs, resamples=50, seed=5)


def test_average_precision_has_an_interval_over_pictures() -> None:
    task = Detection(["car"])
    box, far = {"label": "car", "box": [0, 0, 30, 30]}, {"label": "car", "box": [60, 60, 90, 90]}
    pairs = [([box], [box] if number % 2 else [far]) for number in range(60)]
    pictures = [str(number) for number in range(60)]
    found = split_intervals(task.ranked(pairs), 300, 0, pictures)
    whole = task.split_metrics(pairs)
    assert found == split_intervals(task.ranked(pairs), 300, 0, pictures) and set(found) == {"ap", "ap50"}
    assert found["ap"][0] < whole["ap"] < found["ap"][1] and 0.1 < found["ap"][1] - found["ap"][0] < 0.5
    certain = split_intervals(task.ranked([([box], [box])] * 60), 300, 0, pictures)
    assert certain["ap"][1] == 1 and 0.9 < certain["ap"][0] < 1
    assert split_intervals(task.ranked(pairs), 300, 0, ["one"] * 60) == {}


def test_rows_that_share_any_picture_are_drawn_together() -> None:
    rows = [{"image": "a", "more": ["b"]}, {"image": "b", "more": ["c"]}, {"image": "d"}, {"image": "c", "more": None}]
    assert drawn_together(rows) == ["a", "a", "d", "a"]
