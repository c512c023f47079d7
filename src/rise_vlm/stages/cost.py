"""What a stage cost: seconds, rollouts, tokens, peak memory. Kept in ``cost.json``, so that a resumed stage adds up.

Tokens are those sampled plus, in SFT, those trained on: a sampled token that reinforcement trains on counts once.
Prompts do not count. A cost is what was spent: what an interruption lost and was done again counts again; what a stage
did with other settings, now in ``former/``, does not. Peak memory is the accelerator's where there is one,
else the process's resident set. Left out: energy, and what other processes on the machine take.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rise_vlm.stages.files import read_json, write_json

Cost = dict[str, float]


class Meter:
    """Measures while the ``with`` block runs; ``save`` now and then keeps a killed process's share."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cost.json"
        before = read_json(self.path)
        self.cost: Cost = no_cost() | (before if isinstance(before, dict) else {})
        self._since = time.monotonic()

    def __enter__(self) -> Meter:
        reset_peak()
        self._since = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError):
            self.save()

    def add(self, *, rollouts: int = 0, tokens: int = 0) -> None:
        """Count rollouts, and tokens sampled or trained on."""
        self.cost["rollouts"] += rollouts
        self.cost["tokens"] += tokens

    def save(self) -> Cost:
        """Bring seconds and peak up to date, write them down, and return all figures."""
        now = time.monotonic()
        self.cost["seconds"] = round(self.cost["seconds"] + now - self._since, 3)
        self._since = now
        self.cost["peak_mb"] = max(self.cost["peak_mb"], round(peak_mb(), 1))
        write_json(self.path, self.cost)
        return dict(self.cost)


def no_cost() -> Cost:
    """All zero."""
    return {"seconds": 0.0, "rollouts": 0, "tokens": 0, "peak_mb": 0.0}


def add_costs(*costs: Mapping[str, Any]) -> Cost:
    """Sums, and the largest peak."""
    total = no_cost()
    for cost in costs:
        for name in ("seconds", "rollouts", "tokens"):
            total[name] += cost.get(name, 0)
        total["peak_mb"] = max(total["peak_mb"], cost.get("peak_mb", 0.0))
    total["seconds"] = round(total["seconds"], 3)
    return total


def reset_peak() -> None:
    """Start a new peak, where the system can; elsewhere a stage inherits the peak of those before it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):  # no Linux, or not allowed
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb() -> float:
    """Megabytes (10**6 bytes) at the peak since ``reset_peak``."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    with contextlib.suppress(OSError):  # no Linux
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e6
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
