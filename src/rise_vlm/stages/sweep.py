"""Running a sweep: its data sets drawn, its cells run one after the other, stages that are the same made once.

A stage whose fingerprint another cell has finished is linked from there, with what it cost. A cell that fails is told
and the others go on. Left out: cells side by side; on one machine they would share the same cores.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rise_vlm.atomic import write_text
from rise_vlm.console import duration, say
from rise_vlm.errors import Interrupted, UserError, nearest
from rise_vlm.recipes.joining import joined
from rise_vlm.recipes.sweep import FILE, Cell, Drawn, Sweep, make_cell, resolved
from rise_vlm.recipes.sweep_file import load_sweep
from rise_vlm.stages.drawing import draw_data
from rise_vlm.stages.files import read_json
from rise_vlm.stages.material import Material
from rise_vlm.stages.plan import DONE, INPUTS, Step
from rise_vlm.stages.preflight import prepare
from rise_vlm.stages.run import link, run_prepared


@dataclass
class Outcome:
    """What became of a cell: ``done`` now, ``before``, ``failed`` with the reason, or ``waiting`` in a dry run."""

    cell: Cell
    status: str
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        cell = self.cell
        return {
            "settings": cell.recipe.resolved(),
            "data": cell.data, "records": cell.records, "arm": cell.arm, "seed": cell.seed,
            "folder": str(cell.folder), "status": self.status, "message": self.message,
        }  # fmt: skip


def run_sweep(sweep: Sweep, cells: Sequence[Cell], out: Path, command: str) -> list[Outcome]:
    """Run what is not done yet. Raises UserError only for what concerns all cells, such as data of another sweep, and
    `Interrupted` for Ctrl-C."""
    whole = with_before(sweep, out)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / FILE, resolved(whole))
    draw_data(sweep, out)
    _check_first(sweep, cells)
    outcomes: list[Outcome] = []
    began = time.monotonic()
    for number, cell in enumerate(cells, start=1):
        say(f"sweep {sweep.name}: {number} of {len(cells)}, {cell.name}")
        if sweep.arms[cell.arm].like is not None:  # the runs that it follows from may have come to be since
            cell = make_cell(sweep, out, cell.data, cell.records, cell.arm, cell.seed)
        outcomes.append(_run(cell, out, command))
        if outcomes[-1].status == "failed":
            say(f"sweep {sweep.name}: {cell.name} failed: {outcomes[-1].message}")
    say(f"sweep {sweep.name}: {_counted(outcomes)}, in {duration(time.monotonic() - began)}.")
    return outcomes


def with_before(sweep: Sweep, out: Path) -> Sweep:
    """The sweep and what its folder was asked for before. Raises UserError where they contradict each other, and for a
    folder that holds something else."""
    from rise_vlm.stages.preflight import check_own

    check_own(out, FILE)
    return joined(load_sweep(out / FILE), sweep, out) if (out / FILE).is_file() else sweep


def _check_first(sweep: Sweep, cells: Sequence[Cell]) -> None:
    """Say of the first seed's cells which cannot run, before any does: seconds now and not a failure amid the night.

    Raises UserError for a metric that no data set has.
    """
    tasks: dict[str, Material] = {}
    for cell in cells:
        if cell.seed != sweep.seeds[0]:
            continue
        try:
            tasks[cell.data] = prepare(cell.recipe, cell.folder).material
        except UserError as error:
            say(f"sweep {sweep.name}: {cell.name} cannot run: {error}")
    check_metrics(sweep, tasks)


def check_metrics(sweep: Sweep, data: Mapping[str, Material]) -> None:
    """Say which metrics none of the data sets has, as far as these were read: they may be for those that were not
    picked. Raises UserError where that leaves none."""
    known: dict[str, None] = {}
    for material in data.values():
        records = next((found for found in material.tests.values() if found), ())
        if not records:
            return
        known |= dict.fromkeys(material.task.metrics([(record.annotation, None) for record in records[:100]]))
    missing = [metric for metric in sweep.metric if metric not in known]
    if not missing or not known or data.keys() != sweep.data.keys():
        return
    said = f"metric: no data set has '{missing[0]}' (there are: {', '.join(known)}).{nearest(missing[0], known)}"
    if len(missing) == len(sweep.metric):
        raise UserError(said)
    say(f"note: {said}")


def _counted(outcomes: Sequence[Outcome]) -> str:
    named = (("done", "done"), ("before", "done before"), ("failed", "failed"))
    counts = {name: sum(one.status == status for one in outcomes) for status, name in named}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _run(cell: Cell, out: Path, command: str) -> Outcome:
    if cell.waits:
        return Outcome(
            cell, "failed", f"its steps follow from the runs of {' and '.join(cell.waits)}: not both are there"
        )
    try:
        prepared = prepare(cell.recipe, cell.folder)
        plan = prepared.plan
        if all(step.done for step in plan) and (cell.folder / "results.json").is_file():
            return Outcome(cell, "before")
        share_stages(plan, cell.folder, out)
        if cell.note:
            prepared.material.notes.append(cell.note)
        run_prepared(prepared, command=command)
    except Interrupted:
        raise
    except UserError as error:
        return Outcome(cell, "failed", str(error))
    except Exception as error:  # one cell's bug or lack of memory is no reason to leave the others undone
        cell.folder.mkdir(parents=True, exist_ok=True)
        trace = cell.folder / "error.txt"
        write_text(trace, "".join(traceback.format_exception(error)))
        told = " ".join(str(error).split())[:200]
        return Outcome(cell, "failed", f"{type(error).__name__}: {told} (see {trace})")
    return Outcome(cell, "done")


def share_stages(plan: Sequence[Step], folder: Path, out: Path) -> list[str]:
    """Link into ``folder`` every stage of ``plan`` that another cell below ``out`` has finished; returns which.

    Nothing that lies there is touched: a stage that was begun goes on, one of other settings is the plan's to move.
    """
    waiting = {step.fingerprint: step for step in plan if not step.done and not step.folder.exists()}
    shared: list[str] = []
    for path in sorted(out.glob(f"*/*/*/seed-*/stages/*/{DONE}")) if waiting else ():
        done = read_json(path)
        step = waiting.get(done.get("fingerprint", "")) if isinstance(done, dict) else None
        if step is None or path.parent.is_relative_to(folder) or step.stage == "evaluate":
            continue
        draft = step.folder.with_name(f".{step.folder.name}.shared")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(path.parent, draft, copy_function=link)
        for name in (DONE, INPUTS):  # written anew where a stage is run again: not the other cell's
            if (draft / name).exists():
                (draft / name).unlink()
                shutil.copyfile(path.parent / name, draft / name)
        draft.replace(step.folder)
        del waiting[step.fingerprint]
        shared.append(step.stage)
        say(f"{step.stage}: the same as in {path.parent.parent.parent.relative_to(out)}, taken from there.")
    return shared


def look(sweep: Sweep, cells: Sequence[Cell]) -> list[Outcome]:
    """What a run would do. Cells whose data is still to be drawn are not looked into."""
    found: list[Outcome] = []
    data: dict[str, Material] = {}
    for cell in cells:
        if cell.waits:
            when = f"its steps will give it the time of {cell.waits[1]}, at the rate of {cell.waits[0]}"
            found.append(Outcome(cell, "waiting", when))
            continue
        if isinstance(sweep.data[cell.data], Drawn) and not Path(cell.recipe.data.folder or "").exists():
            found.append(Outcome(cell, "waiting", "its data is to be drawn"))
            continue
        try:
            prepared = prepare(cell.recipe, cell.folder)
        except UserError as error:
            found.append(Outcome(cell, "failed", str(error)))
            continue
        plan, data[cell.data] = prepared.plan, prepared.material
        left = [step.stage for step in plan if not step.done]
        done = not left and (cell.folder / "results.json").is_file()
        found.append(Outcome(cell, "before" if done else "waiting", ", ".join(left)))
    check_metrics(sweep, data)
    return found
