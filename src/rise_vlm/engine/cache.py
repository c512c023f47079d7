"""Keys and values kept between decoding steps, in memory that is allocated once.

``DecodeCache`` keeps a prompt once for all its sequences and is the plan by which they attend to it. Of prompts that
begin alike it keeps that stem once, and what follows it with each sequence.
``SlotCache`` serves models that take no plan: each sequence has a row of its own, with a copy of its prompt.
In both a sequence is a slot, slots ``[0, active)`` are in use, and a finished sequence's slot is taken by the last one.
Left out: paging; dropping what a sliding window no longer sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
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

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of each layer."""
        return [(layer.keys, layer.values) for layer in self.layers]  # type: ignore[misc]


def _zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros, for a stray NaN would stay NaN behind any mask. On a CPU pages are not touched before they are used."""
    if device.type != "cpu":
        return torch.zeros(*shape, dtype=dtype, device=device)
    size = math.prod(shape) * dtype.itemsize
    return torch.from_numpy(np.zeros(size, dtype=np.uint8)).view(dtype).view(*shape)


@dataclass(frozen=True)
class Places:
    """Where S pieces lie in a forward pass over (R, L) tokens, numbered row by row: ``starts`` and ``lengths`` (S,)."""

    starts: Tensor
    lengths: Tensor

    def __getitem__(self, chosen: Any) -> Places:
        return Places(self.starts[chosen], self.lengths[chosen])

    def tokens(self) -> Tensor:
        """(S, longest) int64; behind its end a piece repeats its last token, one of no tokens that before it."""
        place = torch.arange(int(self.lengths.max()), device=self.starts.device)
        return self.starts[:, None] + torch.minimum(place, self.lengths[:, None] - 1)


class _Slots:
    """Rows of keys and values (slots, heads, length, D) for each layer, with the row's length."""

    def __init__(self, slots: int, length: int, device: torch.device) -> None:
        self.slots, self.length, self.device = slots, length, device
        self.active = 0
        self.lengths = torch.zeros(slots, dtype=torch.long, device=device)
        self.layers: list[tuple[Tensor, Tensor]] = []

    def allocate(self, like: Sequence[tuple[Tensor, Tensor]], dtype: torch.dtype) -> None:
        """On first use, memory shaped after one forward pass."""
        if not self.layers:
            shapes = [[(self.slots, t.shape[1], self.length, t.shape[3]) for t in pair] for pair in like]
            self.layers = [(_zeros(k, dtype, self.device), _zeros(v, dtype, self.device)) for k, v in shapes]

    def append(self, given: Sequence[tuple[Tensor, Tensor]], places: Places) -> None:
        """Take slots for the pieces ``places`` of a forward pass."""
        first, last = self.active, self.active + len(places.lengths)
        at = places.tokens()
        for mine, theirs in zip(self.layers, given, strict=True):
            for own, new in zip(mine, theirs, strict=True):
                wide = new.shape[2]
                own[first:last, :, : at.shape[1]] = new[at // wide, :, at % wide].transpose(1, 2)
        self.lengths[first:last] = places.lengths
        self.active = last

    def keep(self, kept: Tensor) -> Tensor:
        """Free all slots but ``kept`` (K,) ascending, moving as few rows as possible.

        Returns the old slot (K,) of each new one, for the caller's own state.
        """
        count = len(kept)
        stays = torch.zeros(self.active, dtype=torch.bool, device=self.device)
        stays[kept] = True
        holes = (~stays[:count]).nonzero().flatten()
        movers = stays[count:].nonzero().flatten() + count
        if len(holes):
            width = int(self.lengths[movers].max())
            for layer in self.layers:
                for tensor in layer:
                    tensor[holes, :, :width] = tensor[movers, :, :width]
            self.lengths[holes] = self.lengths[movers]
        order = torch.arange(count, device=self.device)
        order[holes] = movers
        self.active = count
        return order


class DecodeCache:
    """Sequences that share their prompts' (or stems') keys and values; the attention plan of a decoding step.

    The queries of a prompt's sequences meet its keys in one matrix product, their own past in another, under a common
    softmax. Memory is that of the prompts plus the completions, and so is what a step reads.
    """

    def __init__(self, prompts: int, slots: int, prompt_length: int, length: int, device: torch.device) -> None:
        self.prompts = _Slots(prompts, prompt_length, device)
        self.own = _Slots(slots, length, device)
        self.owner = torch.zeros(0, dtype=torch.long, device=device)
        self.mask = torch.zeros(1, 1, 1, 1, device=device)
        self._prompt_mask = self.mask
        self._windowed: dict[int, Tensor] = {}

    @property
    def room(self) -> tuple[int, int]:
        """How many more prompts and sequences fit."""
        return self.prompts.slots - self.prompts.active, self.own.slots - self.own.active

    def append(self, caught: CatchCache, stems: Places, tails: Places, owners: Tensor) -> None:
        """Add Q ``stems`` of a prefill, and S sequences, each of which has a tail behind the stem ``owners`` (S,)."""
        pairs = caught.pairs()
        # float32 on a CPU: as fast there for these small products, and scores are not rounded before the softmax.
        dtype = torch.float32 if self.own.device.type == "cpu" else pairs[0][0].dtype
        for store in (self.prompts, self.own):
            store.allocate(pairs, dtype)
        self.owner = torch.cat([self.owner, owners + self.prompts.active])
        self.prompts.append(pairs, stems)
        self.own.append(pairs, tails)
        self._arrange()

    def keep(self, kept: Tensor) -> Tensor:
        """As ``_Slots.keep``; prompts without sequences leave too."""
        order = self.own.keep(kept)
        owner = self.owner[order]
        used, owner = owner.unique(return_inverse=True)
        if len(used) < self.prompts.active:
            moved = self.prompts.keep(used)
            place = torch.empty_like(used)
            # Slot ``moved[i]`` is now slot ``i``; ``used[j]`` is where the sequences numbered j looked.
            place[torch.searchsorted(used, moved)] = torch.arange(len(used), device=used.device)
            owner = place[owner]
        else:
            owner = used[owner]
        self.owner = owner
        if len(owner):
            self._arrange()
        return order

    def _arrange(self) -> None:
        """Lay the sequences out in a grid, prompts by sequences; done anew when one comes or goes."""
        rows, count = len(self.owner), self.prompts.active
        order = self.owner.argsort(stable=True)
        sizes = torch.bincount(self.owner, minlength=count)
        self._across = int(sizes.max())
        rank = torch.arange(rows, device=order.device) - (sizes.cumsum(0) - sizes)[self.owner[order]]
        place = self.owner[order] * self._across + rank
        # Empty places of the grid repeat sequence 0; nobody reads their result.
        self._grid = torch.zeros(count * self._across, dtype=torch.long, device=order.device)
        self._grid[place] = order
        self._back = torch.empty_like(order)
        self._back[order] = place
        self._deep = int(self.prompts.lengths[:count].max())
        beyond = torch.arange(self._deep, device=order.device) >= self.prompts.lengths[self.owner, None]
        self._prompt_mask = torch.zeros(beyond.shape, device=order.device).masked_fill_(beyond, -torch.inf)
        self._width = int(self.own.lengths[:rows].max())

    def step(self, policy: Any, embeds: Tensor, positions: Tensor) -> Tensor:
        """Hidden states (S, 1, H) of one more token of each sequence, whose keys and values join the cache."""
        self._width += 1
        lengths = self.own.lengths[: self.own.active]
        future = torch.arange(self._width, device=lengths.device) > lengths[:, None]
        own = torch.zeros(future.shape, device=lengths.device).masked_fill_(future, -torch.inf)
        self.mask = torch.cat([self._prompt_mask, own], dim=1)[:, None, None]
        self._windowed.clear()
        hidden = policy.hidden(embeds, positions, None, plan=self)
        lengths += 1
        return hidden

    def _seen(self, window: int | None) -> Tensor:
        """The mask (S, 1, 1, keys) of this step in layers with such a window."""
        if window is None or window >= self.mask.shape[-1]:
            return self.mask
        if window not in self._windowed:
            rows = len(self.owner)
            far = torch.arange(self._deep, device=self.owner.device).expand(rows, -1)
            ends = self.prompts.lengths[self.owner][:, None]
            at = torch.cat([far, ends + torch.arange(self._width, device=far.device)], dim=1)
            beyond = ends + self.own.lengths[:rows, None] - at >= window
            self._windowed[window] = self.mask.masked_fill(beyond[:, None, None], -torch.inf)
        return self._windowed[window]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float, window: int | None
    ) -> Tensor:
        """See ``AttentionPlan``: one query (S, heads, 1, D) of each sequence."""
        rows, heads, _, size = query.shape
        kv_heads, count, across = key.shape[1], self.prompts.active, self._across
        prompt_keys, prompt_values = (t[:count, :, : self._deep] for t in self.prompts.layers[layer])
        own_keys, own_values = self.own.layers[layer]
        every = torch.arange(rows, device=query.device)
        own_keys[every, :, self.own.lengths[:rows]] = key[:, :, 0].to(own_keys.dtype)
        own_values[every, :, self.own.lengths[:rows]] = value[:, :, 0].to(own_values.dtype)
        own_keys, own_values = own_keys[:rows, :, : self._width], own_values[:rows, :, : self._width]
        per_head = (query.to(own_keys.dtype) * scaling).view(rows, kv_heads, -1, size)

        def to_grid(tensor: Tensor) -> Tensor:
            """(S, key heads, g, F) -> (prompts, key heads, across x g, F)."""
            return tensor[self._grid].unflatten(0, (count, across)).transpose(1, 2).flatten(2, 3)

        def from_grid(tensor: Tensor) -> Tensor:
            """The reverse."""
            return tensor.unflatten(2, (across, -1)).transpose(1, 2).flatten(0, 1)[self._back]

        far = from_grid(to_grid(per_head) @ prompt_keys.transpose(2, 3))
        near = per_head @ own_keys.transpose(2, 3)
        share = torch.cat([far, near], dim=-1).float().add_(self._seen(window)).softmax(-1).to(own_keys.dtype)
        seen = from_grid(to_grid(share[..., : self._deep]) @ prompt_values)
        seen = seen + share[..., self._deep :] @ own_values
        return seen.to(query.dtype).view(rows, 1, heads, size)


