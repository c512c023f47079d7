"""Which stages a run has, in which folders, with which fingerprints, and which of them are done already.

A stage's fingerprint covers all that decides its result: its settings, the seed, the data, the base model, and the
fingerprints of the stages it builds on. A finished stage with the same fingerprint is not run again; one with another
is moved to ``former/``, never deleted. Left out: the stages themselves.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rise_vlm.console import say
from rise_vlm.policy.loading import resolve
from rise_vlm.policy.lora import adapter_base
from rise_vlm.recipes.schema import Recipe, StageName
from rise_vlm.stages.files import read_json, write_json
from rise_vlm.stages.material import Material, digest_of

FORMAT = 1
"""Raised when a stage's meaning changes, so that results of before are not taken for its own."""

IDLE = ("save_every", "track")
"""Training settings that do not decide the result."""

DONE, INPUTS = "done.json", "inputs.json"

SETTINGS: dict[StageName, tuple[str, ...]] = {
    "warm_up": ("warm_up", "closed_loop.reconstruct.sees_image"),
    "closed_loop": ("closed_loop",),
    "harvest": ("harvest", "closed_loop"),
    "sft": ("sft",),
    "grpo": ("grpo",),
    "evaluate": ("evaluate", "name"),
}
"""The recipe's keys that decide a stage's result, beside those that decide all."""


@dataclass(frozen=True)
class Step:
    """One stage of a run: its folder, its fingerprint, and what it left if it is done."""

    stage: StageName
    folder: Path
    fingerprint: str
    done: dict[str, Any] | None


def make_plan(recipe: Recipe, material: Material, out: Path) -> list[Step]:
    """The stages of ``recipe`` in ``out``. Reads, writes nothing."""
    common = {
        "format": FORMAT,
        "seed": recipe.seed,
        "policy": recipe.policy.model_dump(mode="json"),
        "task": recipe.task.model_dump(mode="json"),
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
            "settings": [_setting(recipe, key) for key in SETTINGS[stage]],
            "upstream": [prints[before] for before in upstream(stage, recipe)],
        }
        prints[stage] = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        folder = out / "stages" / f"{number:02d}-{stage}"
        plan.append(Step(stage, folder, prints[stage], _done(folder, prints[stage])))
    return plan


def upstream(stage: StageName, recipe: Recipe) -> Sequence[StageName]:
    """The stages of ``recipe`` whose result ``stage`` takes."""
    wanted: dict[StageName, tuple[StageName, ...]] = {
        "warm_up": (),
        "closed_loop": ("warm_up",),
        "harvest": ("warm_up", "closed_loop"),
        "sft": ("harvest",) if recipe.sft.source == "harvest" else (),
        "grpo": ("sft",),
        "evaluate": ("sft", "grpo"),
    }
    return [before for before in wanted[stage] if before in recipe.stages]


def begin(step: Step, out: Path) -> None:
    """Make the folder of a stage that is to run; what was begun or done there with other inputs goes aside."""
    inputs = read_json(step.folder / INPUTS)
    if step.folder.exists() and (not isinstance(inputs, dict) or inputs.get("fingerprint") != step.fingerprint):
        if (step.folder / DONE).exists():
            put_aside(step.folder, out)
            say(
                f"{step.stage}: its settings or inputs have changed, so it runs again; the former result is in former/."
            )
        else:
            shutil.rmtree(step.folder)
    step.folder.mkdir(parents=True, exist_ok=True)
    write_json(step.folder / INPUTS, {"fingerprint": step.fingerprint})


def finish(step: Step, summary: Mapping[str, Any], cost: Mapping[str, float]) -> dict[str, Any]:
    """Write ``done.json`` last of all; the checkpoint, several times the model's size, has served."""
    done = {"fingerprint": step.fingerprint, "cost": dict(cost), "summary": dict(summary)}
    write_json(step.folder / DONE, done)
    for name in ("checkpoint-last", "checkpoint-old", "checkpoint-new"):
        shutil.rmtree(step.folder / name, ignore_errors=True)
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


def _setting(recipe: Recipe, key: str) -> Any:
    value: Any = recipe.model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    if isinstance(value, dict) and isinstance(value.get("train"), dict):
        value = value | {"train": {k: v for k, v in value["train"].items() if k not in IDLE}}
    return value
