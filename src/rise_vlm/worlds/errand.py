"""errand: pictures with three to five household things, and a want that exactly one of them serves.

Stands for reasoning segmentation (LISA) turned to boxes: the annotation is the tight box of the one thing
that answers ("What keeps me dry?": the umbrella).
In domain the scenes are painted; out of domain they are drawn in ink, every query comes in a wording never seen in
training, and half of the things have a colour that they never have in training (one colour is held out per thing).
Wants and wordings are in `errand_queries`, captions in `errand_words`, drawings in `things`. Left out: things that hide
each other, several right answers, pictures without an answer.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from rise_vlm.worlds.canvas import Canvas, mix
from rise_vlm.worlds.errand_queries import QUERIES
from rise_vlm.worlds.errand_words import describe, describe_thing, stated_facts, true_facts
from rise_vlm.worlds.things import COLOURS, HANGING, THINGS, extent, reach
from rise_vlm.worlds.things_kit import CHARCOAL
from rise_vlm.worlds.things_rooms import ROOMS, SHELF
from rise_vlm.worlds.writing import measured, write_world

__all__ = [
    "CLASSES", "FACTS", "NAME", "QUERIES", "QUESTION", "TASK", "Placed", "Scene", "boxes", "describe", "describe_thing",
    "draw", "floor_random_thing", "held_out_colour", "make", "question", "sample_scene", "stated_facts", "target_box",
    "true_facts",
]  # fmt: skip

NAME = "errand"
TASK = "grounding"
CLASSES: tuple[str, ...] = ()
QUESTION: str | None = None

Box = tuple[float, float, float, float]

FACTS: dict[str, tuple[str, ...]] = {
    "thing": tuple(THINGS),
    "colour": tuple(COLOURS),
    "size": ("big", "small"),
    "place": ("left", "middle", "right", "top", "bottom"),
    "relation": ("next", "above", "below", "left_of", "right_of"),
    "room": tuple(ROOMS),
}
_SIDES = {"small": (0.205, 0.245), "big": (0.315, 0.375)}
_COLUMNS = (0.2, 0.5, 0.8)


@dataclass(frozen=True)
class Placed:
    """One thing of a scene: (x, y) is the centre of its box and `side` the longer side, in parts of the picture."""

    kind: str
    colour: str
    size: str
    x: float
    y: float
    side: float
    row: str
    flip: bool

    @property
    def column(self) -> str:
        """left, middle or right: where the thing is seen."""
        return "left" if self.x < 0.38 else "right" if self.x > 0.62 else "middle"

    def frame(self) -> tuple[float, float, float]:
        """(x, y, scale) of the pen that draws this thing."""
        x1, y1, x2, y2 = reach(self.kind)
        scale = self.side / max(x2 - x1, y2 - y1)
        across = (x1 + x2) / 2 * scale
        return (self.x + across if self.flip else self.x - across, self.y - (y1 + y2) / 2 * scale, scale)


@dataclass(frozen=True)
class Scene:
    """All that fixes a picture and its query. `phrasing` counts through a query's phrasings, then its held-out ones."""

    style: str
    room: str
    tint: int
    things: tuple[Placed, ...]
    query: str
    phrasing: int
    target: str
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
    order = tuple(COLOURS)
    return order[(tuple(THINGS).index(kind) * 5 + 2) % len(order)]


def sample_scene(rng: random.Random, split: str) -> Scene:
    """A scene of `split`: train, val and test are alike; `ood` has the other style, held-out wordings and, for half of
    the things, held-out colours; `any` has all styles, wordings and combinations (for perception only)."""
    if split not in ("train", "val", "test", "ood", "any"):
        raise ValueError(f"split {split!r} is not one of train, val, test, ood, any")
    name = rng.choice(tuple(QUERIES))
    query = QUERIES[name]
    target = rng.choice(query.accept)
    others = [kind for kind in THINGS if kind not in query.accept and kind not in query.avoid]
    kinds = [target, *rng.sample(others, rng.randint(2, 4))]
    seen, every = len(query.phrasings), len(query.phrasings) + len(query.held_out)
    first, last = {"ood": (seen, every), "any": (0, every)}.get(split, (0, seen))
    return Scene(
        style={"ood": "ink", "any": rng.choice(("paint", "ink"))}.get(split, "paint"),
        room=rng.choice(tuple(ROOMS)),
        tint=rng.randrange(4),
        things=_arrange(rng, kinds, split),
        query=name,
        phrasing=rng.randrange(first, last),
        target=target,
        seed=rng.randrange(1_000_000),
    )


def question(scene: Scene) -> str:
    """The scene's query in words."""
    query = QUERIES[scene.query]
    return (*query.phrasings, *query.held_out)[scene.phrasing]


def boxes(scene: Scene) -> dict[str, Box]:
    """The tight box (x1, y1, x2, y2) of each thing, in parts of the picture."""
    return {thing.kind: extent(thing.kind, *thing.frame(), thing.flip, scene.style) for thing in scene.things}


def target_box(scene: Scene, size: int = 336) -> list[int]:
    """The box of the thing that answers, in pixels of a picture `size` wide."""
    return [round(edge * size) for edge in boxes(scene)[scene.target]]


