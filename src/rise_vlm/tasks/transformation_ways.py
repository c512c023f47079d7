"""Moves that the two pictures cannot tell from the true one: ways into sight and out of it.

Where a thing stands that is out of sight is in no picture and in no table, so any way that may have led it there, or
from there, is as right as the drawn one. Left out: what stands in the way out of sight, which nobody sees either.
"""

from __future__ import annotations

from collections.abc import Sequence

from rise_vlm.rewards.states import DIRECTIONS, EDGE, SEEN, STEP, STEPS, Call, Scene


def ways(initial: Scene, final: Scene, index: int) -> frozenset[tuple[str, int]]:
    """(direction, steps) of all moves that may have led thing ``index`` out of sight, or into sight to where it is;
    none where it is in sight, or out of it, in both states.
    """
    before, after = initial[index], final[index]
    if before.visible == after.visible:
        return frozenset()
    seen, sign = (before, STEP) if before.visible else (after, -STEP)
    return frozenset(
        (way, steps)
        for way, (dx, dy) in DIRECTIONS.items()
        for steps in STEPS
        if SEEN < max(abs(seen.x + dx * sign * steps), abs(seen.y + dy * sign * steps)) <= EDGE
    )


def as_true(truth: Sequence[Call], guess: Sequence[Call], initial: Scene, final: Scene) -> list[Call]:
    """``guess``, in which each true move that is missing takes the place of one that cannot be told from it.

    A thing that the truth moves more than once is left alone.
    """
    moves = [call for call in truth if call.function == "change_position"]
    said = {call[:3] for call in guess}
    instead: dict[tuple[str, int, str], Call] = {}
    for true in moves:
        if true[:3] in said or sum(call.object == true.object for call in moves) > 1:
            continue
        allowed = ways(initial, final, true.object)
        for call in guess:
            steps = STEPS if call.steps is None else (call.steps,)
            if call[:2] == true[:2] and any((call.value, n) in allowed for n in steps):
                instead[call[:3]] = true
                break
    return [instead.get(call[:3], call) for call in guess]
