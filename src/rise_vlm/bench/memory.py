"""The peak memory of one side, in a process of its own: ``python -m rise_vlm.bench.memory TASK``, a JSON object.

Two sides in one process cannot be told apart: memory that one has freed stays with the process. So a child first runs a
very small step, which loads every library; what it holds then is its base. Then it runs two steps of the case. The peak
above the base is what counts: weights, gradients, optimizer state, activations, caches, pictures.
On Linux the resident set as the kernel saw it, on a GPU what torch allocated there.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from rise_vlm.bench.case import Case
from rise_vlm.errors import UserError
from rise_vlm.stages.cost import peak_mb, reset_peak

ROUNDS = 2
"""The optimizer's state comes to be in the first step, so the second is the larger one."""


def peak_of(side: str, case: Case) -> float:
    """Megabytes (10**6 bytes) that a side needs for a case. Raises UserError where the child fails."""
    task = {"side": side, "case": case.to_dict(), "threads": torch.get_num_threads()}
    child = [sys.executable, "-m", "rise_vlm.bench.memory", json.dumps(task)]
    done = subprocess.run(child, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"measuring the memory of {side} failed:\n{done.stderr[-2000:]}", exit_code=1)
    return float(json.loads(done.stdout.splitlines()[-1]))


def measure(side: str, case: Case) -> float:
    """As ``peak_of``, in this process."""
    small = replace(case, image_tokens=4, group=2, prompts=1, completion_tokens=2, answer_tokens=2)
    _run(side, small, rounds=1)
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)
    reset_peak()
    before = peak_mb()
    _run(side, case, rounds=ROUNDS)
    return round(peak_mb() - before, 1)


def _run(side: str, case: Case, rounds: int) -> None:
    from rise_vlm.bench.compare import make

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        make(side, case, Path(folder), rounds).run()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    torch.set_num_threads(given["threads"])
    print(measure(given["side"], Case(**given["case"])))
