"""Runs trainings that are killed with SIGKILL, over and over: a program started by test_checkpoint.

``killed.py anywhere FOLDER MODEL``: GRPO of a tiny random vision-language model, killed at random moments.
``killed.py on_disk FOLDER``: a toy, killed at every single thing it does to the disk.

It forks a child for each life of the training, so that torch is imported only once. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny_models import picture
from torch import Tensor
from toy import ToyPolicy, ToyWork, settings

from rise_vlm.engine import checkpoint as checkpoints
from rise_vlm.engine.metrics import METRICS
from rise_vlm.engine.objective import Loss, Totals, advantages, policy_loss
from rise_vlm.engine.sample import sample
from rise_vlm.engine.score import Group, completion_logprobs
from rise_vlm.engine.trainer import Prepared, train
from rise_vlm.policy.policy import Policy


class Letters:
    """GRPO on two pictures: the reward is the share of letters among the bytes of a completion."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.prompts = [policy.encode("Write.", [picture(seed)]) for seed in (1, 2)]

    def prepare(self, step: int, generator: torch.Generator) -> Prepared:
        rollouts = sample(self.policy, self.prompts, 4, max_new_tokens=6, generator=generator)
        rewards = torch.tensor([[sum(c.isalpha() for c in r.text) / 6 for r in group] for group in rollouts])
        groups = [Group(p, [r.ids for r in group]) for p, group in zip(self.prompts, rollouts, strict=True)]
        old = completion_logprobs(self.policy, groups, grad=False)
        masks = [_mask(group, values) for group, values in zip(groups, old, strict=True)]
        totals = Totals.of(masks)
        gains = advantages(rewards)
        micro = [
            ([group], values, gain, mask, totals)
            for group, values, gain, mask in zip(groups, old, gains, masks, strict=True)
        ]
        return Prepared(micro, {"reward": float(rewards.mean())})

    def loss(self, micro: Any) -> Loss:
        groups, old, gain, mask, totals = micro
        logprobs = completion_logprobs(self.policy, groups, grad=True)[0]
        return policy_loss(logprobs, old, None, gain, mask, totals=totals)


def _mask(group: Group, like: Tensor) -> Tensor:
    lengths = torch.tensor([len(ids) for ids in group.completions])
    return (torch.arange(like.shape[1]) < lengths[:, None]).float()


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
    policy = Policy.load(model, dtype="float32", device="cpu", freeze_tower=False)  # a child trains its own copy
    how = settings(steps=12, save_every=2, learning_rate=3e-3)

    def life(into: Path) -> int:
        return start(lambda: train(policy, Letters(policy), how, into, "letters"))

    killed(life(folder / "whole"))
    dice = random.Random(0)
    steps: list[int] = []
    for _ in range(8):
        child = life(folder / "killed")
        wait_for_rows(folder / "killed" / METRICS, dice.choice([0, 1, 1, 2, 3]))
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
        if path.exists() and min(12, before + count) <= path.read_text().count("\n"):
            return


def on_disk(folder: Path) -> dict[str, Any]:
    how = settings(steps=2, save_every=1)

    def life(into: Path, dies_at: int | None) -> int:
        def body() -> None:
            if dies_at is not None:
                die_at(dies_at)
            policy = ToyPolicy()
            train(policy, ToyWork(policy), how, into, "toy")

        return start(body)

    killed(life(folder / "whole", None))
    for moment in range(1000):
        into = folder / f"killed-{moment}"
        if not killed(life(into, moment)):
            shutil.rmtree(into)
            return {"deaths": moment}
        killed(life(into, None))
    raise AssertionError("a training of two steps does not touch the disk a thousand times")


def die_at(moment: int) -> None:
    """Kill this process when it starts its ``moment``-th operation on the disk."""
    count = 0

    def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return real(*args, **kwargs)

        return operation

    for name in ("rename", "replace", "mkdir", "open"):
        setattr(Path, name, deadly(getattr(Path, name)))
    os.fsync = deadly(os.fsync)
    checkpoints.save_file = deadly(checkpoints.save_file)
    shutil.rmtree = deadly(shutil.rmtree)  # type: ignore[assignment]


if __name__ == "__main__":
    torch.set_num_threads(1)  # a forked child must not wait for threads that only its parent has
    command, place, *rest = sys.argv[1:]
    print(json.dumps(anywhere(Path(place), *rest) if command == "anywhere" else on_disk(Path(place))))
