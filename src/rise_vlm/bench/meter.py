"""What is measured of a step: seconds by phase, pictures through the tower, tokens through the decoder.

The hooks that count cost some microseconds a pass, on both sides alike. Left out: memory (``memory``).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from rise_vlm.policy.families import Family

OPERATIONS = ("aten::", "mkldnn::")
"""How the names of tensor operations begin."""


@dataclass(frozen=True)
class Step:
    """One step: ``phases`` in seconds, in the order they came; ``tower_passes`` counts pictures.

    ``cpu_seconds`` are those of the process, all its threads together: what other programs take is not in them.
    ``tokens`` are all positions that went through the decoder, with padding; ``trained_tokens`` those with gradient.
    """

    phases: dict[str, float]
    cpu_seconds: float
    tower_passes: int
    tokens: int
    trained_tokens: int

    @property
    def seconds(self) -> float:
        """All phases together."""
        return sum(self.phases.values())


class Meter:
    """A stopwatch with named laps, and counters hooked into models."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._phases: dict[str, float] = {}
        self._counts: Counter[str] = Counter()
        self._last = self._cpu = 0.0

    def watch(self, family: Family, base: Any) -> None:
        """Count what goes through a transformers model of this family."""
        family.tower(base).register_forward_pre_hook(self._tower, with_kwargs=True)
        family.language_model(base).register_forward_pre_hook(self._decoder, with_kwargs=True)

    def _tower(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        grid = kwargs["grid_thw"] if "grid_thw" in kwargs else args[1]
        self._counts["tower_passes"] += len(grid)

    def _decoder(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rows, length = kwargs["inputs_embeds"].shape[:2]
        self._counts["tokens"] += rows * length
        self._counts["trained_tokens"] += rows * length * torch.is_grad_enabled()

    def start(self) -> None:
        """A step begins."""
        self._phases, self._counts = {}, Counter()
        self._last, self._cpu = self._now(), time.process_time()

    def lap(self, phase: str) -> None:
        """What passed since the last lap was ``phase``."""
        now = self._now()
        self._phases[phase] = self._phases.get(phase, 0.0) + now - self._last
        self._last = now

    def stop(self) -> Step:
        """The step as measured up to the last lap."""
        counts = {name: self._counts[name] for name in ("tower_passes", "tokens", "trained_tokens")}
        return Step(dict(self._phases), time.process_time() - self._cpu, **counts)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def profiled(step: Callable[[], None]) -> dict[str, Any]:
    """Where the time of one step goes: ``not_tensor`` is the share of it outside all tensor operations.

    An operation counts from its call to its return, its dispatch included; on a GPU only what the CPU spends. The
    profiler itself adds to both parts. ``top`` lists the ten operations with the largest share of their own.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as seen:
        began = time.perf_counter()
        step()
        whole = 1e6 * (time.perf_counter() - began)
    spans = sorted((e.time_range.start, e.time_range.end) for e in seen.events() or () if e.name.startswith(OPERATIONS))
    busy = reached = 0.0
    for start, end in spans:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    ranked = sorted(seen.key_averages(), key=lambda op: -op.self_cpu_time_total)[:10]
    top = [{"op": op.key, "calls": op.count, "share": round(op.self_cpu_time_total / whole, 4)} for op in ranked]
    return {"not_tensor": round(1 - busy / whole, 4), "operations": len(spans), "top": top}
