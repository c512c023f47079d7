"""Scenes of moves: ten things, one to four functions that change them, and the rules of TRANCE for both.

A visible thing stands in the marked square; things outside are in the table of the question but are not drawn. A
function changes what can be seen: the thing is in sight, its value is new, and nothing may overlap. A move leads from
place to place in sight, out of sight (a thing that nothing else changes), or from outside into sight. Ours: the
pictures and the table leave one shortest answer (`moves_rivals`), but for the ways in and out of sight.
Source: TVR, `render.py`, as far as `reference` pages tell it. Left out: its balancing of pairs and visible counts.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rise_vlm.rewards.states import (
    COLOURS,
    DIRECTIONS,
    EDGE,
    FUNCTIONS,
    MATERIALS,
    SEEN,
    SHAPES,
    SIZES,
    STEPS,
    UNIT,
    Call,
    Thing,
    change,
    fits,
)
from rise_vlm.worlds.blocks_camera import VIEWS, Camera
from rise_vlm.worlds.moves_rivals import one_answer

SPLITS = ("train", "val", "test", "ood_left", "ood_right", "any")
THINGS = 10
TRIES = 60
"""Calls of a kind that are tried on a state."""
LOOKS = ("change_size", "change_color", "change_material", "change_shape")
MOVES = {"inner": (True, True), "out": (True, False), "in": (False, True)}
"""Kinds of moves -> whether the thing is in sight before and after."""
KINDS = 3 * LOOKS + 2 * tuple(MOVES)
"""Kinds of calls as often as they are drawn: half of TVR's pairs are moves, here a third; both balance their kinds."""

State = tuple[Thing, ...]


@dataclass(frozen=True)
class Scene:
    """`initial` and `calls` (with their steps) give all states. `view` is the camera of the second picture, `turns` how
    each thing is turned, `shift` how far the cameras stand from their places; `seed` fixes the wording.
    """

    initial: State
    calls: tuple[Call, ...]
    view: str
    turns: tuple[float, ...]
    shift: tuple[float, float, float]
    seed: int

    def states(self) -> list[State]:
        """The initial state and that after each call."""
        states = [self.initial]
        for call in self.calls:
            states.append(change(states[-1], call))
        return states

    @property
    def final(self) -> State:
        """The last state."""
        return self.states()[-1]

    @property
    def style(self) -> str:
        """The view of the second picture: what sets the domains apart."""
        return self.view

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"initial": [thing.to_dict() for thing in self.initial], "calls": [list(call) for call in self.calls],
                "view": self.view, "turns": list(self.turns), "shift": list(self.shift), "seed": self.seed}  # fmt: skip

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scene:
        """The inverse of `to_dict`."""
        initial = tuple(Thing.from_dict(thing) for thing in values["initial"])
        calls = tuple(Call(*call) for call in values["calls"])
        shift = values["shift"]
        return cls(initial, calls, values["view"], tuple(values["turns"]), (shift[0], shift[1], shift[2]),
                   values["seed"])  # fmt: skip


def camera(view: str, shift: Sequence[float]) -> Camera:
    """TRANCE's camera of that name; the picture is square, the marked square in its middle."""
    eye = tuple(place + by for place, by in zip(VIEWS[view], shift, strict=True))
    return Camera(eye=(eye[0], eye[1], eye[2]), zoom=1.02, lift=-0.05)


