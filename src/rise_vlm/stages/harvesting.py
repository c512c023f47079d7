"""The harvest as a tool: rationales of any model, or those that a run's loop sampled while it trained; the best kept.

Sampling is slow and choosing is not: a harvest repeated with another threshold takes the samples that are there.
Left out: where what is kept goes (``harvest_export``), training on it, and what a run's own harvest does where nothing
passes (keep the best of each).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rise_vlm.data import Record
from rise_vlm.errors import UserError
from rise_vlm.lock import alone
from rise_vlm.policy.frames import FRAMES
from rise_vlm.recipes import Recipe, as_overrides, load_recipe
from rise_vlm.stages import harvest
from rise_vlm.stages.context import Context, Models
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.files import Row, mend_rows, read_json, read_rows, replace_rows, write_json
from rise_vlm.stages.material import Material, digest_of
from rise_vlm.stages.plan import model_digest
from rise_vlm.stages.preflight import check_model, check_writable, measure
from rise_vlm.stages.selection import advice, histogram, select
from rise_vlm.stages.trained import CARRIED, Writer
from rise_vlm.tasks.base import Task

INPUTS, SAMPLES, KEPT = "inputs.json", "samples.jsonl", "rationales.jsonl"


@dataclass(frozen=True)
class Harvested:
    """What came of it: all rationales, those kept (with where they come from) and by which conditions, why the others
    were not, and the figures for people."""

    rows: list[Row]
    kept: list[Row]
    conditions: str
    dropped: Counter[str]
    notes: list[str]
    histogram: dict[str, Any]
    material: Material


def harvest_recipe(writer: Writer, data: Path, overrides: Sequence[str]) -> Recipe:
    """The recipe of a harvest alone, judged as the writer's run judged. ``overrides`` come last."""
    given = {override.split("=", 1)[0] for override in overrides}
    own = {"data": str(data), "model": writer.base}
    own |= {key: value for key, value in writer.settings.items() if key not in given}
    return load_recipe("rise", ["name=harvest", "stages=[harvest]", *as_overrides(own), *overrides])


def run_harvest(
    writer: Writer, recipe: Recipe, out: Path, *, rollouts: bool = False, last: int | None = None
) -> Harvested:
    """Sample (or read the loop's rollouts, of its ``last`` steps), choose, and leave the files in ``out``.

    Raises UserError where nothing is kept, and says what would be.
    """
    if rollouts and writer.loop is None:
        raise UserError("--rollouts needs a run folder with a closed loop; without it fresh rationales are sampled.")
    check_model(recipe)
    material = Material.open(recipe)
    limits = measure(recipe, material) or []
    check_writable(out)
    out.mkdir(parents=True, exist_ok=True)
    with alone(out):
        if rollouts:
            rows, blind = loop_rows(writer, recipe, material, last)
        else:
            rows, blind = _sampled(writer, recipe, material, out)
        settings = recipe.harvest
        kept, dropped = select(rows, settings, harvest.classes_of(material.train))
        shown = histogram(rows, kept, settings.threshold)
        measured = [row for row in rows if row["gain"] is not None]
        gains = histogram(measured, [row for row in kept if row["gain"] is not None], settings.gain, "gain")
        shown["gain"] = gains if measured else None
        write_json(out / "histogram.json", shown | {"dropped": dict(dropped), "fallback": False})
        source = {"source": "rollouts" if rollouts else "samples", "run": str(writer.run) if writer.run else None}
        source |= {
            "model": writer.model,
            "seed": recipe.seed,
            "threshold": settings.threshold,
            "min_gain": settings.gain,
        }
        kept = [{**row, **source} for row in kept]
        replace_rows(out / KEPT, kept)
    notes = [*limits, *harvest.gain_notes(rows, settings, blind=blind)]
    how = harvest.conditions(settings, blind)
    if not kept:
        raise UserError(
            f"none of {len(rows)} rationales is kept ({how}): {advice(rows, settings)}. All are judged in {out}.",
            exit_code=1,
        )
    return Harvested(rows, kept, how, dropped, notes, shown, material)


