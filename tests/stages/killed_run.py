"""A whole run that is killed with SIGKILL again and again: a program started by test_unkillable.

``killed_run.py RECIPE FOLDER KILLS SEED`` runs RECIPE once as it is, into FOLDER/whole/run, and then as often as it
takes to kill it KILLS times, into FOLDER/killed-N/run. Each run is killed once in every stage and once in the report,
at a random moment of as long as that took undisturbed, and each time started again. Every life is a forked child, so
that torch is imported only once. Prints one JSON object: where the lives ended, and what lay there half written.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import torch

import rise_vlm.report as report
import rise_vlm.stages.run as running
from rise_vlm.recipes import load_recipe

REPORT = "report"
HALF = ("checkpoint-last-new", "model-new", ".*.[0-9]*")
"""What a process leaves that dies while it writes."""


class Life:
    """A run in a forked process that tells when it enters a stage."""

    def __init__(self, recipe: str, out: Path) -> None:
        self._heard, told = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            os.close(self._heard)
            _live(recipe, out, told)
        os.close(told)

    def wait_for(self, place: str) -> bool:
        """Whether the place was entered before the process ended."""
        while name := self._next():
            if name == place:
                return True
        return False

    def _next(self) -> str:
        """The next place that is entered; empty at the end. Names are a byte each."""
        byte = os.read(self._heard, 1)
        return PLACES[byte[0]] if byte else ""

    def end(self, kill: bool) -> tuple[bool, str]:
        """Whether it was killed, and the last place that it told since."""
        if kill:
            os.kill(self.child, signal.SIGKILL)
        _, status = os.waitpid(self.child, 0)
        last = ""
        while name := self._next():
            last = name
        os.close(self._heard)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the run failed"
        return os.WIFSIGNALED(status), last


PLACES = ["warm_up", "closed_loop", "harvest", "sft", "grpo", "evaluate", REPORT]


def _live(recipe: str, out: Path, told: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    stage, write = running._run_stage, report.write_report

    def run_stage(run: Any, step: Any, *rest: Any) -> Any:
        os.write(told, bytes([PLACES.index(step.stage)]))
        return stage(run, step, *rest)

    def write_report(*given: Any) -> Any:
        os.write(told, bytes([PLACES.index(REPORT)]))
        return write(*given)

    running._run_stage, report.write_report = run_stage, write_report
    try:
        running.run_recipe(load_recipe(recipe), out)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
        os._exit(1)
    os._exit(0)


def undisturbed(recipe: str, out: Path) -> dict[str, float]:
    """Seconds that each place took."""
    life = Life(recipe, out)
    entered: dict[str, float] = {}
    while name := life._next():
        entered[name] = time.monotonic()
    life.end(kill=False)
    times = [entered[place] for place in PLACES] + [time.monotonic()]
    return {place: after - before for place, before, after in zip(PLACES, times, times[1:], strict=False)}


def kill_all_over(recipe: str, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    seconds = undisturbed(recipe, folder / "whole" / "run")
    dice = random.Random(seed)
    where: Counter[str] = Counter()
    half: Counter[str] = Counter()
    number = 0
    while where.total() < kills:
        number += 1
        out = folder / f"killed-{number}" / "run"
        left = kills - where.total()
        for place in sorted(dice.sample(PLACES, min(left, len(PLACES))), key=PLACES.index):
            life = Life(recipe, out)
            if life.wait_for(place):
                time.sleep(dice.uniform(0, seconds[place]))
            killed, later = life.end(kill=True)
            where[later or place] += killed
            half.update(found.name.split(".")[1] if found.is_file() else found.name
                        for sign in HALF for found in out.rglob(sign) if killed)  # fmt: skip
        Life(recipe, out).end(kill=False)
    return {"killed": dict(where), "half written": dict(half), "runs": number,
            "seconds": {place: round(value, 2) for place, value in seconds.items()}}  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)  # a forked child must not wait for threads that only its parent has
    print(json.dumps(kill_all_over(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
