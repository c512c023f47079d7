"""``rise compare``: runs side by side, each difference with its interval, its power and its cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rise_vlm.report.comparison import Comparison


def main(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Run folders, or LABEL=FOLDER; of a demo or sweep, all its arms."),
    ],
    against: Annotated[
        str | None, typer.Option(help="The arm that the others are compared with; the first.", show_default=False)
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="score, another metric of the task, or quality.gain_shuffled and the like; repeatable."),
    ] = None,
    common: Annotated[bool, typer.Option("--common", help="Compare only the records that all arms answered.")] = False,
    report: Annotated[Path | None, typer.Option(help="Also write a page to this file.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Compare runs that answered the same records.

    Differences are paired by record, with 95 % intervals over records and seeds, beside the smallest difference that
    could be told from zero and the cost of each arm. Runs of the same arm with other seeds count as seeds of it.
    """
    from rise_vlm.report.comparison import compare
    from rise_vlm.report.run_answers import read_answers

    found = compare(read_answers(runs), against=against, metrics=metric or ["score"], common=common)
    if report is not None:
        from rise_vlm.report.comparison_page import Group, write_page

        title = " and ".join(found.arms) if len(found.arms) < 4 else f"{len(found.arms)} arms"
        write_page(report, f"{title} on {found.data}", [Group("Differences", found)])
    if as_json:
        typer.echo(json.dumps(found.to_dict() | {"report": str(report) if report else None}, allow_nan=False))
        return
    print_comparison(found)
    if report is not None:
        typer.echo(f"Report: {report}")


def print_comparison(found: Comparison) -> None:
    """One table per metric and split on stdout, then the notes."""
    from rise_vlm.console import duration, figures_table, stdout_console
    from rise_vlm.report.comparison import verdict

    console = stdout_console()
    seeds = f"seed{'s' if len(found.seeds) > 1 else ''} {', '.join(map(str, found.seeds))}"
    for metric in found.metrics:
        for split in found.splits:
            records = found.figure(found.against, split, metric).n
            table = figures_table()
            for name in ("arm", metric, f"above {found.against} [95 %]", "", "detectable", "trained in"):
                table.add_column(name.replace("[", "\\["), no_wrap=name == "arm")
            for arm in found.arms:
                figure, paired = found.figure(arm, split, metric), found.paired(arm, split, metric)
                shown = f"{figure.mean:.3f}"
                if len(found.seeds) > 1:
                    shown += f" ({figure.least:.3f} to {figure.most:.3f})"
                cells = ["", "", ""]
                if paired is not None:
                    d = paired.difference
                    ends = "" if d.low is None else f" \\[{d.low:+.3f}, {d.high:+.3f}]"
                    detectable = "-" if d.detectable is None else f"{d.detectable:.3f}"
                    cells = [f"{d.mean:+.3f}{ends}", verdict(d), detectable]
                seconds = found.costs[arm].get("seconds")
                table.add_row(arm, shown, *cells, duration(seconds) if seconds else "-")
            title = f"{found.task} on {found.data}, {split}, {records} records, {seeds}"
            console.print(title, markup=False, highlight=False)
            console.print(table)
    for note in found.notes:
        typer.echo(f"Note: {note}.")
    typer.echo("Detectable: the smallest true difference told from zero in 80 % of repetitions of this size.")
