"""How far a step of ours is from what this CPU can do: ``python benchmarks/floor.py``.

    python benchmarks/floor.py [--sizes 64,256,1024] [--precision float32] [--threads N] [--rounds 3]

Counts what a step of `rise bench step` computes (products, by torch's own counter, and calls of tensor operations),
measures the rates of this machine (products of many and of few rows by torch's library and by ours, reading memory, a
call of a small operation), and prints both with the time that each count takes at its rate: less is not possible with
these products and these calls. Nothing else should run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from rise_vlm.bench.case import Case
from rise_vlm.bench.compare import environment
from rise_vlm.bench.ours import Ours
from rise_vlm.policy import linear as products
from rise_vlm.policy.linear import linear, packed_weights

FEW, MANY, NARROW, WIDE = 16, 1024, 256, 768
"""Rows of a decoding step and of an update, and a matrix of the built-in model's MLP."""
COPIES = 24
"""Of that matrix, in turn, as many as the model has: none is in the nearest cache when its turn comes."""

ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: 1.0,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: 2.5,
}
"""Attention on a CPU -> its products, in those of a forward pass: backward computes the scores once more."""


class Counting(TorchDispatchMode):
    """Counts the tensor operations that compute something, and the additions and multiplications in products."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = function(*args, **kwargs)
        self.counts["calls"] += not function.is_view
        packet = function.overloadpacket
        if packet in flop_registry:
            self.counts["flops"] += flop_registry[packet](*args, **kwargs, out_val=out)
        elif packet in ATTENTION:  # which the registry lacks
            self.counts["flops"] += ATTENTION[packet] * sdpa_flop_count(
                *(t.shape for t in args[ATTENTION[packet] > 1 :][:3])
            )
        return out


def counted(case: Case) -> dict[str, Counter[str]]:
    """By phase the operations in products (``flops``) and the calls of a step, after one that warms up."""
    found: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder, torch_only():
        ours = Ours(case, Path(folder), 2)
        ours.step()
        seen: Counter[str] = Counter()
        counting, lap = Counting(), ours.meter.lap

        def count(phase: str) -> None:
            found[phase] = counting.counts - seen
            seen.update(found[phase])
            lap(phase)

        ours.meter.lap = count
        with counting:
            ours.step()
    return found


@contextlib.contextmanager
def torch_only() -> Iterator[None]:
    """Inside, models are loaded with torch's own products, which its counter knows."""
    kept = products._float32_pays, products._bfloat16_packs
    products._float32_pays = products._bfloat16_packs = lambda: False
    try:
        yield
    finally:
        products._float32_pays, products._bfloat16_packs = kept


def fastest(call: Callable[[int], object], repeat: int = 400) -> float:
    """Seconds of a call at its best of 20 series."""
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        for number in range(repeat // 20):
            call(number)
        best = min(best, (time.perf_counter() - began) / (repeat // 20))
    return best


@torch.no_grad()
def rates(dtype: torch.dtype) -> dict[str, float]:
    """Of this machine: operations a second in products, bytes a second read, seconds of a small call."""
    layers = [torch.nn.Linear(NARROW, WIDE, bias=False).to(dtype) for _ in range(COPIES)]
    ours = torch.nn.Sequential(*layers)
    weights = [layer.weight.data for layer in layers]
    few, many = torch.randn(FEW, NARROW).to(dtype), torch.randn(MANY, NARROW).to(dtype)
    own = torch.nn.functional.linear
    flops = 2 * NARROW * WIDE
    found = {
        "torch, many rows": MANY * flops / fastest(lambda n: own(many, weights[n % COPIES]), 100),
        "torch, few rows": FEW * flops / fastest(lambda n: own(few, weights[n % COPIES])),
        "ours, many rows": MANY * flops / fastest(lambda n: linear(many, weights[n % COPIES]), 100),
    }
    products.fast_linears(ours, torch.device("cpu"))
    with packed_weights(ours):
        found["ours, few rows"] = FEW * flops / fastest(lambda n: layers[n % COPIES](few))
    large = torch.ones(1 << 26)
    found["bytes"] = large.nbytes / fastest(lambda _: large.sum(), 20)
    small = torch.randn(FEW, NARROW)
    found["call"] = fastest(lambda _: small + small, 4000)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="64,256,1024", help="image tokens")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    for name, number in (("group", 8), ("prompts", 2), ("completion-tokens", 64)):
        parser.add_argument(f"--{name}", type=int, default=number)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[given.precision]
    rate = rates(dtype)
    print(f"| {given.precision}, {given.threads} threads | |\n|---|---|")
    for name in ("many rows", "few rows"):
        pair = (rate[f"{side}, {name}"] / 1e9 for side in ("torch", "ours"))
        print(f"| products of {name}, GFLOP/s: torch's, ours | {', '.join(f'{one:.0f}' for one in pair)} |")
    print(f"| reading memory, GB/s | {rate['bytes'] / 1e9:.0f} |")
    print(f"| a call of a small operation, us | {1e6 * rate['call']:.1f} |\n")
    print(
        "| image tokens | phase | GFLOP | calls | s, products | s, calls | s, measured |\n|---|---|---|---|---|---|---|"
    )
    for size in (int(part) for part in given.sizes.split(",")):
        case = Case(size, given.group, given.prompts, given.completion_tokens, precision=given.precision)
        with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
            counts = counted(case)
            ours = Ours(case, Path(folder), given.rounds + 1)
            ours.run()
        for phase, count in counts.items():
            pace = rate["ours, few rows" if phase == "rollout" else "ours, many rows"]
            took = sorted(step.phases[phase] for step in ours.steps[1:])[given.rounds // 2]
            seconds = count["flops"] / pace, count["calls"] * rate["call"], took
            shown = " | ".join(f"{one:.2f}" for one in seconds)
            print(f"| {size:,} | {phase} | {count['flops'] / 1e9:.1f} | {count['calls']:,} | {shown} |")
    print(f"\n{json.dumps(environment())}")


if __name__ == "__main__":
    main()
