"""The commands that a page shows, and how they are run small; for the tests of pages that are followed line by line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import typer

from rise_vlm import cli

ROOT = Path(__file__).parents[1]

FEW = ("train.steps=1", "records_per_step=2")
SMALL_SFT = [f"sft.{key}" for key in FEW]
SMALL_RUN = [
    "warm_up.samples=1", *(f"warm_up.{key}" for key in FEW),
    "closed_loop.rollouts.group=2", "closed_loop.probes.records=2", *(f"closed_loop.{key}" for key in FEW),
    "harvest.samples=1", "harvest.threshold=0", *SMALL_SFT,
    "grpo.rollouts.group=2", *(f"grpo.{key}" for key in FEW), "evaluate.limit=2",
]  # fmt: skip
"""Settings that make a run of all stages small."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and text."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def lines(block: str) -> list[str]:
    """The commands of a bash block, without comments."""
    found = [shlex.join(shlex.split(line, comments=True)) for line in block.splitlines()]
    return [line for line in found if line]


def commands(page: Path) -> list[str]:
    """The commands of all bash blocks of a page."""
    return [line for language, block in blocks(page) if language == "bash" for line in lines(block)]


def small(command: str, more: Mapping[str, list[str]]) -> list[str] | None:
    """A command with what makes it small, found by how it begins (the longest beginning counts); None for one that is
    not in ``more``.
    """
    found = [start for start in more if command.replace("'", "").startswith(start)]
    return [*shlex.split(command), *more[max(found, key=len)]] if found else None


def parse(arguments: list[str]) -> None:
    """Parse a command line as ``rise`` would, without running it; an unknown option or argument raises."""
    command = typer.main.get_command(cli.build(arguments[0]))
    context = command.make_context("rise", list(arguments), resilient_parsing=False)
    while hasattr(command, "resolve_command"):
        name, command, arguments = command.resolve_command(context, arguments)
        context = command.make_context(name, list(arguments), parent=context)
