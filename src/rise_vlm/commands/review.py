"""``rise review``: a local page to accept, correct or reject annotations with the keyboard."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from rise_vlm.console import say
from rise_vlm.errors import UserError


def main(
    source: Annotated[
        Path, typer.Argument(metavar="DATASET_OR_OUTPUT", help="A dataset, or the JSONL file of 'rise annotate'.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The new dataset's folder; SOURCE-reviewed if not given.", show_default=False)
    ] = None,
    task: Annotated[
        Path | None, typer.Option(help="For a JSONL file: the task that 'rise annotate' was given.", show_default=False)
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="For a dataset: only this split; may be repeated.", show_default=False)
    ] = None,
    val: Annotated[float, typer.Option(min=0, max=1, help="For a JSONL file: share of images for val.")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=1, help="For a JSONL file: share of images for test.")] = 0.2,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8765,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine a token is needed.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None, typer.Option(help="What a browser must show; made and printed where needed.", show_default=False)
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Another name this server answers to (with a token); repeatable.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the dataset that --out holds.")] = False,
) -> None:
    """Review annotations on a local page, the least certain first, and write a dataset that can be trained on.

    Each decision is on the disk before the page shows the next item, in OUT.review.jsonl; the same command continues
    from there. Finish, on the page, writes the dataset: whole, or not at all. docs/review.md lists the keys.
    """
    from rise_vlm.web.guard import Door
    from rise_vlm.web.items import load
    from rise_vlm.web.review import MAX_BODY, make_app
    from rise_vlm.web.server import address, listen, run_app
    from rise_vlm.web.session import Session

    if not val + test <= 1:  # nan too
        raise UserError(f"--val {val:g} and --test {test:g} are more than all images.")
    batch = load(source, task, split or ())
    plain = batch.source.resolve()
    target = out or plain.with_name(f"{plain.stem if plain.is_file() else plain.name}-reviewed")
    server = listen(host, port)
    try:
        door = Door.of(host, server.getsockname()[1], token, allowed=allow_host or (), max_body=MAX_BODY)
        session = Session(batch, target, shares={"val": val, "test": test}, force=force)
    except BaseException:
        server.close()
        raise
    with closing(session.journal):
        if session.changed:
            say(f"{session.changed} decisions of {session.journal.path} are of rows that are gone or differ now.")
        undecided = session.counts["undecided"]
        say(f"{len(batch.items)} to review, {undecided} undecided. Journal: {session.journal.path}")
        say(f"Open {address(server, host, door.token)}  (Ctrl-C stops; nothing is lost)")
        run_app(make_app(session, door), server)
        told = ", ".join(f"{count} {state}" for state, count in session.counts.items())
        say(f"Stopped: {told}. The same command continues.")
