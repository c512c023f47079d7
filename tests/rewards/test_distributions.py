"""Distances of distributions against scipy and by their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial.distance import cosine as scipy_cosine
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from rise_vlm.rewards.distributions import cosine, emd, jsd, kl, official_distribution

vectors = st.lists(st.integers(0, 15), min_size=5, max_size=5).filter(any).map(lambda n: np.array(n) / sum(n))


def transport(p, q):
    """The cost of moving p to q where every move costs 1, by linear programming."""
    n = len(p)
    cost = 1 - np.eye(n).ravel()
    rows = [np.kron(np.eye(n)[i], np.ones(n)) for i in range(n)] + [np.kron(np.ones(n), np.eye(n)[i]) for i in range(n)]
    return linprog(cost, A_eq=np.array(rows), b_eq=np.concatenate([p, q])).fun


@given(vectors, vectors)
def test_they_agree_with_scipy(p, q):
    assert jsd(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-9)
    assert cosine(p, q) == pytest.approx(1 - scipy_cosine(p, q), abs=1e-9)
    floored = [np.maximum(v, 1e-3) / np.maximum(v, 1e-3).sum() for v in (p, q)]
    assert kl(p, q) == pytest.approx(entropy(*floored), abs=1e-9)


@given(vectors, vectors)
def test_emd_is_the_cost_of_transport(p, q):
    assert emd(p, q) == pytest.approx(transport(p, q), abs=1e-6)


@given(vectors, vectors, st.permutations(range(5)))
def test_bounds_identity_and_permutation(p, q, order):
    for distance, most in ((jsd, 1), (emd, 1), (kl, math.log(1000))):
        assert distance(p, p) == pytest.approx(0, abs=1e-12)
        assert 0 <= distance(p, q) <= most
        assert distance(p[list(order)], q[list(order)]) == pytest.approx(distance(p, q), abs=1e-12)
    for likeness in (cosine, official_distribution):
        assert likeness(p, p) == pytest.approx(1)
        assert 0 <= likeness(p, q) <= 1


def test_disjoint_distributions_are_as_far_as_can_be():
    assert jsd([1, 0], [0, 1]) == emd([1, 0], [0, 1]) == 1
    assert cosine([1, 0], [0, 1]) == 0
    assert cosine([0, 0], [0, 1]) == 0


def test_the_official_reward_of_published_cases():
    truth = [0, 1 / 6, 0.1, 14 / 30, 0.1, 1 / 6, 0]
    assert official_distribution(truth, [1 / 7] * 7) == pytest.approx(0.758, abs=1e-3)
    assert official_distribution(truth, [0, 0, 0, 1, 0, 0, 0]) == pytest.approx(0.004, abs=1e-3)
