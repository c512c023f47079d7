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
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from letters import Letters
from toy import settings

from rise_vlm.engine import checkpoint as checkpoints
from rise_vlm.engine.trainer import train
from rise_vlm.engine.work import Prepared
from rise_vlm.policy.policy import Policy

STEPS = 16


def live(life: Callable[[], None]) -> bool:
    """Run ``life`` in a forked process: true if it was killed, false if it finished.

    What it prints is dropped, a failure comes out on stdout.
    """
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
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "the training failed"
    return False


class Doomed(Letters):
    """Work that kills its process ``delay`` seconds after its ``lives``-th step has begun."""

    def __init__(self, policy: Policy, lives: int, delay: float) -> None:
        super().__init__(policy)
        self.lives, self.delay = lives, delay

    def prepare(self, step: int, generator: torch.Generator) -> Prepared:
        self.lives -= 1
        if self.lives == 0:
            threading.Timer(self.delay, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        return super().prepare(step, generator)


def anywhere(folder: Path, model: str) -> dict[str, Any]:
    policy = Policy.load(model, dtype="float32", device="cpu", freeze_tower=False)  # a child trains its own copy
    how = settings(steps=STEPS, save_every=2, learning_rate=3e-3)
    killed, dice = folder / "killed", random.Random(0)
    live(lambda: train(policy, Letters(policy), how, folder / "whole", "letters"))
    steps: list[int] = []
    for _ in range(5):
        doomed = Doomed(policy, dice.randint(1, 4), dice.uniform(0, 0.05))
        if not live(lambda doomed=doomed: train(policy, doomed, how, killed, "letters")):
            break
        state = killed / checkpoints.LAST / checkpoints.STATE
        steps.append(json.loads(state.read_text())["step"] if state.exists() else 0)
    live(lambda: train(policy, Letters(policy), how, killed, "letters"))
    return {"steps": steps}


if __name__ == "__main__":
    torch.set_num_threads(1)  # a forked child must not wait for threads that only its parent has
    print(json.dumps(anywhere(Path(sys.argv[1]), sys.argv[2])))
