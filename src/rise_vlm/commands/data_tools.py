"""``rise data check``, ``stats``, ``split``, ``merge``: whether a dataset is sound, what is in it, dealing, joining."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rise_vlm.console import progress
from rise_vlm.errors import UserError

if TYPE_CHECKING:
    from rise_vlm.data.checking import Counts
    from rise_vlm.data.inspecting import Report
    from rise_vlm.data.splitting import Deal

SHOWN = 20
"""Problems that ``check`` prints; ``--json``, ``--report`` and ``quarantine.jsonl`` have more."""

CLASSES = 30
"""Classes that ``stats`` prints of each split, the most frequent; ``--json`` and the page have all."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Folder = Annotated[Path, typer.Argument(help="The dataset's folder.")]


def check(
    dataset: Folder,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first problem.")] = False,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Write quarantine.jsonl; all commands then pass over those rows.")
    ] = False,
    aside: Annotated[
        list[str] | None,
        typer.Option(help="Quarantine the rows of a doubtful finding too: leak, same-image ... or all. Repeatable."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page with examples drawn.")] = None,
    as_json: Json = False,
) -> None:
    """Check every row, open every image, compare them all. Exit code 1 where there are problems."""
    from rise_vlm.data.dataset import Dataset
    from rise_vlm.data.findings import known_kinds
    from rise_vlm.data.inspecting import inspect
    from rise_vlm.data.inspecting import quarantine as write

    kinds = known_kinds(aside or ())
    need_page(report)
    opened = Dataset.open(dataset)
    found = inspect(opened, strict=strict)
    moved = write(opened, found, kinds) if quarantine or kinds else 0
    if report is not None:
        from rise_vlm.report.data_check import write_check

        write_check(opened, found, report)
    lines = _problems(found) + _splits(found) + found.notes + _findings(found)
    if found.aside:
        lines.append(f"Put aside earlier: {len(found.aside)} rows; delete their lines in quarantine.jsonl to undo it.")
    if quarantine or kinds:
        rows = len(found.problems) + moved + len(found.aside)
        lines.append(f"quarantine.jsonl: {rows} rows of the dataset. Deleting a line takes its row back.")
    if report is not None:
        lines.append(f"Report: {report}")
    tell(_as_dict(dataset, opened.card.task, found) | {"report": str(report) if report else None}, as_json, *lines)
    if found.problems:
        raise typer.Exit(1)


def stats(
    dataset: Folder,
    out: Annotated[Path | None, typer.Option(help="Write a page with plots.")] = None,
    as_json: Json = False,
) -> None:
    """Tell what is in a dataset: records, classes, sizes of images and boxes, lengths of texts."""
    from rise_vlm.data.dataset import Dataset
    from rise_vlm.data.statistics import collect

    need_page(out)
    opened = Dataset.open(dataset)
    with progress(f"Reading {dataset}") as bar:
        found = collect(opened, tick=bar.update)
    if out is not None:
        from rise_vlm.report.data_stats import write_stats

        write_stats(found, out)
    lines = [f"{found.name}: {found.task}"]
    for split, numbers in found.to_dict()["splits"].items():
        lines += [f"{split}: {numbers['records']:,} records, {numbers['bad']} bad", *_details(numbers)]
    if out is not None:
        lines.append(f"Report: {out}")
    tell({"dataset": str(dataset)} | found.to_dict() | {"report": str(out) if out else None}, as_json, *lines)


def split(
    dataset: Folder,
    val: Annotated[float, typer.Option(help="Share of the records for val.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of the records for test.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same splits.")] = 0,
    group_by: Annotated[
        str, typer.Option(help="What stays together: auto (same or similar image), image (same), or a key of meta.")
    ] = "auto",
    take: Annotated[
        list[str] | None, typer.Option("--from", help="Deal this split only; repeatable. Others stay as they are.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A new dataset; without it, this one is changed.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace splits, or the dataset, that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Deal records to train, val and test: no image in two of them, classes in equal shares."""
    from rise_vlm.data.dataset import Dataset
    from rise_vlm.data.dealing import deal, plan, write_deal

    shares = {"val": val, "test": test}
    for name, share in shares.items():
        if not 0 <= share < 1:  # false for NaN too
            raise UserError(f"--{name} is a share from 0 to 1, such as 0.1, not {share:g}.")
    if not 0 < val + test < 1:
        raise UserError("--val and --test together must leave something to train on and something to test on.")
    opened = Dataset.open(dataset)
    chosen = plan(opened, shares, group_by=group_by, seed=seed, take=take or (), out=out, force=force)
    dealt, records = deal(opened, shares, chosen)
    undo = write_deal(opened, dealt, records, chosen, out, force=force)
    where = f"{dataset}" if out is None else f"{out}"
    lines = [f"Split {where} by {dealt.by}: {dealt.groups:,} groups, the largest of {dealt.largest:,} records."]
    lines += _shares(dealt)
    tell({"dataset": where} | dealt.to_dict(), as_json, *lines, *dealt.notes, *undo)


def merge(
    datasets: Annotated[list[Path], typer.Argument(metavar="DATASET DATASET ...", help="Two or more datasets.")],
    out: Annotated[Path, typer.Option(help="The new dataset's folder.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the dataset that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Make one dataset of several of a task, as after a review: no image in two splits, the later source counts."""
    from rise_vlm.data.merging import merge as merge_datasets

    merged = merge_datasets(datasets, out, force=force)
    lines = [f"Merged {len(datasets)} datasets into {out}."]
    lines += [f"{split}: {number:,} records" for split, number in merged.splits.items()]
    lines += [f"from {name}: {number:,} records" for name, number in merged.sources.items()]
    told = {
        "bad rows passed over; 'rise data check' lists them": merged.bad,
        "left out: a later dataset has another for the same picture and question": merged.replaced,
        "left out: their picture is in another split too": merged.shared,
        "given a new id, since theirs was used before": merged.renamed,
    }
    lines += [f"{number:,} records {what}." for what, number in told.items() if number]
    tell({"dataset": str(out)} | merged.to_dict(), as_json, *lines)


def need_page(page: Path | None) -> None:
    """Raise UserError unless a page can be written there, before any work is done."""
    if page is None:
        return
    if page.suffix.casefold() not in (".html", ".htm"):
        raise UserError(f"{page} must end in .html.")
    if page.is_dir() or not page.absolute().parent.is_dir():
        why = "is a folder" if page.is_dir() else "is in a folder that does not exist"
        raise UserError(f"{page} {why}; choose another place for the page.")


def tell(result: dict[str, Any], as_json: bool, *lines: str) -> None:
    """One JSON object on stdout, or lines for a person."""
    if as_json:
        typer.echo(json.dumps(result))
    else:
        for line in lines:
            typer.echo(line)


def kinds_told(counts: Counts) -> str:
    """``3 bad (2 image, 1 row)``."""
    kinds = ", ".join(f"{number} {kind}" for kind, number in counts.kinds.most_common())
    return f"{counts.quarantined} bad" + (f" ({kinds})" if kinds else "")


def _problems(found: Report) -> list[str]:
    lines = [str(problem) for problem in found.problems[:SHOWN]]
    if len(found.problems) > SHOWN:
        lines.append(f"... and {len(found.problems) - SHOWN} more; --quarantine or --json lists them all.")
    return lines


def _splits(found: Report) -> list[str]:
    return [f"{split}: {count.records} records, {kinds_told(count)}" for split, count in found.counts.items()]


def _findings(found: Report) -> list[str]:
    """Two short lists: what is refused, what is doubtful; each with its number, an example and what to do."""
    from rise_vlm.data.findings import KINDS, counted, printable

    numbers = counted(found.findings)
    lines = []
    for refused, title in ((True, "Refused, no command uses these rows:"), (False, "Doubtful, used all the same:")):
        chosen = {kind: number for kind, number in numbers.items() if KINDS[kind].refused == refused}
        if chosen:
            lines.append(title)
        for kind, number in chosen.items():
            first = next(finding for finding in found.findings if finding.kind == kind)
            example = f"{first.where}: {first.detail}" if first.row is not None else first.detail
            lines.append(f"  {number:>6,} {kind}: {KINDS[kind].title}. To do: {KINDS[kind].advice}.")
            if not refused:
                lines.append(f"         e.g. {printable(example)}")
    return lines


def _as_dict(dataset: Path, task: str, found: Report) -> dict[str, Any]:
    from rise_vlm.data.findings import KINDS, counted

    findings = [
        {
            "kind": kind,
            "refused": KINDS[kind].refused,
            "count": number,
            "title": KINDS[kind].title,
            "advice": KINDS[kind].advice,
            "rows": [finding.to_dict() for finding in found.findings if finding.kind == kind],
        }
        for kind, number in counted(found.findings).items()
    ]
    return {
        "dataset": str(dataset),
        "task": task,
        "ok": not found.problems,
        "splits": {split: count.to_dict() for split, count in found.counts.items()},
        "problems": [vars(problem) for problem in found.problems],
        "findings": findings,
        "aside": len(found.aside),
        "notes": found.notes,
    }


def _details(numbers: dict[str, Any]) -> list[str]:
    """The lines of one split's statistics; none where it has no records."""
    if not numbers["records"]:
        return []
    lines = [f"  images: {_range(numbers['widths'])} wide, {_range(numbers['heights'])} high"]
    if "boxes" in numbers:
        boxes = numbers["boxes"]
        areas = ", ".join(f"{boxes['areas'].get(name, 0):,} {name}" for name in ("small", "medium", "large"))
        lines.append(f"  boxes: {boxes['total']:,}, {_range(boxes)} in a record; {areas}")
    if "classes" in numbers:
        common = list(numbers["classes"].items())
        shown = ", ".join(f"{name} {number:,g}" for name, number in common[:CLASSES])
        lines.append(f"  classes: {shown}" + (f", and {len(common) - CLASSES} more" if len(common) > CLASSES else ""))
    texts = [name for name in ("questions", "rationales") if name in numbers]
    lines += [f"  {name}: {numbers[name]['records']:,}, {_range(numbers[name]['words'])} words" for name in texts]
    return lines


def _range(summary: dict[str, float]) -> str:
    if summary["least"] == summary["most"]:
        return f"{summary['least']:,}"
    return f"{summary['least']:,} to {summary['most']:,} (median {summary['median']:,})"


def _shares(dealt: Deal) -> list[str]:
    total = sum(dealt.records.values())
    lines = []
    for name, number in dealt.records.items():
        asked = f" (asked {dealt.shares[name]:.1%})"
        lines.append(f"{name}: {number:,} records, {number / total:.1%}{asked}")
    return lines
