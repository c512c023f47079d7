"""What an affect picture can hold: the cue families, the scene, and which scenes belong to which split.

Five families drive the hidden rule of `affect_rule` (face, thing, weather, posture, light); the rest (setting,
shirt, hat, tree, side) are true but beside the point. Left out: relations between things, more than one person.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

from rise_vlm.errors import DataError

FACTS: dict[str, tuple[str, ...]] = {
    "face": ("smile", "frown", "crying", "shocked", "gritted", "calm"),
    "posture": ("raised", "crossed", "slumped", "standing"),
    "weather": ("clear", "rain", "storm", "snow", "fog"),
    "light": ("day", "dusk", "night"),
    "setting": ("park", "street", "beach", "ruins"),
    "thing": (
        "cake", "balloons", "gift", "flowers", "dog", "teddy",
        "spider", "snake", "ghost", "gravestone", "vase", "rubbish",
    ),
    "shirt": ("red", "blue", "green", "yellow", "purple"),
    "hat": ("yes", "no"),
    "tree": ("yes", "no"),
    "side": ("left", "right"),
}  # fmt: skip

STYLES = {"paint": "in-domain", "ink": "out of domain"}
SPLITS = ("train", "val", "test", "ood", "any")
TWO_THINGS = 0.3


def _held_out() -> frozenset[tuple[str, str]]:
    """14 of the 72 pairs of a face and a thing: one or more per thing, two or three per face, never two of one kind."""
    faces, things = FACTS["face"], FACTS["thing"]
    pairs = {(faces[(5 * j + j // 6 * 2) % 6], thing) for j, thing in enumerate(things)}
    pairs |= {("gritted", "spider"), ("smile", "gravestone")}
    return frozenset(pairs)


HELD_OUT = _held_out()


@dataclass(frozen=True)
class Scene:
    """One picture. `things` holds one or two different things; `seed` fixes all jitter of the drawing."""

    style: str
    face: str
    posture: str
    weather: str
    light: str
    setting: str
    things: tuple[str, ...]
    shirt: str
    hat: bool
    tree: bool
    side: str
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "things": list(self.things)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scene:
        """The scene of `to_dict`; DataError naming the family when a value is unknown."""
        try:
            scene = cls(**{**values, "things": tuple(values["things"])})
        except (TypeError, KeyError) as error:
            raise DataError(f"This is not a scene of affect: {error}.") from None
        for family in ("face", "posture", "weather", "light", "setting", "shirt", "side"):
            if getattr(scene, family) not in FACTS[family]:
                raise DataError(f"{family} {getattr(scene, family)!r} is not one of {', '.join(FACTS[family])}.")
        if scene.style not in STYLES or not scene.things or not set(scene.things) <= set(FACTS["thing"]):
            raise DataError(f"A scene of affect needs a known style and things, not {scene.style!r}, {scene.things}.")
        return scene


def sample_scene(rng: random.Random, split: str) -> Scene:
    """A scene of a split: `ood` has the other style and a held-out pair of face and thing in every scene, `any` both
    styles and all pairs, the others the first style and no held-out pair."""
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    face, first = _pair(rng, split)
    things = [first]
    if rng.random() < TWO_THINGS:
        others = [t for t in FACTS["thing"] if t != first]
        if split in ("train", "val", "test"):
            others = [t for t in others if (face, t) not in HELD_OUT]
        things.append(rng.choice(others))
        rng.shuffle(things)
    styles = {"ood": ("ink",), "any": ("paint", "ink")}.get(split, ("paint",))
    return Scene(
        style=rng.choice(styles),
        face=face,
        posture=rng.choice(FACTS["posture"]),
        weather=rng.choice(FACTS["weather"]),
        light=rng.choice(FACTS["light"]),
        setting=rng.choice(FACTS["setting"]),
        things=tuple(things),
        shirt=rng.choice(FACTS["shirt"]),
        hat=rng.random() < 0.5,
        tree=rng.random() < 0.5,
        side=rng.choice(FACTS["side"]),
        seed=rng.randrange(1 << 30),
    )


def _pair(rng: random.Random, split: str) -> tuple[str, str]:
    if split == "ood":
        return rng.choice(sorted(HELD_OUT))
    while True:
        pair = (rng.choice(FACTS["face"]), rng.choice(FACTS["thing"]))
        if split == "any" or pair not in HELD_OUT:
            return pair


def scene_facts(scene: Scene) -> dict[str, str | tuple[str, ...]]:
    """Every family's value; `thing` is a tuple, left to right; `count` is how many things, in words."""
    return {
        "face": scene.face,
        "posture": scene.posture,
        "weather": scene.weather,
        "light": scene.light,
        "setting": scene.setting,
        "thing": scene.things,
        "count": ("one", "two")[len(scene.things) - 1],
        "shirt": scene.shirt,
        "hat": "yes" if scene.hat else "no",
        "tree": "yes" if scene.tree else "no",
        "side": scene.side,
    }


def true_facts(scene: Scene) -> frozenset[str]:
    """All facts of a scene that words can state, as `family=value`."""
    facts = [f"thing={thing}" for thing in scene.things]
    facts += [f"{family}={value}" for family, value in scene_facts(scene).items() if family not in ("thing", "count")]
    return frozenset(facts)