def sample_scene(rng: random.Random, split: str) -> Scene:
    """A scene of `split`: the second picture is taken from the centre in train, val and test, from the left or right in
    `ood_left` and `ood_right`, from anywhere in `any` (for perception only).
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    view = {"ood_left": "left", "ood_right": "right", "any": rng.choice(tuple(VIEWS))}.get(split, "center")
    shift = tuple(round(rng.uniform(-0.3, 0.3), 3) for _ in range(3))
    kinds = rng.choices(KINDS, k=rng.randint(1, 4))  # before all that may fail, so that none is favoured
    while True:
        initial = _initial(rng, rng.randint(2, 6), shift)
        calls = _calls(rng, initial, kinds, shift) if initial else None
        if initial and calls:
            turns = tuple(round(rng.uniform(0, 2 * math.pi), 3) for _ in initial)
            return Scene(initial, calls, view, turns, (shift[0], shift[1], shift[2]), rng.randrange(1 << 30))


def _initial(rng: random.Random, visible: int, shift: Sequence[float]) -> State | None:
    """Ten things, the first drawn in sight, then shuffled; None where they find no room."""
    placed: list[Thing] = []
    for k in range(THINGS):
        for _ in range(80):
            reach = SEEN if k < visible else EDGE
            thing = Thing(rng.choice(SHAPES), rng.choice(tuple(SIZES)), rng.choice(COLOURS), rng.choice(MATERIALS),
                          rng.randint(-reach, reach), rng.randint(-reach, reach))  # fmt: skip
            state = (*placed, thing)
            if thing.visible == (k < visible) and fits(state, k) and (k >= visible or clear(state, k, shift)):
                placed.append(thing)
                break
        else:
            return None
    rng.shuffle(placed)
    return tuple(placed)


def clear(state: State, index: int, shift: Sequence[float], views: Sequence[str] = ("center",)) -> bool:
    """Whether a visible thing and the others hardly hide each other, and it is in the picture, in all `views`."""
    for view in views:
        cam = camera(view, shift)
        u, v, radius = disc(state[index], cam)
        if not (radius < u < 1 - radius and radius < v < 1 - radius):
            return False
        for k, other in enumerate(state):
            if k == index or not other.visible:
                continue
            across, down, beside = disc(other, cam)
            if math.hypot(u - across, v - down) < max(radius, beside) + 0.35 * min(radius, beside):
                return False
    return True


def disc(thing: Thing, cam: Camera) -> tuple[float, float, float]:
    """(u, v, radius) of the disc in the picture that stands for a thing; an upright cylinder reaches beyond its own."""
    radius = thing.radius
    u, v, depth = cam.project(thing.x * UNIT, thing.y * UNIT, 0.9 * radius)
    return u, v, cam.focal * radius / depth * (1.25 if thing.shape == "cylinder" else 1)


def _calls(rng: random.Random, initial: State, kinds: Sequence[str], shift: Sequence[float]) -> tuple[Call, ...] | None:
    """A call of each kind in turn, each a different attribute of a thing; None where the scene allows none."""
    state, calls = initial, list[Call]()
    for kind in kinds:
        for _ in range(TRIES):
            call = _call(rng, state, kind)
            after = change(state, call)
            if _allowed(state, after, call, kind, calls, shift):
                break
        else:
            return None
        state = after
        calls.append(call)
    calls = _by_number(initial, calls, kinds, shift)
    touched = {call.object for call in calls}
    plain = all(clear(state, k, shift, tuple(VIEWS)) for k in touched if state[k].visible)
    return tuple(calls) if plain and one_answer(initial, state, touched) else None


def _by_number(initial: State, calls: list[Call], kinds: Sequence[str], shift: Sequence[float]) -> list[Call]:
    """The calls in the order of their objects' numbers, an order that can be foretold, where that is allowed as well:
    what they lead to is the same.
    """
    turns = sorted(zip(calls, kinds, strict=True), key=lambda turn: turn[0].object)
    state, done = initial, list[Call]()
    for call, kind in turns:
        after = change(state, call)
        if not _allowed(state, after, call, kind, done, shift):
            return calls
        state = after
        done.append(call)
    return done


def _call(rng: random.Random, state: State, kind: str) -> Call:
    """A random call of that kind that changes something. A thing out of sight can only be moved."""
    sight = kind != "in"
    index = rng.choice([k for k, thing in enumerate(state) if thing.visible is sight] or [0])
    if kind in MOVES:
        return Call("change_position", index, rng.choice(tuple(DIRECTIONS)), rng.choice(STEPS))
    now = getattr(state[index], kind.removeprefix("change_"))
    return Call(kind, index, rng.choice([value for value in FUNCTIONS[kind] if value != now]))


def _allowed(before: State, after: State, call: Call, kind: str, calls: Sequence[Call], shift: Sequence[float]) -> bool:
    """TRANCE's rules for one call after others; a thing they touched may not go out of sight."""
    was, now = before[call.object].visible, after[call.object].visible
    if (was, now) != MOVES.get(kind, (True, True)) or not fits(after, call.object):
        return False
    others = [old.function for old in calls if old.object == call.object]
    if call.function in others or (others and not now):
        return False
    return not now or clear(after, call.object, shift)


def options(scene: Scene) -> list[list[list[Any]]]:
    """For each call its equally valid values: of a move out of sight all that lead out of sight, else only itself."""
    found: list[list[list[Any]]] = []
    for before, call in zip(scene.states(), scene.calls, strict=False):
        own = [call.value] if call.steps is None else [call.value, call.steps]
        ways = [own]
        if call.function == "change_position" and not change(before, call)[call.object].visible:
            for direction in DIRECTIONS:
                for steps in STEPS:
                    other = change(before, Call(call.function, call.object, direction, steps))
                    if [direction, steps] != own and not other[call.object].visible and fits(other, call.object):
                        ways.append([direction, steps])
        found.append(ways)
    return found
