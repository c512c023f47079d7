"""``rise report``: write the page of a run again, also of one that is still under way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def main(
    run: Annotated[Path, typer.Argument(help="The run's folder, such as runs/demo.")],
    items: Annotated[int, typer.Option(min=1, max=500, help="Pictures shown, over all splits.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Write RUN/report.html: one page with the results, the curves, the pictures and the cost of a run."""
    from rise_vlm.report import write_report

    page = write_report(run, items)
    typer.echo(json.dumps({"report": str(page), "bytes": page.stat().st_size}) if as_json else f"{page}")
