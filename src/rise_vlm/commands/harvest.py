"""``rise harvest``: the best rationales that a model writes for a dataset's records, for this or another trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rise_vlm.errors import UserError
from rise_vlm.recipes import load_recipe

if TYPE_CHECKING:
    from rise_vlm.recipes import Recipe
    from rise_vlm.stages.harvesting import Harvested

BAR = 40
USUAL = load_recipe("rise").harvest
"""What holds where an option is not given: the command harvests as the recipe does."""


def main(
    model: Annotated[str, typer.Argument(help="A run folder (its loop's model), a model folder, a hub id, or tiny.")],
    dataset: Annotated[Path, typer.Argument(help="The dataset's folder; rationales are for its training records.")],
    rollouts: Annotated[
        bool, typer.Option("--rollouts", help="Take what the run's loop sampled while it trained.")
    ] = False,
    last: Annotated[int | None, typer.Option(min=1, help="With --rollouts: of its last so many steps only.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help=f"Rationales sampled per record; {USUAL.samples}.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help=f"The worth from which one is kept; {USUAL.threshold:g}.")
    ] = None,
    gain: Annotated[
        float | None, typer.Option(help=f"How much better than others' rationales it must do; {USUAL.gain:g}.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help=f"Kept per record at most; {USUAL.top_k}.")] = None,
    per_class: Annotated[int | None, typer.Option(min=1, help="Kept per class at most.")] = None,
    similarity: Annotated[
        float | None,
        typer.Option(min=0.01, max=1.0, help=f"Share of words in common that makes a duplicate; {USUAL.similarity:g}."),
    ] = None,
    repetition: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help=f"Most of its runs of four words that may have come before in it; {USUAL.repetition:g}.",
        ),
    ] = None,
    records: Annotated[int | None, typer.Option(min=1, help="Only so many training records.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the sampling; the run's own, else 0.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files; runs/harvest-... if not given.", show_default=False)
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="FORMAT:FOLDER, such as sharegpt:kept or dataset:kept.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Keep the best rationales a model writes for the training records of a dataset.

    They are sampled, judged as the closed loop judges, and chosen; repeating the command with another threshold
    chooses again from the same samples. --to writes them with their records for LLaMA-Factory and others.
    """
    from rise_vlm.data import Dataset
    from rise_vlm.stages.trained import find_writer, require_model

    if last is not None and not rollouts:
        raise UserError("--last counts steps of the loop, so it needs --rollouts.")
    target, writer = _target(to), find_writer(model)
    require_model(writer.model)
    Dataset.open(dataset)
    # Paths first: what follows takes seconds to import.
    from rise_vlm.stages.harvest_export import check_target, export_kept
    from rise_vlm.stages.harvesting import harvest_recipe, run_harvest

    if target is not None:
        check_target(target[0], dataset, target[1])
    given: dict[str, Any] = {
        "harvest.samples": samples, "harvest.threshold": threshold, "harvest.gain": gain, "harvest.top_k": top_k,
        "harvest.per_class": per_class, "harvest.similarity": similarity, "harvest.repetition": repetition,
        "data.limit": records, "seed": seed,
    }  # fmt: skip
    recipe = harvest_recipe(writer, dataset, [f"{key}={value}" for key, value in given.items() if value is not None])
    kind = "rollouts" if rollouts else "harvest"
    folder = out or Path("runs") / f"{kind}-{Path(model).name or 'model'}-{dataset.resolve().name}"
    found = run_harvest(writer, recipe, folder, rollouts=rollouts, last=last)
    exported = None
    if target is not None:
        sharegpt = target[0] == "sharegpt"
        exported = export_kept(found, *target, _frame(writer.base, recipe.policy.max_pixels) if sharegpt else None)
    summary = _summary(found, recipe, folder, exported)
    if as_json:
        typer.echo(json.dumps(summary))
        return
    _print(found, summary, to)


def _summary(found: Harvested, recipe: Recipe, folder: Path, exported: dict[str, Any] | None) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "sampled": len(found.rows),
        "kept": len(found.kept),
        "records": len({row["id"] for row in found.kept}),
        "of_records": len(found.material.train),
        "threshold": recipe.harvest.threshold,
        "conditions": found.conditions,
        "dropped": dict(found.dropped),
        "notes": found.notes,
        "folder": str(folder),
        "exported": exported,
    }


def _frame(model: str, max_pixels: int | None) -> Any:
    """The frame in which the base model writes boxes."""
    from rise_vlm.policy.loading import load_front
    from rise_vlm.policy.lora import adapter_base

    return load_front(adapter_base(model) or model, max_pixels=max_pixels)[1].frame


def _target(to: str | None) -> tuple[str, Path] | None:
    if to is None:
        return None
    name, colon, folder = to.partition(":")
    if not colon or not name or not folder:
        raise UserError(f"--to is FORMAT:FOLDER, such as sharegpt:kept, not '{to}'.")
    return name, Path(folder)


def _print(found: Harvested, summary: dict[str, Any], to: str | None) -> None:
    for line in chart(found.histogram):
        typer.echo(line)
    if found.histogram["gain"]:
        for line in chart(found.histogram["gain"], "gain"):
            typer.echo(line)
    typer.echo(
        f"Kept {summary['kept']} of {summary['sampled']} rationales, for {summary['records']} of "
        f"{summary['of_records']} records ({found.conditions})."
    )
    for reason, count in found.dropped.most_common():
        typer.echo(f"Dropped: {count} x {reason}")
    for note in found.notes:
        typer.echo(f"Note: {note}.")
    typer.echo(f"Rationales: {Path(summary['folder']) / 'rationales.jsonl'}")
    if to is not None:
        typer.echo(f"Exported: {to.partition(':')[2]}")


def chart(histogram: dict[str, Any], measure: str = "worth") -> list[str]:
    """The worth, or the gain, of all rationales as bars on a terminal, the kept part of each filled; the threshold is
    marked.
    """
    edges, counts, kept = histogram["edges"], histogram["counts"], histogram["kept"]
    most = max([*counts, 1])
    lines = [f"{measure:>7}  rationales (filled: kept; <: from {histogram['threshold']:g} on)"]
    for low, high, count, part in zip(edges, edges[1:], counts, kept, strict=False):
        whole = round(BAR * count / most) or (1 if count else 0)
        filled = round(BAR * part / most) or (1 if part else 0)
        last = high == edges[-1] == histogram["threshold"]
        mark = "<" if low <= histogram["threshold"] < high or last else " "
        told = f"{count}" + (f" ({part})" if part else "")
        lines.append(f"{low:7.2f}{mark} {'█' * filled}{'░' * (whole - filled)} {told}".rstrip())
    return lines
