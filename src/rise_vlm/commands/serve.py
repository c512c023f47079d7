"""``rise serve``: a trained model over HTTP, for Label Studio and other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rise_vlm.console import say
from rise_vlm.errors import UserError

if TYPE_CHECKING:
    from rise_vlm.tasks.base import Task
    from rise_vlm.web.answering import PolicyAnnotator


def main(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder, a hub id, or tiny.")],
    task: Annotated[
        Path, typer.Option(help="A dataset, or a YAML file with 'task', 'classes' and 'question'.", show_default=False)
    ],
    question: Annotated[str | None, typer.Option(help="Asked where a request asks nothing itself.")] = None,
    role: Annotated[
        str | None, typer.Option(help="think or answer; a run's own by default, else think.", show_default=False)
    ] = None,
    samples: Annotated[
        int, typer.Option(min=0, max=64, help="Sample so many answers and tell how far they agree.")
    ] = 0,
    check: Annotated[
        bool, typer.Option("--check", help="Ask again from the rationale alone; does the answer come back?")
    ] = False,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="The longest completion; a run's own, else 256.", show_default=False)
    ] = None,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Bound of a resized picture.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 9090,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine a token is needed.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None, typer.Option(help="What a client must show; made and printed where needed.", show_default=False)
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Another name this server answers to (with a token); repeatable.", show_default=False),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of local files that tasks may name; none without it.", show_default=False),
    ] = None,
    allow_urls: Annotated[
        bool, typer.Option("--allow-urls", help="Fetch pictures from the URLs that tasks name.")
    ] = False,
    max_mb: Annotated[float, typer.Option(min=0.001, max=1000, help="Megabytes of one image file.")] = 10.0,
    max_megapixels: Annotated[
        float, typer.Option(min=0.001, max=100, help="Pixels of one picture as it is sent.")
    ] = 40.0,
    max_tasks: Annotated[int, typer.Option(min=1, help="Tasks of one request.")] = 64,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until a request is given up.")] = 100.0,
    queue: Annotated[int, typer.Option(min=1, max=1000, help="Requests inside at once; others are told to wait.")] = 16,
) -> None:
    """Answer Label Studio (as an ML backend) and other programs (POST /annotate) with a trained model.

    One model answers one batch at a time; requests wait in a queue of bounded length. docs/serve.md shows both uses.
    """
    from rise_vlm.stages.task_file import task_of
    from rise_vlm.web.addresses import Addresses
    from rise_vlm.web.answering import Queue
    from rise_vlm.web.guard import Door
    from rise_vlm.web.serve import Limits, make_app
    from rise_vlm.web.server import address, listen, run_app

    if role not in (None, "think", "answer"):
        raise UserError(f"--role is think or answer, not '{role}'.")
    if samples == 1:
        raise UserError("--samples 1 has nothing to agree with: give 2 or more, or leave it out for the greedy answer.")
    if root is not None and not root.is_dir():
        raise UserError(f"--root {root}: there is no such folder.")
    made, asked = task_of(task, question)
    if asked and ("{name}" in asked or "{folder}" in asked):
        raise UserError(f"The question of {task} holds {{name}} or {{folder}}, but what is sent here has no file name.")
    limits = Limits(round(max_mb * 1e6), round(max_megapixels * 1e6), max_tasks, timeout)
    server = listen(host, port)  # before the model is loaded, which takes longer
    try:
        door = Door.of(host, server.getsockname()[1], token, allowed=allow_host or (), max_body=limits.body)
        annotator = load_annotator(model, made, asked, role, samples, max_new_tokens, max_pixels, check)
        waiting = Queue(annotator, queue)
        say(f"{annotator.version} answers {made.name} at {address(server, host)}  (Ctrl-C stops)")
        if door.token:
            say(f"Token: {door.token}  (Authorization: Bearer, or the password of Basic)")
        run_app(
            make_app(waiting, limits, Addresses(root, allow_urls, limits.bytes), door), server, connections=queue + 32
        )
        waiting.close()
    finally:
        server.close()


def load_annotator(
    model: str,
    task: Task,
    question: str | None,
    role: str | None,
    samples: int,
    max_new_tokens: int | None,
    max_pixels: int | None,
    check: bool = False,
) -> PolicyAnnotator:
    """The model as ``rise annotate`` would use it."""
    from rise_vlm.stages.plan import model_digest
    from rise_vlm.stages.trained import doubts, find_model, require_model, unexplained
    from rise_vlm.web.answering import PolicyAnnotator

    found = find_model(model)
    require_model(found.model)
    for note in [*doubts(found, task), *unexplained(found, role)]:
        say(f"note: {note}.")
    say(f"serve: loading {found.model}.")
    from rise_vlm.policy import Policy

    policy = Policy.load(
        found.model,
        max_pixels=max_pixels or found.settings.get("policy.max_pixels"),
        dtype=found.settings.get("policy.precision", "auto"),
    )
    longest = max_new_tokens or found.settings.get("evaluate.max_new_tokens") or 256
    chosen = "answer" if (role or found.role) == "answer" else "think"
    name = Path(model).expanduser().absolute().name if Path(model).exists() else model
    version = f"{name}-{model_digest(found.model)[:8]}"
    return PolicyAnnotator(policy, task, version, question, chosen, longest, samples, check)
