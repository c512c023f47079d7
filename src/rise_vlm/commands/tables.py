"""The result table on a terminal: one row per arm and split, the score first, intervals beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from rise_vlm.console import duration


def print_results(results: Mapping[str, Any]) -> None:
    """Arms, then floors, on stdout."""
    metrics = list(dict.fromkeys(name for arm in results["arms"] for name in arm["metrics"]))
    table = Table(title=_title(results), title_justify="left", header_style="bold")
    for name in ("arm", "split", "n", "score [95 %]"):
        table.add_column(name, no_wrap=True)
    others = [name for name in metrics if name != "score"]
    for name in [*others, "training time"]:
        table.add_column(name, justify="right")
    for arm in results["arms"]:
        figures = [f"{arm['metrics'][name]:.3f}" if name in arm["metrics"] else "" for name in others]
        cost = duration(arm["cost"]["seconds"])
        table.add_row(arm["arm"], arm["split"], str(arm["n"]), _score(arm), *figures, cost)
    for floor in results["floors"]:
        shown = f"{floor['metrics']['score']:.3f}"
        table.add_row(floor["name"], floor["split"], "", shown, *[""] * len(others), "", style="dim")
    Console().print(table)


def _title(results: Mapping[str, Any]) -> str:
    data = results["data"]
    return f"{data['name']}, {data['task']}, {data['counts']['train']} training records, model {results['model']}"


def _score(arm: Mapping[str, Any]) -> str:
    ends = arm["intervals"].get("score")
    between = f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""
    return f"{arm['metrics']['score']:.3f}{between}"
