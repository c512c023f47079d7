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
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The longest completion.")] = 256,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Bound of a resized picture.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Annotate images with a trained model: an answer and its rationale for each, as JSON lines.

    A row holds id, image, width, height, question, annotation (boxes in pixels of the upright image), rationale, the
    raw completion, and the reason where the answer could not be read. A broken image is told and skipped; the exit
    code is then 1.
    """
    from rise_vlm.policy import Policy
    from rise_vlm.stages.annotate import annotate, find_images, task_of
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
    policy = Policy.load(found.model, max_pixels=max_pixels)
    chosen = role or found.role or "think"
    outcome = annotate(policy, made, asked, paths, out, "think" if chosen == "think" else "answer", max_new_tokens)
    if as_json:
        typer.echo(json.dumps({"out": str(out), **vars(outcome)}))
    else:
        typer.echo(f"{outcome.annotated} images annotated in {out}; {outcome.unparsed} answers could not be read.")
    if outcome.broken:
        say(f"{outcome.broken} images could not be read.")
        raise typer.Exit(1)
