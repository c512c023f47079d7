"""A training that is killed with SIGKILL again and again: a program started by test_checkpoint.

``killed.py FOLDER MODEL`` runs GRPO of a tiny random vision-language model once as it is, into FOLDER/whole, and once
killed at random moments, into FOLDER/killed. Each life is a forked child, so that torch is imported only once.
Prints one JSON object: the steps whose checkpoints were there when it died.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from toy import settings

from rise_vlm.engine import checkpoint as checkpoints
from rise_vlm.engine.metrics import METRICS
from rise_vlm.engine.trainer import train


def start(life: Callable[[], None]) -> int:
    """Run ``life`` in a forked process and return its id. What it prints is dropped, a failure comes out on stdout."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            life()
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
            os._exit(1)
        os._exit(0)
    return child


def killed(child: int) -> bool:
    """Wait for the end of a child: true if it was killed, false if it finished."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "the training failed"
    return False


def anywhere(folder: Path, model: str) -> dict[str, Any]:
    from letters import Letters

    from rise_vlm.policy.policy import Policy

    policy = Policy.load(model, dtype="float32", device="cpu", freeze_tower=False)  # a child trains its own copy
    how = settings(steps=8, save_every=2, learning_rate=3e-3)

    def life(into: Path) -> int:
        return start(lambda: train(policy, Letters(policy), how, into, "letters"))

    killed(life(folder / "whole"))
    dice = random.Random(0)
    steps: list[int] = []
    for _ in range(5):
        child = life(folder / "killed")
        wait_for_rows(folder / "killed" / METRICS, dice.choice([0, 1, 2, 3]))
        time.sleep(dice.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        if not killed(child):
            break
        state = folder / "killed" / checkpoints.LAST / checkpoints.STATE
        steps.append(json.loads(state.read_text())["step"] if state.exists() else 0)
    killed(life(folder / "killed"))
    return {"steps": steps}


def wait_for_rows(path: Path, count: int) -> None:
    """Wait until a process that has just started has written ``count`` rows more, or made its last one."""
    before = path.read_text().count("\n") // 2 * 2 if path.exists() else 0  # it drops those after the checkpoint
    until = time.monotonic() + 60
    while count and time.monotonic() < until:
        time.sleep(0.002)
        if path.exists() and min(8, before + count) <= path.read_text().count("\n"):
            return


if __name__ == "__main__":
    torch.set_num_threads(1)  # a forked child must not wait for threads that only its parent has
    print(json.dumps(anywhere(Path(sys.argv[1]), sys.argv[2])))
