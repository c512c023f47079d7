"""The result table: one row per arm and floor, one cell per split and metric, and what may be called best.

With one seed a cell carries the 95 % interval of the results; with several it is their mean, and the range is the least
and the greatest of them. Left out: significance tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rise_vlm.report.charts import ticks
from rise_vlm.report.read import ArmResult, Cost, Results
from rise_vlm.tasks import higher_is_better

ARM_NAMES = {
    "zero_shot": "Zero-shot",
    "zero_shot_answer": "No reasons",  # the same model, asked for the answer alone
    "ans_sft": "ANS-SFT",
    "cot_sft": "CoT-SFT",
    "visual_rft": "Visual-RFT",
    "reason_rft": "Reason-RFT",
    "reason_rft_zero": "Reason-RFT-Zero",
    "activation": "Activation",  # Reason-RFT after its first stage, as its paper calls it
}
SPLIT_NAMES = {"test": "In domain", "ood": "Out of domain"}
MAIN = "score"
CEILING = "ceiling"


def split_name(split: str, splits: Sequence[str]) -> str:
    """How a split is called beside the others; alone it needs no contrast."""
    return SPLIT_NAMES.get(split, split) if len(splits) > 1 else split.capitalize()


def arm_name(arm: str) -> str:
    """How an arm is called on the page."""
    return ARM_NAMES.get(arm) or (arm.upper() if arm in ("rise", "grpo") else arm.replace("_", " "))


@dataclass
class Cell:
    """One figure with its range, in the metric's unit; None where it was not measured."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    best: bool = False


@dataclass
class Row:
    """One arm or floor: its cells by (split, metric)."""

    key: str
    name: str
    cells: dict[tuple[str, str], Cell]
    floor: bool = False
    blind: bool = True
    cost: Cost | None = None


@dataclass(frozen=True)
class Table:
    """Rows in the order of the results, floors last; ``metrics`` begins with the main one."""

    rows: list[Row]
    splits: list[str]
    metrics: list[str]
    sizes: dict[str, int]
    seeds: list[int]

    @property
    def main(self) -> str:
        """The metric of the headline and of the chart."""
        return self.metrics[0]

    def scale(self) -> tuple[float, float, list[float]]:
        """The chart's axis: its ends and its marks, round numbers around all values and ranges of the main metric."""
        cells = [cell for row in self.rows for (_, metric), cell in row.cells.items() if metric == self.main]
        seen = [x for cell in cells for x in (cell.value, cell.low, cell.high) if x is not None]
        marks = ticks(min(seen), max(seen), 7) if seen else [0.0, 1.0]
        return marks[0], marks[-1], marks


def build_table(results: Results) -> Table | None:
    """The table of ``results``, or None where they hold no arm."""
    if not results.arms:
        return None
    splits = list(dict.fromkeys(arm.split for arm in results.arms))
    metrics = list(dict.fromkeys(name for arm in results.arms for name in arm.metrics))
    metrics.sort(key=lambda name: name != MAIN)
    rows = []
    for arm in dict.fromkeys(entry.arm for entry in results.arms):
        entries = [entry for entry in results.arms if entry.arm == arm]
        cells = {(s, m): _cell([e for e in entries if e.split == s], m) for s in splits for m in metrics}
        rows.append(Row(arm, arm_name(arm), cells, cost=_cost(entries)))
    _mark_best(rows, splits, metrics)
    rows += _floors(results, splits, metrics)
    sizes = {split: max(entry.n for entry in results.arms if entry.split == split) for split in splits}
    return Table(rows, splits, metrics or [MAIN], sizes, sorted({e.seed for e in results.arms if e.seed is not None}))


