"""``rise data``: make a world's dataset, import a foreign one, export one; all other commands are in data_tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rise_vlm.commands.data_tools import Json, check, kinds_told, merge, split, stats, tell
from rise_vlm.data.checking import Counts
from rise_vlm.errors import UserError, nearest
from rise_vlm.worlds import WORLDS

if TYPE_CHECKING:
    from rise_vlm.data.formats import Format
    from rise_vlm.data.formats.base import Options
    from rise_vlm.data.outcome import Outcome

app = typer.Typer(no_args_is_help=True, help="Make, import, check, describe, split, merge and export datasets.")

MOST_CLASSES = 30
"""Classes that ``import`` lists; ``--json`` has them all."""

Force = Annotated[bool, typer.Option("--force", help="Replace the dataset that is there.")]


@app.command()
def make(
    world: Annotated[str, typer.Argument(help=f"The world to draw: {', '.join(WORLDS)}.")],
    out: Annotated[Path, typer.Option(help="The new dataset's folder.")],
    train: Annotated[int, typer.Option(min=0, help="Records to train on.")] = 400,
    val: Annotated[int, typer.Option(min=0, help="Records to validate on.")] = 100,
    test: Annotated[int, typer.Option(min=0, help="Records of each test, in domain and out of domain.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw a dataset of a world: no download, known truth, in-domain and out-of-domain tests."""
    from rise_vlm.data.writer import refuse_existing
    from rise_vlm.worlds import load_world

    chosen = load_world(world)
    refuse_existing(out, force)
    summary = chosen.make(out, train=train, val=val, test=test, seed=seed, force=force)
    tell({"dataset": str(out), "world": world, "summary": summary}, as_json, f"Made {out}.", *_lines(summary))


