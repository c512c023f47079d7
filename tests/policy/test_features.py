"""Image features: once per picture, cached while the tower is frozen, exact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_models import picture
from torch import Tensor, nn

from rise_vlm.policy import Policy
from rise_vlm.policy.features import FeatureCache, TowerFingerprint, fast_patch_embedding


@pytest.fixture(autouse=True)
def own_cache(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test starts with an empty cache."""
    if "policy" in request.fixturenames:
        request.getfixturevalue("policy").feature_cache = FeatureCache()
    yield


class Counter:
    """Counts the pictures that a policy's tower encodes."""

    def __init__(self, policy: Policy) -> None:
        self.pictures = 0
        policy.tower.register_forward_hook(self._count, with_kwargs=True)

    def _count(self, module: nn.Module, args: tuple, kwargs: dict, output: object) -> None:  # type: ignore[type-arg]
        self.pictures += len(kwargs["grid_thw"])


def test_each_distinct_picture_is_encoded_once(policy: Policy) -> None:
    counter = Counter(policy)
    prompts = [
        policy.encode("a", [picture(0), picture(1)]),
        policy.encode("b", [picture(1), picture(0)]),
        policy.encode("c"),
    ]
    features = policy.image_features(prompts, grad=True)
    assert (counter.pictures, len(features)) == (2, 2)
    policy.image_features([*prompts, policy.encode("d", [picture(2)])], grad=False)
    assert counter.pictures == 3
    assert not any(feature.requires_grad for feature in features.values())


def test_a_training_tower_is_run_each_time_with_gradient(checkpoints: dict[str, Path]) -> None:
    policy = Policy.load(str(checkpoints["qwen2_vl"]), dtype="float32", freeze_tower=False)
    counter = Counter(policy)
    prompt = policy.encode("a", [picture(0), picture(0)])
    for runs in (1, 2):
        features = policy.image_features([prompt], grad=True)
        assert counter.pictures == runs
    sum(feature.sum() for feature in features.values()).backward()  # type: ignore[union-attr]
    assert all(weight.grad is not None for weight in policy.tower.parameters())
    assert not any(f.requires_grad for f in policy.image_features([prompt], grad=False).values())


def test_features_are_those_of_transformers(policy: Policy) -> None:
    prompt = policy.encode("a", [picture(0, 84, 56), picture(1)])
    ours = policy.image_features([prompt], grad=False)
    for image in prompt.images:
        (theirs,) = policy.base.model.get_image_features(
            image.pixel_values, image.grid[None], return_dict=True
        ).pooler_output
        assert torch.allclose(ours[image.key], theirs, atol=1e-5)


def test_a_written_tower_forgets_what_was_cached(policy: Policy) -> None:
    prompt = policy.encode("a", [picture(0)])
    before = policy.image_features([prompt], grad=False)[prompt.images[0].key].clone()
    with torch.no_grad():
        next(policy.tower.parameters()).mul_(1.5)
    after = policy.image_features([prompt], grad=False)[prompt.images[0].key]
    assert not torch.allclose(before, after)


def test_equal_towers_share_their_features_and_others_do_not(checkpoints: dict[str, Path]) -> None:
    kept = FeatureCache()
    policies = [Policy.load(str(checkpoints[k]), dtype="float32") for k in ("qwen2_vl", "qwen2_vl", "qwen2_5_vl")]
    counters = [Counter(policy) for policy in policies]
    for policy in policies:
        policy.feature_cache = kept
        policy.image_features([policy.encode("a", [picture(0)])], grad=False)
    assert [counter.pictures for counter in counters] == [1, 0, 1]


def test_the_cache_keeps_its_bytes_and_drops_the_least_recently_used() -> None:
    def features() -> Tensor:
        return torch.zeros(10, 4)  # 160 bytes

    cache = FeatureCache(limit=400)
    for name in "ab":
        cache.put(("t", name), features())
    assert cache.get(("t", "a")) is not None
    cache.put(("t", "c"), features())
    assert cache.get(("t", "b")) is None
    assert cache.get(("t", "a")) is not None
    assert (len(cache), cache.bytes) == (2, 320)
    cache.put(("t", "huge"), torch.zeros(1000))
    assert (len(cache), cache.bytes) == (2, 320)
    cache.put(("t", "a"), features())
    assert cache.bytes == 320


def test_cached_features_hold_only_their_own_memory(policy: Policy) -> None:
    prompt = policy.encode("a", [picture(0), picture(1)])
    for feature in policy.image_features([prompt], grad=False).values():
        assert feature.untyped_storage().nbytes() == feature.numel() * feature.element_size()


def test_the_fingerprint_follows_names_values_and_types() -> None:
    module = nn.Linear(3, 3)
    fingerprint = TowerFingerprint(module)
    first = fingerprint()
    assert fingerprint() == first
    other = nn.Linear(3, 3)
    other.load_state_dict(module.state_dict())
    assert TowerFingerprint(other)() == first
    assert TowerFingerprint(other.bfloat16())() != first
    with torch.no_grad():
        module.weight[0, 0] += 1
    assert fingerprint() != first


@pytest.mark.parametrize("bias", [False, True])
def test_the_patch_embedding_as_a_product_is_the_convolution(bias: bool) -> None:
    class PatchEmbed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.proj = nn.Conv3d(3, 8, kernel_size=(2, 14, 14), stride=(2, 14, 14), bias=bias)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.proj(pixels.view(-1, 3, 2, 14, 14)).view(-1, 8)

    tower = nn.Module()
    tower.patch_embed = PatchEmbed()
    pixels = torch.randn(5, 3 * 2 * 14 * 14, generator=torch.Generator().manual_seed(0))
    results = []
    for fast in (False, True):
        if fast:
            assert fast_patch_embedding(tower)
        tower.zero_grad()
        embedded = tower.patch_embed(pixels)
        embedded.square().sum().backward()
        results.append([embedded, *(weight.grad.clone() for weight in tower.parameters())])  # type: ignore[union-attr]
    for slow, quick in zip(*results, strict=True):
        assert torch.allclose(slow, quick, rtol=1e-4, atol=1e-4)
    assert "patch_embed.proj.weight" in dict(tower.named_parameters())


def test_other_patch_embeddings_are_left_alone() -> None:
    tower = nn.Module()
    assert not fast_patch_embedding(tower)
    tower.patch_embed = nn.Module()
    tower.patch_embed.proj = nn.Conv3d(3, 8, kernel_size=(2, 4, 4), stride=(1, 4, 4))
    assert not fast_patch_embedding(tower)