def headline(table: Table) -> list[str]:
    """One honest sentence per split: who is ahead on the main metric, whether the ranges overlap, what beats nobody."""
    sentences = []
    for split in table.splits:
        ranked = _ranked((row for row in table.rows if not row.floor), split, table.main)
        where = SPLIT_NAMES.get(split, split) if len(table.splits) > 1 else f"On {split}"
        floor = floor_above(table, split)
        if floor:
            sentences.append(f"{where}, nothing is above the floor ({floor[0]}, {floor[1]:.3f}).")
        elif len(ranked) > 1:
            sentences.append(f"{where}, {_compare(*ranked[:2])}.")
    return sentences


def floor_above(table: Table, split: str) -> tuple[str, float] | None:
    """Name and value of the best floor where no arm is above it on the main metric, else None.

    Only floors that are blind count: one that knows what a world has drawn is no measure of looking.
    """
    arms = _ranked((row for row in table.rows if not row.floor), split, table.main)
    floors = _ranked((row for row in table.rows if row.floor and row.blind and row.key != CEILING), split, table.main)
    if not arms or not floors or (arms[0][1].value or 0.0) > (floors[0][1].value or 0.0):
        return None
    name, cell = floors[0]
    return name, cell.value or 0.0


def _compare(one: tuple[str, Cell], other: tuple[str, Cell]) -> str:
    (first, ahead), (second, behind) = one, other
    figures = f"{ahead.value:.3f} against {behind.value:.3f}"
    if ahead.best:
        return f"{first} is ahead of {second}: {figures}"
    if ahead.low is None or behind.low is None:
        return f"{first} stands before {second}: {figures}, without an interval"
    return f"{first} and {second} are too close to call: {figures}"


def _ranked(rows: Iterable[Row], split: str, metric: str) -> list[tuple[str, Cell]]:
    cells = [(row.name, row.cells[split, metric]) for row in rows]
    known = [(name, cell) for name, cell in cells if cell.value is not None]
    sign = -1 if higher_is_better(metric) else 1
    return sorted(known, key=lambda pair: sign * (pair[1].value or 0.0))


def _cell(entries: Sequence[ArmResult], metric: str) -> Cell:
    found = [(entry, value) for entry in entries if (value := _finite(entry.metrics.get(metric))) is not None]
    if not found:
        return Cell()
    values = [value for _, value in found]
    if len(found) > 1:
        return Cell(sum(values) / len(values), min(values), max(values))
    ends = found[0][0].intervals.get(metric)
    if ends is None or _finite(ends[0]) is None or _finite(ends[1]) is None:
        return Cell(values[0])
    return Cell(values[0], *ends)


def _mark_best(rows: Sequence[Row], splits: Sequence[str], metrics: Sequence[str]) -> None:
    """Mark the best cell of a column only if its range overlaps none of the others'."""
    for split in splits:
        for metric in metrics:
            ranked = _ranked(rows, split, metric)
            if len(ranked) < 2:
                continue
            best = ranked[0][1]
            best.best = all(_apart(best, other) for _, other in ranked[1:])


def _apart(one: Cell, other: Cell) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low > other.high or one.high < other.low


def _floors(results: Results, splits: Sequence[str], metrics: Sequence[str]) -> list[Row]:
    rows: dict[str, Row] = {}
    for floor in results.floors or ():
        name = floor.name.replace("_", " ")
        row = rows.setdefault(
            floor.name, Row(floor.name, name, {(s, m): Cell() for s in splits for m in metrics}, True, floor.blind)
        )
        for metric, value in floor.metrics.items():
            if (floor.split, metric) in row.cells:
                row.cells[floor.split, metric] = Cell(_finite(value))
    return list(rows.values())


def _cost(entries: Sequence[ArmResult]) -> Cost | None:
    """The mean cost over the seeds; the splits of one seed repeat the same cost."""
    costs = list({entry.seed: entry.cost for entry in entries if entry.cost is not None}.values())
    if not costs:
        return None
    means: dict[str, float | None] = {}
    for key in Cost.model_fields:
        known = [value for cost in costs if (value := _finite(getattr(cost, key))) is not None]
        means[key] = sum(known) / len(known) if known else None
    return Cost(**means)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
