"""The simulator of TRANCE: function calls carried out on a scene of ten objects, and final states compared.

A scene is a list of things on a grid of 0.15 world units: positions -40 to 40, of which -20 to 20 are visible; one
step moves by 10. ``behind`` is +x, which in TRANCE's centre view is towards the viewer, ``right`` is +y. Reason-RFT's
grammar names no number of steps, so a move without one may be carried out with one or with two. A move out of sight has
several equally valid ways: whatever place out of sight it ends at is right where the truth ends out of sight.
Source: hughplay/TVR (MIT), ``properties.json`` and the published sample; left out: drawing, and occlusion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

SHAPES = ("cube", "sphere", "cylinder")
SIZES = {"small": 0.3, "medium": 0.6, "large": 0.9}
COLOURS = ("yellow", "gray", "cyan", "blue", "brown", "green", "red", "purple")
MATERIALS = ("glass", "metal", "rubber")
DIRECTIONS = {
    "front": (-1, 0), "behind": (1, 0), "left": (0, -1), "right": (0, 1),
    "front_left": (-1, -1), "front_right": (-1, 1), "behind_left": (1, -1), "behind_right": (1, 1),
}  # fmt: skip
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "change_size": tuple(SIZES),
    "change_color": COLOURS,
    "change_material": MATERIALS,
    "change_shape": SHAPES,
    "change_position": tuple(DIRECTIONS),
}
UNIT, STEP, EDGE, SEEN, GAP = 0.15, 10, 40, 20, 0.15
STEPS = (1, 2)
MOST_MOVES = 8
"""Moves without a number of steps that are tried in all ways; true answers have at most four calls."""


class Call(NamedTuple):
    """One function call; ``steps`` is None where the answer names none."""

    function: str
    object: int
    value: str
    steps: int | None = None

    def __str__(self) -> str:
        return f"{self.function}({self.object}, {self.value}{'' if self.steps is None else f', {self.steps}'})"


@dataclass(frozen=True)
class Thing:
    """One object of a scene; (x, y) in grid units."""

    shape: str
    size: str
    color: str
    material: str
    x: int
    y: int

    @property
    def visible(self) -> bool:
        """Whether its centre lies in the visible square (things outside are not drawn)."""
        return abs(self.x) <= SEEN and abs(self.y) <= SEEN

    @property
    def radius(self) -> float:
        """In world units, on the ground."""
        return SIZES[self.size]

    def to_dict(self) -> dict[str, Any]:
        """As TRANCE writes it."""
        return {"shape": self.shape, "size": self.size, "color": self.color, "material": self.material,
                "position": [self.x, self.y]}  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Thing:
        """The inverse of ``to_dict``. Raises ValueError naming what is missing or unknown."""
        try:
            looks = {key: values[key] for key in ("shape", "size", "color", "material")}
            x, y = values["position"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"an object needs shape, size, color, material and position [x, y]: {error}") from None
        for key, known in (("shape", SHAPES), ("size", tuple(SIZES)), ("color", COLOURS), ("material", MATERIALS)):
            if looks[key] not in known:
                raise ValueError(f"{key} {looks[key]!r} is not one of {', '.join(known)}")
        if any(isinstance(n, bool) or not isinstance(n, int) or abs(n) > 10 * EDGE for n in (x, y)):
            raise ValueError(f"position {values['position']!r} is not two whole numbers of grid units")
        return cls(**looks, x=x, y=y)


Scene = tuple[Thing, ...]


def change(scene: Scene, call: Call, steps: int = 1) -> Scene:
    """The scene after one call; ``steps`` is used where the call names none. The object must exist."""
    thing = scene[call.object]
    if call.function == "change_position":
        dx, dy = DIRECTIONS[call.value]
        far = STEP * (steps if call.steps is None else call.steps)
        changed = replace(thing, x=thing.x + dx * far, y=thing.y + dy * far)
    else:
        changed = replace(thing, **{call.function.removeprefix("change_"): call.value})
    return (*scene[: call.object], changed, *scene[call.object + 1 :])


def fits(scene: Scene, index: int, gap: float = GAP) -> bool:
    """Whether thing ``index`` lies inside the area and keeps ``gap`` world units from all others."""
    thing = scene[index]
    if abs(thing.x) > EDGE or abs(thing.y) > EDGE:
        return False
    for other in scene[:index] + scene[index + 1 :]:
        apart = thing.radius + other.radius + gap
        if ((thing.x - other.x) ** 2 + (thing.y - other.y) ** 2) * UNIT**2 < apart**2:
            return False
    return True


def outcomes(scene: Scene, calls: Sequence[Call], ordered: bool) -> Iterator[Scene]:
    """Every final scene that ``calls`` can mean, each once. ``ordered`` keeps only those on whose way nothing overlaps
    or leaves the area. Too many open moves mean nothing.
    """
    if any(not 0 <= call.object < len(scene) for call in calls):
        return
    open_moves = sum(call.function == "change_position" and call.steps is None for call in calls)
    if open_moves > MOST_MOVES:
        return
    scenes: list[Scene] = [scene]
    for call in calls:
        counts = STEPS if call.function == "change_position" and call.steps is None else (1,)
        after = [change(before, call, steps) for before in scenes for steps in counts]
        scenes = list(dict.fromkeys(s for s in after if not ordered or fits(s, call.object, 0.0)))
    yield from scenes


def difference(initial: Scene, truth: Scene, found: Scene) -> int:
    """How many attributes (of five per object) of ``found`` are not those of ``truth``.

    A place out of sight is right where the truth moved the object out of sight.
    """
    wrong = 0
    for before, true, got in zip(initial, truth, found, strict=True):
        wrong += sum(getattr(true, key) != getattr(got, key) for key in ("shape", "size", "color", "material"))
        moved_out = before.visible and not true.visible
        same_place = (true.x, true.y) == (got.x, got.y) or (moved_out and not got.visible)
        wrong += not same_place
    return wrong


def least_difference(initial: Scene, truth: Scene, calls: Iterable[Call] | None, ordered: bool = False) -> int:
    """The difference of the best reading of ``calls``, or of the initial scene where there is none (TVR's AD)."""
    nothing = difference(initial, truth, initial)
    if calls is None:
        return nothing
    return min((difference(initial, truth, end) for end in outcomes(initial, list(calls), ordered)), default=nothing)
