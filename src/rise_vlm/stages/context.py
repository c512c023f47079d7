"""What a stage is given: the recipe, the records, a folder of its own, and the models that came before it."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rise_vlm.engine.settings import TrainSettings
from rise_vlm.errors import UserError
from rise_vlm.policy import Policy
from rise_vlm.policy.lora import adapter_base
from rise_vlm.policy.room import Room
from rise_vlm.ranks import after_main, in_parts, of_all
from rise_vlm.recipes.schema import Recipe, StageName
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.material import Material

Summary = dict[str, Any]
"""What a stage leaves in ``done.json``: plain values. ``model`` there is a folder inside the stage's own."""


@dataclass(frozen=True)
class Models:
    """Names or folders of models. ``base`` is the recipe's, ``warm`` the warm-up's (or the base), ``loop`` what the
    loop starts from and then what it has trained, ``final`` what answers in the end."""

    base: str
    warm: str
    loop: str
    final: str


@dataclass(frozen=True)
class Context:
    """A stage's surroundings. ``folders`` are those of the stages before it, by name; ``room`` is that of all its
    policies, which share a memory."""

    recipe: Recipe
    material: Material
    models: Models
    stage: StageName
    folder: Path
    folders: dict[str, Path]
    meter: Meter
    room: Room = field(default_factory=Room)

    @property
    def train(self) -> TrainSettings:
        """The stage's training settings, seeded by the recipe."""
        return self.recipe.training(self.stage)

    @contextmanager
    def policy(self, name: str, *, trains: bool = False, reference: bool = False) -> Iterator[Policy]:
        """A model, freed at the end. With ``trains`` it gets the recipe's LoRA and takes gradients."""
        how = self.recipe.policy
        # A stage that goes on from an adapter trains that adapter further.
        fresh = trains and adapter_base(name) is None
        # Fresh adapters begin at random: the same for the same recipe, whatever the process did before.
        with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
            torch.manual_seed(self.generator("adapter").initial_seed())
            policy = after_main(
                Policy.load,
                name,
                lora=how.lora if fresh else None,
                freeze_tower=how.freeze_tower,
                dtype=how.precision,
                max_pixels=how.max_pixels,
                keep_reference=reference,
                frozen=not trains,
                gradient_checkpointing=how.gradient_checkpointing and trains,
            )
            if in_parts():
                self._check(policy)
        policy.room = self.room
        try:
            yield policy
        finally:
            del policy
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    @staticmethod
    def _check(policy: Policy) -> None:
        """What ``Policy.load`` does where weights are whole: in parts all must have loaded the model."""
        try:
            policy.check()
        except UserError as error:
            raise of_all(error) from None

    def generator(self, *what: object) -> torch.Generator:
        """A generator that depends on the recipe's seed, the stage and ``what``, and on nothing else."""
        text = "/".join(str(part) for part in (self.recipe.seed, self.stage, *what))
        digest = hashlib.sha256(text.encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def batches(count: int, size: int) -> list[range]:
    """0..count cut into ranges of ``size``."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
