"""Equal compute: an arm of a sweep that trains as long as another arm's whole training took.

Its steps are derived before it runs, from two finished runs on the same data, size and seed: the seconds that the other
arm's training took, over the seconds that a step of the arm's own plain run took. A schedule of the learning rate so
knows its length. It is as good as the rate is steady: what the run took in the end stands in its results, beside the
other's. Left out: a clock that stops a training.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rise_vlm.errors import UserError
from rise_vlm.recipes.schema import Recipe, StageName


@dataclass(frozen=True)
class Derived:
    """``steps`` of ``stage``, and how they came about, for people."""

    stage: StageName
    steps: int
    told: str


def trained_stage(recipe: Recipe, arm: str) -> StageName:
    """The one stage whose steps can be stretched. Raises UserError where there is none, or several."""
    trains = [stage for stage in recipe.stages if stage != "evaluate"]
    if len(trains) != 1 or trains[0] not in ("sft", "grpo"):
        raise UserError(f"arms.{arm}: time_of needs an arm that trains in one stage, sft or grpo, not {trains}.")
    return trains[0]


def derive(recipe: Recipe, arm: str, like: tuple[str, Path], time_of: tuple[str, Path]) -> Derived | None:
    """The steps with which ``recipe`` takes the time of a run; None while one of the two runs is not finished.

    ``like`` and ``time_of``: (arm, run folder), the plain run of this recipe and the one whose time is given.
    """
    stage = trained_stage(recipe, arm)
    plain, whole = _results(like[1]), _results(time_of[1])
    if plain is None or whole is None:
        return None
    trained = plain["stages"][stage]
    steps = trained["summary"].get("steps") or recipe.training(stage).steps
    rate = trained["cost"]["seconds"] / steps
    seconds = sum(one["cost"]["seconds"] for name, one in whole["stages"].items() if name != "evaluate")
    if rate <= 0 or seconds <= 0:
        return None
    given = max(1, round(seconds / rate))
    told = (
        f"equal compute: {given} steps of {stage}, to take the {seconds:.0f} s that the training of {time_of[0]} took; "
        f"{like[0]} took {rate:.3g} s a step"
    )
    return Derived(stage, given, told)


def _results(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("stages") else None
