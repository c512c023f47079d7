"""Which stages a run has, in which folders, with which fingerprints, and which of them are done already.

A stage's fingerprint covers all that decides its result: its settings, the seed, the data, the base model, and the
fingerprints of the stages it builds on. A finished stage with the same fingerprint is not run again. What was done or
begun with another is moved to ``former/`` and that is said; nothing is ever deleted. Settings that only say how the
work is cut into pieces, how often it is saved or how often it is looked at are not in the fingerprint.
Left out: the stages themselves.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rise_vlm.console import say
from rise_vlm.policy.lora import adapter_base
from rise_vlm.policy.names import resolve
from rise_vlm.recipes.schema import Recipe, StageName
from rise_vlm.stages.files import read_json, write_json
from rise_vlm.stages.material import Material, digest_of
from rise_vlm.stages.rewards import rewards_digest

FORMAT = 1
"""Raised when a stage's meaning changes, so that results of before are not taken for its own."""

IDLE = ("train.save_every", "train.track", "train.token_budget", "probes", "records_per_batch", "resamples", "quality")
"""Settings of a stage that do not decide what it makes."""

SEEDS = ("harvest", "records_per_batch")
"""The one that does decide, by its key: the harvest draws its random numbers batch by batch."""

STOP = "stop_without_spread"

DONE, INPUTS = "done.json", "inputs.json"
LAST, CHECKPOINTS = "checkpoint-last", "checkpoint-*"
"""The checkpoint a training goes on from, and all that it may leave."""

SETTINGS: dict[StageName, tuple[str, ...]] = {
    "warm_up": ("warm_up", "closed_loop.reconstruct.sees_image"),
    "closed_loop": ("closed_loop", "task"),
    "harvest": ("harvest", "closed_loop", "task"),
    "sft": ("sft",),
    "grpo": ("grpo", "task"),
    "evaluate": ("evaluate", "name"),
}
"""The recipe's keys that decide a stage's result, beside those that decide all."""

JUDGING = "closed_loop.reconstruct"
"""What decides of a rationale's worth to a reinforcement that rebuilds from it."""


@dataclass(frozen=True)
class Step:
    """One stage of a run: its folder, its fingerprint, and what it left if it is done.

    ``work`` is the fingerprint of what it has begun: that goes on as long as it is the same. It lacks what only matters
    in the end: how many steps a training at a constant rate takes, and how often an evaluation is resampled. The code
    of a user's own rewards is apart, in ``rewards``: a hash of each by name.
    """

    stage: StageName
    folder: Path
    fingerprint: str
    work: str
    steps: int | None
    done: dict[str, Any] | None
    rewards: dict[str, str] = field(default_factory=dict[str, str])


def make_plan(recipe: Recipe, material: Material, out: Path) -> list[Step]:
    """The stages of ``recipe`` in ``out``. Reads, writes nothing."""
    common = {
        "format": FORMAT,
        "seed": recipe.seed,
        "policy": _policy(recipe),
        "model": model_digest(recipe.model),
    }
    training = digest_of(material, {"train": material.train, "val": material.val})
    tests = digest_of(material, material.tests)
    prints: dict[StageName, str] = {}
    plan: list[Step] = []
    for number, stage in enumerate(recipe.stages, start=1):
        facts = {
            **common,
            "stage": stage,
            "data": tests if stage == "evaluate" else training,
            "upstream": [prints[before] for before in upstream(stage, recipe)],
        }
        rewards = rewards_digest(recipe.grpo.rewards) if stage == "grpo" else {}
        settings = [_setting(recipe, key) for key in _keys(recipe, stage)]
        # The intervals of an evaluation depend on the resamples, its predictions do not; nor on what is measured more.
        ends = _ends(recipe, prints) if stage == "evaluate" else None
        paid = stage == "grpo" and any(recipe.grpo.rewards.values())
        named = {"rewards": rewards} if paid else {}
        prints[stage] = _hash({**facts, **named, "settings": settings, "ends": ends})
        work = _hash({**facts, "settings": [_without_steps(one) for one in settings]})
        folder = out / "stages" / f"{number:02d}-{stage}"
        steps = _asked(recipe, stage)
        plan.append(Step(stage, folder, prints[stage], work, steps, _done(folder, prints[stage]), rewards))
    return plan


