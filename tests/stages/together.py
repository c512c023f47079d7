"""Runs of several processes, as a launcher would start them: a program started by test_together.

``together.py JOBS``: a JSON list of ``[recipe, out, processes, dies, launcher]``; of several recipes, with a space
between, each process gets its own. ``dies`` is null, or ``[rank, stage, step]``:
that process is killed with SIGKILL as it begins to prepare the step. ``[rank, "killed", pass]`` kills it amid that of
its forward passes, ``[rank, "full", pass]`` has its memory run out there in the first layer, and
``[rank, "filled", pass]`` right before.
``launcher`` is what accelerate's launcher would
leave in the environment besides. Every process is a forked child, so that torch is
imported only once. Prints, for each job, the exit codes and what was said on stderr.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import rise_vlm.engine.trainer as trainer
import rise_vlm.report
import rise_vlm.stages.run
from rise_vlm import cli
from rise_vlm.policy import Policy

IMPORTED = rise_vlm.report, rise_vlm.stages.run
"""Imported here, once for all."""


def together(
    recipe: str, out: str, processes: int, dies: list[Any] | None, launcher: dict[str, str] | None = None
) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / f"{rank}.txt" for rank in range(processes)]
        for rank in range(processes):
            if not (child := os.fork()):
                place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
                os.environ |= {"MASTER_ADDR": "127.0.0.1"} | {name: str(value) for name, value in place.items()}
                os.environ |= launcher or {}
                _live(recipe, out, said[rank], dies if dies and dies[0] == rank else None)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        return {"codes": codes, "said": [path.read_text(encoding="utf-8") for path in said]}


class Tracker:
    """Says on stderr when it is told to finish."""

    name = "told"

    def log(self, *given: object, **named: object) -> None: ...

    def finish(self) -> None:
        print("tracked", file=sys.stderr)


def _track(accelerator: Any, *given: object) -> None:
    if accelerator.is_main_process:  # as accelerate itself does
        accelerator.trackers = [Tracker()]


PASSES = ("killed", "full", "filled")


def _fail_in_pass(how: str, number: int) -> None:
    """In the pass of that number, and not again."""
    hidden, decode, made = Policy.hidden, Policy._decode, [0, 0]

    hooks: list[Any] = []

    def fail(*_: object) -> None:
        hooks.pop().remove()
        raise torch.OutOfMemoryError("the memory is full")

    def before(policy: Any, *given: Any, **named: Any) -> Any:
        made[0] += 1
        if how == "filled" and made[0] == number:
            raise torch.OutOfMemoryError("the memory is full")
        return hidden(policy, *given, **named)

    def amid(policy: Any, *given: Any, **named: Any) -> Any:
        made[1] += 1
        if made[1] == number and how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if made[1] == number and how == "full":
            layer: Any = policy.language_model.get_submodule("layers.0")
            hooks.append(layer.register_forward_pre_hook(fail))
        return decode(policy, *given, **named)

    Policy.hidden, Policy._decode = before, amid  # type: ignore[method-assign]


def _live(recipe: str, out: str, said: Path, dies: list[Any] | None) -> None:
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if dies and dies[1] in PASSES:
        _fail_in_pass(dies[1], dies[2])
    elif dies:
        prepare = trainer._Training._prepare

        def doomed(training: Any, step: int) -> Any:
            if training.folder.name.endswith(dies[1]) and step == dies[2]:
                os.kill(os.getpid(), signal.SIGKILL)
            return prepare(training, step)

        trainer._Training._prepare = doomed  # type: ignore[method-assign]
    trainer.start_trackers = _track
    recipes = recipe.split()
    mine = recipes[int(os.environ.get("RANK", 0)) % len(recipes)]
    code = cli.run(["run", mine, "--out", out])
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    torch.set_num_threads(1)  # a forked child must not wait for threads that only its parent has
    print(json.dumps([together(*job) for job in json.loads(sys.argv[1])]))
