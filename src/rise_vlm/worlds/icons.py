"""icons: one drawn thing of twenty classes before a patterned ground, with small things of no account about it.

Stands for ImageNet-Sub: the annotation is the class of the one large thing. In domain the things are painted; out of
domain they are drawn in ink, each in the colour or before the ground (or both) in which it never is in training.
Captions are in `icons_words`, drawings in `icons_living`, `icons_made` and, for what lies about, `things`. Left out:
parts of things, several large things, classes that look alike on purpose.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from rise_vlm.worlds.canvas import Canvas, Colour, Pen
from rise_vlm.worlds.icons_grounds import GROUNDS, ground
from rise_vlm.worlds.icons_living import LIVING
from rise_vlm.worlds.icons_made import MADE
from rise_vlm.worlds.icons_words import CLUTTER, PARTS, describe, stated_facts, true_facts
from rise_vlm.worlds.things import COLOURS, THINGS
from rise_vlm.worlds.things_kit import Tracer
from rise_vlm.worlds.writing import measured, write_world

__all__ = [
    "CLASSES", "FACTS", "NAME", "QUESTION", "SYNONYMS", "TASK", "Scene", "Small", "describe", "draw", "floors",
    "held_out_colour", "held_out_ground", "make", "sample_scene", "stated_facts", "true_facts",
]  # fmt: skip

NAME = "icons"
TASK = "classification"
ICONS: dict[str, Callable[[Pen, Colour], None]] = {**LIVING, **MADE}
CLASSES: tuple[str, ...] = tuple(ICONS)
QUESTION: str | None = "What is the large thing in this picture?"
SYNONYMS: dict[str, list[str]] = {
    "turtle": ["tortoise"],
    "mushroom": ["toadstool", "fungus"],
    "rocket": ["spaceship", "spacecraft"],
    "sailboat": ["sailing boat", "yacht"],
    "lighthouse": ["beacon"],
    "crown": ["diadem"],
    "hot air balloon": ["balloon"],
    "robot": ["android"],
}
FACTS: dict[str, tuple[str, ...]] = {
    "part": tuple(dict.fromkeys(part for parts in PARTS.values() for part in parts)),
    "colour": tuple(COLOURS),
    "size": ("big", "small"),
    "place": ("left", "middle", "right"),
    "ground": GROUNDS,
    "thing": CLUTTER,
}
SPLITS = ("train", "val", "test", "ood", "any")


@dataclass(frozen=True)
class Small:
    """A small thing that lies about; (x, y) is its middle, `side` half its width, in parts of the picture."""

    kind: str
    colour: str
    x: float
    y: float
    side: float
    flip: bool


@dataclass(frozen=True)
class Scene:
    """All that fixes a picture. (x, y) is the middle of the large thing, `side` its half width."""

    style: str
    kind: str
    colour: str
    ground: str
    tint: int
    x: float
    y: float
    side: float
    flip: bool
    about: tuple[Small, ...]
    seed: int

    @property
    def size(self) -> str:
        """big or small."""
        return "big" if self.side >= 0.28 else "small"

    @property
    def place(self) -> str:
        """left, middle or right."""
        return "left" if self.x < 0.44 else "right" if self.x > 0.56 else "middle"

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, fit for JSON."""
        return {**asdict(self), "about": [asdict(small) for small in self.about]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Scene:
        """The inverse of `to_dict`."""
        return cls(**{**data, "about": tuple(Small(**small) for small in data["about"])})


def held_out_colour(kind: str) -> str:
    """The colour that `kind` never has in train, val and test."""
    return tuple(COLOURS)[(CLASSES.index(kind) * 5 + 1) % len(COLOURS)]


def held_out_ground(kind: str) -> str:
    """The ground before which `kind` never stands in train, val and test."""
    return GROUNDS[(CLASSES.index(kind) * 7 + 3) % len(GROUNDS)]


def sample_scene(rng: random.Random, split: str) -> Scene:
    """A scene of `split`: train, val and test are alike; `ood` has the other style and, for every thing, its held-out
    colour, its held-out ground or both; `any` has all styles and combinations (for perception only).
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    kind = rng.choice(CLASSES)
    colour, back = rng.choice(tuple(COLOURS)), rng.choice(GROUNDS)
    if split in ("train", "val", "test"):
        colour = rng.choice([name for name in COLOURS if name != held_out_colour(kind)])
        back = rng.choice([name for name in GROUNDS if name != held_out_ground(kind)])
    elif split == "ood":
        new = rng.choice(("colour", "ground", "both"))
        colour = held_out_colour(kind) if new != "ground" else colour
        back = held_out_ground(kind) if new != "colour" else back
    side = round(rng.uniform(0.21, 0.35), 4)
    x, y = round(rng.uniform(0.36, 0.64), 4), round(rng.uniform(0.4, 0.6), 4)
    return Scene(
        style={"ood": "ink", "any": rng.choice(("paint", "ink"))}.get(split, "paint"),
        kind=kind,
        colour=colour,
        ground=back,
        tint=rng.randrange(4),
        x=x,
        y=y,
        side=side,
        flip=rng.random() < 0.5,
        about=_about(rng, x, y, side),
        seed=rng.randrange(1_000_000),
    )


def draw(scene: Scene, size: int = 336, supersample: int = 2) -> Image.Image:
    """The picture, RGB, `size` pixels wide and high; the same scene gives the same picture."""
    canvas = Canvas(size, supersample, scene.style, scene.seed)
    ground(canvas, scene.ground, scene.tint)
    for small in scene.about:
        THINGS[small.kind](canvas.at(small.x, small.y, small.side, small.flip), COLOURS[small.colour])
    canvas.ellipse(scene.x, scene.y + scene.side * 0.97, scene.side * 0.8, scene.side * 0.09, (150, 142, 158),
                   outline=False)  # fmt: skip
    ICONS[scene.kind](canvas.at(scene.x, scene.y, scene.side, scene.flip), COLOURS[scene.colour])
    return canvas.finish()


@functools.cache
def reach(kind: str) -> tuple[float, float, float, float]:
    """How far a class's drawing reaches in its own frame: (x1, y1, x2, y2), outlines left out."""
    tracer = Tracer("paint")
    ICONS[kind](tracer.at(0.0, 0.0, 1.0), COLOURS["red"])
    return tracer.box_drawn()


def _about(rng: random.Random, x: float, y: float, side: float) -> tuple[Small, ...]:
    """None to three different small things, clear of the large one and of each other."""
    placed: list[Small] = []
    for kind in rng.sample(CLUTTER, rng.choice((0, 1, 2, 2, 3))):
        for _ in range(12):
            one = Small(kind, rng.choice(tuple(COLOURS)), round(rng.uniform(0.08, 0.92), 4),
                        round(rng.uniform(0.08, 0.92), 4), round(rng.uniform(0.055, 0.075), 4),
                        rng.random() < 0.5)  # fmt: skip
            free = max(abs(one.x - x), abs(one.y - y)) > side * 1.04 + one.side
            if free and all(max(abs(one.x - o.x), abs(one.y - o.y)) > one.side + o.side + 0.01 for o in placed):
                placed.append(one)
                break
    return tuple(placed)


def floors(train: list[Scene], asked: list[Scene]) -> dict[str, float]:
    """Accuracy on `asked` of guesses that do not see the thing: at random, the class most frequent in `train`, and the
    most frequent one given the colour or the ground.
    """
    if not train or not asked:
        return {}

    def given(cue: Callable[[Scene], str]) -> float:
        counts: dict[str, Counter[str]] = {}
        for scene in train:
            counts.setdefault(cue(scene), Counter())[scene.kind] += 1
        best = {value: max(CLASSES, key=lambda kind: kinds[kind]) for value, kinds in counts.items()}
        return sum(best.get(cue(scene)) == scene.kind for scene in asked) / len(asked)

    return {
        "uniform": 1 / len(CLASSES),
        "majority": given(lambda scene: ""),
        "by_colour": given(lambda scene: scene.colour),
        "by_ground": given(lambda scene: scene.ground),
    }


def _entry(scene: Scene) -> dict[str, Any]:
    return {"image": draw(scene), "annotation": scene.kind, "meta": {"scene": scene.to_dict()}}


def make(out: Path, *, train: int, val: int, test: int, seed: int, force: bool = False) -> dict[str, Any]:
    """Write a dataset with the splits train, val, test and ood (`test` records each of the last two).

    The same seed gives the same bytes, and a larger split begins with the records of a smaller one. Returns the
    counts, `floors` of guesses that do not see the thing and the `best` possible accuracy, for the test split and,
    under `ood`, for the other.
    """
    sizes = {"train": train, "val": val, "test": test, "ood": test}
    drawn = write_world(
        out,
        NAME,
        TASK,
        sizes,
        sample_scene,
        _entry,
        seed=seed,
        force=force,
        classes=list(CLASSES),
        question=QUESTION,
        synonyms=SYNONYMS,
    )
    return measured(drawn, floors)
