"""blocks: CLEVR scenes of solids on a grey floor, and arithmetic questions about how many there are.

Stands for CLEVR-Math, and out of domain for Super-CLEVR: `ood` shows vehicles under the same questions, `ood_long`
shows solids under programs of three or four steps. The camera is CLEVR's (`blocks_camera`), the drawing a small ray
caster (`blocks_solids`, `blocks_things`), questions and rationales are in `blocks_questions`, captions in
`blocks_words`.
Left out: textures, questions about colours or relations.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from rise_vlm.worlds import blocks_questions as asking
from rise_vlm.worlds.blocks_camera import CLEVR, Camera
from rise_vlm.worlds.blocks_questions import FAMILIES, Program
from rise_vlm.worlds.blocks_solids import Part, View
from rise_vlm.worlds.blocks_things import COLOURS, LENGTH, RADIUS, SOLIDS, VEHICLES, solid, vehicle
from rise_vlm.worlds.blocks_words import Seen, caption, stated_in, true_of
from rise_vlm.worlds.writing import measured, write_world

__all__ = [
    "CLASSES", "NAME", "QUESTION", "SPLITS", "TASK", "Item", "Scene", "answer", "describe", "draw", "make", "question",
    "rationale", "sample_scene", "seen", "stated_facts", "true_facts", "visible",
]  # fmt: skip

NAME = "blocks"
TASK = "counting"
CLASSES: tuple[str, ...] = ()
QUESTION: str | None = None
DERIVED = ("count",)
"""Facts that reasons work out as well as see (`stages.facts.untrue`)."""
SPLITS = ("train", "val", "test", "ood", "ood_long", "any")

ZOOM, LIFT, AREA = 1.25, -0.08, 2.7
FEWEST, MOST = 3, 10
"""How many things a picture holds; vehicles are larger, so there are at most MOST_VEHICLES."""

MOST_VEHICLES = 7


@dataclass(frozen=True)
class Item:
    """One thing: (x, y) on the floor in world units, `turn` in radians, `model` and `accent` for vehicles."""

    shape: str
    size: str
    colour: str
    material: str
    x: float
    y: float
    turn: float
    model: int
    accent: str


@dataclass(frozen=True)
class Scene:
    """A picture and its question. `eye` is where the camera stands; `seed` fixes the wording."""

    style: str
    items: tuple[Item, ...]
    eye: tuple[float, float, float]
    program: Program
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"style": self.style, "items": [asdict(item) for item in self.items], "eye": list(self.eye),
                "program": self.program.to_dict(), "seed": self.seed}  # fmt: skip

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scene:
        """The inverse of `to_dict`."""
        items = tuple(Item(**item) for item in values["items"])
        eye = values["eye"]
        return cls(values["style"], items, (eye[0], eye[1], eye[2]), Program.from_dict(values["program"]),
                   values["seed"])  # fmt: skip


def camera(eye: tuple[float, float, float]) -> Camera:
    """CLEVR's lens in a square picture, a little enlarged."""
    return Camera(eye=eye, zoom=ZOOM, lift=LIFT)


