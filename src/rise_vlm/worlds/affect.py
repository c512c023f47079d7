"""affect: drawn scenes of a person, things and weather; the annotation says which of seven emotions they evoke.

Stands for Emotion6: a distribution given by 15 simulated raters after a hidden rule in which cues change each other's
meaning, so that no cue suffices alone. In domain the scenes are painted; out of domain they are drawn in ink, and each
joins a face to a thing that it never met in training. Scenes are in `affect_scene`, the rule in `affect_rule`, captions
in `affect_words`, drawing in `affect_draw`. Left out: text in pictures, more than one person.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from rise_vlm.worlds.affect_draw import boxes, draw
from rise_vlm.worlds.affect_rule import CLASSES, annotate, probabilities
from rise_vlm.worlds.affect_scene import FACTS, Scene, sample_scene, scene_facts, true_facts
from rise_vlm.worlds.affect_words import describe, stated_facts
from rise_vlm.worlds.writing import write_world

__all__ = [
    "CLASSES", "FACTS", "NAME", "QUESTION", "SYNONYMS", "TASK", "Scene", "annotate", "boxes", "describe", "draw",
    "make", "probabilities", "sample_scene", "scene_facts", "stated_facts", "true_facts",
]  # fmt: skip

NAME = "affect"
TASK = "distribution"
QUESTION = "Which emotions does this picture evoke?"
SYNONYMS: dict[str, list[str]] = {
    "anger": ["angry", "furious", "fury", "rage", "mad", "annoyed"],
    "disgust": ["disgusting", "disgusted", "revulsion", "revolting", "gross"],
    "fear": ["afraid", "scared", "scary", "frightened", "frightening", "terror"],
    "joy": ["joyful", "happy", "happiness", "cheerful", "delight", "glad"],
    "sadness": ["sad", "sorrow", "grief", "unhappy", "gloomy"],
    "surprise": ["surprised", "surprising", "astonished", "astonishment", "amazed"],
    "neutral": ["indifferent", "indifference", "emotionless"],
}


def _sample(rng: random.Random, split: str) -> tuple[Scene, dict[str, float]]:
    scene = sample_scene(rng, split)
    return scene, annotate(scene, rng)


def _entry(one: tuple[Scene, dict[str, float]]) -> dict[str, Any]:
    return {"image": draw(one[0]), "annotation": one[1], "meta": {"scene": one[0].to_dict()}}


def make(out: Path, *, train: int, val: int, test: int, seed: int, force: bool = False) -> dict[str, Any]:
    """Write a dataset with the splits train, val, test and ood (`test` records each of the last two).

    The same seed gives the same bytes, and a larger split begins with the records of a smaller one. Returns the
    counts, `floors` of simple predictors and the `best` possible score (the rule against its raters), for the test
    split and, under `ood`, for the other; see `affect_floors.floors`.
    """
    from rise_vlm.worlds.affect_floors import best_possible, floors

    sizes = {"train": train, "val": val, "test": test, "ood": test}
    drawn = write_world(
        out,
        NAME,
        TASK,
        sizes,
        _sample,
        _entry,
        seed=seed,
        force=force,
        classes=list(CLASSES),
        question=QUESTION,
        synonyms=SYNONYMS,
    )
    if not train or not test:
        return {"records": sizes, "floors": {}, "best": None, "ood": {"floors": {}, "best": None}}
    known, asked, other = drawn["train"], drawn["test"], drawn["ood"]
    return {
        "records": sizes,
        "floors": floors(known, asked),
        "best": best_possible(asked),
        "ood": {"floors": floors(known, other), "best": best_possible(other)},
    }
