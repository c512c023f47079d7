"""``rise annotate``: an answer and its rationale for every image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rise_vlm.console import many, say
from rise_vlm.errors import UserError

if TYPE_CHECKING:
    from rise_vlm.stages.annotate import Outcome
    from rise_vlm.stages.outputs import Made, Output
    from rise_vlm.stages.trained import Found
    from rise_vlm.tasks.base import Task

Model = Annotated[str, typer.Argument(help="A run folder, a model folder, a hub id, or tiny.")]
Images = Annotated[list[str], typer.Argument(help="Image files, folders or globs.")]
TaskFile = Annotated[
    Path, typer.Option(help="A dataset, or a YAML file with 'task', 'classes' and 'question'.", show_default=False)
]
Out = Annotated[Path, typer.Option(help="JSONL file of answers; a file that exists is continued.")]
To = Annotated[
    list[str] | None,
    typer.Option(metavar="FORMAT:PATH", help="Write the answers in a format too, such as coco:out.json; repeatable."),
]
Prefix = Annotated[
    str, typer.Option(help="What stands before image paths of --to labelstudio, such as '/data/local-files/?d='.")
]
Report = Annotated[Path | None, typer.Option(help="Write a page of answers too, the least certain first.")]
Items = Annotated[int, typer.Option(min=1, max=500, help="Pictures on that page.")]
Question = Annotated[str | None, typer.Option(help="The question to ask of every image.")]
AsRole = Annotated[
    str | None, typer.Option("--role", help="think or answer; a run's own by default, else think.", show_default=False)
]
Samples = Annotated[int, typer.Option(min=0, max=64, help="Answers to each image; their agreement is the confidence.")]
Temperature = Annotated[float, typer.Option(help="Temperature of --samples.")]
Seed = Annotated[int, typer.Option(help="Seed of --samples.")]
Check = Annotated[bool, typer.Option("--check", help="Ask again from the rationale alone; does the answer come back?")]
Below = Annotated[
    float | None,
    typer.Option("--review-below", min=0, max=1, help="Mark for review below this confidence or reconstruction."),
]
Tokens = Annotated[
    int | None, typer.Option(min=1, help="The longest completion; a run's own, else 256.", show_default=False)
]
Pixels = Annotated[int | None, typer.Option(min=1, help="Bound of a resized picture.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def main(
    model: Model,
    images: Images,
    task: TaskFile,
    out: Out = Path("answers.jsonl"),
    to: To = None,
    image_prefix: Prefix = "",
    report: Report = None,
    items: Items = 60,
    question: Question = None,
    role: AsRole = None,
    samples: Samples = 0,
    temperature: Temperature = 0.7,
    seed: Seed = 0,
    check: Check = False,
    review_below: Below = None,
    max_new_tokens: Tokens = None,
    max_pixels: Pixels = None,
    as_json: AsJson = False,
) -> None:
    """Annotate images with a trained model: an answer and its rationale for each, as JSON lines.

    A row holds id, image, width, height, question, annotation (boxes in pixels of the upright image), rationale, the
    raw completion, the reason where the answer could not be read, what --samples and --check found, whether a person
    should look at it (review), and the source (model, task, question, role). A file that holds anything else, or
    answers of another source, is refused. An image that is broken or that the model does not take is told and skipped;
    the exit code is then 1. The files of --to and --report are made of the rows at the end.
    """
    from rise_vlm.lock import alone
    from rise_vlm.stages.outputs import Made, check_free, outputs_of
    from rise_vlm.stages.pictures import find_images
    from rise_vlm.stages.preflight import check_writable
    from rise_vlm.stages.task_file import task_of
    from rise_vlm.stages.trained import doubts, find_model, require_model, unexplained

    _refuse(out, role, samples, temperature)
    if report and report.absolute() == out.absolute():
        raise UserError(f"--report {report} is where --out writes. Choose another path.")
    made, (job, asked) = Made(out), task_of(task, question)
    outputs = outputs_of(to or [], job, [out, *([report] if report else [])], made, image_prefix)
    if report:
        check_free("--report", report, made)
    places = [("--out", out), *([("--report", report)] if report else []), *(("--to", one.path) for one in outputs)]
    for option, path in places:
        check_writable(path.parent, option)
    names, found = find_images(images), find_model(model)
    require_model(found.model)
    doubted = doubts(found, job)
    for note in [*doubted, *unexplained(found, role)]:
        say(f"note: {note}.")
    say(f"annotate: loading {found.model} for {many(len(names), 'image')}.")
    # Paths first: what follows takes seconds to import.
    from rise_vlm.stages.annotate import Asking, Outcome, Source, annotate, answered
    from rise_vlm.stages.files import read_rows
    from rise_vlm.stages.rebuilding import all_alike

    longest = max_new_tokens or found.settings.get("evaluate.max_new_tokens") or 256
    pixels = max_pixels or found.settings.get("policy.max_pixels")
    how = Asking(longest, samples, temperature, seed, check, review_below, pixels)
    source = Source.of(found.model, job, asked, "answer" if (role or found.role) == "answer" else "think", how)
    wrote: list[dict[str, Any]] = []
    with alone(out):  # two at once would cut each other's rows, and ask for every answer twice
        done, outcome = answered(out, source), Outcome()  # refuses before the model is loaded
        waiting = [name for name in names if name not in done]
        outcome.skipped = len(names) - len(waiting)
        if outcome.skipped:
            say(f"skipped, since in {out} already: {many(outcome.skipped, 'image')}.")
        if waiting:
            annotate(_load(found, pixels), job, source, waiting, out, how, outcome)
        if check and (told := all_alike(read_rows(out))):
            say(f"note: {told}.")
            doubted.append(told)
        if done or outcome.annotated:
            wrote = [_export(output, out, job, source.question, made) for output in outputs]
            wrote += [_page(out, report, job, how.threshold(job), items, made, doubted)] if report else []
    _tell(out, outcome, wrote, as_json)


def _refuse(out: Path, role: str | None, samples: int, temperature: float) -> None:
    """Raise UserError for what no option's own range tells."""
    if role not in (None, "think", "answer"):
        raise UserError(f"--role is think or answer, not '{role}'.")
    if samples == 1:
        raise UserError("--samples 1 has nothing to agree with: give 2 or more, or leave it out for the greedy answer.")
    if samples and not 0 < temperature <= 2:
        raise UserError(f"--temperature is above 0 and at most 2, not {temperature}.")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; give a file such as answers.jsonl.")
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}.")
    if out.exists() and not out.is_file():
        raise UserError(f"--out {out} is no file that could be continued; give one such as answers.jsonl.")