@app.command("import", no_args_is_help=True)
def import_(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[FORMAT] SOURCE",
            help="The format, else it is guessed; the folder, the file, or with 'hub' a name.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The new dataset's folder.")],
    task: Annotated[str | None, typer.Option(help="detection, grounding, classification, distribution ...")] = None,
    val: Annotated[float | None, typer.Option(help="Share of images for val. Default 0.1 if no splits.")] = None,
    test: Annotated[float | None, typer.Option(help="Share of images for test. Default 0.2 if no splits.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images, if they are elsewhere.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Names of the two columns: IMAGE,LABEL (csv, parquet, hub).")
    ] = None,
    field: Annotated[str | None, typer.Option(help="The field with the labels (fiftyone).")] = None,
    question: Annotated[str | None, typer.Option(help="Question, with {class} for the class (grounding).")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Only these classes: a text file with one a line, or names with commas.")
    ] = None,
    keep_empty: Annotated[
        bool,
        typer.Option(
            "--keep-empty", help="With --classes, for detection: keep images with none of them, with nothing to find."
        ),
    ] = False,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Draw the pictures anew from their logic forms (geometry3k).")
    ] = False,
    boxes: Annotated[str | None, typer.Option(help="Boxes of photos that EXIF turns: auto, upright or stored.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Hard links to the images in place of copies; on one file system only.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Import labelled images. They are copied as they are; bad rows go to quarantine.jsonl with the reason.

    Without splits in the source, 20 % of the images become test and 10 % val, chosen by a hash of their names.
    docs/formats.md lists the formats.
    """
    from rise_vlm.data.formats import find_format
    from rise_vlm.data.importing import import_dataset
    from rise_vlm.data.writer import refuse_existing

    refuse_existing(out, force)  # before a format looks into the source, which may download it
    format, source, seen = _format_and_source(words)
    form = find_format(format)
    given = {
        "images": images,
        "columns": columns,
        "field": field,
        "question": question,
        "boxes": boxes,
        "classes": classes,
        "redraw": redraw or None,
    }
    options = _options(
        form, format, source, task, keep_empty, {key: value for key, value in given.items() if value is not None}
    )
    how = {"shares": _shares(val, test), "force": force, "strict": strict, "link": link}
    outcome = import_dataset(form, source, out, options, **how)
    guessed = f"Taken for '{format}': {seen}. " if seen else ""
    lines = [f"{guessed}Task: {options.task}.{_other_task(form, options.task, task, outcome)}", *_imported(outcome)]
    result = {"dataset": str(out), "format": format, "seen": seen, "task": options.task} | outcome.to_dict()
    tell(result, as_json, f"Imported {source} into {out}.", *lines)


@app.command("export", no_args_is_help=True)
def export(
    dataset: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    format: Annotated[str, typer.Argument(help="The format to write; docs/formats.md lists them.")],
    out: Annotated[Path, typer.Option(help="The new folder.")],
    split: Annotated[list[str] | None, typer.Option(help="Only this split; may be repeated.")] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="Write the annotation files only.")] = False,
    image_prefix: Annotated[
        str, typer.Option(help="What stands before image paths, such as '/data/local-files/?d=' (labelstudio).")
    ] = "",
    as_json: Json = False,
) -> None:
    """Write a dataset in a foreign format. What the format cannot keep is counted and told."""
    from rise_vlm.data.dataset import Dataset
    from rise_vlm.data.exporting import export_dataset
    from rise_vlm.data.formats import find_format

    form = find_format(format)
    opened = Dataset.open(dataset)
    chosen = split or ()
    exported = export_dataset(format, form, opened, out, splits=chosen, images=not no_images, image_prefix=image_prefix)
    lines = [f"{name}: {number} records" for name, number in exported.splits.items()]
    if exported.bad:
        lines.append(f"Passed over: {exported.bad} bad rows; 'rise data check {dataset}' lists them.")
    lines += [f"Not kept by '{format}': {what} ({number})" for what, number in exported.lost.items()]
    result = {"out": str(out), "format": format} | exported.to_dict()
    tell(result, as_json, f"Exported {dataset} to {out}.", *lines)


app.command()(check)
app.command()(stats)
app.command(no_args_is_help=True)(split)
app.command(no_args_is_help=True)(merge)


def _format_and_source(words: list[str]) -> tuple[str, Path, str]:
    """The format, the source, and what shows that it is of that format where it was guessed."""
    if len(words) == 2:
        return words[0], Path(words[1]), ""
    if len(words) != 1:
        quotes = "A path with spaces needs quotes."
        raise UserError(f"import takes a format and a source, or a source alone, not {len(words)} words. {quotes}")
    from rise_vlm.data.formats import FORMATS
    from rise_vlm.data.formats.guessing import guess

    source = Path(words[0])
    if words[0] in FORMATS and not source.exists():
        raise UserError(f"import needs a source too: rise data import {source} SOURCE --out DIR.")
    format, seen = guess(source)
    return format, source, seen


def _options(
    form: Format, format: str, source: Path, task: str | None, keep_empty: bool, given: dict[str, Any]
) -> Options:
    """What was asked for, checked as far as it can be before the source is read."""
    from rise_vlm.data.class_list import ClassList, need_choice
    from rise_vlm.data.formats.base import Options

    for name in given.keys() - form.options:
        raise UserError(f"--{name} means nothing to the format '{format}'.")
    if task is not None and task not in form.tasks:
        raise UserError(f"'{format}' imports {' or '.join(form.tasks)}, not '{task}'.{nearest(task, form.tasks)}")
    if "columns" in given:
        given["columns"] = _two_columns(given["columns"])
    if given.get("boxes", "auto") not in ("auto", "upright", "stored"):
        raise UserError(f"--boxes is auto, upright or stored, not '{given['boxes']}'.")
    if "classes" in given:
        given["classes"] = ClassList.read(given["classes"])
    task = task or form.task_for(source)
    need_choice(given.get("classes"), keep_empty, task)
    return Options(task=task, keep_empty=keep_empty, **given)


def _imported(outcome: Outcome) -> list[str]:
    """What an import made, for a person to read."""
    lines = [f"{split}: {number} records" for split, number in outcome.splits.items()]
    if outcome.dealt:
        lines.append(f"Splits: {outcome.dealt}.")
    lines.append(_quarantined(outcome.quarantined))
    lines += [f"Skipped: {told}" for told in outcome.left_out()]
    return lines + _classes(outcome.by_class) + [f"Note: {note}" for note in outcome.notes]


def _two_columns(columns: str) -> tuple[str, str]:
    names = [name.strip() for name in columns.split(",")]
    if len(names) != 2 or not all(names):
        raise UserError(f"--columns takes two names, IMAGE,LABEL, not '{columns}'.")
    return names[0], names[1]


def _shares(val: float | None, test: float | None) -> dict[str, float]:
    """The shares asked for, checked."""
    shares = {name: share for name, share in (("val", val), ("test", test)) if share is not None}
    for name, share in shares.items():
        if not 0 <= share < 1:  # false for NaN too
            raise UserError(f"--{name} is a share from 0 to 1, such as 0.1, not {share:g}.")
    if sum(shares.values()) >= 1:
        raise UserError("--val and --test together leave nothing to train on.")
    return shares


def _other_task(form: Format, task: str, asked: str | None, outcome: Outcome) -> str:
    """What else boxes can be imported for, where the user has named no task."""
    other = {"grounding": "detection", "detection": "grounding"}.get(task)
    if asked or not outcome.boxed or other not in form.tasks or "question" not in form.options:
        return ""
    what = "all boxes of an image in one record" if other == "detection" else "a record for each class with one box"
    return f" For {other} ({what}) give --task {other}."


def _classes(counts: Mapping[str, float]) -> list[str]:
    """The classes with their numbers; of many the first and the last."""
    told = [f"{name} {_count(number)}" for name, number in counts.items()]
    if len(told) > MOST_CLASSES:
        half = MOST_CLASSES // 2
        told[half:-half] = [f"... {len(told) - 2 * half} more ..."]
    return [f"Classes ({len(counts)}): {', '.join(told)}"] if told else []


def _count(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def _quarantined(counts: Counts) -> str:
    first = f"; the first: {counts.first}" if counts.first else ""
    return f"Quarantined: {kinds_told(counts)}{first}"


def _lines(summary: dict[str, Any]) -> list[str]:
    """A summary as one line per key."""
    return [f"{key}: {_short(value)}" for key, value in summary.items()]


def _short(value: Any) -> str:
    """A value for a person to read: three decimals, inner keys and values side by side."""
    if isinstance(value, dict):
        inner = [
            f"{key} ({_short(of)})" if isinstance(of, dict) else f"{key} {_short(of)}" for key, of in value.items()
        ]
        return ", ".join(inner)
    return f"{value:.3f}" if isinstance(value, float) else str(value)
