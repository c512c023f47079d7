"""The tables of a sweep as Markdown, between two marks of a page, and its own page. All from ``results.json`` files.

So no figure is typed by hand: the command writes them again whenever a run has come to be. Left out: prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from rise_vlm.console import duration
from rise_vlm.errors import UserError
from rise_vlm.recipes.loader import load_recipe
from rise_vlm.recipes.sweep import Cell, Sweep, stamp_of
from rise_vlm.report.comparison import Comparison, compare
from rise_vlm.report.comparison_page import Curve, Floors, Group, curve_charts, write_page
from rise_vlm.report.figure import figure
from rise_vlm.report.run_answers import Answers, answers_of
from rise_vlm.report.sweep_quality import quality_rows
from rise_vlm.report.table import arm_name
from rise_vlm.report.template import write_whole
from rise_vlm.stages.files import read_json
from rise_vlm.stages.plan import recipe_digest
from rise_vlm.stages.results import world_floors
from rise_vlm.stages.trained import settled
from rise_vlm.tasks import same_as_score


@dataclass
class Block:
    """The runs on one data set with one training size: what there is of them, compared in ``metrics``."""

    data: str
    records: int | None
    cells: list[Cell]
    finished: list[Cell]
    results: list[dict[str, Any]]
    comparison: Comparison | None
    why_not: str = ""
    metrics: tuple[str, ...] = ("score",)

    @property
    def title(self) -> str:
        """Data set and size."""
        counts = {one.get("data", {}).get("counts", {}).get("train") for one in self.results} - {None}
        known = f"{counts.pop()} " if len(counts) == 1 else f"{self.records} " if self.records else ""
        size = f"all {known}training records" if self.records is None else f"{known}training records"
        return f"`{self.data}`, {size}"

    def used(self) -> list[tuple[Cell, dict[str, Any]]]:
        """The finished cells of the seeds that are compared, with their results; where nothing is compared, all."""
        pairs = list(zip(self.finished, self.results, strict=True))
        return [pair for pair in pairs if self.comparison is None or pair[0].seed in self.comparison.seeds]

    def floors(self, metric: str = "score") -> Floors:
        """By name, the mean of a metric on each split over the runs; the world's own, where the sweep drew it, last."""
        found: dict[str, dict[str, list[float]]] = {}
        for cell, results in self.used():
            for floor in [*results.get("floors", ()), *_world_floors(cell, results)]:
                if (value := floor["metrics"].get(metric)) is not None:
                    found.setdefault(floor["name"], {}).setdefault(floor["split"], []).append(value)
        return [(name, {split: mean(values) for split, values in splits.items()}) for name, splits in found.items()]


def blocks(sweep: Sweep, cells: Sequence[Cell]) -> list[Block]:
    """Data set by data set and size by size, with whatever is finished."""
    found: list[Block] = []
    for data in sweep.data:
        for records in sweep.records:
            mine = [cell for cell in cells if (cell.data, cell.records) == (data, records)]
            done = [cell for cell in mine if finished(cell)]
            results = [read_json(cell.folder / "results.json") or {} for cell in done]
            block = Block(data, records, mine, done, results, None)
            answers = [one for cell in done for one in answers_of(cell.folder)]
            found.append(_compared(block, answers, sweep))
    return found


def finished(cell: Cell) -> bool:
    """Whether the cell's folder holds results, and they are those of the cell's recipe as it is now."""
    if not (cell.folder / "results.json").is_file():
        return False
    try:
        ran = load_recipe(cell.folder / "recipe.yaml")
        wanted = settled(cell.recipe)
    except UserError:
        return False
    return recipe_digest(ran) == recipe_digest(wanted)


