"""LoRA: a fresh adapter changes nothing, off is the base, what is saved comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from rise_vlm.errors import UserError
from rise_vlm.policy import LoraSettings, Policy


def load(folder: Path, **settings: Any) -> Policy:
    return Policy.load(str(folder), dtype="float32", device="cpu", **settings)


def outputs(policy: Policy) -> Tensor:
    embeds = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return policy.logits(policy.hidden(embeds, torch.arange(5).expand(3, 2, 5), None))


def train(policy: Policy) -> None:
    """Move every adapter weight."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in policy.model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))


@pytest.fixture
def adapted(checkpoints: dict[str, Path]) -> Policy:
    return load(checkpoints["qwen2_vl"], lora=LoraSettings(r=4, alpha=8))


def test_a_fresh_adapter_and_a_switched_off_one_are_the_base(adapted: Policy, checkpoints: dict[str, Path]) -> None:
    base = outputs(load(checkpoints["qwen2_vl"]))
    assert torch.equal(outputs(adapted), base)
    train(adapted)
    assert not torch.allclose(outputs(adapted), base)
    with adapted.reference():
        assert torch.equal(outputs(adapted), base)
    assert not torch.allclose(outputs(adapted), base)
    assert any(weight.requires_grad for weight in adapted.model.parameters())


def test_the_exported_checkpoint_computes_the_same(adapted: Policy, tmp_path: Path) -> None:
    train(adapted)
    before = {name: weight.clone() for name, weight in adapted.model.state_dict().items()}
    adapted.export(tmp_path / "saved")
    assert all(torch.equal(before[name], weight) for name, weight in adapted.model.state_dict().items())
    merged = load(tmp_path / "saved")
    assert not merged.adapts
    assert torch.allclose(outputs(merged), outputs(adapted), atol=1e-4)
    assert set(merged.model.state_dict()) == set(load(Path(adapted.name)).model.state_dict())


def test_the_adapter_alone_goes_on_training(adapted: Policy, tmp_path: Path) -> None:
    train(adapted)
    adapted.save(tmp_path / "saved")
    assert not (tmp_path / "saved" / "config.json").exists(), "the base is not written again"
    again = load(tmp_path / "saved")
    assert torch.equal(outputs(again), outputs(adapted))
    assert {n for n, w in again.model.named_parameters() if w.requires_grad} == {
        n for n, w in adapted.model.named_parameters() if w.requires_grad
    }
    with again.reference():
        assert torch.equal(outputs(again), outputs(load(Path(adapted.name))))


def test_targets_are_layers_of_the_language_model(checkpoints: dict[str, Path]) -> None:
    def layers(targets: Any) -> set[str]:
        policy = load(checkpoints["qwen2_vl"], lora=LoraSettings(r=2, targets=targets))
        return {n.split(".lora_")[0].rsplit(".", 1)[-1] for n, w in policy.model.named_parameters() if w.requires_grad}

    attention = {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert layers("all-linear") == attention | {"gate_proj", "up_proj", "down_proj"}
    assert layers(("q_proj", "v_proj")) == {"q_proj", "v_proj"}
    for unknown in (("q_proj", "qkv"), ("lm_head",), ()):
        with pytest.raises(UserError, match=r"lora\.targets"):
            layers(unknown)


def test_settings_are_strict() -> None:
    assert LoraSettings().targets == "all-linear"
    for wrong in ({"r": 0}, {"dropout": 1.0}, {"rank": 8}):
        with pytest.raises(ValidationError):
            LoraSettings(**wrong)  # type: ignore[arg-type]


def test_wrong_use_is_told(adapted: Policy, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="freeze_tower"):
        load(checkpoints["qwen2_vl"], lora=LoraSettings(), freeze_tower=False)
    adapted.save(tmp_path / "saved")
    adapter = tmp_path / "saved"
    with pytest.raises(UserError, match="adapter already"):
        load(adapter, lora=LoraSettings())
    (adapter / "adapter_model.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match="cannot be loaded"):
        load(adapter)
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="does not say which model"):
        load(adapter)
    (adapter / "adapter_config.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        load(adapter)
