"""street: drawn streets with up to six things of eight classes, near and far, some hidden in part by others.

Stands for COCO-Sub: the annotation is the list of all things with the box of what is seen of each; it is empty where
nothing is in the street. In domain the scenes are painted; out of domain they are drawn in ink, half of the things have
a colour that they never have in training, and half of the streets a thing before a backdrop where it never stood.
Captions are in `street_words`, things in `street_things`, places in `street_places`. Left out: crowds, things seen from
the front, people who ride or sit.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from rise_vlm.rewards.detection import Labelled, detection_score
from rise_vlm.worlds.canvas import Canvas, mix
from rise_vlm.worlds.street_places import BACKDROPS, EDGE, KERB, SKIES, WALK, street
from rise_vlm.worlds.street_things import THINGS, TINTS, Stencil, reach
from rise_vlm.worlds.street_words import describe, stated_facts, true_facts
from rise_vlm.worlds.writing import measured, write_world

__all__ = [
    "CLASSES", "FACTS", "NAME", "QUESTION", "SYNONYMS", "TASK", "Placed", "Scene", "annotate", "describe", "draw",
    "held_out_backdrop", "held_out_colour", "make", "sample_scene", "seen", "stated_facts", "true_facts",
]  # fmt: skip

NAME = "street"
TASK = "detection"
CLASSES: tuple[str, ...] = tuple(THINGS)
QUESTION: str | None = "Which things are in this street, and where?"
SYNONYMS: dict[str, list[str]] = {
    "person": ["pedestrian", "man", "woman", "human"],
    "bicycle": ["bike", "cycle"],
    "car": ["automobile", "sedan"],
    "bus": ["coach"],
    "dog": ["puppy", "hound"],
    "traffic light": ["stoplight", "traffic signal"],
    "fire hydrant": ["hydrant", "fireplug"],
}
FACTS: dict[str, tuple[str, ...]] = {
    "thing": CLASSES,
    "colour": TINTS["car"],
    "place": ("left", "middle", "right"),
    "depth": ("near", "far"),
    "count": ("two", "three"),
    "backdrop": BACKDROPS,
    "sky": tuple(SKIES),
    "empty": ("yes",),
}
SPLITS = ("train", "val", "test", "ood", "any")
COUNTS = {0: 6, 1: 14, 2: 20, 3: 22, 4: 18, 5: 12, 6: 8}
"""How often in a hundred streets there are so many things to place; one that finds no room is left out."""

_ROWS: dict[str, tuple[float, float]] = {
    "far walk": (WALK + 0.02, KERB - 0.015),
    "far lane": (KERB + 0.06, 0.755),
    "near lane": (0.84, EDGE - 0.015),
    "near walk": (EDGE + 0.045, 0.985),
}
_HOME = dict.fromkeys(THINGS, ("far walk", "near walk")) | {
    "car": ("far lane", "near lane"),
    "bus": ("far lane", "near lane"),
    "bicycle": ("far lane", "near lane", "near walk"),
}
_MOST_HIDDEN, _LEAST_INSIDE, _MOST_OF_A_KIND = 0.45, 0.72, 3


@dataclass(frozen=True)
class Placed:
    """One thing: `x` is its middle and `y` the ground below it, in parts of the picture; `look` is one of four
    variants (skin, hair, fur).
    """

    kind: str
    colour: str
    row: str
    x: float
    y: float
    flip: bool
    look: int

    @property
    def scale(self) -> float:
        """Parts of the picture to a metre: nearer things are larger."""
        return 0.108 + (self.y - 0.62) * 0.27

    @property
    def depth(self) -> str:
        """near or far."""
        return self.row.partition(" ")[0]

    @property
    def column(self) -> str:
        """left, middle or right: where the middle of the thing is."""
        return "left" if self.x < 0.36 else "right" if self.x > 0.64 else "middle"

    def span(self) -> tuple[float, float, float, float]:
        """(x1, y1, x2, y2) in parts of the picture, whether it is hidden or not."""
        x1, y1, x2, y2 = (edge * self.scale for edge in reach(self.kind))
        across = (-x2, -x1) if self.flip else (x1, x2)
        return (self.x + across[0], self.y + y1, self.x + across[1], self.y + y2)


@dataclass(frozen=True)
class Scene:
    """All that fixes a picture. `things` run from far to near, the order in which they are painted."""

    style: str
    backdrop: str
    sky: str
    things: tuple[Placed, ...]
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, fit for JSON."""
        return {**asdict(self), "things": [asdict(thing) for thing in self.things]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Scene:
        """The inverse of `to_dict`."""
        return cls(**{**data, "things": tuple(Placed(**thing) for thing in data["things"])})


def held_out_colour(kind: str) -> str:
    """The colour that `kind` never has in train, val and test."""
    tints = TINTS[kind]
    return tints[(CLASSES.index(kind) * 5 + 1) % len(tints)]


def held_out_backdrop(kind: str) -> str:
    """The backdrop before which `kind` never stands in train, val and test."""
    return BACKDROPS[(CLASSES.index(kind) * 3 + 2) % len(BACKDROPS)]


def sample_scene(rng: random.Random, split: str) -> Scene:
    """A scene of `split`: train, val and test are alike; `ood` has the other style, held-out colours for half of the
    things and a held-out pair of thing and backdrop in half of the scenes; `any` has all styles and combinations.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    backdrop = rng.choice(BACKDROPS)
    kinds = [rng.choice(CLASSES) for _ in range(rng.choices(list(COUNTS), list(COUNTS.values()))[0])]
    if split in ("train", "val", "test"):
        known = [kind for kind in CLASSES if held_out_backdrop(kind) != backdrop]
        kinds = [kind if kind in known else rng.choice(known) for kind in kinds]
    elif split == "ood" and kinds and rng.random() < 0.5:
        backdrop = held_out_backdrop(kinds[0])
    placed: list[Placed] = []
    for kind in kinds:
        if sum(thing.kind == kind for thing in placed) < _MOST_OF_A_KIND:
            placed = _with(rng, placed, kind, _colour(rng, kind, split))
    return Scene(
        style={"ood": "ink", "any": rng.choice(("paint", "ink"))}.get(split, "paint"),
        backdrop=backdrop,
        sky=rng.choice(tuple(SKIES)),
        things=tuple(placed),
        seed=rng.randrange(1_000_000),
    )


def draw(scene: Scene, size: int = 336, supersample: int = 2) -> Image.Image:
    """The picture, RGB, `size` pixels wide and high; the same scene gives the same picture."""
    canvas = Canvas(size, supersample, scene.style, scene.seed)
    street(canvas, scene.backdrop, scene.sky, scene.seed)
    for thing in scene.things:
        x1, _, x2, _ = thing.span()
        shade = mix((150, 152, 162), (60, 56, 76), 0.35)
        canvas.ellipse((x1 + x2) / 2, thing.y, (x2 - x1) * 0.5, 0.012 + 0.04 * thing.scale, shade, outline=False)
        THINGS[thing.kind](canvas.at(thing.x, thing.y, thing.scale, thing.flip), thing.colour, thing.look)
    return canvas.finish()


@lru_cache(maxsize=64)
def seen(scene: Scene, size: int = 336) -> tuple[tuple[int, int, int, int], ...]:
    """The box (x1, y1, x2, y2) in pixels of what is seen of each thing, in the order of `scene.things`."""
    stencil = Stencil(size, scene.style, scene.seed)
    for number, thing in enumerate(scene.things, 1):
        stencil.number = number
        pen = stencil.at(thing.x, thing.y, thing.scale, thing.flip)
        THINGS[thing.kind](pen, thing.colour, thing.look)
    found: list[tuple[int, int, int, int]] = []
    for number in range(1, len(scene.things) + 1):
        box = stencil.numbers.point([255 * (value == number) for value in range(256)]).getbbox()
        found.append(box or (0, 0, 1, 1))
    return tuple(found)


def annotate(scene: Scene, size: int = 336) -> list[dict[str, Any]]:
    """The annotation: every thing with its box in pixels of a picture `size` wide, from left to right."""
    boxes = sorted((list(box), thing.kind) for thing, box in zip(scene.things, seen(scene, size), strict=True))
    return [{"label": kind, "box": box} for box, kind in boxes]


def _colour(rng: random.Random, kind: str, split: str) -> str:
    held = held_out_colour(kind)
    if split == "any":
        return rng.choice(TINTS[kind])
    if split == "ood" and rng.random() < 0.5:
        return held
    return rng.choice([colour for colour in TINTS[kind] if colour != held])


def _with(rng: random.Random, placed: list[Placed], kind: str, colour: str) -> list[Placed]:
    """`placed` and one thing more, from far to near, where in 12 tries it finds room."""
    for _ in range(12):
        row = rng.choice(_HOME[kind])
        x, y = round(rng.uniform(0.02, 0.98), 4), round(rng.uniform(*_ROWS[row]), 4)
        thing = Placed(kind, colour, row, x, y, rng.random() < 0.5, rng.randrange(4))
        after = sorted([*placed, thing], key=lambda one: one.y)
        if _fits(after, thing):
            return after
    return placed


def _fits(things: list[Placed], new: Placed) -> bool:
    """Whether the new thing is inside, stands in nobody's way in its row, and all are still seen well enough."""
    x1, y1, x2, _ = new.span()
    if min(x2, 1.0) - max(x1, 0.0) < _LEAST_INSIDE * (x2 - x1) or y1 < 0.01:
        return False
    for other in things:
        if other is not new and other.row == new.row:
            a1, _, a2, _ = other.span()
            if min(x2, a2) - max(x1, a1) > 0.12 * min(x2 - x1, a2 - a1):
                return False
    return all(_hidden(thing, things[i + 1 :]) <= _MOST_HIDDEN for i, thing in enumerate(things))


def _hidden(thing: Placed, nearer: list[Placed]) -> float:
    """The share of a thing's span, on a grid of 8 x 8, that lies outside the picture or in a nearer one's span."""
    x1, y1, x2, y2 = thing.span()
    spans = [other.span() for other in nearer]
    lost = 0
    for i in range(8):
        for j in range(8):
            x, y = x1 + (i + 0.5) * (x2 - x1) / 8, y1 + (j + 0.5) * (y2 - y1) / 8
            lost += not 0 <= x <= 1 or any(a1 <= x <= a2 and b1 <= y <= b2 for a1, b1, a2, b2 in spans)
    return lost / 64


def _boxes(annotation: list[dict[str, Any]]) -> list[Labelled]:
    return [Labelled(one["label"], one["box"]) for one in annotation]


def mean_box(label: str, boxes: list[list[int]]) -> Labelled:
    """The box whose edges are the means of those of `boxes`, of which there is one at least."""
    return Labelled(label, [sum(edges) / len(boxes) for edges in zip(*boxes, strict=True)])


def floors(train: list[Scene], asked: list[Scene]) -> dict[str, float]:
    """Mean scores on `asked` of answers that do not look: `nothing`, the `mean_box` of the class most frequent in
    `train`, and `every_class`, the mean box of each class.
    """
    if not train or not asked:
        return {}
    known = [one for scene in train for one in annotate(scene)]
    means: dict[str, Labelled] = {}
    for kind in CLASSES:
        boxes = [one["box"] for one in known if one["label"] == kind]
        if boxes:
            means[kind] = mean_box(kind, boxes)
    usual = [means[kind] for kind, _ in Counter(one["label"] for one in known).most_common(1)]
    truth = [_boxes(annotate(scene)) for scene in asked]
    answers = {"nothing": [], "mean_box": usual, "every_class": list(means.values())}
    return {name: sum(detection_score(one, found) for one in truth) / len(truth) for name, found in answers.items()}


def _entry(scene: Scene) -> dict[str, Any]:
    return {"image": draw(scene), "annotation": annotate(scene), "meta": {"scene": scene.to_dict()}}


def make(out: Path, *, train: int, val: int, test: int, seed: int, force: bool = False) -> dict[str, Any]:
    """Write a dataset with the splits train, val, test and ood (`test` records each of the last two).

    The same seed gives the same bytes, and a larger split begins with the records of a smaller one. Returns the
    counts, `floors` of answers that do not look and the `best` possible score, for the test split and, under `ood`,
    for the other.
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
