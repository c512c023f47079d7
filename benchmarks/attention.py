"""Attention of short rows on a CPU in bfloat16: torch's fused kernel beside plain products.

    python benchmarks/attention.py [--rows 64] [--length 160] [--repeat 30] [--seed 0]

Forward and backward of one layer of the built-in model's sizes, alternating in one process, and how far each is from
float64. Prints the median of each, the ratio with its spread over the pairs, and the largest error.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from rise_vlm.policy import attention

Attend = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]


def fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float) -> Tensor:
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)


def timed(attend: Attend, tensors: list[Tensor], mask: Tensor, scaling: float) -> tuple[float, list[Tensor]]:
    """Seconds of forward and backward, and the output with the gradients."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    began = time.perf_counter()
    out = attend(*leaves, mask, scaling)
    out.float().square().sum().backward()
    return time.perf_counter() - began, [out.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 64), ("heads", 4), ("length", 160), ("width", 64), ("repeat", 30), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    shape = given.rows, given.heads, given.length, given.width
    exact = [torch.randn(shape, dtype=torch.float64) for _ in range(3)]
    causal = torch.full((given.length, given.length), float("-inf"), dtype=torch.float64).triu(1)[None, None]
    half = [tensor.bfloat16() for tensor in exact]
    truth = timed(fused, [tensor.double() for tensor in half], causal, given.width**-0.5)[1]
    seconds: dict[str, list[float]] = {"fused": [], "plain": []}
    errors: dict[str, float] = {}
    for _ in range(given.repeat):
        for name, attend in (("fused", fused), ("plain", attention._attend)):
            took, found = timed(attend, half, causal.bfloat16(), given.width**-0.5)
            seconds[name].append(took)
            pairs = zip(found, truth, strict=True)
            errors[name] = max(float((ours.double() - true).abs().max() / true.abs().max()) for ours, true in pairs)
    ratios = sorted(plain / other for plain, other in zip(seconds["plain"], seconds["fused"], strict=True))
    for name, times in seconds.items():
        print(f"{name}: {1e3 * statistics.median(times):.1f} ms, largest error {errors[name]:.1e} of the largest value")
    low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
    print(f"plain / fused: {statistics.median(ratios):.2f} (tenth to ninetieth percentile {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
