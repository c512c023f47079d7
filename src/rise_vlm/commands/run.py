"""``rise run``: a recipe on a dataset, from the first stage to the report."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rise_vlm.ranks import after_main, is_main

if TYPE_CHECKING:
    from rise_vlm.recipes import Recipe
    from rise_vlm.stages.preflight import Prepared

STATES = {
    "done": "done before",
    "new": "to run",
    "goes on": "begun, goes on",
    "anew": "to run anew, since settings or inputs have changed; what is there moves to former/",
}


def main(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (rise, ans_sft, ...) or a YAML file.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as data=clothing closed_loop.steps=10")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; runs/RECIPE-DATASET if not given.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, show the plan, and stop.")] = False,
    show_settings: Annotated[
        bool, typer.Option("--settings", help="Print the recipe with every setting, and stop; it needs no dataset.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Run a recipe on a dataset: every stage, the evaluation and the report.

    The same command continues a run that was stopped, and skips the stages that are done and unchanged.
    """
    from rise_vlm.recipes import load_recipe

    loaded = load_recipe(recipe, settings or [])
    if show_settings:
        if is_main():
            _show_settings(loaded, as_json)
        return
    from rise_vlm.stages.preflight import prepare

    folder = out or default_folder(loaded)
    prepared = after_main(prepare, loaded, folder)
    if dry_run:
        if is_main():
            _show_plan(prepared, as_json)
        return
    # Paths first: what follows takes seconds to import.
    from rise_vlm.stages.run import run_prepared

    command = shlex.join(["rise", "run", recipe, *(settings or []), "--out", str(folder)])
    results = run_prepared(prepared, command=command)
    if not is_main():
        return
    if as_json:
        typer.echo(json.dumps(results, allow_nan=False))
        return
    from rise_vlm.commands.tables import print_results

    print_results(results)
    typer.echo(f"Report: {folder / 'report.html'}")


def default_folder(recipe: Recipe) -> Path:
    """``runs/RECIPE-DATASET``."""
    data = recipe.data.folder
    name = f"{recipe.name}-{Path(data).resolve().name}" if data else recipe.name
    return Path("runs") / name


def _show_settings(recipe: Recipe, as_json: bool) -> None:
    import yaml

    settings = recipe.resolved()
    text = json.dumps(settings) if as_json else yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=120)
    typer.echo(text.rstrip())


def _show_plan(run: Prepared, as_json: bool) -> None:
    from rise_vlm.policy.names import whereabouts
    from rise_vlm.stages.plan import state_of
    from rise_vlm.stages.preflight import replaced, without_gpu

    plan: dict[str, Any] = {
        "recipe": run.recipe.resolved(),
        "model": {"name": run.recipe.model, "where": whereabouts(run.recipe.model)},
        "out": str(run.out),
        "records": run.material.counts(),
        "trains": trained_weights(run.recipe),
        "notes": [*run.material.notes, *without_gpu(run.recipe), *replaced(run.recipe, run.out)],
        "stages": [
            {"stage": step.stage, "folder": str(step.folder), "done": bool(step.done), "state": state_of(step)}
            for step in run.plan
        ],
    }
    if as_json:
        typer.echo(json.dumps(plan))
        return
    records = plan["records"]
    tests = ", ".join(f"{count} {split}" for split, count in records["tests"].items()) or "none"
    typer.echo(f"model: {run.recipe.model}, {plan['model']['where']}")
    typer.echo(f"records: {records['train']} to train on, {records['val']} {_use_of_val(run.recipe)}; tests: {tests}")
    typer.echo(f"trains: {plan['trains']}")
    for note in plan["notes"]:
        typer.echo(f"note: {note}")
    for step in plan["stages"]:
        typer.echo(f"{step['folder']}: {STATES[step['state']]}")


def _use_of_val(recipe: Recipe) -> str:
    """What the validation records are for."""
    if "closed_loop" in recipe.stages:
        return "for the loop's controls (rationales that are empty or another picture's)"
    return "in val, which no stage of it uses"


def trained_weights(recipe: Recipe) -> str:
    """Which weights of the model its stages train."""
    from rise_vlm.policy.lora import adapter_base

    if not set(recipe.stages) - {"harvest", "evaluate"}:
        return "nothing; the model is judged as it is"
    if adapter_base(recipe.model):
        return "the adapters that it has"
    if lora := recipe.policy.lora:
        return f"LoRA adapters of rank {lora.r} on the language model; its own weights stay"
    tower = "; the vision tower stays" if recipe.policy.freeze_tower else " and of the vision tower"
    return f"all weights of the language model{tower}"
