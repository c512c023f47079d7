"""The paired interval: what it is for known data, how often it holds the truth, and that seeds count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rise_vlm.stages.paired import OneSeed, difference

_scores = st.lists(st.floats(-1, 1), min_size=2, max_size=12)


def one(deltas, pictures=None) -> OneSeed:
    return OneSeed(list(deltas), pictures or [str(i) for i in range(len(deltas))])


@settings(max_examples=30)
@given(st.lists(_scores, min_size=1, max_size=3))
def test_the_mean_lies_in_the_interval_and_swapping_the_arms_turns_it_round(seeds: list[list[float]]) -> None:
    found = difference([one(deltas) for deltas in seeds], resamples=200)
    other = difference([one([-d for d in deltas]) for deltas in seeds], resamples=200)
    assert found.mean == pytest.approx(np.mean([np.mean(deltas) for deltas in seeds]))
    assert found.low <= found.high and found.detectable >= 0
    assert other.mean == pytest.approx(-found.mean)
    assert other.high - other.low == pytest.approx(found.high - found.low, rel=0.4, abs=0.05)


def test_one_seed_agrees_with_the_textbook() -> None:
    deltas = np.random.default_rng(0).normal(0.1, 0.3, 400)
    found = difference([one(deltas)])
    half = 1.96 * deltas.std(ddof=1) / np.sqrt(400)
    assert found.low == pytest.approx(deltas.mean() - half, abs=0.002)
    assert found.high == pytest.approx(deltas.mean() + half, abs=0.002)
    assert found.detectable == pytest.approx((1.96 + 0.84) * deltas.std() / np.sqrt(400), rel=0.03)


def test_records_of_one_picture_are_not_independent() -> None:
    deltas = np.repeat(np.random.default_rng(0).normal(0, 0.3, 50), 4)
    apart = difference([one(deltas)])
    together = difference([one(deltas, [str(i // 4) for i in range(200)])])
    assert together.high - together.low == pytest.approx(2 * (apart.high - apart.low), rel=0.1)


def test_seeds_that_disagree_widen_the_interval_as_student_s_t_does() -> None:
    rng = np.random.default_rng(0)
    level = [0.0, 0.2, 0.4]
    apart = difference([one(shift + rng.normal(0, 0.01, 300)) for shift in level])
    half = 4.303 * np.std(level, ddof=1) / np.sqrt(3)
    assert apart.high - apart.mean == pytest.approx(half, rel=0.1)
    same = difference([one(0.2 + rng.normal(0, 0.3, 300)) for _ in level])
    assert same.high - same.low < 0.15 < apart.high - apart.low


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_the_truth_lies_in_about_95_of_100_intervals(spread: float) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for number in range(120):
        seeds = [one(0.05 + rng.normal(0, spread) + rng.normal(0, 0.3, 60)) for _ in range(3)]
        found = difference(seeds, resamples=300, seed=number)
        held += found.low <= 0.05 <= found.high
    assert held >= 0.88 * 120


def test_power_is_what_it_says() -> None:
    """Of differences as large as the detectable one, about 80 % are told from zero."""
    rng = np.random.default_rng(2)
    true = difference([one(rng.normal(0, 0.3, 100))]).detectable
    told = sum(difference([one(rng.normal(true, 0.3, 100))], resamples=300).told_apart for _ in range(120))
    assert 0.68 * 120 <= told <= 0.92 * 120


def test_what_never_varies_is_not_taken_for_certain() -> None:
    found = difference([one([0.0] * 10)])
    assert found.low < 0 < found.high and not found.told_apart
    sure = difference([one([1.0] * 10)])
    assert sure.high == 1.0 and 0.5 < sure.low < 1
    large = difference([one([-7.0] * 10)])  # of a metric that is no share
    assert large.low < -7 < large.high


def test_one_picture_has_no_interval() -> None:
    found = difference([one([0.3, 0.5], ["a", "a"])])
    assert (found.mean, found.low, found.detectable, found.told_apart) == (0.4, None, None, False)