def _compared(block: Block, answers: list[Answers], sweep: Sweep) -> Block:
    """The comparison over the seeds that every arm has; an arm without one of the reference's seeds is left out."""
    reference = sweep.reference
    block = replace(block, metrics=_shown(sweep.metric, block.results))
    ran = sorted({one.seed for one in answers})
    seeds = {seed: {one.arm for one in answers if one.seed == seed} for seed in ran}
    arms = list(dict.fromkeys(one.arm for one in answers))
    if reference not in arms:
        return replace(block, why_not=f"{reference}, which the others are compared with, is not finished")
    shared = [seed for seed, there in seeds.items() if reference in there]
    whole = [arm for arm in arms if any(arm in seeds[seed] for seed in shared)]
    shared = [seed for seed in shared if all(arm in seeds[seed] for arm in whole)] or shared[:1]
    kept = [one for one in answers if one.seed in shared and all(one.arm in seeds[seed] for seed in shared)]
    if len({one.arm for one in kept}) < 2:
        return replace(block, why_not="one arm only is finished")
    try:
        found = compare(kept, against=reference, metrics=tuple(dict.fromkeys((*block.metrics, "parsed"))))
    except UserError as error:
        return replace(block, why_not=str(error))
    notes = _left_out(ran, shared, arms, found.arms)
    return replace(block, comparison=replace(found, notes=[*found.notes, *notes]))


