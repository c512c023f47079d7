"""The worlds' own captions, from which the built-in model learns to describe, are clean by the leak rules."""

from __future__ import annotations

import random

import pytest

from rise_vlm.data import Dataset
from rise_vlm.policy.frames import Thousand
from rise_vlm.tasks import TASKS, make_task
from rise_vlm.worlds import WORLDS, load_world


@pytest.mark.parametrize("name", WORLDS)
def test_no_caption_leaks_the_annotation_of_its_own_picture(name, tmp_path):
    """Twenty-five captions of each of twenty records. Only where the annotation is a number may a caption hold it: by
    chance, or because it counts right.
    """
    world = load_world(name)
    world.make(tmp_path / name, train=20, val=0, test=0, seed=3)
    dataset = Dataset.open(tmp_path / name)
    task = make_task(dataset.card)
    rng = random.Random(1)
    flagged: list[str] = []
    for record in dataset.records("train"):
        scene = world.Scene.from_dict(record.meta["scene"])
        for _ in range(25):
            caption = world.describe(scene, rng)
            leaks = [reason for reason in task.leaks(caption, record, Thousand()) if "names the number" not in reason]
            flagged += [f"{caption} -> {leaks}"] if leaks else []
    assert not flagged


@pytest.mark.parametrize("name", WORLDS)
def test_no_caption_leaks(name, record):
    world = load_world(name)
    task = TASKS[world.TASK](world.CLASSES, world.QUESTION, getattr(world, "SYNONYMS", {}))
    box = [100, 80, 400, 300]
    row = record([{"label": world.CLASSES[0], "box": box}] if world.TASK == "detection" else box, "Which one?")
    rng = random.Random(0)
    for _ in range(300):
        caption = world.describe(world.sample_scene(rng, "any"), rng)
        assert task.leaks(caption, row, Thousand()) == [], caption
