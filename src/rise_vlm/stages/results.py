"""``results.json``: what a run found, in the form that ``docs/results-format.md`` promises."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rise_vlm.machine import environment
from rise_vlm.recipes.schema import Recipe
from rise_vlm.stages.cost import add_costs
from rise_vlm.stages.files import read_rows
from rise_vlm.stages.material import Material
from rise_vlm.tasks import GRADED, make_task, same_as_score

FORMAT = 1
ELSEWHERE = ("arms", "probes", "wrong_annotation", "wrong_annotation_before", "gain", "notes")
WORLD_FLOORS = (
    "single_cue", "additive", "random_thing", "every_class", "by_colour", "by_ground",
    "by_template", "things_there", "choice", "other",
)  # fmt: skip
"""Floors that only a world can know; its others are the task's too."""
ALL_OR_NOTHING = ("choice",)
"""Of these, those whose answers are right or wrong and never nearly right: all metrics agree on them, as on a ceiling
of 1.
"""
Done = Mapping[str, dict[str, Any]]
"""By stage, the content of its ``done.json``."""


def build_results(
    recipe: Recipe,
    material: Material,
    done: Done,
    folders: Mapping[str, Path],
    command: str,
    started: float,
    spent: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """All of ``results.json`` from what the stages left. ``spent`` is what training the model had cost before them."""
    cost = add_costs(spent or {}, *(one["cost"] for stage, one in done.items() if stage != "evaluate"))
    arms = [
        {
            "arm": one["arm"],
            "seed": recipe.seed,
            "task": material.task.name,
            "split": one["split"],
            "role": one["role"],
            "n": one["n"],
            "metrics": one["metrics"],
            "intervals": one["intervals"],
            "cost": cost,
            **({"quality": one["quality"]} if "quality" in one else {}),
        }
        for one in done.get("evaluate", {}).get("summary", {}).get("arms", [])
    ]
    return {
        "format": FORMAT,
        "recipe": recipe.name,
        "model": recipe.model,
        "data": _data(material),
        "arms": arms,
        "floors": floors(material),
        "loop": _loop(done, folders),
        "harvest": _harvest(done),
        "stages": {stage: {"cost": one["cost"], "summary": _brief(one["summary"])} for stage, one in done.items()},
        "notes": [*material.notes, *stage_notes(recipe, material, done)],
        "environment": {
            "command": command,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started)),
            **environment(),
            "precision": _precision(recipe),
        },
    }


def floors(material: Material) -> list[dict[str, Any]]:
    """What answering without looking reaches on each test split, in the score and the metrics that are such means."""
    train = [record.annotation for record in material.train] or None
    card, same = material.dataset.card, same_as_score(material.task.name)
    others = {metric: make_task(card, score=kind) for metric, kind in GRADED.get(card.task, {}).items()
              if metric not in same}  # fmt: skip
    rows: list[dict[str, Any]] = []
    for split, records in material.tests.items():
        truths = [record.annotation for record in records]
        more = {metric: task.floors(truths, train) for metric, task in others.items()}
        for name, score in material.task.floors(truths, train).items():
            found: dict[str, float] = dict.fromkeys(("score", *same), score)
            found |= {metric: known[name] for metric, known in more.items()}
            rows.append(_floor(name, split, found))
    return rows


def world_floors(summary: Mapping[str, Any], task: str) -> list[dict[str, Any]]:
    """Those floors that only a world can know, and the best possible score, from what its ``make`` returned."""
    rows: list[dict[str, Any]] = []
    for split, part in (("test", summary), *summary.items()):
        if not isinstance(part, Mapping) or not isinstance(part.get("floors"), Mapping):
            continue
        known: dict[str, float] = {name: score for name, score in part["floors"].items() if name in WORLD_FLOORS}
        known |= {"ceiling": part["best"]} if part.get("best") is not None else {}
        for name, score in known.items():
            whole = name in ALL_OR_NOTHING or (name == "ceiling" and score == 1)
            metrics = GRADED.get(task, {}) if whole else same_as_score(task)
            rows.append(_floor(name, split, dict.fromkeys(("score", *metrics), score)))
    return rows


def _floor(name: str, split: str, found: Mapping[str, float]) -> dict[str, Any]:
    return {"name": name, "split": split, "metrics": {metric: round(value, 6) for metric, value in found.items()}}


