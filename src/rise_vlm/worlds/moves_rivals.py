"""Whether both pictures and the table of a scene of moves leave one shortest answer.

A viewer knows what all things look like at first and where those in sight stand, but nothing of where the others are.
So an answer says which thing is which of those in the second picture, and costs a call for each attribute that differs.
Left out: whether one move can lead into sight or out of it at that place; here it always can.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rise_vlm.rewards.assignment import best_assignment
from rise_vlm.rewards.states import DIRECTIONS, STEP, STEPS, Thing

NEVER = 1000
"""Calls that no answer has."""
SLIGHT = 0.01
"""Of a call, less than a tenth: all ten things exchanged are worth no call."""
REACHED = {(0, 0)} | {(dx * STEP * steps, dy * STEP * steps) for dx, dy in DIRECTIONS.values() for steps in STEPS}

State = tuple[Thing, ...]


def one_answer(initial: State, final: State, touched: Iterable[int]) -> bool:
    """Whether nothing looks at first as one of the `touched` things does, and every other answer needs more calls."""
    first = [_looks(thing) for thing in initial]
    if any(first.count(first[index]) > 1 for index in touched):
        return False
    calls = np.array([[_calls(old, new) for new in final] for old in initial], dtype=float)
    exchanged = ~np.eye(len(final), dtype=bool) & np.array([thing.visible for thing in final])
    cheapest = (calls - SLIGHT * exchanged).astype(np.float64)  # of equal answers any other is cheaper than the truth
    least = sum(float(cheapest[pair]) for pair in best_assignment(-cheapest))
    return least > float(np.trace(calls)) - SLIGHT / 2


def _looks(thing: Thing) -> tuple[str, str, str, str]:
    return thing.size, thing.color, thing.material, thing.shape


def _calls(old: Thing, new: Thing) -> int:
    """How many calls make `old` what is seen of `new`, which is nothing where it is out of sight."""
    if not new.visible:
        return int(old.visible)
    moved = not old.visible or (old.x, old.y) != (new.x, new.y)
    if old.visible and (new.x - old.x, new.y - old.y) not in REACHED:
        return NEVER
    return moved + sum(a != b for a, b in zip(_looks(old), _looks(new), strict=True))
