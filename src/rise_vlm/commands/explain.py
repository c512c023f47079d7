"""``rise explain``: rationales that a teacher writes for a dataset's records, kept where they are verified."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rise_vlm.errors import UserError

if TYPE_CHECKING:
    from rise_vlm.stages.explaining import Explained, Explaining


def main(
    dataset: Annotated[Path, typer.Argument(help="The dataset's folder; rationales are for its training records.")],
    teacher: Annotated[str, typer.Option(help="An OpenAI-compatible endpoint, such as http://localhost:8000/v1.")],
    model: Annotated[str, typer.Option(help="The teacher's name there.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset to write.")],
    key_env: Annotated[
        str | None, typer.Option(help="Name of the environment variable that holds the key.", show_default=False)
    ] = None,
    reader: Annotated[
        str,
        typer.Option(help="Who must reach the annotation from the rationale: teacher, none, or a model of ours."),
    ] = "teacher",
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Least score of the teacher's own answer, 1 being the annotation's.")
    ] = 1.0,
    read_threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Least score of the reader's; boxes 0.5, distributions 0.8, else 1.",
            show_default=False,
        ),
    ] = None,
    leaks: Annotated[
        bool | None,
        typer.Option(
            help="Rationales may name the annotation; in counting, structure and transformation they may anyway.",
            show_default=False,
        ),
    ] = None,
    facts: Annotated[bool, typer.Option(help="Of drawn scenes, refuse what states something false.")] = True,
    records: Annotated[int | None, typer.Option(min=1, help="Only so many training records.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Requests at a time.")] = 8,
    temperature: Annotated[float, typer.Option(min=0.0, help="Of the teacher.")] = 0.2,
    max_tokens: Annotated[int, typer.Option(min=1, help="The teacher's longest reply.")] = 1024,
    max_pixels: Annotated[int, typer.Option(min=784, help="Larger pictures are made smaller.")] = 1_048_576,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds to wait for one reply.")] = 120.0,
    tries: Annotated[int, typer.Option(min=1, help="Times that a request is tried.")] = 5,
    force: Annotated[bool, typer.Option("--force", help="Replace the dataset in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how much would be sent, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Let a teacher write a rationale for each training record of a dataset, and keep those that are verified.

    A reply is kept if its own answer is the annotation, it neither leaks nor states what a world knows to be false,
    and a reader reaches the annotation from the rationale alone. The dataset written trains cot_sft and reason_rft.
    Replies are kept beside it: the same command goes on where it was stopped, another threshold asks for nothing anew.
    """
    from rise_vlm.data.writer import refuse_existing
    from rise_vlm.lock import alone
    from rise_vlm.stages.explain import Asking
    from rise_vlm.stages.explaining import Explaining, journal_folder, open_material
    from rise_vlm.stages.plan import model_digest
    from rise_vlm.stages.trained import find_model, require_model
    from rise_vlm.web.chat import Chat

    refuse_existing(out, force)
    chat = Chat(teacher, model, _key(key_env), temperature, max_tokens, timeout, tries)
    local = None if reader in ("teacher", "none") else find_model(reader).model
    if local is not None:
        require_model(local)
        reader = f"{reader}@{model_digest(local)[:12]}"  # trained again in the same place it is another reader
    asking = Asking(threshold, read_threshold, reader, leaks, facts, max_pixels=max_pixels)
    material = open_material(dataset, records)
    folder = journal_folder(out)
    work = Explaining(chat, material, asking, folder)
    if dry_run:
        work.resume(keep=False)
        _tell_estimate(work.estimate(), as_json)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        work.resume()
        work.ask(threads)
        if local is not None:
            from rise_vlm.stages.explain_reading import read_with

            read_with(local, work)
        work.write(out, force=force)
    _tell(work, out, as_json)


def _key(variable: str | None) -> str | None:
    """The key in the variable. What was given as its name is not repeated: it may be the key itself."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError("--key-env names an environment variable that is not set, or is empty.")
    return key


def _tell_estimate(estimate: dict[str, int], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(estimate))
        return
    few, most = estimate["requests"], estimate["requests_at_most"]
    told = f"{few} to {most}" if most > few else f"{few}"
    size = estimate["bytes"] / 1e6
    typer.echo(f"{told} requests for {estimate['records']} records, about {size:.1f} MB to send. Nothing was sent.")


def _tell(work: Explaining, out: Path, as_json: bool) -> None:
    found = work.found
    if as_json:
        typer.echo(json.dumps(_summary(found, out, work.folder)))
        return
    typer.echo(f"Kept {found.kept} of {found.records} rationales ({found.requests} requests now).")
    for reason, count in found.refused.most_common():
        typer.echo(f"Refused: {count} x {reason}")
    typer.echo(f"Tokens: {found.prompt_tokens} read and {found.completion_tokens} written by the teacher, in all.")
    for note in (*work.material.notes, *found.notes):
        typer.echo(f"Note: {note}.")
    typer.echo(f"Dataset: {out}, replies: {work.folder}")


def _summary(found: Explained, out: Path, folder: Path) -> dict[str, Any]:
    return {**vars(found), "refused": dict(found.refused), "dataset": str(out), "replies": str(folder)}