def stage_notes(recipe: Recipe, material: Material, done: Done) -> list[str]:
    """What a reader of the figures should know of the stages: what they noted, and what follows from their figures."""
    notes = [note for one in done.values() for note in one["summary"].get("notes", ())]
    if "evaluate" in done and len(recipe.stages) > 1 and not {"sft", "grpo"} & set(recipe.stages):
        trained = ", ".join(stage for stage in recipe.stages if stage != "evaluate")
        notes.append(f"evaluate: the base model was judged, since {trained} train none that answers; add sft or grpo")
    if material.tests and not material.train:
        notes.append("floors: there is no training split, so those that are learned are learned from the test labels")
    return notes


def _precision(recipe: Recipe) -> str:
    """What the models computed in; ``auto`` is resolved."""
    import torch

    from rise_vlm.policy.loading import pick_dtype

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return str(pick_dtype(recipe.policy.precision, device)).removeprefix("torch.")


def _data(material: Material) -> dict[str, Any]:
    card = material.dataset.card
    counts = {"train": len(material.train), "val": len(material.val)}
    counts |= {split: len(records) for split, records in material.tests.items()}
    folder = str(material.dataset.root.absolute())
    return {"name": card.name, "task": card.task, "folder": folder, "classes": card.classes, "counts": counts}


def _loop(done: Done, folders: Mapping[str, Path]) -> dict[str, Any] | None:
    if "closed_loop" not in done:
        return None
    summary = done["closed_loop"]["summary"]
    probes, wrong, wrong_before = summary["probes"], summary["wrong_annotation"], summary.get("wrong_annotation_before")
    first = next(iter(read_rows(folders["closed_loop"] / "metrics.jsonl")), {})
    training = summary["training"]
    return {
        "reconstruction": {name: probes.get(name) for name in ("real", "empty", "shuffled")},
        "before": {name: first.get(f"probe_{name}") for name in ("real", "empty", "shuffled")},
        "n": probes.get("n"),
        "differences": _differences(probes, ""),
        "differences_before": _differences(first, "probe_"),
        "gain": summary.get("gain"),
        "leak_rate": probes["leak_rate"],
        "length": probes["length"],
        "grounding": probes.get("grounding"),
        "zero_spread": training["zero_spread"],
        "reward_zero_spread": training.get("reward_zero_spread"),
        "facts": _facts(probes, ""),
        "facts_before": _facts(first, "probe_"),
        "wrong_annotation": wrong and wrong["false_score"],
        "wrong_annotation_detail": wrong,
        "wrong_annotation_before": wrong_before and wrong_before["false_score"],
        "wrong_annotation_detail_before": wrong_before,
    }


def _differences(figures: Mapping[str, Any], prefix: str) -> dict[str, Any] | None:
    """How far the real rationale's score is above that of another's and of none, with the paired intervals."""
    found: dict[str, Any] = {}
    for name in ("shuffled", "empty"):
        mean, low, high = (figures.get(f"{prefix}real_{name}{end}") for end in ("", "_low", "_high"))
        if mean is not None:
            found[name] = {"mean": mean, "interval": None if low is None else [low, high]}
    return found or None


def _facts(figures: Mapping[str, Any], prefix: str) -> dict[str, Any] | None:
    found = {name: figures.get(f"{prefix}facts_{name}") for name in ("precision", "recall")}
    return None if found["precision"] is None else found


def _harvest(done: Done) -> dict[str, Any] | None:
    if "harvest" not in done:
        return None
    summary = done["harvest"]["summary"]
    names = ("sampled", "kept", "threshold", "gain", "repetition", "records", "of_records", "fallback", "dropped")
    facts = summary["facts"] or {}
    return {name: summary.get(name) for name in names} | {f"facts_{name}": value for name, value in facts.items()}


def _brief(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's summary without what stands elsewhere in the results."""
    return {name: value for name, value in summary.items() if name not in ELSEWHERE}


def merge_results(parts: Sequence[Mapping[str, Any]], extra_floors: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """One ``results.json`` for several arms on the same data: their arms in order, the loop and harvest of the arm that
    has them, each floor once. ``extra_floors`` are a world's own, which know what was drawn: they are not blind."""
    whole = dict(parts[0])
    whole["recipe"] = " + ".join(dict.fromkeys(part["recipe"] for part in parts))
    whole["arms"] = [arm for part in parts for arm in part["arms"]]
    whole["floors"] = [*parts[0]["floors"], *({**floor, "blind": False} for floor in extra_floors)]
    whole["loop"] = next((part["loop"] for part in parts if part["loop"]), None)
    whole["harvest"] = next((part["harvest"] for part in parts if part["harvest"]), None)
    whole["stages"] = {part["recipe"]: part["stages"] for part in parts}
    whole["notes"] = list(dict.fromkeys(note for part in parts for note in part["notes"]))
    return whole
