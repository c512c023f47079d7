"""``rise sweep``: arms x data sets x sizes x seeds, each an ordinary run; and the tables of what came out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rise_vlm.errors import UserError

if TYPE_CHECKING:
    from rise_vlm.recipes.sweep import Cell, Sweep
    from rise_vlm.stages.sweep import Outcome


def main(
    sweep: Annotated[str, typer.Argument(help="A YAML file, a shipped sweep (ablations, ...), or a sweep's folder.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="data=, seeds=, records=, metric=, arms=[...], or one of all arms."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The sweep's folder; runs/NAME if not given.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, list the runs, and stop.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Run nothing; print the tables as Markdown.")] = False,
    into: Annotated[
        Path | None,
        typer.Option(help="Run nothing; fill the tables into this page, draw the curves beside it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Run every arm on every data set, training size and seed; skip what is done, go on after what fails.

    Repeating the command continues. Stages that two arms share are made once. Tables come from the results alone:
    --table prints them, --into puts them between the marks `<!-- rise sweep NAME -->` of a page.
    """
    from rise_vlm.recipes.sweep import FILE, cells
    from rise_vlm.recipes.sweep_file import load_sweep

    if dry_run and (table or into is not None):
        raise UserError("--dry-run shows what would run, --table and --into what came out of it: give one of them.")
    loaded = load_sweep(sweep, settings or [])
    folder = out or (Path(sweep) if (Path(sweep) / FILE).is_file() else Path("runs") / loaded.name)
    planned = cells(loaded, folder)
    if table or into is not None:
        _tables(loaded, planned, folder, into, as_json)
        return
    from rise_vlm.stages.sweep import look, run_sweep, with_before

    if dry_run:
        with_before(loaded, folder)
        _show(loaded, look(loaded, planned), folder, as_json)
        return
    command = shlex.join(["rise", "sweep", sweep, *(settings or []), "--out", str(folder)])
    outcomes = run_sweep(loaded, planned, folder, command)
    from rise_vlm.report.sweep import blocks, write_sweep_page

    found = blocks(loaded, cells(loaded, folder))  # anew: some recipes follow from what is finished
    page = write_sweep_page(loaded, found, folder)
    _tell(outcomes, page, as_json)
    if any(one.status == "failed" for one in outcomes):
        raise typer.Exit(1)


def _tables(sweep: Sweep, cells: Sequence[Cell], folder: Path, into: Path | None, as_json: bool) -> None:
    from rise_vlm.report.sweep import blocks, markdown, publish, write_sweep_page

    found = blocks(sweep, cells)
    if not any(block.finished for block in found):
        raise UserError(f"{folder} has no finished run of sweep '{sweep.name}': run 'rise sweep' first.", exit_code=1)
    write_sweep_page(sweep, found, folder)
    changed = publish(sweep, found, into) if into is not None else None
    if as_json:
        groups = [
            {"data": b.data, "records": b.records, "runs": len(b.cells), "finished": len(b.finished)}
            | {"comparison": b.comparison.to_dict() if b.comparison else None, "why_not": b.why_not}
            for b in found
        ]
        typer.echo(json.dumps({"sweep": sweep.name, "groups": groups, "page": str(into) if into else None}))
    elif into is None:
        typer.echo(markdown(sweep, found), nl=False)
    else:
        typer.echo(f"{into}: {'written' if changed else 'was up to date'}.")


def _show(sweep: Sweep, found: Sequence[Outcome], folder: Path, as_json: bool) -> None:
    from rise_vlm.recipes.sweep import told_settings

    if as_json:
        typer.echo(json.dumps({"out": str(folder), "runs": [one.to_dict() for one in found]}))
        return
    for line in told_settings(sweep):
        typer.echo(f"# {line}")
    for one in found:
        what = {"before": "done before", "failed": f"cannot run: {one.message}"}.get(
            one.status, f"to run: {one.message}"
        )
        typer.echo(f"{one.cell.name}: {what}")
    waiting = sum(one.status == "waiting" for one in found)
    typer.echo(f"# {len(found)} runs in {folder}, {waiting} to run; stages that are the same in two of them run once")
    if any(one.status == "failed" for one in found):
        raise typer.Exit(1)


def _tell(outcomes: Sequence[Outcome], page: Path | None, as_json: bool) -> None:
    if as_json:
        result: dict[str, Any] = {"runs": [one.to_dict() for one in outcomes], "report": str(page) if page else None}
        typer.echo(json.dumps(result))
        return
    failed = [one for one in outcomes if one.status == "failed"]
    for one in failed:
        typer.echo(f"Failed: {one.cell.name}: {one.message}")
    if failed:
        typer.echo(f"{len(failed)} of {len(outcomes)} runs failed; repeating the command tries them again.")
    if page is not None:
        typer.echo(f"Report: {page}")
