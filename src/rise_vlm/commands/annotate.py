"""``rise annotate``: an answer and its rationale for every image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rise_vlm.console import say
from rise_vlm.errors import UserError


def main(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder, a hub id, or tiny.")],
    images: Annotated[list[str], typer.Argument(help="Image files, folders or globs.")],
    task: Annotated[
        Path, typer.Option(help="A dataset, or a YAML file with 'task', 'classes' and 'question'.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="JSONL file of answers; a file that exists is continued.")] = Path(
        "answers.jsonl"
    ),
    question: Annotated[str | None, typer.Option(help="The question to ask of every image.")] = None,
    role: Annotated[
        str | None, typer.Option(help="think or answer; a run's own by default, else think.", show_default=False)
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="The longest completion; a run's own, else 256.", show_default=False)
    ] = None,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Bound of a resized picture.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Annotate images with a trained model: an answer and its rationale for each, as JSON lines.

    A row holds id, image, width, height, question, annotation (boxes in pixels of the upright image), rationale, the
    raw completion, the reason where the answer could not be read, and the source (model, task, question, role). A
    file that holds anything else, or answers of another source, is refused. An image that is broken or that the model
    does not take is told and skipped; the exit code is then 1.
    """
    from rise_vlm.policy import Policy
    from rise_vlm.stages.annotate import Source, annotate, answered, find_images, task_of
    from rise_vlm.stages.trained import find_model

    if role not in (None, "think", "answer"):
        raise UserError(f"--role is think or answer, not '{role}'.")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; give a file such as answers.jsonl.")
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}.")
    made, asked = task_of(task, question)
    paths = find_images(images)
    found = find_model(model)
    chosen = "answer" if (role or found.role) == "answer" else "think"
    source = Source.of(found.model, made, asked, chosen)
    answered(out, source)  # refuses before the model is loaded
    policy = Policy.load(
        found.model,
        max_pixels=max_pixels or found.settings.get("policy.max_pixels"),
        dtype=found.settings.get("policy.precision", "auto"),
    )
    longest = max_new_tokens or found.settings.get("evaluate.max_new_tokens") or 256
    outcome = annotate(policy, made, source, paths, out, longest)
    if as_json:
        typer.echo(json.dumps({"out": str(out), **vars(outcome)}))
    else:
        typer.echo(f"{outcome.annotated} images annotated in {out}; {outcome.unparsed} answers could not be read.")
    if outcome.broken:
        say(f"{outcome.broken} images could not be read or taken.")
        raise typer.Exit(1)
