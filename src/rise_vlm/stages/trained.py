"""From what a user calls a model to the model: a run folder means the model that the run ended with.

Left out: choosing between checkpoints of one stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from rise_vlm.errors import UserError
from rise_vlm.policy.lora import adapter_base
from rise_vlm.recipes.schema import STAGES
from rise_vlm.stages.files import read_json
from rise_vlm.stages.plan import DONE
from rise_vlm.tasks.base import Role

ANSWERING = ("grpo", "sft")
"""The stages whose model answers, the last first."""


@dataclass(frozen=True)
class Found:
    """A model's name or folder, and the role in which its run was evaluated (None where no run says)."""

    model: str
    role: Role | None


def find_model(name: str) -> Found:
    """``tiny``, a hub id, a model folder, a run folder, or a demo's folder (of which the arm ``rise`` is taken).

    Raises:
        UserError: a run folder without any finished model.
    """
    folder = Path(name).expanduser()
    if name == "tiny" or not folder.is_dir() or adapter_base(name) or (folder / "config.json").is_file():
        return Found(name, None)
    if (folder / "arms" / "rise").is_dir():
        folder = folder / "arms" / "rise"
    if not (folder / "recipe.yaml").is_file():
        return Found(name, None)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    role = recipe.get("evaluate", {}).get("roles", [None])[0]
    for stage in ANSWERING:
        for path in sorted(folder.glob(f"stages/*-{stage}")):
            done = read_json(path / DONE)
            if isinstance(done, dict) and "model" in done["summary"]:
                return Found(str(path / done["summary"]["model"]), role)
    if not any(stage in ANSWERING for stage in recipe.get("stages", STAGES)):
        return Found(str(recipe.get("model", "tiny")), role)
    raise UserError(f"run {name} has no finished model yet: run it again to finish it, or name a model folder.")