def sample_scene(rng: random.Random, split: str) -> Scene:
    """A scene of `split`: train, val and test are solids under CLEVR-Math's questions; `ood` vehicles under the same;
    `ood_long` solids under longer programs; `any` all of it (for perception only).
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    style = {"ood": "vehicles", "any": rng.choice(("solids", "vehicles"))}.get(split, "solids")
    eye = tuple(round(c + rng.uniform(-0.5, 0.5), 3) for c in CLEVR)
    count = rng.randint(FEWEST, MOST if style == "solids" else MOST_VEHICLES)
    items = _arrange(rng, style, count, camera((eye[0], eye[1], eye[2])))
    family = "long" if split == "ood_long" else rng.choice((*FAMILIES, *(("long",) if split == "any" else ())))
    known = _seen(items, (eye[0], eye[1], eye[2]))
    program = asking.sample_program(rng, known, family)
    return Scene(style, items, (eye[0], eye[1], eye[2]), program, rng.randrange(1 << 30))


def _arrange(rng: random.Random, style: str, count: int, view: Camera) -> tuple[Item, ...]:
    """Things on the floor, apart from each other on it and in the picture."""
    shapes, sizes = (SOLIDS, RADIUS) if style == "solids" else (VEHICLES, LENGTH)
    while True:
        placed: list[Item] = []
        for _ in range(count * 60):
            colour = rng.choice(tuple(COLOURS))
            item = Item(rng.choice(shapes), rng.choice(tuple(sizes)), colour, rng.choice(("rubber", "metal")),
                        round(rng.uniform(-AREA, AREA), 3), round(rng.uniform(-AREA, AREA), 3),
                        round(rng.uniform(0, 2 * math.pi), 3), rng.randrange(3),
                        rng.choice([other for other in COLOURS if other != colour]))  # fmt: skip
            if _free(item, placed, view):
                placed.append(item)
            if len(placed) == count:
                return tuple(placed)


def _radius(item: Item) -> float:
    return RADIUS[item.size] if item.shape in SOLIDS else LENGTH[item.size]


def _free(item: Item, placed: list[Item], view: Camera) -> bool:
    u, v, radius = disc(item, view)
    if not (radius + 0.01 < u < 0.99 - radius and radius + 0.01 < v < 0.99 - radius):
        return False
    for other in placed:
        gap = math.hypot(item.x - other.x, item.y - other.y) - _radius(item) - _radius(other)
        across, down, beside = disc(other, view)
        if gap < 0.12 or math.hypot(u - across, v - down) < 0.74 * (radius + beside):
            return False
    return True


def disc(item: Item, view: Camera) -> tuple[float, float, float]:
    """(u, v, radius) of the disc in the picture that stands for a thing."""
    radius = _radius(item)
    flat = 1.0 if item.shape in SOLIDS else 0.7
    u, v, depth = view.project(item.x, item.y, radius * (0.9 if item.shape in SOLIDS else 0.35))
    return u, v, view.focal * radius * flat / depth


def parts(scene: Scene) -> list[Part]:
    """The parts of all things; `owner` is the index of the thing."""
    built: list[Part] = []
    for owner, item in enumerate(scene.items):
        at = (item.x, item.y)
        if item.shape in SOLIDS:
            built += solid(item.shape, RADIUS[item.size], at, item.turn, item.colour, item.material, owner)
        else:
            built += vehicle(item.shape, item.model, LENGTH[item.size], at, item.turn, item.colour, item.accent,
                             item.material, owner)  # fmt: skip
    return built


def draw(scene: Scene, size: int = 336, supersample: int = 2) -> Image.Image:
    """The picture, `size` x `size` RGB; the same scene gives the same picture."""
    view = View(camera(scene.eye), size * supersample)
    view.paint(parts(scene))
    return view.image(size)


def visible(scene: Scene, size: int = 160) -> list[float]:
    """Of each thing, the share of its outline that nothing hides."""
    view = View(camera(scene.eye), size)
    everything = parts(scene)
    view.outline(everything)
    shares: list[float] = []
    for owner in range(len(scene.items)):
        alone = View(camera(scene.eye), size)
        alone.outline([part for part in everything if part.owner == owner])
        shares.append(int((view.owner == owner).sum()) / max(1, int((alone.owner == owner).sum())))
    return shares


def _seen(items: tuple[Item, ...], eye: tuple[float, float, float]) -> list[Seen]:
    found: list[Seen] = []
    for item in items:
        u = camera(eye).project(item.x, item.y, 0.3)[0]
        place = "left" if u < 0.38 else "right" if u > 0.62 else "middle"
        found.append(Seen(item.size, item.colour, item.material, item.shape, place))
    return found


def seen(scene: Scene) -> list[Seen]:
    """The things as words know them."""
    return _seen(scene.items, scene.eye)


def describe(scene: Scene, rng: random.Random, facts: int | None = None) -> str:
    """A true caption without digits; it names things, places and numbers of like things, never a question's answer as
    such.
    """
    return caption(seen(scene), SOLIDS if scene.style == "solids" else VEHICLES, rng, facts)


def true_facts(scene: Scene) -> frozenset[str]:
    """All that `stated_facts` may rightly find; see `blocks_words`."""
    return true_of(seen(scene))


def stated_facts(text: str) -> frozenset[str]:
    """The facts a text states, such as `exists=red cube`, `count=two thing`."""
    return stated_in(text)


def question(scene: Scene) -> str:
    """The scene's question in words."""
    return asking.question(scene.program, random.Random(f"question {scene.seed}"))


def answer(scene: Scene) -> int:
    """The number that answers it."""
    return asking.answer(scene.program, seen(scene))


def rationale(scene: Scene) -> str:
    """Reasons that end in the answer, right by construction."""
    return asking.reasons(scene.program, seen(scene), random.Random(f"reasons {scene.seed}"))


def floors(train: list[Scene], asked: list[Scene]) -> dict[str, float]:
    """Accuracy of: `majority`, the most frequent training answer; `by_template`, the most frequent one of each template
    in training; `things_there`, the number of all things in the picture.
    """
    if not train or not asked:
        return {}
    known = Counter(answer(scene) for scene in train)
    majority = known.most_common(1)[0][0]
    by_template: dict[str, Counter[int]] = {}
    for scene in train:
        by_template.setdefault(scene.program.template, Counter())[answer(scene)] += 1
    guesses = {"majority": [majority] * len(asked), "things_there": [len(scene.items) for scene in asked]}
    guesses["by_template"] = [by_template.get(s.program.template, known).most_common(1)[0][0] for s in asked]
    true = [answer(scene) for scene in asked]
    return {name: sum(g == t for g, t in zip(guesses[name], true, strict=True)) / len(true) for name in sorted(guesses)}


def _entry(scene: Scene) -> dict[str, Any]:
    return {
        "image": draw(scene),
        "annotation": answer(scene),
        "question": question(scene),
        "rationale": rationale(scene),
        "meta": {"scene": scene.to_dict(), "template": scene.program.template},
    }


def make(out: Path, *, train: int, val: int, test: int, seed: int, force: bool = False) -> dict[str, Any]:
    """Write a dataset with the splits train, val, test, ood and ood_long (`test` records each of the last three), every
    record with a rationale.

    The same seed gives the same bytes, and a larger split begins with the records of a smaller one. Returns the counts,
    and `floors` and `best` for the test split and, under `ood` and `ood_long`, for the others.
    """
    sizes = {"train": train, "val": val, "test": test, "ood": test, "ood_long": test}
    drawn = write_world(out, NAME, TASK, sizes, sample_scene, _entry, seed=seed, force=force)
    return measured(drawn, floors)