def _asked(recipe: Recipe, stage: StageName) -> int | None:
    """The steps that a training is asked for; None where epochs say it, which no change of steps can shorten."""
    if stage not in ("warm_up", "closed_loop", "sft", "grpo"):
        return None
    return None if getattr(recipe, stage).model_dump().get("epochs") else recipe.training(stage).steps


def recipe_digest(recipe: Recipe) -> str:
    """A hash of the settings that decide a run's results; of the data only how much of it is used, not where it is."""
    own = [recipe.seed, recipe.data.limit, recipe.model, list(recipe.stages), _policy(recipe)]
    stages = [_setting(recipe, key) for stage in recipe.stages for key in _keys(recipe, stage)]
    return _hash([own, stages, recipe.evaluate.resamples, _quality(recipe)])


def _ends(recipe: Recipe, prints: Mapping[StageName, str]) -> Any:
    """What decides an evaluation's figures, but not its predictions."""
    quality = _quality(recipe)
    if quality is None:
        return recipe.evaluate.resamples
    judge = model_digest(quality["judge"]) if quality["judge"] else None
    return [recipe.evaluate.resamples, quality["records"], judge, prints.get("closed_loop")]


def _quality(recipe: Recipe) -> dict[str, Any] | None:
    """How rationales are measured; None where there are none, or nothing is asked for."""
    return recipe.evaluate.quality.model_dump(mode="json") if recipe.evaluate.measures_quality else None


def upstream(stage: StageName, recipe: Recipe) -> Sequence[StageName]:
    """The stages of ``recipe`` whose result ``stage`` takes."""
    wanted: dict[StageName, tuple[StageName, ...]] = {
        "warm_up": (),
        "closed_loop": ("warm_up",),
        "harvest": ("warm_up", "closed_loop"),
        "sft": (
            *(("warm_up",) if recipe.sft.start == "warm_up" else ()),
            *(("harvest",) if recipe.sft.source == "harvest" else ()),
        ),
        "grpo": (*(("warm_up",) if recipe.grpo.rebuilds else ()), "sft"),
        "evaluate": ("sft", "grpo"),
    }
    return [before for before in wanted[stage] if before in recipe.stages]


def state_of(step: Step) -> str:
    """What a run would do with a stage: ``done``, ``new``, ``goes on``, or ``anew``, which moves what is there."""
    if step.done:
        return "done"
    if not step.folder.exists():
        return "new"
    return "goes on" if _goes_on(step, (step.folder / DONE).exists()) else "anew"


def begin(step: Step, out: Path) -> None:
    """Make the folder of a stage that is to run; what was begun or done there with other inputs goes aside."""
    done = (step.folder / DONE).exists()
    mended = _mended(step)
    if state_of(step) == "anew":
        aside = put_aside(step.folder, out)
        what = "the former result" if done else "what it had begun"
        say(f"{step.stage}: its settings or inputs have changed, so it starts anew; {what} is in former/{aside.name}.")
    elif mended:
        say(f"{step.stage}: reward '{mended}' is not what it was when it failed; what was trained before then stays.")
    step.folder.mkdir(parents=True, exist_ok=True)
    (step.folder / DONE).unlink(missing_ok=True)
    inputs = {"fingerprint": step.fingerprint, "work": step.work, "rewards": step.rewards}
    write_json(step.folder / INPUTS, inputs)


def fail(step: Step, reward: str) -> None:
    """Remember that ``reward`` failed: mended, it is other code, with which the stage is to go on all the same."""
    write_json(step.folder / INPUTS, _inputs(step) | {"failed": reward})


def tidy(step: Step) -> None:
    """Delete the checkpoints of a stage that is done; each is several times the model's size."""
    for folder in step.folder.glob(CHECKPOINTS):
        shutil.rmtree(folder, ignore_errors=True)


def _inputs(step: Step) -> dict[str, Any]:
    inputs = read_json(step.folder / INPUTS)
    return inputs if isinstance(inputs, dict) else {}


