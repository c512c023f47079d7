"""In bfloat16 on a CPU short rows attend by plain products: as near the float32 result as the fused kernel's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rise_vlm.policy import attention
from rise_vlm.policy.attention import PaddedRows, SharedPrompts

CPU = torch.device("cpu")
BLOCKS = [torch.tensor([-1, 0, 0, 0, -1, 1, 1]), torch.tensor([-1, -1, 0, 0])]


def shared(blocks: list[Tensor | None], dtype: torch.dtype) -> SharedPrompts:
    return SharedPrompts.of([7, 4], [[3, 5], [2]], CPU, dtype, blocks)


PLANS = {
    "pictures see both ways": (lambda dtype: PaddedRows.of(BLOCKS, 9, CPU), (2, 9)),
    "shared prompts": (lambda dtype: shared([], dtype), (1, 21)),
    "shared prompts whose pictures see both ways": (lambda dtype: shared(list(BLOCKS), dtype), (1, 21)),
}


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("name", PLANS)
def test_plain_products_are_as_near_as_the_fused_kernel(
    name: str, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_in, (rows, length) = PLANS[name]
    generator = torch.Generator().manual_seed(0)
    exact = [torch.randn(rows, heads, length, 16, generator=generator) for heads in (4, 2, 2)]

    def both_passes(dtype: torch.dtype) -> list[Tensor]:
        made = [tensor.to(dtype, copy=True).requires_grad_() for tensor in exact]
        out = plan_in(dtype).attend(0, *made, 0.25, window)
        assert out.dtype == dtype
        out.float().square().sum().backward()
        return [out.detach().float(), *(tensor.grad.float() for tensor in made if tensor.grad is not None)]

    def errors() -> list[float]:
        return [float((a - b).abs().mean()) for a, b in zip(both_passes(torch.bfloat16), true, strict=True)]

    true = both_passes(torch.float32)
    assert len(true) == 4
    plain = errors()
    monkeypatch.setattr(attention, "SHORT", 0)
    fused = errors()
    assert all(0 < own <= 2.5 * theirs for own, theirs in zip(plain, fused, strict=True)), (plain, fused)
    assert plain != fused
