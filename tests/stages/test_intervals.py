"""Bootstrap intervals: right for means, right for other metrics, and covering what they should."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.stages.intervals import intervals


def mean_metric(pairs):
    return {"score": sum(guess for _, guess in pairs) / len(pairs)}


def spread_metric(pairs):
    """Not a mean over records: the standard deviation."""
    return {"spread": float(np.std([guess for _, guess in pairs]))}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_an_interval_lies_within_the_values_and_around_the_mean(values: list[float]) -> None:
    pairs = [(None, value) for value in values]
    low, high = intervals(mean_metric, pairs, resamples=200, seed=0)["score"]
    assert min(values) - 1e-6 <= low <= high <= max(values) + 1e-6
    assert low - 0.2 <= sum(values) / len(values) <= high + 0.2


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


def test_one_record_and_undefined_metrics_do_not_break() -> None:
    found = intervals(lambda pairs: {"a": 1.0, "b": math.nan}, [(0, 0)], resamples=10, seed=0)
    assert found == {"a": [1.0, 1.0]}


def test_the_same_seed_gives_the_same_interval() -> None:
    pairs = [(None, value) for value in np.random.default_rng(0).random(20)]
    assert intervals(mean_metric, pairs, resamples=50, seed=4) == intervals(mean_metric, pairs, resamples=50, seed=4)
    assert intervals(mean_metric, pairs, resamples=50, seed=4) != intervals(mean_metric, pairs, resamples=50, seed=5)
