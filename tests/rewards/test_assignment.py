"""The assignment is the best one: scipy is the oracle."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from rise_vlm.rewards.assignment import best_assignment

matrices = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda shape: arrays(float, shape, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0, -0.3]))
)


@given(matrices)
def test_the_total_is_scipys_and_each_row_and_column_is_used_once(worth):
    pairs = best_assignment(worth)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    assert sum(worth[at] for at in pairs) == pytest.approx(worth[rows, columns].sum())
    assert len(pairs) == min(worth.shape)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)


def test_an_empty_side_has_no_pairs():
    assert best_assignment(np.zeros((0, 3))) == best_assignment(np.zeros((3, 0))) == []


@pytest.mark.parametrize("kind", ["equal", "sparse"])
def test_hundreds_of_boxes_take_no_minutes(kind):
    """Equal worths are the hard case: without a preference for what is free the paths grow with every row."""
    rng = np.random.default_rng(0)
    worth = np.ones((300, 600)) if kind == "equal" else rng.random((300, 600)) * (rng.random((300, 600)) < 0.02)
    start = time.process_time()
    pairs = best_assignment(worth)
    assert time.process_time() - start < 3
    rows, columns = linear_sum_assignment(worth, maximize=True)
    assert sum(worth[at] for at in pairs) == pytest.approx(worth[rows, columns].sum())