def _load(found: Found, max_pixels: int | None) -> Any:
    from rise_vlm.policy import Policy

    return Policy.load(
        found.model,
        max_pixels=max_pixels,
        dtype=found.settings.get("policy.precision", "auto"),
    )


def _export(output: Output, out: Path, task: Task, question: str, made: Made) -> dict[str, Any]:
    """Make one file of ``--to``; its row of the summary."""
    from rise_vlm.stages.outputs import write_output

    written = write_output(output, out, task, question, made)
    lost = dict(written.lost)
    told = ", ".join(f"{kind} ({number})" for kind, number in lost.items())
    said = f"; it does not keep {told}." if told else "."
    say(f"{output.path}: {written.answers} answers as {output.name}{said}")
    return {"format": output.name, "path": str(output.path), "answers": written.answers, "lost": lost}


def _page(
    out: Path, report: Path, task: Task, below: float, items: int, made: Made, doubted: list[str]
) -> dict[str, Any]:
    """Make the page; its row of the summary."""
    from rise_vlm.report.answers import write_page
    from rise_vlm.stages.outputs import check_free

    check_free("--report", report, made)  # hours may have gone by
    shown = write_page(out, report, task, below, items, doubted)
    made.add(report)
    say(f"{report}: a page of {shown} answers, the least certain first.")
    return {"format": "report", "path": str(report), "answers": shown, "lost": {}}


def _tell(out: Path, outcome: Outcome, wrote: list[dict[str, Any]], as_json: bool) -> None:
    """The summary; exit code 1 where an image was passed over."""
    if as_json:
        typer.echo(json.dumps({"out": str(out), **vars(outcome), "wrote": wrote}))
    else:
        unread, review = f"{many(outcome.unparsed, 'answer')} could not be read", f"for review: {outcome.review}"
        typer.echo(f"{many(outcome.annotated, 'image')} annotated in {out}; {unread}; {review}.")
    if outcome.broken:
        say(f"{many(outcome.broken, 'image')} could not be read or taken.")
        raise typer.Exit(1)
