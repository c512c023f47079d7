"""The table of a sweep's rationales as Markdown: stages of arms in rows, from ``results.json`` files.

Figures are means over the seeds. Left out: differences between arms (``rise compare --metric quality.gain_shuffled``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from rise_vlm.report.rationales import COLUMNS, stage_name

SHOWN = (
    "gain_shuffled", "gain_empty", "swap_rationale",
    "facts_precision", "facts_recall", "leak_rate", "words", "distinct",
)  # fmt: skip
Stage = Mapping[str, Any]


def quality_rows(results: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Head and rows of the table; [] where no rationales were measured. The base's row comes once."""
    stages = _stages(results)
    keys = [key for key in SHOWN if any(_known(found, key) for found in stages.values())]
    if not keys:
        return []
    head = ["rationales", *(COLUMNS[key][0] for key in keys)]
    return [
        head,
        *([stage_name(*name, several=True), *(_cell(found, key) for key in keys)] for name, found in stages.items()),
    ]


def _stages(results: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[Stage]]:
    """(arm, stage) -> its entries, one per seed; the base's are those of the first arm that has some."""
    found: dict[tuple[str, str], list[Stage]] = {}
    for run in results:
        for arm in run.get("arms", ()):
            for stage in (arm.get("quality") or {}).get("stages", ()):
                found.setdefault((arm["arm"], stage["stage"]), []).append(stage)
    bases = [name for name in found if name[1] == "base"]
    return {name: entries for name, entries in found.items() if name not in bases[1:]}


def _known(found: Sequence[Stage], key: str) -> list[float]:
    values = (stage.get("metrics", {}).get(key) for stage in found)
    return [float(value) for value in values if isinstance(value, int | float)]


def _cell(found: Sequence[Stage], key: str) -> str:
    """The mean, with the range over the seeds, or with one seed the interval over the pictures."""
    values = _known(found, key)
    if not values:
        return "-"
    digits = 1 if key == "words" else 3
    ends = (min(values), max(values)) if len(values) > 1 else found[0].get("intervals", {}).get(key)
    text = f"{mean(values):.{digits}f}"
    if not ends:
        return text
    low, high = (f"{end:.{digits}f}" for end in ends)
    return f"{text} ({low} to {high})" if len(values) > 1 else f"{text} [{low}, {high}]"
