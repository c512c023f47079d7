"""affect: drawn scenes whose cues give a distribution over seven classes by a hidden rule."""

from __future__ import annotations

from rise_vlm.worlds.affect_draw import boxes, draw
from rise_vlm.worlds.affect_scene import FACTS, Scene, sample_scene, scene_facts, true_facts
from rise_vlm.worlds.affect_words import describe, stated_facts

NAME = "affect"
TASK = "distribution"
CLASSES = ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral")
QUESTION = "Which emotions does this picture evoke?"

__all__ = [
    "CLASSES", "FACTS", "NAME", "QUESTION", "TASK", "Scene", "boxes", "describe", "draw", "sample_scene",
    "scene_facts", "stated_facts", "true_facts",
]  # fmt: skip
