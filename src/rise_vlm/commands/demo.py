"""``rise demo``: four ways to train the built-in model on the same drawn records, judged side by side."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rise_vlm.console import duration, say
from rise_vlm.errors import UserError

if TYPE_CHECKING:
    from rise_vlm.recipes.demo import Size

STAMP = "demo.json"


def main(
    world: Annotated[str, typer.Option(help="affect (emotions of a scene) or errand (find the thing).")] = "affect",
    quick: Annotated[bool, typer.Option("--quick", help="A few steps of everything, in two minutes.")] = False,
    out: Annotated[Path, typer.Option(help="The demo's folder.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the data and of the training.")] = 0,
    train: Annotated[int | None, typer.Option(min=1, help="Training records.", show_default=False)] = None,
    model: Annotated[str, typer.Option(help="The base model.")] = "tiny",
    force: Annotated[bool, typer.Option("--force", help="Replace another demo that --out holds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """See RISE work: zero-shot, ANS-SFT, Visual-RFT and RISE on the same drawn records, judged side by side.

    Stopping and repeating the command continues it. A folder holds one demo: for another world, seed, size or model
    give another --out.
    """
    from rise_vlm.recipes.demo import QUICK, full

    size = QUICK if quick else full(world)
    results = run_demo(world, size, out, seed=seed, train=train, model=model, force=force)
    if as_json:
        typer.echo(json.dumps(results, allow_nan=False))
        return
    from rise_vlm.commands.tables import print_results

    print_results(results)
    if size.note:
        typer.echo(f"{size.note[0].upper()}{size.note[1:]}.")
    typer.echo(f"Report: {(out / 'report.html').resolve()}")


def run_demo(
    world: str, size: Size, out: Path, *, seed: int, train: int | None, model: str, force: bool = False
) -> dict[str, Any]:
    """Make the data, run each arm as a run of its own under ``arms/``, merge, report."""
    from rise_vlm.recipes import as_overrides, load_recipe
    from rise_vlm.recipes.demo import ARMS
    from rise_vlm.report import write_report
    from rise_vlm.stages.files import write_json
    from rise_vlm.stages.preflight import check_model, check_own
    from rise_vlm.stages.results import merge_results
    from rise_vlm.worlds import load_world

    began = time.monotonic()
    command = _command(world, size, out, seed=seed, train=train, model=model)
    data = out / "data"
    named = {"data": str(data), "model": model, "seed": seed}
    recipes = [load_recipe(arm, [*as_overrides(named), *size.overrides.get(arm, ())]) for arm in ARMS]
    check_model(recipes[0])
    check_own(out, STAMP)
    load_world(world)  # an unknown one stops here
    wanted = wanted_data(world, size, seed=seed, train=train)
    check_folder(out, wanted, model, force=force)
    say(f"demo: {', '.join(ARMS)} on '{world}', about {size.minutes:g} minutes on two cores; in {out}.")
    # Paths first: what follows takes seconds to import.
    from rise_vlm.stages.run import run_recipe

    floors = make_data(out, wanted, model)
    parts: list[dict[str, Any]] = []
    for recipe in recipes:
        parts.append(run_recipe(recipe, out / "arms" / recipe.name, command=command, report=False))
        results = merge_results(parts, floors)
        results["data"]["folder"] = "data"
        results["notes"] = [*([f"demo: {size.note}"] if size.note else []), *results["notes"]]
        write_json(out / "results.json", results)
        shutil.copytree(out / "arms" / recipe.name / "predictions", out / "predictions", dirs_exist_ok=True)
    write_report(out)
    say(f"demo: done in {duration(time.monotonic() - began)}.")
    return results


def wanted_data(world: str, size: Size, *, seed: int, train: int | None) -> dict[str, Any]:
    """What decides the demo's dataset."""
    return {"world": world, "seed": seed, "train": train or size.train, "val": size.val, "test": size.test}


def check_folder(out: Path, wanted: dict[str, Any], model: str, *, force: bool) -> None:
    """Raise UserError where ``out`` holds another demo, unless ``force``, or data that no demo made."""
    from rise_vlm.stages.files import read_json

    stamp = read_json(out / STAMP)
    if not isinstance(stamp, dict):
        if (out / "data").exists():
            raise UserError(f"{out / 'data'} exists and was not made by the demo; give another --out.")
        return
    there = {**stamp.get("data", {}), "model": stamp.get("model", model)}
    asked = {**wanted, "model": model}
    if there == asked or force:
        return
    kind = next(key for key in asked if there.get(key) != asked[key])
    tail = {"world": asked["world"], "model": "other-model"}.get(kind, f"{kind}-{asked[kind]}")
    raise UserError(
        f"{out} holds the demo of {_named(there)}, not of {_named(asked)}. Give another folder, such as --out "
        f"{out}-{tail}, or --force to replace it."
    )


def _named(demo: dict[str, Any]) -> str:
    sizes = "/".join(str(demo.get(split)) for split in ("train", "val", "test"))
    return f"'{demo.get('world')}' (seed {demo.get('seed')}, {sizes} records, model {demo.get('model')})"


def make_data(out: Path, wanted: dict[str, Any], model: str) -> list[dict[str, Any]]:
    """The dataset under ``out/data``, made only if it is not there; returns the world's floors and ceiling."""
    from rise_vlm.stages.files import read_json, write_json
    from rise_vlm.stages.results import world_floors
    from rise_vlm.worlds import load_world

    world = load_world(wanted["world"])
    data, stamp, asked = out / "data", read_json(out / STAMP), {"data": wanted, "model": model}
    whole = isinstance(stamp, dict) and stamp.get("data") == wanted and (data / "dataset.yaml").is_file()
    summary = stamp.get("summary") if whole and isinstance(stamp, dict) else None
    if summary is None:
        # The stamp comes first: data beside it is the demo's own, finished or not.
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / STAMP, asked)
        shutil.rmtree(data, ignore_errors=True)
        sizes = {split: wanted[split] for split in ("train", "val", "test")}
        say(f"demo: drawing {sum(sizes.values()) + wanted['test']} pictures of '{wanted['world']}'.")
        summary = world.make(data, **sizes, seed=wanted["seed"])
    write_json(out / STAMP, {**asked, "summary": summary})
    return world_floors(summary, world.TASK)


def _command(world: str, size: Size, out: Path, *, seed: int, train: int | None, model: str) -> str:
    from rise_vlm.recipes.demo import QUICK

    words = ["rise", "demo", "--world", world, "--seed", str(seed), "--model", model, "--out", str(out)]
    words += ["--quick"] if size == QUICK else []
    words += ["--train", str(train)] if train else []
    return shlex.join(words)
