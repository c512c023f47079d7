"""From what a user calls a model to the model: a run folder means the model that the run ended with.

A run's model is used as the run used it: role, limits and precision are those of its recipe. Left out: choosing
between checkpoints of one stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rise_vlm.console import say
from rise_vlm.errors import UserError
from rise_vlm.policy.lora import adapter_base
from rise_vlm.recipes.loader import read_yaml
from rise_vlm.recipes.schema import STAGES
from rise_vlm.stages.files import read_json
from rise_vlm.stages.plan import DONE
from rise_vlm.tasks.base import Role

ANSWERING = ("grpo", "sft")
"""The stages whose model answers, the last first."""

KEPT = (
    "seed", "policy.precision", "policy.max_pixels",
    "evaluate.max_new_tokens", "evaluate.records_per_batch", "evaluate.resamples",
)  # fmt: skip
"""The settings of a run that decide what its model answers, and the intervals."""


@dataclass(frozen=True)
class Found:
    """A model's name or folder, the role in which its run was evaluated (None where no run says), and the run's
    ``KEPT`` settings by dotted key (none where there is no run).
    """

    model: str
    role: Role | None
    settings: Mapping[str, Any] = field(default_factory=dict)


def find_model(name: str) -> Found:
    """``tiny``, a hub id, a model folder, a run folder, or a demo's folder (of which the arm ``rise`` is taken).

    A stage's model counts only where all stages before it are done; where the run's last one is not, it is said.

    Raises:
        UserError: a run folder without any finished model, or whose recipe cannot be read.
    """
    folder = Path(name).expanduser()
    if name == "tiny" or not folder.is_dir() or adapter_base(name) or (folder / "config.json").is_file():
        return Found(name, None)
    if (folder / "arms" / "rise").is_dir():
        folder = folder / "arms" / "rise"
    if not (folder / "recipe.yaml").is_file():
        return Found(name, None)
    recipe = read_yaml(folder / "recipe.yaml")
    settings = {key: value for key in KEPT if (value := value_of(recipe, key)) is not None}
    roles = value_of(recipe, "evaluate.roles")
    role = roles[0] if isinstance(roles, list) and roles and roles[0] in ("think", "answer") else None
    stages = [stage for stage in STAGES if stage in (recipe.get("stages") or STAGES)]
    answering = [stage for stage in stages if stage in ANSWERING]
    if not answering:
        return Found(str(recipe.get("model") or "tiny"), role, settings)
    model, last = _last_model(folder, stages)
    if model is None:
        raise UserError(f"run {name} has no finished model yet: run it again to finish it, or name a model folder.")
    if last != answering[-1]:
        say(f"run {name} is not finished: the model of its stage {last} is used, not that of {answering[-1]}.")
    return Found(str(model), role, settings)


def _last_model(folder: Path, stages: Sequence[str]) -> tuple[Path | None, str]:
    """The model of the last answering stage up to which all are done, and that stage."""
    model, last = None, ""
    for stage in stages:
        if stage == "evaluate":
            break
        found = [(path, done) for path in sorted(folder.glob(f"stages/*-{stage}")) if (done := read_json(path / DONE))]
        if not found:
            break  # what comes after it is of other settings, or of a run before
        path, done = found[-1]
        if stage in ANSWERING and isinstance(done, dict) and "model" in done.get("summary", {}):
            model, last = path / done["summary"]["model"], stage
    return model, last


def value_of(recipe: Mapping[str, Any], key: str) -> Any:
    """What a recipe as it was read has under a dotted key; None where it has nothing."""
    value: Any = recipe
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
