"""Pre-training batches: scenes drawn, rows tokenised, all reproducible from a seed and a step number.

Each picture is drawn once and shared by its rows. Rows are right-padded, so a causal mask needs no padding mask.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from rise_vlm.policy.tiny import corpus
from rise_vlm.policy.tiny.build import END, IMAGE_PAD, MERGE, PATCH, TURN_END, token_id
from rise_vlm.policy.tiny.rows import SIDE, Row

GRIDS = [(12, 12)] * 6 + [(10, 14), (14, 10)]
"""Patch rows and columns of a batch's pictures: mostly square, as the worlds are, sometimes not, as photos are."""
FINE_GRIDS = [(24, 24)] * 6 + [(20, 28), (28, 20)]
"""The same at full size."""
CHUNKS = 3
ALIKE = 8
"""So many batches in a row are of one size: processes side by side then take as long as each other."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass
class Chunk:
    """Rows of like length: ``ids``, ``weights`` (R, L), ``positions`` (3, R, L); ``shown`` (P,): the pictures in their
    prompts, row after row.
    """

    ids: Tensor
    weights: Tensor
    positions: Tensor
    shown: Tensor


@dataclass
class Batch:
    """``images`` (N, H, W, 3) uint8 and the chunks of rows about them; all weights of a batch sum to 1."""

    images: Tensor
    chunks: list[Chunk]


class Batches:
    """The batches of one ``phase`` of a run, by number."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, phase: corpus.Phase, seed: int) -> None:
        self.tokenizer, self.phase, self.seed = tokenizer, phase, seed

    def __getitem__(self, step: int) -> Batch:
        fine = random.Random(f"fine {self.seed}/{step // ALIKE}").random() < self.phase.fine
        high, wide = random.Random(f"grid {self.seed}/{step}").choice(FINE_GRIDS if fine else GRIDS)
        shares = corpus.FINE if fine else self.phase.shares
        stream = corpus.scenes(self.seed, start=step * self.phase.scenes, shares=shares)
        images: list[np.ndarray] = []
        rows: list[tuple[range, Row]] = []
        for _ in range(self.phase.scenes):
            world, scene, rng = next(stream)
            first = len(images)
            drawn = corpus.pictures(world, scene, SIDE, supersample=1)
            images += [np.asarray(picture.resize((wide * PATCH, high * PATCH), resample=3)) for picture in drawn]
            turns = corpus.rows(world, scene, self.phase.rows, rng, self.phase.mixture)
            rows += [(range(first, first + row.pictures), row) for row in turns]
        grid = (high // MERGE, wide // MERGE)
        encoded = [(shown, *encode_row(self.tokenizer, row, grid)) for shown, row in rows]
        encoded.sort(key=lambda row: len(row[1]))
        share = -(-len(encoded) // CHUNKS)
        chunks = [_collate(self.tokenizer, encoded[i : i + share]) for i in range(0, len(encoded), share)]
        total = sum(chunk.weights.sum() for chunk in chunks)
        for chunk in chunks:
            chunk.weights /= total
        return Batch(torch.from_numpy(np.stack(images)), chunks)


def _collate(tokenizer: PreTrainedTokenizerFast, rows: list[tuple[range, list[int], int, Tensor]]) -> Chunk:
    length = max(len(ids) for _, ids, _, _ in rows)
    ids = torch.full((len(rows), length), token_id(tokenizer, END))
    weights = torch.zeros(len(rows), length)
    positions = torch.zeros(3, len(rows), length, dtype=torch.long)
    for r, (_, row_ids, start, row_positions) in enumerate(rows):
        ids[r, : len(row_ids)] = torch.tensor(row_ids)
        # A short answer would drown among captions, so a row weighs as the root of its length.
        weights[r, start : len(row_ids)] = (len(row_ids) - start) ** -0.5
        positions[:, r, : len(row_ids)] = row_positions
    return Chunk(
        ids, weights, positions, torch.tensor([picture for shown, *_ in rows for picture in shown], dtype=torch.long)
    )


def encode_row(tokenizer: PreTrainedTokenizerFast, row: Row, grid: tuple[int, int]) -> tuple[list[int], int, Tensor]:
    """Token ids, the index of the first completion token, and M-RoPE positions (3, L) of one row.

    ``grid`` counts image tokens down and across. Equal to the chat template with the processor's expansion (tested).
    """
    count = grid[0] * grid[1]
    image = "<|vision_start|>" + "<|image_pad|>" * count + "<|vision_end|>"
    prompt = f"<|im_start|>user\n{image * row.pictures}{row.prompt}<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer.encode(prompt)
    start = len(ids)
    ids += tokenizer.encode(row.completion + TURN_END)
    down, across = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    picture = torch.stack([torch.zeros(count, dtype=torch.long), down.flatten(), across.flatten()])
    parts: list[Tensor] = []
    at = done = 0
    for _ in range(row.pictures):
        first = ids.index(token_id(tokenizer, IMAGE_PAD), done)
        parts += [torch.arange(first - done).expand(3, -1) + at, picture + at + first - done]
        at, done = at + first - done + max(grid), first + count
    parts.append(torch.arange(len(ids) - done).expand(3, -1) + at)
    return ids, start, torch.cat(parts, dim=1)


def patches(images: Tensor) -> Tensor:
    """uint8 pictures (S, H, W, 3) to the tower's input (S * patches, 1176), as the image processor makes it."""
    count, height, width, _ = images.shape
    values = (images.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    block = PATCH * MERGE
    split = values.view(count, height // block, MERGE, PATCH, width // block, MERGE, PATCH, 3)
    ordered = split.permute(0, 1, 4, 2, 5, 7, 3, 6)
    frames = ordered.unsqueeze(6).expand(*ordered.shape[:6], 2, PATCH, PATCH)
    return frames.reshape(count * height * width // PATCH**2, -1)
