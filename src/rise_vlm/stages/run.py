"""A run: the stages of a recipe in their order, each in its own folder, then ``results.json`` and the report.

A run can be stopped at any moment and started again: finished stages are skipped, the one that was under way goes on
where it was. Of several processes all run the stages and the main one keeps the files.
Left out: stages side by side.
"""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from rise_vlm import ranks
from rise_vlm.atomic import clear_drafts, write_text
from rise_vlm.console import duration, say
from rise_vlm.errors import UserError
from rise_vlm.lock import alone
from rise_vlm.policy.names import BUILT_IN
from rise_vlm.recipes.schema import Recipe
from rise_vlm.stages.context import Context, Models
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.files import read_json, write_json
from rise_vlm.stages.plan import Step, begin, clear_strangers, fail, finish, make_plan, tidy
from rise_vlm.stages.preflight import Prepared, prepare, replaced
from rise_vlm.stages.results import build_results
from rise_vlm.stages.rewards import RewardError
from rise_vlm.stages.shares import for_stage


def run_recipe(recipe: Recipe, out: Path, *, command: str = "rise run", report: bool = True) -> dict[str, Any]:
    """Run ``recipe`` in the folder ``out`` and return what ``results.json`` holds."""
    return run_prepared(prepare(recipe, out), command=command, report=report)


def run_prepared(
    run: Prepared, *, command: str, report: bool = True, spent: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """The same of a run that is checked already. ``spent`` is what training its model had cost before.

    Of several processes the others get an empty mapping.
    """
    started = time.time()
    ranks.start()
    run.out.mkdir(parents=True, exist_ok=True)
    with alone(run.out):
        # Once more, now that no other program can change what lies there.
        ranks.same("the run", [step.fingerprint for step in run.plan])
        plan = ranks.once(make_plan, run.recipe, run.material, run.out)
        return _run(replace(run, plan=plan), command, started, report, spent)


def _run(
    run: Prepared, command: str, started: float, report: bool, spent: Mapping[str, float] | None
) -> dict[str, Any]:
    recipe, out = run.recipe, run.out
    _hush(recipe)
    if ranks.in_parts():
        say(f"note: each of {ranks.size()} processes holds a part of every layer's weights.")
    for note in run.material.notes:
        say(f"note: {note}.")
    ranks.once(_settle, run)
    models = Models(recipe.model, recipe.model, recipe.model, recipe.model)
    done: dict[str, dict[str, Any]] = {}
    for number, step in enumerate(run.plan, start=1):
        label = f"[{recipe.name}] stage {number} of {len(run.plan)}, {step.stage}"
        if step.done:
            say(f"{label}: done before.")
            ranks.once(tidy, step)  # a process killed just after it was done has left its checkpoints
        done[step.stage] = step.done or _run_stage(run, step, models, label)
        models = _advance(recipe, models, step, done[step.stage]["summary"])
    if not ranks.is_main():
        return {}
    folders = {step.stage: step.folder for step in run.plan}
    results = build_results(recipe, run.material, done, folders, command, started, spent)
    before = read_json(out / "results.json")
    if isinstance(before, dict) and all(step.done for step in run.plan):  # nothing was run: it was run then and there
        results["environment"] = before.get("environment", results["environment"])
    _publish(run)
    write_json(out / "results.json", results)
    if report:
        from rise_vlm.report import write_report

        write_report(out)
    return results


def _settle(run: Prepared) -> None:
    """Make the folder this run's: what a killed process or another recipe has left in it goes."""
    for note in replaced(run.recipe, run.out):
        say(f"note: {note}.")
    if not all(step.done for step in run.plan):
        (run.out / "results.json").unlink(missing_ok=True)  # those of other settings would pass for this recipe's
    clear_drafts(run.out)
    write_recipe(run.recipe, run.out)
    clear_strangers(run.plan, run.out)


def _hush(recipe: Recipe) -> None:
    """Without transformers' own bars for reading and writing weights; those of a download stay."""
    if Path(recipe.model).is_dir() or recipe.model in BUILT_IN:
        from transformers.utils import logging

        logging.disable_progress_bar()


def write_recipe(recipe: Recipe, out: Path) -> None:
    """The resolved recipe, which ``rise run OUT/recipe.yaml`` takes as it is."""
    text = yaml.safe_dump(recipe.resolved(), sort_keys=False, allow_unicode=True, width=120)
    write_text(out / "recipe.yaml", text)


def _run_stage(run: Prepared, step: Step, models: Models, label: str) -> dict[str, Any]:
    began = time.monotonic()
    say(f"{label}.")
    # What is imported by now stays: spared, freeing a model takes milliseconds instead of seconds. No model lives yet.
    gc.collect()
    gc.freeze()
    ranks.once(begin, step, run.out)
    folders: dict[str, Path] = {one.stage: one.folder for one in run.plan}
    with Meter(step.folder) as meter:
        material = for_stage(run.material, run.recipe, step.stage)
        context = Context(run.recipe, material, models, step.stage, step.folder, folders, meter)
        # Imported by name: a stage is a module whose ``run`` takes a context and returns a summary.
        try:
            summary = importlib.import_module(f"rise_vlm.stages.{step.stage}").run(context)
        except RewardError as error:
            if ranks.is_main():
                fail(step, error.reward)
            raise
        cost = meter.save()
    say(f"{label}: done in {duration(time.monotonic() - began)}.")
    return ranks.once(finish, step, summary, cost)


def _advance(recipe: Recipe, models: Models, step: Step, summary: dict[str, Any]) -> Models:
    """The models after a stage. A stage that left none (nothing to learn from) changes nothing."""
    if "model" not in summary:
        return models
    made = str(step.folder / summary["model"])
    if not Path(made).is_dir():
        raise UserError(
            f"{made} is gone although its stage is done: delete {step.folder} to run it again.", exit_code=1
        )
    if step.stage == "warm_up":
        apart = recipe.closed_loop.reconstruct.reconstructor == "warm_up"  # it reconstructs, and the base explains
        return replace(models, warm=made, loop=models.base if apart else made)
    if step.stage == "closed_loop":
        return replace(models, loop=made)
    return replace(models, final=made)


def _publish(run: Prepared) -> None:
    """Predictions and rationales also at the run's root, where ``results.json`` is; those of a former recipe go."""
    for name in ("predictions", "quality"):
        target = run.out / name
        shutil.rmtree(target, ignore_errors=True)
        for step in run.plan:
            source = step.folder / name
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True, copy_function=link)


def link(source: str, target: str) -> None:
    """A second name for a file, or a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
