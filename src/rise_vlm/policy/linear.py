"""Linear layers on a CPU, by oneDNN's matrix products where they are the faster ones.

torch multiplies float32 matrices with MKL, which leaves half of the vector width of AMD's AVX-512 processors unused;
oneDNN, which comes with torch too, takes all of it (about twice the rate: docs/performance.md). And in sampling, where
at each step a few rows meet all weights, the weights are laid out for the product once and not at each step.
Left out: other processors than x86; float32 on Intel's, where MKL does as well; products that are not linear layers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rise_vlm import ranks
from rise_vlm.machine import processor
from rise_vlm.policy.loading import cpu_has_bf16
from rise_vlm.policy.room import out_of_memory

FEW = 64
"""Up to so many rows laying out the weights costs more than the faster product gives back."""
PACKED_BYTES = 1 << 32
"""Weights of more than this, over all processes, are not laid out for sampling: it takes their memory once more."""
MANY_STEPS = 24
"""For fewer steps of decoding laying out the weights costs more than it gives back."""


class Linear(nn.Linear):
    """A linear layer that takes the faster product; ``packed`` are its weights, laid out, while ``packed_weights``."""

    packed: Tensor | None = None

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs (..., M) of inputs (..., K)."""
        if self.packed is not None and rows.dtype == self.packed.dtype:
            return _onednn(rows, self.packed, self.bias)
        return linear(rows, self.weight, self.bias)


def fast_linears(model: nn.Module, device: torch.device) -> None:
    """Let the linear layers of ``model``, which is on ``device``, take the faster product where there is one."""
    if device.type == "cpu" and (_float32_pays() or _bfloat16_packs()):
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = Linear


@contextmanager
def packed_weights(*parts: nn.Module) -> Iterator[None]:
    """Inside, the linear layers of ``parts`` compute with weights laid out for few rows, which are not to change."""
    linears = {id(m): m for part in parts for m in part.modules() if isinstance(m, Linear)}
    chosen = [m for m in linears.values() if _packs(m.weight)]
    if sum(m.weight.nbytes for m in chosen) * ranks.size() > PACKED_BYTES:
        chosen = []
    try:
        for module in chosen:
            module.packed = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), 16)
    except (MemoryError, RuntimeError) as error:
        _unpack(chosen)
        if not out_of_memory(error):
            raise
    try:
        yield
    finally:
        _unpack(chosen)


def _unpack(modules: Sequence[Linear]) -> None:
    for module in modules:
        module.packed = None


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As ``torch.nn.functional.linear``: rows (..., K), weight (M, K) and bias (M,) to (..., M)."""
    if not _pays(rows, weight):
        return nn.functional.linear(rows, weight, bias)
    if torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in (rows, weight, bias)):
        return _Product.apply(rows, weight, bias)
    return _onednn(rows, weight, bias)


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` of (N, K) and (K, M), without gradient."""
    return _onednn(left, right.t(), None) if _pays(left, right) else left @ right


def _pays(rows: Tensor, weight: Tensor) -> bool:
    many = rows.numel() > FEW * rows.shape[-1] and not torch.is_autocast_enabled("cpu")
    return many and rows.dtype == weight.dtype == torch.float32 and rows.device.type == "cpu" and _float32_pays()


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows if weight.requires_grad else None, weight if rows.requires_grad else None)
        return _onednn(rows, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        rows, weight = ctx.saved_tensors
        flat = grad.flatten(0, -2)
        of_rows = None if weight is None else _onednn(grad, weight.t(), None)
        of_weight = None if rows is None else _onednn(flat.t(), rows.flatten(0, -2).t(), None)
        return of_rows, of_weight, flat.sum(0) if ctx.needs_input_grad[2] else None


def _onednn(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


def _packs(weight: Tensor) -> bool:
    return type(weight.data) is Tensor and (
        (weight.dtype == torch.float32 and _float32_pays()) or (weight.dtype == torch.bfloat16 and _bfloat16_packs())
    )


@functools.cache
def _float32_pays() -> bool:
    """Whether MKL is held back here: an AMD processor with AVX-512."""
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return (
        wide
        and torch.backends.mkl.is_available()
        and processor("vendor_id") == "AuthenticAMD"
        and _works(torch.float32)
    )


@functools.cache
def _bfloat16_packs() -> bool:
    return cpu_has_bf16() and _works(torch.bfloat16)


def _works(dtype: torch.dtype) -> bool:
    """Whether this torch has the product as we call it: its name is not among those that torch promises to keep."""
    try:
        weight, rows = torch.eye(64, dtype=dtype), torch.ones(2, 64, dtype=dtype)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 16)
        return bool(torch.equal(_onednn(rows, packed, None), rows) and torch.equal(_onednn(rows, weight, None), rows))
    except (AttributeError, RuntimeError, TypeError):
        return False
