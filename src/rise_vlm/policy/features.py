"""Image features: each distinct picture once, and across steps while the tower is frozen.

The cache holds features under the hash of the pixels and of the tower's weights, so nothing stale can be read;
the least recently used leave first when it outgrows its bytes. Left out: a cache on disk.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from rise_vlm.policy.linear import linear

CACHE_BYTES = 1 << 30
Key = tuple[str, str]


class FeatureCache:
    """Features by (tower, picture), least recently used out first, never more than ``limit`` bytes."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit, self.bytes = limit, 0
        self._kept: OrderedDict[Key, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Tensor | None:
        """The features under ``key``, now the most recently used, or None."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: Key, features: Tensor) -> None:
        """Keep ``features``, dropping older ones to stay within the limit; larger than the limit is not kept."""
        size = features.numel() * features.element_size()
        if size > self.limit or key in self._kept:
            return
        while self.bytes + size > self.limit:
            _, old = self._kept.popitem(last=False)
            self.bytes -= old.numel() * old.element_size()
        self._kept[key] = features
        self.bytes += size


SHARED_CACHE = FeatureCache()
"""One for the process: the arms of a comparison share the features of their common base model."""


class TowerFingerprint:
    """Hashes a tower's weights, again only after one of them was written to."""

    def __init__(self, tower: nn.Module) -> None:
        self.tower = tower
        self._seen: tuple[tuple[int, int], ...] = ()
        self._digest = ""

    def __call__(self) -> str:
        """Hex digest of names, types and bytes of all weights."""
        state = list(self.tower.state_dict().items())
        now = tuple((t.data_ptr(), t._version) for _, t in state)
        if now != self._seen:
            digest = hashlib.blake2b(digest_size=16)
            for name, tensor in state:
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.device.type}".encode())
                digest.update(tensor.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().data)
            self._seen, self._digest = now, digest.hexdigest()
        return self._digest


def fast_patch_embedding(tower: nn.Module) -> bool:
    """Compute the tower's patch embedding as one matrix product instead of a 3-D convolution; True where it fits.

    Kernel and stride are equal and each row of pixels is one patch, so both are the same sum; the weights stay where
    they are. On a CPU the convolution is several times slower.
    """
    embedding = getattr(tower, "patch_embed", None)
    convolution = getattr(embedding, "proj", None)
    if embedding is None or not isinstance(convolution, nn.Conv3d) or convolution.kernel_size != convolution.stride:
        return False
    # Bound to the module, so that a copy of the tower computes with the copy's weights.
    embedding.forward = MethodType(_embed_patches, embedding)
    return True


def _embed_patches(embedding: Any, pixels: Tensor) -> Tensor:
    weight = embedding.proj.weight
    return linear(pixels.to(weight.dtype), weight.flatten(1), embedding.proj.bias)
