"""An adapter over bfloat16 weights: what is saved is what was trained, and what later stages and references compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rise_vlm.policy import LoraSettings, Policy

SMALL = 3e-4
"""About what B is after 200 steps at 2e-5: added to a bfloat16 weight, most of it would be rounded away."""


def load(folder: Path, **settings: Any) -> Policy:
    return Policy.load(str(folder), **({"dtype": "bfloat16", "device": "cpu"} | settings))


def outputs(policy: Policy) -> Tensor:
    embeds = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0)).to(policy.dtype)
    with torch.no_grad():
        return policy.logits(policy.hidden(embeds, torch.arange(5).expand(3, 2, 5), None))


def train(policy: Policy, size: float = SMALL, seed: int = 1) -> None:
    """Move every adapter weight a little."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.model.parameters():
            if weight.requires_grad:
                weight.add_(size * torch.randn(weight.shape, generator=generator))


@pytest.fixture
def adapted(checkpoints: dict[str, Path]) -> Policy:
    policy = load(checkpoints["qwen2_vl"], lora=LoraSettings(r=4, alpha=8))
    train(policy)
    return policy


def test_later_stages_load_the_model_that_was_trained(adapted: Policy, tmp_path: Path) -> None:
    adapted.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.adapts and torch.equal(outputs(again), outputs(adapted))
    trained = {name: weight for name, weight in adapted.model.named_parameters() if weight.requires_grad}
    assert all(weight.dtype == torch.float32 for weight in trained.values())
    loaded = dict(again.model.named_parameters())
    assert all(torch.equal(weight, loaded[name]) for name, weight in trained.items())


def test_the_exported_checkpoint_keeps_the_adapter_s_part_that_bfloat16_would_lose(
    adapted: Policy, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    adapted.export(tmp_path / "whole")
    assert json.loads((tmp_path / "whole" / "config.json").read_text(encoding="utf-8"))["dtype"] == "float32"
    name = "q_proj.weight"
    base = {k: v for k, v in load_file(checkpoints["qwen2_vl"] / "model.safetensors").items() if k.endswith(name)}
    whole = {k: v for k, v in load_file(tmp_path / "whole" / "model.safetensors").items() if k.endswith(name)}
    layers = {k: m for k, m in adapted.model.named_modules() if k.endswith("q_proj")}
    wanted = torch.stack([layer.get_delta_weight("default") for layer in layers.values()])  # type: ignore[operator]
    kept = torch.stack([whole[k] - base[k].to(torch.bfloat16).float() for k in sorted(whole)])
    assert len(layers) == len(whole) and wanted.abs().max() > 0
    assert torch.allclose(kept.sort(0).values, wanted.sort(0).values, atol=1e-7)
    rounded = torch.stack([whole[k].to(torch.bfloat16).float() - base[k].to(torch.bfloat16).float() for k in whole])
    assert (rounded.sort(0).values - wanted.sort(0).values).norm() > 0.2 * wanted.norm(), "as it was"
    plain = load(tmp_path / "whole", dtype="float32")
    assert not plain.adapts and {"lora_A", "lora_B"}.isdisjoint(".".join(plain.model.state_dict()).split("."))


def test_the_reference_of_a_continued_adapter_is_where_it_began(adapted: Policy, tmp_path: Path) -> None:
    adapted.save(tmp_path / "saved")
    policy = load(tmp_path / "saved", keep_reference=True)
    before = outputs(policy)
    train(policy, size=0.3, seed=2)
    after = outputs(policy)
    assert not torch.equal(after, before)
    with policy.reference():
        assert torch.equal(outputs(policy), before)
    assert torch.equal(outputs(policy), after)


def test_an_adapter_brings_the_bound_of_pictures_it_was_trained_with(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    policy = load(checkpoints["qwen2_vl"], lora=LoraSettings(r=2), max_pixels=28 * 28 * 4)
    policy.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.max_pixels == 28 * 28 * 4
    assert again.processor.size["longest_edge"] == 28 * 28 * 4
    assert load(tmp_path / "saved", max_pixels=28 * 28 * 2).processor.size["longest_edge"] == 28 * 28 * 2
