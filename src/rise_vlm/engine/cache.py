"""Key-value caches for sampling: one that catches a prefill, one with a preallocated slot per sequence.

A slot is a row; it holds a prompt's keys from column 0 and one more column per decoded token, so rows of different
lengths never need shifting and a step writes one column of each row in place. Left out: paging, sliding windows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


class _Layer(CacheLayerMixin):
    """What transformers asks of any cache layer and ours answer alike."""

    is_sliding = False

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.is_initialized = True

    def get_max_length(self) -> int:
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0


class _CatchLayer(_Layer):
    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        self.keys, self.values = key_states, value_states
        return key_states, value_states

    def get_seq_length(self) -> int:
        return 0


class CatchCache(Cache):
    """Keeps the keys and values (R, heads, L, D) of one forward pass, without copying them."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[_CatchLayer() for _ in range(layers)])


class _SlotLayer(_Layer):
    def __init__(self, owner: SlotCache) -> None:
        super().__init__()
        self.owner = owner

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        owner = self.owner
        if self.keys is None or self.values is None:
            raise RuntimeError("a slot cache must be filled from a prefill before it is decoded with")
        self.keys[owner.rows, :, owner.columns] = key_states[:, :, 0]
        self.values[owner.rows, :, owner.columns] = value_states[:, :, 0]
        return self.keys[: owner.active, :, : owner.width], self.values[: owner.active, :, : owner.width]

    def get_seq_length(self) -> int:
        return self.owner.width


class SlotCache(Cache):
    """Keys and values of up to ``slots`` sequences of up to ``length`` tokens; slots ``[0, active)`` are in use."""

    def __init__(self, layers: int, slots: int, length: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(layers=[_SlotLayer(self) for _ in range(layers)])
        self.slots, self.length, self.device = slots, length, device
        self.active = 0
        self.width = 0
        self.lengths = torch.zeros(slots, dtype=torch.long, device=device)
        self._mask = torch.full((slots, 1, 1, length), -torch.inf, dtype=dtype, device=device)
        self._every_row = torch.arange(slots, device=device)

    @property
    def rows(self) -> Tensor:
        """Indices of the active slots."""
        return self._every_row[: self.active]

    @property
    def columns(self) -> Tensor:
        """Where the active slots write their next token."""
        return self.lengths[: self.active]

    def begin_step(self, width: int) -> Tensor:
        """Open one more column in each active slot; returns the additive mask (active, 1, 1, width)."""
        self.width = width
        self._mask[self.rows, 0, 0, self.columns] = 0.0
        return self._mask[: self.active, :, :, :width]

    def end_step(self) -> None:
        """The column written in this step is now part of each active slot."""
        self.lengths[: self.active] += 1

    def fill(self, caught: CatchCache, source: Tensor, lengths: Tensor) -> None:
        """Append slots: rows ``source`` (S,) of a prefill, of which the first ``lengths`` (S,) columns count."""
        first, last = self.active, self.active + len(source)
        width = int(lengths.max())
        for mine, theirs in zip(self.layers, caught.layers, strict=True):
            for name in ("keys", "values"):
                given = getattr(theirs, name)
                if getattr(mine, name) is None:
                    shape = (self.slots, given.shape[1], self.length, given.shape[3])
                    # Zeros, not empty: a masked column is multiplied by 0, and 0 times a stray NaN is NaN.
                    setattr(mine, name, torch.zeros(shape, dtype=given.dtype, device=given.device))
                getattr(mine, name)[first:last, :, :width] = given[source, :, :width]
        self.lengths[first:last] = lengths
        columns = torch.arange(self.length, device=self.device)
        hidden = columns >= lengths[:, None]
        self._mask[first:last, 0, 0] = torch.zeros_like(self._mask[first:last, 0, 0]).masked_fill(hidden, -torch.inf)
        self.active = last

    def keep(self, kept: Tensor) -> Tensor:
        """Drop all active slots but ``kept`` (K,), moving as few rows as possible; returns the slot each place now holds.

        The result (K,) maps new slot -> old slot, for the caller's own per-slot state.
        """
        count = len(kept)
        order = torch.arange(count, device=self.device)
        stays = torch.zeros(self.active, dtype=torch.bool, device=self.device)
        stays[kept] = True
        holes = (~stays[:count]).nonzero().flatten()
        movers = stays[count:].nonzero().flatten() + count
        if len(holes):
            width = int(self.lengths[movers].max())
            for layer in self.layers:
                for tensor in (layer.keys, layer.values):
                    tensor[holes, :, :width] = tensor[movers, :, :width]
            self.lengths[holes] = self.lengths[movers]
            self._mask[holes] = self._mask[movers]
            order[holes] = movers
        self.active = count
        return order