def _sampled(writer: Writer, recipe: Recipe, material: Material, out: Path) -> tuple[list[Row], bool]:
    """The samples in ``out``, those that lack drawn now. Raises UserError where they are of other settings."""
    inputs = sampling_digest(writer, recipe, material)
    before = read_json(out / INPUTS)
    if isinstance(before, dict) and before.get("inputs") != inputs and (out / SAMPLES).exists():
        raise UserError(
            f"{out} holds rationales sampled otherwise (another model, dataset or sampling setting): give another "
            "--out."
        )
    write_json(out / INPUTS, {"inputs": inputs, "model": writer.model})
    models = Models(writer.base, writer.warm, writer.model, writer.model)
    folders = {"closed_loop": writer.loop} if writer.loop is not None else {}
    with Meter(out) as meter:
        context = Context(recipe, material.rewarding(), models, "harvest", out, folders, meter)
        sees_image = harvest.sample_all(context, out / SAMPLES)
    return mend_rows(out / SAMPLES), not sees_image


def sampling_digest(writer: Writer, recipe: Recipe, material: Material) -> str:
    """A hash of all that decides what is sampled and how it is judged, and of nothing that only chooses."""
    how = recipe.harvest
    facts = {
        "data": digest_of(material, {"train": material.train}),
        "models": [model_digest(name) for name in (writer.base, writer.warm, writer.model)],
        "sampling": [how.samples, how.temperature, how.max_new_tokens, how.records_per_batch],
        "judged": {key: recipe.model_dump(mode="json")[key] for key in CARRIED},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def loop_rows(writer: Writer, recipe: Recipe, material: Material, last: int | None) -> tuple[list[Row], bool]:
    """What the run's loop sampled while it trained, as rows of a harvest, and whether it was rebuilt blind.

    What a step's other records lead to is read from their reconstructions again. Raises UserError where there are none,
    or none is of the dataset's records.
    """
    found = list(_rollouts(writer.loop)) if writer.loop is not None else []
    if not found:
        raise UserError(f"{writer.run} has no rollouts of a closed loop yet.")
    if last is not None:
        steps = sorted({row["step"] for row in found})[-last:]
        found = [row for row in found if row["step"] in set(steps)]
    records = {record.id: record for record in material.train}
    known = [row for row in found if row["id"] in records]
    if not known:
        raise UserError(f"{writer.run} trained on none of the records of {material.dataset.root}.")
    task = material.rewards
    wanted = recipe.closed_loop.reconstruct.sees_image
    sees_image = task.sees_image if wanted == "auto" else bool(wanted)
    numbers: Counter[tuple[int, str]] = Counter()
    for row in known:
        row["sample"] = numbers[row["step"], row["id"]]
        numbers[row["step"], row["id"]] += 1
        row["leaks"] = json.loads(row["leaks"]) if isinstance(row["leaks"], str) else row["leaks"]
        if row.get("finished") is None:  # logged by an earlier version
            row["finished"] = row["excess"] < 1  # one that was cut off counts as far too long
        row["others"] = row["gain"] = None
    if not sees_image:
        by_step: dict[int, list[Row]] = {}
        for row in known:
            by_step.setdefault(row["step"], []).append(row)
        for rows in by_step.values():
            _add_gains(task, rows, records)
    return known, not sees_image


def _rollouts(folder: Path) -> Sequence[Row]:
    """The log of a loop that is done, or of one under way."""
    path = folder / "rollouts.parquet"
    if not path.is_file():
        return list(read_rows(folder / "rollouts.jsonl"))
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path).to_pylist()


def _add_gains(task: Task, rows: Sequence[Row], records: Mapping[str, Record]) -> None:
    """``others`` and ``gain`` of the rows of one step."""
    frame = FRAMES["thousand"]()  # blind tasks write no coordinates
    asked = list(dict.fromkeys(row["id"] for row in rows))
    values: list[list[Any]] = []
    for id in asked:
        texts = [row["reconstruction"] for row in rows if row["id"] == id]
        read = [task.parse_completion(text, records[id], frame, "reconstruct").parsed.value for text in texts]
        values.append([value for value in read if value is not None])
    others = dict(zip(asked, harvest.baselines_of(task, [records[id] for id in asked], values), strict=True))
    for row in rows:
        row["others"] = others[row["id"]]
        row["gain"] = None if row["others"] is None else row["score"] - row["others"]