def _shown(wanted: Sequence[str], results: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The metrics that the task has, each once where two are the same under two names; all where it has none."""
    arms = [arm for one in results for arm in one.get("arms", ())]
    known = {metric for arm in arms for metric in arm["metrics"]}
    same = {"score", *same_as_score(arms[0]["task"])} if arms else set[str]()
    found: list[str] = []
    for metric in wanted:
        if metric in known and not (metric in same and same & set(found)):
            found.append(metric)
    return tuple(found or wanted)


def _left_out(ran: Sequence[int], used: Sequence[int], arms: Sequence[str], compared: Sequence[str]) -> list[str]:
    """What is finished and not in the table, since it could not be paired; nothing where all is in it."""
    notes: list[str] = []
    if seeds := [seed for seed in ran if seed not in used]:
        listed, left = (", ".join(map(str, some)) for some in (used, seeds))
        notes.append(f"from seed {listed} only; left out, since not every arm is finished there: seed {left}.")
    if others := [arm for arm in arms if arm not in compared]:
        notes.append(f"left out, since they lack one of these seeds: {', '.join(others)}.")
    return notes


def _world_floors(cell: Cell, results: dict[str, Any]) -> Iterable[dict[str, Any]]:
    stamp = read_json(stamp_of(Path(cell.recipe.data.folder or "")))
    summary = stamp.get("summary") if isinstance(stamp, dict) else None
    return world_floors(summary or {}, results["data"]["task"])


def markdown(sweep: Sweep, found: Sequence[Block], drawing: str | None = None) -> str:
    """The tables, then what the loops did, and what is missing; ``drawing`` is the curves' file, as a page links it."""
    lines: list[str] = []
    for block in found:
        lines += [f"### {block.title}", ""]
        if block.comparison is None:
            lines += [f"No table yet: {block.why_not or 'nothing is finished'}.", ""]
        else:
            for metric in block.metrics:
                lines += [*_table(block, block.comparison, metric), ""]
            lines += _quality([results for _, results in block.used()])
            lines += [f"- {line}" for line in [*_loops(block), *block.comparison.notes]]
            lines += [""]
        missing = [cell for cell in block.cells if cell not in block.finished]
        if missing:
            names = ", ".join(f"{cell.arm} seed {cell.seed}" for cell in missing[:8])
            more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
            lines += [f"{len(missing)} of {len(block.cells)} runs are missing: {names}{more}.", ""]
    if drawing is not None:
        told = dict.fromkeys(f"{curve.metric} over training records of {curve.data}" for curve in curves(found))
        lines += [f"![{', '.join(told)}]({drawing})", ""]
    lines += _curve_table(found)
    lines += _legend(sweep, found)
    return "\n".join(lines).rstrip() + "\n"


def _table(block: Block, c: Comparison, metric: str) -> list[str]:
    """Arms in rows, floors below; what can be read and what it cost stand in the first table of several."""
    first = metric == block.metrics[0]
    head, rule = ["arm" if metric == "score" else metric], ["---"]
    for split in c.splits:
        head += [f"{split} ({c.figure(c.against, split, metric).n})", f"{split}: {c.against} minus it"]
        rule += ["---", "---"]
    read = first and "parsed" not in block.metrics  # else it has a table of its own
    more = [*(["parsed " + ", ".join(c.splits)] if read else []), *(["trained in"] if first else [])]
    lines = [_row([*head, *more]), _row([*rule, *["---"] * len(more)])]
    for arm in c.arms:
        cells = [arm_name(arm)]
        for split in c.splits:
            figure, paired = c.figure(arm, split, metric), c.paired(arm, split, metric)
            cells.append(_span(figure.mean, figure.least, figure.most, len(c.seeds)))
            cells.append("" if paired is None else _minus(paired.difference))
        if read:
            cells.append(", ".join(f"{c.figure(arm, split, 'parsed').mean:.0%}" for split in c.splits))
        if first:
            seconds = c.costs[arm].get("seconds")
            cells.append(duration(seconds) if seconds else "-")
        lines.append(_row(cells))
    for name, values in block.floors(metric):
        cells = [cell for split in c.splits for cell in (f"{values[split]:.3f}" if split in values else "-", "")]
        lines.append(_row([f"*{name.replace('_', ' ')}*", *cells, *[""] * len(more)]))
    return lines


def _quality(results: Sequence[dict[str, Any]]) -> list[str]:
    """What was measured of the rationales; nothing where nothing was."""
    rows = quality_rows(results)
    return [_row(rows[0]), _row(["---"] * len(rows[0])), *map(_row, rows[1:]), ""] if rows else []


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _span(middle: float, least: float, most: float, seeds: int) -> str:
    return f"{middle:.3f}" if seeds == 1 else f"{middle:.3f} ({least:.3f} to {most:.3f})"


def _minus(found: Any) -> str:
    """The difference the other way round: how far the reference is above this arm, bold where that is told apart."""
    if found.low is None:
        return f"{0 - found.mean:+.3f}"  # -0.0 would show its sign
    text = f"{0 - found.mean:+.3f} [{0 - found.high:+.3f}, {0 - found.low:+.3f}]"
    return f"**{text}**" if found.told_apart else text


def _loops(block: Block) -> list[str]:
    """Of each arm with a loop, what the controls at its end say, as means over its runs."""
    lines: list[str] = []
    for arm in dict.fromkeys(cell.arm for cell in block.finished):
        runs = [results for cell, results in block.used() if cell.arm == arm and results.get("loop")]
        if not runs:
            continue
        loops = [run["loop"] for run in runs]
        parts = [
            f"{name} {value:.3f}"
            for name in ("real", "shuffled", "empty")
            if (value := _mean(loop["reconstruction"].get(name) for loop in loops)) is not None
        ]
        told = f"{arm_name(arm)}: rebuilt from the rationale, another's and none: {', '.join(parts)}"
        facts = _mean((loop.get("facts") or {}).get("precision") for loop in loops)
        told += "" if facts is None else f"; stated facts that are true {facts:.1%}"
        leaks = _mean(loop.get("leak_rate") for loop in loops)
        told += "" if leaks is None else f"; leaks {leaks:.1%}"
        kept = _mean(
            r["harvest"]["kept"] / r["harvest"]["sampled"] for r in runs if (r.get("harvest") or {}).get("sampled")
        )
        lines.append(told + ("" if kept is None else f"; harvested {kept:.1%} of the rationales") + ".")
    return lines


def _mean(values: Iterable[Any]) -> float | None:
    known = [float(value) for value in values if isinstance(value, int | float)]
    return mean(known) if known else None


def curves(found: Sequence[Block]) -> list[Curve]:
    """Each data set's first metric over the training records, split by split, where it has several sizes."""
    result: dict[tuple[str, str], Curve] = {}
    for block in found:
        if block.comparison is None or sum(other.data == block.data for other in found) < 2:
            continue
        known = block.results[0].get("data", {}).get("counts", {}).get("train")
        size = known or block.records
        for one in block.comparison.figures:
            if one.metric == block.metrics[0] and size:
                curve = result.setdefault((block.data, one.split), Curve(block.data, one.split, one.metric))
                curve.arms.setdefault(one.arm, []).append((float(size), one.mean))
    return [curve for curve in result.values() if len(curve.sizes) > 1]


def _curve_table(found: Sequence[Block]) -> list[str]:
    lines: list[str] = []
    for curve in curves(found):
        lines += [f"### `{curve.data}`, {curve.split}: {curve.metric} over training records", ""]
        lines += [_row(["arm", *(f"{size:g}" for size in curve.sizes)]), _row(["---"] * (len(curve.sizes) + 1))]
        for arm, points in curve.arms.items():
            at = dict(points)
            lines.append(_row([arm_name(arm), *(f"{at[size]:.3f}" if size in at else "-" for size in curve.sizes)]))
        lines.append("")
    return lines


def _legend(sweep: Sweep, found: Sequence[Block]) -> list[str]:
    results = [one for block in found for one in block.results]
    if not results:
        return []
    where = results[0].get("environment", {})
    models = ", ".join(dict.fromkeys(str(one.get("model")) for one in results))
    machine = ", ".join(str(where[key]) for key in ("device", "cpu", "precision") if where.get(key))
    return [
        f"Sweep `{sweep.name}`, model {models}, rise-vlm {where.get('version', '?')}, {machine}. Figures are means "
        "over the seeds, in brackets the least and the greatest. Differences are paired by record, with 95 % intervals "
        "over records and seeds; bold: zero is outside. Time is what it took from the base model, evaluation not "
        "counted.",
        "",
    ]


def marks(name: str) -> tuple[str, str]:
    """The two lines of a page between which the tables of a sweep go."""
    return f"<!-- rise sweep {name} -->", f"<!-- end of rise sweep {name} -->"


def fill(page: Path, name: str, text: str) -> bool:
    """Put ``text`` between the marks of ``page``; returns whether that changed it.

    Raises UserError where there is no such page, or where it does not have the two marks once each, in order.
    """
    try:
        before = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{page} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    start, end = marks(name)
    if before.count(start) != 1 or before.count(end) != 1 or before.index(start) > before.index(end):
        raise UserError(f"{page} must have the lines '{start}' and '{end}', once each: the tables go between them.")
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    after = pattern.sub(lambda _: f"{start}\n\n{text.strip()}\n\n{end}", before)
    if after == before:
        return False
    write_whole(page, after)
    return True


def publish(sweep: Sweep, found: Sequence[Block], page: Path) -> bool:
    """Fill the tables into ``page`` and, where there are curves, draw them beside it as ``NAME.svg``; returns whether
    anything changed. Raises UserError as ``fill``.
    """
    drawn = curve_charts(curves(found))
    file = page.with_name(f"{sweep.name}.svg")
    changed = fill(page, sweep.name, markdown(sweep, found, file.name if drawn else None))
    if not drawn:
        return changed
    text = figure(drawn)
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return changed
    write_whole(file, text)
    return True


def write_sweep_page(sweep: Sweep, found: Sequence[Block], out: Path) -> Path | None:
    """``report.html`` in the sweep's folder; None where nothing can be compared yet."""
    groups = [
        Group(
            block.title.replace("`", ""),
            replace(block.comparison, metrics=list(block.metrics)),
            {metric: block.floors(metric) for metric in block.metrics},
        )
        for block in found
        if block.comparison is not None
    ]
    if not groups:
        return None
    return write_page(out / "report.html", f"Sweep {sweep.name}", groups, curve_charts(curves(found)))
