"""Worlds: drawn data with a known truth. One module per world, one line per world in `WORLDS`.

A world module has NAME, TASK, CLASSES, QUESTION, `Scene`, `sample_scene`, `draw`, `describe`, `true_facts`,
`stated_facts` and `make`; `World` spells the contract out. Where reasons calculate it has DERIVED too, the kinds of
facts that follow from what is seen.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from PIL import Image

from rise_vlm.errors import UserError, nearest

WORLDS = {
    "affect": "rise_vlm.worlds.affect",
    "errand": "rise_vlm.worlds.errand",
    "icons": "rise_vlm.worlds.icons",
    "street": "rise_vlm.worlds.street",
    "street_one": "rise_vlm.worlds.street_one",
    "blocks": "rise_vlm.worlds.blocks",
    "figures": "rise_vlm.worlds.figures",
    "moves": "rise_vlm.worlds.moves",
}


class World(Protocol):
    """What a world module offers. Scenes are frozen dataclasses with `to_dict` and `from_dict`."""

    NAME: str
    TASK: str
    CLASSES: Sequence[str]
    QUESTION: str | None
    Scene: type

    def sample_scene(self, rng: random.Random, split: str) -> Any: ...

    def draw(self, scene: Any, size: int = 336, supersample: int = 2) -> Image.Image: ...

    def describe(self, scene: Any, rng: random.Random, facts: int | None = None) -> str: ...

    def true_facts(self, scene: Any) -> frozenset[str]: ...

    def stated_facts(self, text: str) -> frozenset[str]: ...

    def make(self, out: Path, *, train: int, val: int, test: int, seed: int, force: bool = False) -> dict[str, Any]: ...


def load_world(name: str) -> World:
    """The world module called `name`; UserError naming the known worlds when there is none."""
    if name not in WORLDS:
        known = ", ".join(WORLDS)
        raise UserError(f"There is no world {name!r} (known: {known}).{nearest(name, list(WORLDS))}")
    return cast(World, importlib.import_module(WORLDS[name]))