def _mended(step: Step) -> str | None:
    """The reward that failed, if its file has been changed since and no other reward's has."""
    inputs = _inputs(step)
    before: dict[str, str] = inputs.get("rewards", {})
    failed = inputs.get("failed")
    other = {before.get(name) for name in {**before, **step.rewards} if before.get(name) != step.rewards.get(name)}
    return failed if failed in before and other == {before[failed]} else None


def _goes_on(step: Step, done: bool) -> bool:
    """Whether what lies in the stage's folder is a part of what the stage is now asked for."""
    inputs = _inputs(step)
    if done:  # a training has no checkpoint left; an evaluation has its predictions
        return step.stage == "evaluate" and inputs.get("work") == step.work
    if inputs.get("fingerprint") == step.fingerprint:
        return True
    if inputs.get("rewards", {}) != step.rewards and not _mended(step):
        return False
    state = read_json(step.folder / LAST / "state.json")
    reached = state.get("step", 0) if isinstance(state, dict) else 0
    return inputs.get("work") == step.work and (step.steps is None or reached <= step.steps)


def finish(step: Step, summary: Mapping[str, Any], cost: Mapping[str, float]) -> dict[str, Any]:
    """Write ``done.json`` last of all; the checkpoints have served."""
    done = {"fingerprint": step.fingerprint, "cost": dict(cost), "summary": dict(summary)}
    write_json(step.folder / DONE, done)
    tidy(step)
    return done


def clear_strangers(plan: Sequence[Step], out: Path) -> None:
    """Stages of a former recipe in the same folder would show up in the report: they go aside."""
    wanted = {step.folder for step in plan}
    for folder in sorted((out / "stages").glob("*")):
        if folder.is_dir() and folder not in wanted:
            put_aside(folder, out)


def put_aside(folder: Path, out: Path) -> Path:
    """Move a stage's folder into ``former/`` under a free name."""
    former = out / "former"
    former.mkdir(parents=True, exist_ok=True)
    number = 1
    while (target := former / f"{folder.name}.{number}").exists():
        number += 1
    folder.rename(target)
    return target


def model_digest(name: str) -> str:
    """A hash of a local model's files; of a hub id, its name (what the hub holds under it is taken to stay)."""
    base = adapter_base(name)
    source, local = resolve(name) if base is None else (name, True)
    if not local:
        return source
    digest = hashlib.blake2b(model_digest(base).encode() if base else b"", digest_size=16)
    for path in sorted(Path(source).iterdir()):
        if path.suffix in (".json", ".safetensors", ".jinja", ".txt"):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(1 << 22):
                    digest.update(block)
    return digest.hexdigest()


def _done(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    done = read_json(folder / DONE)
    return done if isinstance(done, dict) and done.get("fingerprint") == fingerprint else None


def _hash(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _policy(recipe: Recipe) -> dict[str, Any]:
    """What decides of how the model is loaded."""
    return recipe.policy.model_dump(mode="json", exclude={"gradient_checkpointing"})


def _keys(recipe: Recipe, stage: StageName) -> Sequence[str]:
    """The recipe's keys that decide a stage's result: a reinforcement that rebuilds does so as the loop does."""
    return (*SETTINGS[stage], *([JUDGING] if stage == "grpo" and recipe.grpo.rebuilds else []))


def _setting(recipe: Recipe, key: str) -> Any:
    """The settings under ``key``, without those in ``IDLE``."""
    value: Any = recipe.model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    if not isinstance(value, dict):
        return value
    kept = {name: inner for name, inner in value.items() if name not in IDLE or (key, name) == SEEDS}
    if isinstance(kept.get("train"), dict):
        kept["train"] = {name: inner for name, inner in kept["train"].items() if f"train.{name}" not in IDLE}
    return kept


def _without_steps(setting: Any) -> Any:
    """Settings of a training whose first steps are the same however many follow: at a constant rate, and up to where it
    would stop for want of spread."""
    if isinstance(setting, dict):
        setting = {name: inner for name, inner in setting.items() if name != STOP}
    train = setting.get("train") if isinstance(setting, dict) else None
    if not isinstance(train, dict) or train["schedule"] != "constant":
        return setting
    return setting | {"train": {name: inner for name, inner in train.items() if name != "steps"}}
