"""Scores of a predicted set of function calls against the true one (Reason-RFT's spatial transformation).

A call is a triple ``(function, object, value)``. The order of calls is left to the simulator in ``rewards.states``.
Weights: 1 for an equal triple, 0.5 for the same function and object or the same function and value, 0.25 for the same
function, 0 otherwise; divided by the larger number of distinct calls, times the share of distinct calls among those
written (so that saying one thing twice costs). Source: the Reason-RFT code, ``func_accuracy_reward`` and its variants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rise_vlm.rewards.assignment import best_assignment

Call = tuple[str, int, str]

WORST = -0.5
"""The least that ``penalty_credit`` gives."""


def likeness(truth: Call, guess: Call) -> float:
    """1, 0.5, 0.25 or 0: how much of ``truth`` a call says."""
    if truth == guess:
        return 1.0
    if truth[0] != guess[0]:
        return 0.0
    return 0.5 if truth[1] == guess[1] or truth[2] == guess[2] else 0.25


def partial_credit(truth: Sequence[Call], guess: Sequence[Call]) -> float:
    """Partial credit in 0..1 under the best one-to-one assignment of guessed to true calls (ours)."""
    true, said, weight = _sets(truth, guess)
    if not weight:
        return 0.0
    worth = np.array([[likeness(a, b) for b in said] for a in true])
    return weight * float(sum(worth[row, column] for row, column in best_assignment(worth)))


def official_credit(truth: Sequence[Call], guess: Sequence[Call]) -> float:
    """Partial credit as the official code pairs: greedily, exact triples first, then by object, by value, by function.

    That code goes through sets in hash order, which differs between processes; here calls go in the order written.
    """
    credit = {"exact": 1.0, "object": 0.5, "value": 0.5, "function": 0.25}
    return _greedy(truth, guess, credit)


def exact_credit(truth: Sequence[Call], guess: Sequence[Call]) -> float:
    """Equal triples only (``only_full_func_accuracy_reward``, which the official scripts train with)."""
    true, said, weight = _sets(truth, guess)
    return weight * len(set(true) & set(said))


def penalty_credit(truth: Sequence[Call], guess: Sequence[Call]) -> float:
    """-0.5 to 1: equal triples earn, near misses cost (``penalty_func_accuracy_reward``)."""
    return _greedy(truth, guess, {"exact": 1.0, "object": -0.25, "value": -0.25, "function": WORST})


def _sets(truth: Sequence[Call], guess: Sequence[Call]) -> tuple[list[Call], list[Call], float]:
    """(distinct true calls, distinct guessed calls, what a full match of one is worth); 0 where either is empty."""
    true, said = list(dict.fromkeys(truth)), list(dict.fromkeys(guess))
    if not true or not said:
        return true, said, 0.0
    return true, said, len(said) / len(guess) / max(len(true), len(said))


def _greedy(truth: Sequence[Call], guess: Sequence[Call], credit: dict[str, float]) -> float:
    left, said, weight = _sets(truth, guess)
    same: dict[str, Callable[[Call, Call], bool]] = {
        "exact": lambda a, b: a == b,
        "object": lambda a, b: a[:2] == b[:2],
        "value": lambda a, b: (a[0], a[2]) == (b[0], b[2]),
        "function": lambda a, b: a[0] == b[0],
    }
    total = 0.0
    for kind, worth in credit.items():
        for call in list(said):
            match = next((true for true in left if same[kind](true, call)), None)
            if match is not None:
                left.remove(match)
                said.remove(call)
                total += worth
    return weight * total
