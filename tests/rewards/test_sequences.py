"""The scores of calls against the formula of the official code, written here once more from its description."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rise_vlm.rewards.sequences import WORST, exact_credit, official_credit, partial_credit, penalty_credit

a_call = st.tuples(st.sampled_from(["color", "size"]), st.integers(0, 2), st.sampled_from(["a", "b"]))
calls = st.lists(a_call, min_size=1, max_size=5)
EVERYTHING = (0, 1, 2)
STAGES = (EVERYTHING, (0, 1), (0, 2), (0,))
"""What has to agree, in the order in which pairs are looked for."""


def formula(truth, guess, worth):
    """rep / max(|P|, |S|) per point of ``worth``, each call used once, in the order of ``STAGES``."""
    gold, said = list(dict.fromkeys(truth)), list(dict.fromkeys(guess))
    weight = len(said) / len(guess) / max(len(gold), len(said))
    used_gold, used_said, points = set(), set(), 0.0
    for keys, value in zip(STAGES, worth, strict=True):
        for i, one in enumerate(said):
            free = [j for j, true in enumerate(gold) if j not in used_gold and all(true[k] == one[k] for k in keys)]
            if i not in used_said and free:
                used_said.add(i)
                used_gold.add(free[0])
                points += value
    return weight * points


@given(calls, calls)
@settings(deadline=None)
def test_the_official_formulas(truth, guess):
    assert official_credit(truth, guess) == pytest.approx(formula(truth, guess, (1, 0.5, 0.5, 0.25)))
    assert exact_credit(truth, guess) == pytest.approx(formula(truth, guess, (1, 0, 0, 0)))
    assert penalty_credit(truth, guess) == pytest.approx(formula(truth, guess, (1, -0.25, -0.25, -0.5)))
    assert penalty_credit(truth, guess) >= WORST


@given(calls, calls)
@settings(deadline=None)
def test_the_best_assignment_is_no_worse_than_the_greedy_one(truth, guess):
    assert partial_credit(truth, guess) >= official_credit(truth, guess) - 1e-12


def test_the_greedy_pairing_can_be_worse():
    truth = [("color", 0, "a"), ("color", 0, "b")]
    guess = [("color", 0, "c"), ("color", 1, "a")]
    assert partial_credit(truth, guess) == pytest.approx(0.5)
    assert official_credit(truth, guess) == pytest.approx(0.375)
