"""Pre-training batches: scenes drawn, rows tokenised, all reproducible from a seed and a step number.

The rows of a scene are one sequence: its pictures once, then row after row, each of which sees the pictures it shows
and itself. Sequences are right-padded; what the padding sees does not matter.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from rise_vlm.policy.tiny import corpus
from rise_vlm.policy.tiny.build import END, IMAGE_PAD, MERGE, PATCH, TURN_END, token_id
from rise_vlm.policy.tiny.looks import looks_of
from rise_vlm.policy.tiny.moves_rows import table_row
from rise_vlm.policy.tiny.pages import sample_page
from rise_vlm.policy.tiny.rows import SIDE, Row

GRIDS = [(12, 12)] * 6 + [(10, 14), (14, 10)]
"""Patch rows and columns of a batch's pictures: mostly square, as the worlds are, sometimes not, as photos are."""
FINE_GRIDS = [(24, 24)] * 6 + [(20, 28), (28, 20)]
"""The same at full size."""
PAGE_TOKENS, MOST_PAGES = 1440, 48
"""Image tokens of a batch of pages, and how many pages at most."""
TABLE_LINES = 160
"""Things in the tables of a batch."""
CHUNKS = 5
ALIKE = 8
"""So many batches in a row are of one size: processes side by side then take as long as each other."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass
class Chunk:
    """Scenes of like length: `ids`, `weights` (S, L), `positions` (3, S, L); `row` (S, L): which row a token belongs
    to, 0 the pictures; `seen` (S, L): so many leading tokens, of pictures, it sees beside its row; `shown` (P,): the
    pictures of the scenes, one after the other.
    """

    ids: Tensor
    weights: Tensor
    positions: Tensor
    row: Tensor
    seen: Tensor
    shown: Tensor

    def mask(self, dtype: torch.dtype) -> Tensor:
        """(S, 1, L, L): 0 where a token sees another, -inf elsewhere."""
        place = torch.arange(self.ids.shape[1])
        alike = self.row[:, :, None] == self.row[:, None, :]
        sees = (alike | (place < self.seen[:, :, None])) & (place <= place[:, None])
        return torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, float("-inf"))[:, None]


@dataclass
class Batch:
    """``images`` (N, H, W, 3) uint8, none of text alone, and the chunks of rows about them; all weights of a batch sum
    to 1. ``looks`` (N, tokens, slots): what each image token shows, of pages and pictures at full size (`looks`).
    """

    images: Tensor | None
    chunks: list[Chunk]
    looks: Tensor | None = None


class Batches:
    """The batches of one ``phase`` of a run, by number."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, phase: corpus.Phase, seed: int) -> None:
        self.tokenizer, self.phase, self.seed = tokenizer, phase, seed

    def __getitem__(self, step: int) -> Batch:
        kind = random.Random(f"fine {self.seed}/{step // ALIKE}").random()
        if kind < self.phase.pages:
            return self._pages(step)
        if kind >= 1 - self.phase.tables:
            return self._tables(step)
        fine = kind < self.phase.pages + self.phase.fine
        high, wide = random.Random(f"grid {self.seed}/{step}").choice(FINE_GRIDS if fine else GRIDS)
        shares = self.phase.fine_shares if fine else self.phase.shares
        stream = corpus.scenes(self.seed, start=step * self.phase.scenes, shares=shares)
        images: list[np.ndarray] = []
        looks: list[Tensor] = []
        packed: list[tuple[range, Packed]] = []
        grid = (high // MERGE, wide // MERGE)
        for _ in range(self.phase.scenes):
            world, scene, rng = next(stream)
            first = len(images)
            drawn = corpus.pictures(world, scene, SIDE, supersample=1)
            images += [np.asarray(picture.resize((wide * PATCH, high * PATCH), resample=3)) for picture in drawn]
            looks += looks_of(world, scene, *grid) if fine else []
            if not self.phase.rows:
                continue
            turns = corpus.rows(world, scene, self.phase.rows, rng, self.phase.mixture)
            shown = range(first, first + max(row.pictures for row in turns))
            packed.append((shown, pack([encode_row(self.tokenizer, row, grid) for row in turns])))
        return Batch(torch.from_numpy(np.stack(images)), self._chunks(packed), torch.stack(looks) if fine else None)

    def _pages(self, step: int) -> Batch:
        rng = random.Random(f"page {self.seed}/{step}")
        grid = rng.choice(self.phase.page_grids)
        pages = [sample_page(rng, *grid) for _ in range(min(MOST_PAGES, PAGE_TOKENS // (grid[0] * grid[1])))]
        packed = [
            (range(i, i + 1), pack([encode_row(self.tokenizer, page.row(), grid)])) for i, page in enumerate(pages)
        ]
        images = torch.from_numpy(np.stack([np.asarray(page.draw()) for page in pages]))
        return Batch(images, self._chunks(packed), torch.stack([page.looks() for page in pages]))

    def _tables(self, step: int) -> Batch:
        rng = random.Random(f"table {self.seed}/{step}")
        things = rng.choice(self.phase.table_sizes)
        rows = [table_row(rng, things) for _ in range(TABLE_LINES // things)]
        packed = [(range(0), pack([encode_row(self.tokenizer, row, (1, 1))])) for row in rows]
        return Batch(None, self._chunks(packed))

    def _chunks(self, packed: list[tuple[range, Packed]]) -> list[Chunk]:
        packed = sorted(packed, key=lambda one: len(one[1].ids))
        share = max(1, -(-len(packed) // CHUNKS))
        chunks = [collate(self.tokenizer, packed[i : i + share]) for i in range(0, len(packed), share)]
        total = sum(chunk.weights.sum() for chunk in chunks)
        for chunk in chunks:
            chunk.weights /= total
        return chunks


@dataclass
class Encoded:
    """One row: `ids` (L), of which the first `pictures` end with its last picture and those from `start` on are the
    completion; M-RoPE `positions` (3, L).
    """

    ids: list[int]
    pictures: int
    start: int
    positions: Tensor


@dataclass
class Packed:
    """The rows of a scene as one sequence: `ids`, `weights`, `row`, `seen` (L), `positions` (3, L), as in `Chunk`."""

    ids: Tensor
    weights: Tensor
    positions: Tensor
    row: Tensor
    seen: Tensor


def pack(rows: Sequence[Encoded]) -> Packed:
    """The pictures of `rows`, then what each says of them. A row that shows fewer pictures shows the first of them."""
    most = max(rows, key=lambda row: row.pictures)
    parts = [(most, 0, most.pictures, 0), *((row, row.pictures, len(row.ids), row.pictures) for row in rows)]
    lengths = torch.tensor([end - begin for _, begin, end, _ in parts])
    weights = [torch.zeros(most.pictures)]
    for row in rows:
        weighed = torch.zeros(len(row.ids))
        # A short answer would drown among captions, so a row weighs as the root of its length.
        weighed[row.start :] = (len(row.ids) - row.start) ** -0.5
        weights.append(weighed[row.pictures :])
    return Packed(
        ids=torch.tensor([token for row, begin, end, _ in parts for token in row.ids[begin:end]]),
        weights=torch.cat(weights),
        positions=torch.cat([row.positions[:, begin:end] for row, begin, end, _ in parts], dim=1),
        row=torch.arange(len(parts)).repeat_interleave(lengths),
        seen=torch.tensor([seen for *_, seen in parts]).repeat_interleave(lengths),
    )


def collate(tokenizer: PreTrainedTokenizerFast, scenes: list[tuple[range, Packed]]) -> Chunk:
    """Packed scenes with the pictures that each shows, as one chunk."""

    def padded(name: str, value: float = 0) -> Tensor:
        return pad_sequence([getattr(one, name) for _, one in scenes], batch_first=True, padding_value=value)

    positions = pad_sequence([one.positions.T for _, one in scenes], batch_first=True).permute(2, 0, 1)
    return Chunk(
        ids=padded("ids", token_id(tokenizer, END)),
        weights=padded("weights"),
        positions=positions,
        row=padded("row", -1),
        seen=padded("seen"),
        shown=torch.tensor([picture for shown, _ in scenes for picture in shown], dtype=torch.long),
    )


def encode_row(tokenizer: PreTrainedTokenizerFast, row: Row, grid: tuple[int, int]) -> Encoded:
    """One row by itself. ``grid`` counts image tokens down and across. Equal to the chat template with the processor's
    expansion (tested).
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
    # The last picture's end token stands behind its last place; without a picture nothing is shared.
    return Encoded(ids, done + 1 if row.pictures else 0, start, torch.cat(parts, dim=1))


def patches(images: Tensor) -> Tensor:
    """uint8 pictures (S, H, W, 3) to the tower's input (S * patches, 1176), as the image processor makes it."""
    count, height, width, _ = images.shape
    values = (images.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    block = PATCH * MERGE
    split = values.view(count, height // block, MERGE, PATCH, width // block, MERGE, PATCH, 3)
    ordered = split.permute(0, 1, 4, 2, 5, 7, 3, 6)
    frames = ordered.unsqueeze(6).expand(*ordered.shape[:6], 2, PATCH, PATCH)
    return frames.reshape(count * height * width // PATCH**2, -1)
