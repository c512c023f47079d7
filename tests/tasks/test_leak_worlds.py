"""The worlds' own captions, from which the built-in model learns to describe, are clean by the leak rules."""

from __future__ import annotations

import random

import pytest

from rise_vlm.policy.frames import Thousand
from rise_vlm.tasks import TASKS
from rise_vlm.worlds import WORLDS, load_world


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
