"""``rise evaluate``: score a model on a split of a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rise_vlm.errors import UserError


def main(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder, a hub id, or tiny.")],
    dataset: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    split: Annotated[str, typer.Option(help="The split to answer.")] = "test",
    role: Annotated[
        str | None, typer.Option(help="think or answer; a run's own by default, else think.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; runs/evaluate-... if not given.", show_default=False)
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many records.")] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="The longest completion; a run's own by default.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Score a model on a split of a dataset: metrics with 95 % intervals, predictions, and a report.

    A run's model is evaluated as its run did: the same role, longest completion, precision and picture bound; the arm
    has the name of the run's. That of any other model is zero_shot. Where --role is not the model's own, it is added.
    """
    from rise_vlm.data import Dataset
    from rise_vlm.recipes import as_overrides, load_recipe
    from rise_vlm.stages.preflight import prepare
    from rise_vlm.stages.trained import UNSEEN, doubts, find_model, judged_by

    if role not in (None, "think", "answer"):
        raise UserError(f"--role is think or answer, not '{role}'.")
    Dataset.open(dataset).require(split)
    found = find_model(model)
    own = found.role or "think"
    chosen = role or own
    arm = found.arm or "zero_shot"
    name = Path(model).name or "model"
    settings: dict[str, Any] = {"name": arm if chosen == own else f"{arm}_{chosen}", "description": ""}
    settings |= {"data": str(dataset), "model": found.model, "evaluate.splits": [split], "evaluate.roles": [chosen]}
    settings |= {"evaluate.limit": limit} if limit else {}
    settings |= dict(found.settings) | ({"evaluate.max_new_tokens": max_new_tokens} if max_new_tokens else {})
    if found.base and chosen == "think" and not settings.get("evaluate.quality.judge"):
        settings |= judged_by(found.base)
    recipe = load_recipe("zero_shot", as_overrides(settings))
    folder = out or Path("runs") / f"evaluate-{name}-{dataset.resolve().name}-{split}-{chosen}"
    prepared = prepare(recipe, folder)
    material = prepared.material
    known = {*material.notes, *([UNSEEN] if material.world else [])}
    material.notes.extend(doubt for doubt in doubts(found, material.task) if doubt not in known)
    # Paths first: what follows takes seconds to import.
    from rise_vlm.stages.run import run_prepared

    results = run_prepared(prepared, command=f"rise evaluate {model}", spent=found.cost)
    if as_json:
        typer.echo(json.dumps(results, allow_nan=False))
        return
    from rise_vlm.commands.tables import print_results

    print_results(results)
    typer.echo(f"Predictions: {folder / 'predictions'}, report: {folder / 'report.html'}")
