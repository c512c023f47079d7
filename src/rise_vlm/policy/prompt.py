"""One encoded prompt: token ids, rope positions and preprocessed pictures, all on the CPU.

Left out: videos and system prompts (the chat template's own default stands).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageInput:
    """One preprocessed picture.

    ``pixel_values`` (N, D) float32 holds one row per patch, ``grid`` (3,) int64 the patches in time, height and width,
    ``tokens`` the number of image tokens the tower makes of it. ``key`` hashes all of that: equal keys, equal features.
    """

    key: str
    pixel_values: Tensor
    grid: Tensor
    tokens: int

    @classmethod
    def of(cls, pixel_values: Tensor, grid: Tensor, tokens: int) -> ImageInput:
        """Build one and hash its content."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((tuple(pixel_values.shape), grid.tolist(), str(pixel_values.dtype))).encode())
        digest.update(pixel_values.contiguous().view(torch.uint8).numpy())
        return cls(digest.hexdigest(), pixel_values, grid, tokens)


@dataclass(frozen=True)
class Prompt:
    """One encoded prompt.

    ``input_ids`` (P,) int64; ``positions`` (3, P) int64 for families with M-RoPE and (1, P) otherwise;
    ``next_position`` is the position of the first completion token on every axis; ``text`` is the user's turn.
    """

    input_ids: Tensor
    positions: Tensor
    next_position: int
    images: tuple[ImageInput, ...]
    text: str

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def identity(self) -> tuple[bytes, tuple[str, ...]]:
        """Equal for two prompts exactly when the model sees the same thing."""
        return self.input_ids.numpy().tobytes(), tuple(image.key for image in self.images)