def draw(scene: Scene, size: int = 336, supersample: int = 2) -> Image.Image:
    """The picture, RGB, `size` pixels wide and high; the same scene gives the same picture."""
    canvas = Canvas(size, supersample, scene.style, scene.seed)
    ROOMS[scene.room](canvas, scene.tint)
    for thing in scene.things:
        x1, y1, x2, y2 = reach(thing.kind)
        scale = thing.frame()[2]
        half, height = (x2 - x1) / 2 * scale, (y2 - y1) * scale
        if thing.row == "bottom":
            shade = mix(canvas.image.getpixel((0, canvas.pixels - 1)), (70, 60, 80), 0.3)  # type: ignore[arg-type]
            canvas.ellipse(thing.x, thing.y + height / 2 - 0.006, half * 1.06, 0.02, shade, outline=False)
        elif thing.kind in HANGING:
            top = thing.y - height / 2
            canvas.line([(thing.x, top - 0.016), (thing.x, top + 0.02)], CHARCOAL, 0.008)
            canvas.ellipse(thing.x, top - 0.018, 0.011, 0.011, CHARCOAL)
    for thing in sorted(scene.things, key=lambda placed: placed.y):
        x, y, scale = thing.frame()
        THINGS[thing.kind](canvas.at(x, y, scale, thing.flip), COLOURS[thing.colour])
    return canvas.finish()


def _colour(rng: random.Random, kind: str, split: str) -> str:
    held = held_out_colour(kind)
    if split == "any":
        return rng.choice(tuple(COLOURS))
    if split == "ood" and rng.random() < 0.5:
        return held
    return rng.choice([colour for colour in COLOURS if colour != held])


def _arrange(rng: random.Random, kinds: list[str], split: str) -> tuple[Placed, ...]:
    """Each kind in its own cell of shelf and floor, jittered until no two boxes touch."""
    colours = [_colour(rng, kind, split) for kind in kinds]
    while True:  # sizes are drawn anew with the cells: three wide and big things fit in no row
        looks = [(kind, colour, rng.choice(("big", "small"))) for kind, colour in zip(kinds, colours, strict=True)]
        cells = rng.sample([(column, row) for column in _COLUMNS for row in ("top", "bottom")], len(kinds))
        placed = [_place(rng, *look, *cell) for look, cell in zip(looks, cells, strict=True)]
        if _apart(placed):
            rng.shuffle(placed)
            return tuple(placed)


def _place(rng: random.Random, kind: str, colour: str, size: str, column: float, row: str) -> Placed:
    x1, y1, x2, y2 = reach(kind)
    side = rng.uniform(*_SIDES[size])
    scale = side / max(x2 - x1, y2 - y1)
    width, height = (x2 - x1) * scale, (y2 - y1) * scale
    x = min(max(column + rng.uniform(-0.06, 0.06), width / 2 + 0.02), 0.98 - width / 2)
    if row == "bottom":
        y = rng.uniform(max(0.83, SHELF + 0.055 + height), 0.965) - height / 2
    elif kind in HANGING:
        y = rng.uniform(0.05, max(0.05, SHELF - 0.03 - height)) + height / 2
    else:
        y = SHELF - height / 2 + 0.004
    return Placed(kind, colour, size, round(x, 4), round(y, 4), round(side, 4), row, rng.random() < 0.5)


def _apart(placed: list[Placed], gap: float = 0.02) -> bool:
    spans: list[Box] = []
    for thing in placed:
        x1, y1, x2, y2 = reach(thing.kind)
        scale = thing.side / max(x2 - x1, y2 - y1)
        half, tall = (x2 - x1) * scale / 2 + gap / 2, (y2 - y1) * scale / 2 + gap / 2
        spans.append((thing.x - half, thing.y - tall, thing.x + half, thing.y + tall))
    return not any(
        a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for i, a in enumerate(spans) for b in spans[:i]
    )


def _iou(a: Box, b: Box) -> float:
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    shared = across * down
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def floor_random_thing(scenes: list[Scene]) -> float:
    """The mean IoU of naming the box of a random thing that is there: 1 / (number of things), boxes do not overlap."""
    return sum(1 / len(scene.things) for scene in scenes) / len(scenes)


def _floors(train: list[Scene], asked: list[Scene]) -> dict[str, float]:
    """Mean IoU over `asked` of the whole picture, of the mean box of `train` and of a random thing."""
    if not train or not asked:
        return {}
    known, true = ([boxes(scene)[scene.target] for scene in scenes] for scenes in (train, asked))
    x1, y1, x2, y2 = (sum(edges) / len(known) for edges in zip(*known, strict=True))
    guesses: dict[str, Box] = {"whole_image": (0.0, 0.0, 1.0, 1.0), "mean_box": (x1, y1, x2, y2)}
    floors = {name: sum(_iou(guess, box) for box in true) / len(true) for name, guess in guesses.items()}
    return {**floors, "random_thing": floor_random_thing(asked)}


def _entry(scene: Scene) -> dict[str, Any]:
    return {
        "image": draw(scene),
        "annotation": target_box(scene),
        "question": question(scene),
        "meta": {"scene": scene.to_dict(), "target": scene.target, "query": scene.query},
    }


def make(out: Path, *, train: int, val: int, test: int, seed: int, force: bool = False) -> dict[str, Any]:
    """Write a dataset with the splits train, val, test and ood (`test` records each of the last two).

    The same seed gives the same bytes, and a larger split begins with the records of a smaller one. Returns the
    counts, `floors` of simple predictors and the `best` possible score (mean IoU), for the test split and, under
    `ood`, for the other.
    """
    sizes = {"train": train, "val": val, "test": test, "ood": test}
    drawn = write_world(out, NAME, TASK, sizes, sample_scene, _entry, seed=seed, force=force)
    return measured(drawn, _floors)
