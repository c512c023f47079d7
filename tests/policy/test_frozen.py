"""Frozen weights are there once, however many policies hold them; those that train are each policy's own."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_models import save_tiny

from rise_vlm.policy import Policy
from rise_vlm.policy.lora import LoraSettings


def load(folder: Path, **how: object) -> Policy:
    return Policy.load(str(folder), dtype="float32", device="cpu", **how)  # type: ignore[arg-type]


def owned(*policies: Policy) -> int:
    """Bytes of all distinct memory that the policies' weights take."""
    found: dict[int, int] = {}
    for policy in policies:
        for weight in policy.model.parameters():
            found[weight.untyped_storage().data_ptr()] = weight.untyped_storage().nbytes()
    return sum(found.values())


def test_with_lora_three_models_take_the_memory_of_one(checkpoints: dict[str, Path]) -> None:
    folder = checkpoints["qwen2_vl"]
    base = load(folder, frozen=True)
    alone = owned(base)
    adapted, judge = load(folder, lora=LoraSettings(r=2)), load(folder, frozen=True)
    adapters = sum(weight.numel() * 4 for weight in adapted.model.parameters() if weight.requires_grad)
    assert adapters > 0
    assert owned(base, adapted, judge) == alone + adapters
    assert not any(weight.requires_grad for weight in judge.model.parameters())


def test_full_training_shares_the_frozen_tower_alone(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = checkpoints["qwen2_vl"]
    base, trained = load(folder, frozen=True), load(folder)
    tower = {weight.data_ptr() for weight in trained.tower.parameters()}
    assert tower == {weight.data_ptr() for weight in base.tower.parameters()}
    before = [weight.clone() for weight in base.model.parameters()]
    own = [weight for weight in trained.model.parameters() if weight.requires_grad]
    assert own
    with torch.no_grad():
        for weight in own:
            weight.add_(1.0)
    assert all(torch.equal(weight, kept) for weight, kept in zip(base.model.parameters(), before, strict=True))
    trained.save(tmp_path / "saved")
    again = load(tmp_path / "saved", frozen=True)
    weights = dict(again.model.named_parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in trained.model.named_parameters())
    both_train = [load(folder, freeze_tower=False) for _ in range(2)]
    assert owned(*both_train) == 2 * owned(both_train[0])


def test_other_weights_are_not_shared(tmp_path: Path) -> None:
    """Weights that differ where no sample of them is taken."""
    one, other = (load(save_tiny(tmp_path / str(i), "qwen2_vl"), frozen=True) for i in (1, 2))
    assert owned(one, other) == owned(one), "the same seed, and so the same weights, from two folders"
    changed = load(tmp_path / "1", freeze_tower=False)
    with torch.no_grad():
        for weight in changed.model.parameters():
            weight.view(-1)[-1] += 1
    changed.save(tmp_path / "changed")
    third = load(tmp_path / "changed", frozen=True)
    assert owned(one, third) == 2 * owned(one)
    assert all(
        abs(float(b.view(-1)[-1] - a.view(-1)[-1]) - 1) < 1e-5
        for a, b in zip(one.model.parameters(), third.model.parameters(), strict=True)
    )
