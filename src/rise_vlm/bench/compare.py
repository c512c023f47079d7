"""Two sides in turn, and what comes of it as plain values.

Left out: how it is shown (``commands.bench``).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from rise_vlm import machine
from rise_vlm.bench.case import Case
from rise_vlm.bench.memory import peak_of
from rise_vlm.bench.meter import Step, profiled
from rise_vlm.bench.ours import Ours, OursLoop
from rise_vlm.console import Progress, say

OURS = {"trl": "ours", "official": "ours_loop"}
"""The side of the others -> our side beside it."""
WARM_UP = 1
"""Rounds that are not counted: first calls allocate, import and build optimizer state."""


def make(side: str, case: Case, folder: Path, rounds: int) -> Any:
    """A side by name: ``ours``, ``ours_loop``, ``trl`` or ``official``."""
    if side == "trl":
        from rise_vlm.bench.trl_side import Trl

        return Trl(case, folder, rounds)
    if side == "official":
        from rise_vlm.bench.official import Official

        return Official(case, folder, rounds)
    return {"ours": Ours, "ours_loop": OursLoop}[side](case, folder, rounds)


def compare(
    other: str, case: Case, rounds: int, *, alone: bool = False, memory: bool = True, profile: bool = False
) -> dict[str, Any]:
    """One case: ours beside ``other`` (``trl`` or ``official``), taking turns for ``rounds`` counted rounds.

    ``alone`` leaves the other side out; ``memory`` runs both again in processes of their own; ``profile`` takes one
    more step of ours apart. Ratios are ours over theirs: the median of the rounds' ratios, the smallest and largest.
    """
    result: dict[str, Any] = case.to_dict() | {"rounds": rounds}
    name = f"{case.image_tokens} image tokens, group {case.group}"
    # Lines only: a bar that draws itself ten times a second would take part in what is measured.
    bar = Progress(f"{name}, the first of {rounds + WARM_UP} rounds to warm up", rounds + WARM_UP)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        ours = make(OURS[other], case, Path(folder), rounds + WARM_UP)
        if alone:
            ours.run(after=lambda: bar.update(ours=_last(ours)))
        else:
            theirs = make(other, case, Path(folder), rounds + WARM_UP)

            def our_turn() -> None:
                ours.step()
                bar.fields[other] = _last(theirs)
                bar.update(ours=_last(ours))

            theirs.run(after=our_turn)
            gap = ours.logprobs(*theirs.rollouts()) - theirs.logprobs().to(ours.policy.device)
            result |= _ratios(ours.steps[WARM_UP:], theirs.steps[WARM_UP:])
            result |= {"logprob_gap": float(gap.abs().max()), other: _summary(theirs.steps[WARM_UP:])}
        result["ours"] = _summary(ours.steps[WARM_UP:])
        if profile:
            result["ours"]["profile"] = profiled(ours.step)
    if memory:
        sides = {"ours": OURS[other]} | ({} if alone else {other: other})
        for key, side in sides.items():
            say(f"{name}: measuring the memory of {key}")
            result[key]["peak_mb"] = peak_of(side, case)
        if not alone:
            result["memory_ratio"] = round(result["ours"]["peak_mb"] / result[other]["peak_mb"], 4)
    return result


def _last(side: Any) -> str:
    """The time of a side's last step."""
    return f"{side.steps[-1].seconds:.2f} s"


def _ratios(ours: Sequence[Step], theirs: Sequence[Step]) -> dict[str, Any]:
    pairs = list(zip(ours, theirs, strict=True))
    ratios = [own.seconds / other.seconds for own, other in pairs]
    return {
        "time_ratio": round(median(ratios), 4),
        "time_ratio_range": [round(min(ratios), 4), round(max(ratios), 4)],
        "cpu_ratio": round(median(own.cpu_seconds / other.cpu_seconds for own, other in pairs), 4),
    }


def _summary(steps: Sequence[Step]) -> dict[str, Any]:
    """Medians over rounds; counts are the same in every round."""
    seconds = [step.seconds for step in steps]
    phases = {phase: median([step.phases[phase] for step in steps]) for phase in steps[-1].phases}
    whole = sum(phases.values())
    return {
        "seconds": round(median(seconds), 5),
        "seconds_range": [round(min(seconds), 5), round(max(seconds), 5)],
        "cpu_seconds": round(median([step.cpu_seconds for step in steps]), 5),
        "phases": {phase: {"seconds": round(t, 5), "share": round(t / whole, 4)} for phase, t in phases.items()},
        "tower_passes": steps[-1].tower_passes,
        "tokens": steps[-1].tokens,
        "trained_tokens": steps[-1].trained_tokens,
    }


def environment() -> dict[str, Any]:
    """The machine and the versions that figures belong to; ``load`` is that of the last minute, ours included."""
    return machine.environment() | {
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "commit": _commit(),
        **{name: _version(name) for name in ("accelerate", "trl")},
    }


def _commit() -> str | None:
    with contextlib.suppress(OSError):
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return found.stdout.strip() or None
    return None


def _version(name: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None
