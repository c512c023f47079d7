"""``rise doctor``: is this installation whole, and is this machine fit?

Each check is one function that returns what it found or raises ``Broken``.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rise_vlm import __version__
from rise_vlm.console import say
from rise_vlm.errors import UserError
from rise_vlm.machine import usable_cores

if TYPE_CHECKING:
    from rise_vlm.policy import Policy

PACKAGES = ("torch", "transformers", "accelerate", "peft", "tokenizers", "safetensors", "numpy", "pillow", "pyarrow",
            "faster-coco-eval")  # fmt: skip
GIB = 2**30
MEMORY_NEEDED, DISK_NEEDED = 2 * GIB, 1 * GIB
"""What ``rise demo`` needs to run at all."""

GAP_ALLOWED = 1e-4
"""Largest difference of float32 log-probs between sampling, shared prompts and repeated prompts."""


class Broken(Exception):
    """A check found something that will not work; the message says what and what to do."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    ok: bool
    found: str


def main(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False) -> None:
    """Check this installation and this machine; exits with 1 when something is broken."""
    findings = [_look(name, check) for name, check in CHECKS.items()]
    healthy = all(finding.ok for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": healthy, "checks": [asdict(finding) for finding in findings]}))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            typer.echo(f"{'ok    ' if finding.ok else 'BROKEN'}  {finding.name:<{width}}  {finding.found}")
    if not healthy:
        say("rise: something is broken, see above.")
        raise typer.Exit(1)


def _look(name: str, check: Callable[[], str]) -> Finding:
    """Run one check; whatever it raises is a finding, since a doctor must not fall ill itself."""
    try:
        return Finding(name, True, check())
    except (Broken, UserError) as error:
        return Finding(name, False, str(error))
    except Exception as error:
        return Finding(name, False, f"{type(error).__name__}: {error}")


def _python() -> str:
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        raise Broken(f"Python {platform.python_version()}; rise-vlm needs 3.11 to 3.13.")
    return f"{platform.python_version()}, rise-vlm {__version__}, {platform.system()} {platform.machine()}"


def _packages() -> str:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        raise Broken(f"missing: {', '.join(missing)}. Install with: pip install -c constraints.txt -e .")
    return ", ".join(found)


def _cpu() -> str:
    import torch

    from rise_vlm.policy.loading import cpu_has_bf16

    kind = torch.backends.cpu.get_cpu_capability()
    fast = "bfloat16 in hardware" if cpu_has_bf16() else "no bfloat16, so float32 is used"
    return f"{usable_cores()} usable, {torch.get_num_threads()} threads, {kind}, {fast}"


def _memory() -> str:
    import psutil

    memory = psutil.virtual_memory()
    if memory.available < MEMORY_NEEDED:
        raise Broken(f"{memory.available / GIB:.1f} GiB free; the demo needs {MEMORY_NEEDED / GIB:.0f}.")
    return f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"


def _disk() -> str:
    free = shutil.disk_usage(Path.cwd()).free
    if free < DISK_NEEDED:
        raise Broken(f"{free / GIB:.1f} GiB free in {Path.cwd()}; the demo needs {DISK_NEEDED / GIB:.0f}.")
    return f"{free / GIB:.0f} GiB free in {Path.cwd()}"


def _accelerator() -> str:
    import torch

    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        return f"none; torch is {built}"
    torch.zeros(1, device="cuda")  # a driver that does not fit fails here, not in the middle of a run
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    free, whole = torch.cuda.mem_get_info()
    return f"{', '.join(names)}; {free / GIB:.0f} of {whole / GIB:.0f} GiB free on the first; CUDA {torch.version.cuda}"


def _built_in() -> Policy:
    from rise_vlm.policy import Policy
    from rise_vlm.policy.names import BUILT_IN

    for folder in BUILT_IN.values():
        if not folder.is_dir():
            raise Broken(f"missing: {folder}. Install rise-vlm again.")
    return Policy.load("tiny", device="cpu", dtype="float32")


def _model() -> str:
    policy = _built_in()
    weights = sum(weight.numel() for weight in policy.model.parameters())
    return f"{weights / 1e6:.1f} M parameters, {policy.family.model_type}"


def _self_check() -> str:
    """Sample on one picture and score the same tokens both ways: three computations of the same log-probs."""
    import torch
    from PIL import Image

    from rise_vlm.engine.sample import sample
    from rise_vlm.engine.score import Group, completion_logprobs
    from rise_vlm.tasks.base import DESCRIBE

    policy = _built_in()
    prompt = policy.encode(DESCRIBE, [Image.linear_gradient("L").convert("RGB")])
    start = time.perf_counter()
    (rollouts,) = sample(policy, [prompt], 8, max_new_tokens=32, generator=torch.Generator().manual_seed(0))
    seconds = time.perf_counter() - start
    group = [Group(prompt, [rollout.ids for rollout in rollouts])]
    shared = completion_logprobs(policy, group, grad=False)[0]
    plain = completion_logprobs(policy, group, grad=False, plain=True)[0]
    drawn = torch.zeros_like(shared)
    for row, rollout in enumerate(rollouts):
        drawn[row, : len(rollout.ids)] = rollout.logprobs
    gap = max(float((drawn - shared).abs().max()), float((plain - shared).abs().max()))
    if not gap <= GAP_ALLOWED:
        raise Broken(f"log-probs of sampling and scoring differ by {gap:.1e} (allowed {GAP_ALLOWED:.0e}).")
    tokens = sum(len(rollout.ids) for rollout in rollouts)
    return f"sampled {tokens / seconds:,.0f} tokens a second; log-probs agree to {gap:.0e}"


CHECKS: dict[str, Callable[[], str]] = {
    "python": _python,
    "packages": _packages,
    "processor": _cpu,
    "memory": _memory,
    "disk": _disk,
    "accelerator": _accelerator,
    "built-in model": _model,
    "self-check": _self_check,
}
"""Name -> check, in the order of the report."""
