"""The result table on a terminal: one row per arm, its score and 95 % interval on each split, and the share of answers
that could be read, on the split where it is lowest; floors below, and in words that they are no models.

Left out: all other metrics, which are in ``results.json`` and in the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rise_vlm.console import duration, figures_table, stdout_console
from rise_vlm.report.read import Results
from rise_vlm.report.table import CEILING, build_table, floor_above


def print_results(results: Mapping[str, Any]) -> None:
    """Arms in their order, then floors from the lowest to the ceiling, on stdout."""
    splits = list(dict.fromkeys(entry["split"] for entry in results["arms"]))
    table = figures_table()
    table.add_column("arm", no_wrap=True)
    for split in splits:
        table.add_column(f"{split} (n={_size(results, split)})")  # where it is narrow the interval goes below
    table.add_column("parsed" if len(splits) == 1 else "least parsed", justify="right", no_wrap=True)
    table.add_column("trained in", justify="right", no_wrap=True)
    for name in dict.fromkeys(entry["arm"] for entry in results["arms"]):
        entries = {entry["split"]: entry for entry in results["arms"] if entry["arm"] == name}
        seconds = next(iter(entries.values()))["cost"]["seconds"]
        parsed = min(entry["metrics"]["parsed"] for entry in entries.values())
        scores = [_score(entries[split]) if split in entries else "" for split in splits]
        table.add_row(name, *scores, f"{parsed:.2f}", duration(seconds) if seconds else "-")
    floors: dict[str, dict[str, float]] = {}
    for floor in results["floors"]:
        floors.setdefault(floor["name"], {})[floor["split"]] = floor["metrics"]["score"]
    lowest_first = sorted(floors, key=lambda name: max(floors[name].values()))
    for name in lowest_first:
        scores = floors[name]
        shown = [f"{scores[split]:.3f}" if split in scores else "" for split in splits]
        table.add_row(name.replace("_", " "), *shown, "", "", style="dim")
    console = stdout_console()
    console.print(_title(results), markup=False, highlight=False)
    console.print(table)
    for line in _about_floors(results, lowest_first):
        console.print(line, markup=False, highlight=False)


def _about_floors(results: Mapping[str, Any], floors: Sequence[str]) -> Iterator[str]:
    """That floors are no models, and each split on which no arm is above them."""
    names = ", ".join(name.replace("_", " ") for name in floors if name != CEILING)
    about = [f"{names}: floors (answers by a rule), no models"] if names else []
    about += ["ceiling: the best possible score"] if CEILING in floors else []
    if about:
        yield "; ".join(about) + "."
    table = build_table(Results.model_validate({key: results[key] for key in ("arms", "floors")}))
    for split in table.splits if table else []:
        if table and (floor := floor_above(table, split)):
            yield f"On {split} no arm is above the floor ({floor[0]}, {floor[1]:.3f})."


def _title(results: Mapping[str, Any]) -> str:
    data = results["data"]
    trained = set(results["stages"]) != {"evaluate"}
    records = f" {data['counts']['train']} training records," if trained else ""
    return f"score on {data['name']} ({data['task']}),{records} [95 % interval]"


def _size(results: Mapping[str, Any], split: str) -> int:
    return max(entry["n"] for entry in results["arms"] if entry["split"] == split)


def _score(arm: Mapping[str, Any]) -> str:
    ends = arm["intervals"].get("score")
    between = f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""
    return f"{arm['metrics']['score']:.3f}{between}".replace("[", "\\[")