class _SlotLayer(_Layer):
    def __init__(self, owner: SlotCache, number: int) -> None:
        super().__init__()
        self.owner, self.number = owner, number

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        store = self.owner.own
        rows = torch.arange(store.active, device=store.device)
        keys, values = store.layers[self.number]
        keys[rows, :, store.lengths[: store.active]] = key_states[:, :, 0]
        values[rows, :, store.lengths[: store.active]] = value_states[:, :, 0]
        return keys[: store.active, :, : self.owner.width], values[: store.active, :, : self.owner.width]

    def get_seq_length(self) -> int:
        return self.owner.width


class SlotCache(Cache):
    """A row for each sequence, with a copy of its prompt: what a model's own attention can read."""

    def __init__(self, layers: int, slots: int, length: int, device: torch.device) -> None:
        super().__init__(layers=[_SlotLayer(self, number) for number in range(layers)])
        self.own = _Slots(slots, length, device)
        self.width = 0

    @property
    def room(self) -> tuple[int, int]:
        """How many more prompts and sequences fit."""
        free = self.own.slots - self.own.active
        return free, free

    def append(self, caught: CatchCache, stems: Places, tails: Places, owners: Tensor) -> None:
        """As ``DecodeCache.append``; tails are empty."""
        pairs = caught.pairs()
        self.own.allocate(pairs, pairs[0][0].dtype)
        self.own.append(pairs, stems[owners])

    def keep(self, kept: Tensor) -> Tensor:
        """As ``_Slots.keep``."""
        return self.own.keep(kept)

    def step(self, policy: Any, embeds: Tensor, positions: Tensor) -> Tensor:
        """As ``DecodeCache.step``."""
        lengths = self.own.lengths[: self.own.active]
        self.width = int(lengths.max()) + 1
        future = torch.arange(self.width, device=lengths.device) > lengths[:, None]
        mask = torch.zeros(future.shape, dtype=embeds.dtype, device=embeds.device).masked_fill_(future, -torch.inf)
        hidden = policy.hidden(embeds, positions, mask[:, None, None], self)
        lengths += 1
        return hidden
