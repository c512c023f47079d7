"""street_one: the streets of `street`, of which each record asks for one kind of thing, named in its question.

Stands for COCO-Sub as the official code of RISE reads it, one class in each record; the annotation is the list of the
boxes of all things of that kind, empty where there is none. The answer's one class is `target`, so whoever rebuilds the
annotation from a rationale is not told what to look for, as in `errand`; in `street`, where all classes stand in the
prompt, the picture alone is enough. Each street is asked about twice, so that it cannot be known by heart what is
wanted in a picture. Pictures, splits, looks and places are those of `street`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from rise_vlm.rewards.detection import Labelled, detection_score
from rise_vlm.worlds import street, street_words
from rise_vlm.worlds.street import FACTS, Placed, stated_facts
from rise_vlm.worlds.writing import measured, write_world

__all__ = [
    "CLASSES", "FACTS", "NAME", "QUESTION", "TASK", "Scene", "annotate", "describe", "draw", "make", "question",
    "sample_scene", "stated_facts", "true_facts",
]  # fmt: skip

NAME = "street_one"
TASK = "detection"
CLASSES: tuple[str, ...] = ("target",)
QUESTION: str | None = None

_ABSENT = 0.12
"""How often the kind that is asked for is not there, though others are."""


@dataclass(frozen=True)
class Scene:
    """A street and the kind of thing that is asked for."""

    street: street.Scene
    asked: str

    @property
    def wanted(self) -> tuple[Placed, ...]:
        """The things that answer, from far to near."""
        return tuple(thing for thing in self.street.things if thing.kind == self.asked)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, fit for JSON."""
        return {"street": self.street.to_dict(), "asked": self.asked}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Scene:
        """The inverse of `to_dict`."""
        return cls(street.Scene.from_dict(data["street"]), data["asked"])


def sample_scene(rng: random.Random, split: str) -> Scene:
    """A street of `split`, and a kind that is in it, or now and then one that is not."""
    scene = street.sample_scene(rng, split)
    there = sorted({thing.kind for thing in scene.things})
    missing = [kind for kind in street.CLASSES if kind not in there]
    return Scene(scene, rng.choice(missing if not there or rng.random() < _ABSENT else there))


def another(scene: Scene) -> Scene:
    """The same street, asked for another kind that is in it, else for one that is not."""
    rng = random.Random(f"another {scene.street.seed} {scene.asked}")
    there = sorted({thing.kind for thing in scene.street.things} - {scene.asked})
    return replace(scene, asked=rng.choice(there or [kind for kind in street.CLASSES if kind != scene.asked]))


def question(scene: Scene) -> str:
    """What is asked, in words."""
    return f"Where is every {scene.asked} in this street?"


def draw(scene: Scene, size: int = 336, supersample: int = 2) -> Image.Image:
    """The street's picture, RGB, `size` pixels wide and high."""
    return _draw(scene.street, size, supersample)


_draw = lru_cache(maxsize=1)(street.draw)  # one picture for both records of a street


def annotate(scene: Scene, size: int = 336) -> list[dict[str, Any]]:
    """The annotation: the box of every thing asked for, in pixels of a picture `size` wide, from left to right."""
    found = street.annotate(scene.street, size)
    return [{"label": "target", "box": one["box"]} for one in found if one["label"] == scene.asked]


def describe(scene: Scene, rng: random.Random, facts: int | None = None) -> str:
    """A true caption of what was asked for and of no other thing; of the street alone where that is not there.

    `facts` is how many of the things it names (else up to four).
    """
    if not scene.wanted:
        return street_words.describe_around(scene.street, rng)
    return street.describe(replace(scene.street, things=scene.wanted), rng, facts)


def true_facts(scene: Scene) -> frozenset[str]:
    """All that `stated_facts` may rightly find: the facts of the whole street (`street_words.true_facts`)."""
    return street.true_facts(scene.street)


def floors(train: list[Scene], asked: list[Scene]) -> dict[str, float]:
    """Mean scores on `asked` of answers that do not look: `nothing`, the `mean_box` in `train` of the asked kind."""
    if not train or not asked:
        return {}
    known: dict[str, list[list[int]]] = {}
    for scene in train:
        known.setdefault(scene.asked, []).extend(one["box"] for one in annotate(scene))
    means = {kind: [street.mean_box("target", boxes)] for kind, boxes in known.items() if boxes}
    truth = [[Labelled(one["label"], one["box"]) for one in annotate(scene)] for scene in asked]
    answers = {"nothing": [[] for _ in asked], "mean_box": [means.get(scene.asked, []) for scene in asked]}
    return {name: sum(map(detection_score, truth, found)) / len(truth) for name, found in answers.items()}


def _entry(scene: Scene) -> dict[str, Any]:
    meta = {"scene": scene.to_dict()}
    return {"image": draw(scene), "annotation": annotate(scene), "question": question(scene), "meta": meta}


def make(out: Path, *, train: int, val: int, test: int, seed: int, force: bool = False) -> dict[str, Any]:
    """Write a dataset with the splits train, val, test and ood, and return its counts, floors and best score, as
    `street.make` does.
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
        asked=(another,),
        classes=list(CLASSES),
        question=QUESTION,
    )
    return measured(drawn, floors)
