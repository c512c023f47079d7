"""Attention over groups that share a prompt, as an attention function of transformers.

Registered under ``NAME``, it attends as transformers does unless a forward pass brings a plan: ``SharedPrompts`` here
for scoring and training, ``PaddedRows`` for rows in which pictures see both ways, ``DecodeCache`` of the engine for
sampling. A layer with a window lets a token see only the last so many, itself among them.

For ``SharedPrompts`` all tokens of a batch of groups lie in one row without padding, ``[prompt, c1 .. cG, next prompt,
...]``. A completion sees its prompt and its own past. That equals a dense mask over the row and costs far less:
prompts attend among themselves once, and no query meets another completion's keys.
Left out: kernels that read the shared prompt's keys without copying them to each completion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "rise_shared_prompt"
"""The attention implementation's name in transformers' registry."""
SHORT = 512
"""Up to so many keys a CPU attends in bfloat16 by plain products: its fused kernel takes 2 to 5 times as long there,
most of it in the backward pass."""
UNKNOWN = ("softcap", "s_aux", "position_bias")
"""Arguments of transformers' attention functions that change the result in ways no plan computes."""


class AttentionPlan(Protocol):
    """Replaces the attention of each layer in one forward pass.

    ``mask`` is any 4-D tensor: transformers makes no mask of its own where it is given one.
    """

    @property
    def mask(self) -> Tensor:
        """See above."""
        ...

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float, window: int | None
    ) -> Tensor:
        """Outputs (R, L, heads, D) from queries (R, heads, L, D) and keys and values (R, key heads, L, D)."""
        ...


@dataclass(frozen=True)
class PaddedRows:
    """Rows (R, L) padded on the right; a token sees those before it, and all of its own block (-1: none)."""

    blocks: Tensor  # (R, L) int64
    _masks: dict[int | None, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, blocks: Sequence[Tensor | None], width: int, device: torch.device) -> PaddedRows | None:
        """For rows of ``width`` that begin with these blocks; None where all sight is causal."""
        if all(row is None for row in blocks):
            return None
        padded = torch.full((len(blocks), width), -1)
        for row, own in zip(padded, blocks, strict=True):
            if own is not None:
                row[: len(own)] = own
        return cls(padded.to(device))

    @property
    def mask(self) -> Tensor:
        """See ``AttentionPlan``."""
        return self.seen(None)

    def seen(self, window: int | None) -> Tensor:
        """Which tokens each one sees (R, 1, L, L)."""
        if window not in self._masks:
            place = torch.arange(self.blocks.shape[1], device=self.blocks.device)
            behind = place[:, None] - place[None, :]
            same = (self.blocks[:, :, None] == self.blocks[:, None, :]) & (self.blocks >= 0)[:, :, None]
            made = (behind >= 0) | same
            self._masks[window] = (made if window is None else made & (behind < window))[:, None]
        return self._masks[window]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float, window: int | None
    ) -> Tensor:
        """See ``AttentionPlan``."""
        groups = query.shape[1] // key.shape[1]
        key, value = _repeat(key, groups), _repeat(value, groups)
        return _attend(query, key, value, self.seen(window), scaling).transpose(1, 2)


@dataclass(frozen=True)
class SharedPrompts:
    """Which of the N tokens of a row belong together: R prompts and S completions.

    Index N stands for padding. ``back`` (N,) says where each token lies in the padded prompts (R x P) followed by the
    padded completions (S x C).
    """

    prompts: Tensor  # (R, P) int64, token numbers
    completions: Tensor  # (S, C) int64, token numbers
    owner: Tensor  # (S,) int64, the prompt of each completion
    back: Tensor  # (N,) int64
    mask: Tensor  # (S, 1, C, P + C), additive
    ends: Tensor  # (S,) int64, the length of each completion's prompt
    rows: PaddedRows  # the prompts
    causal: bool  # no picture in them sees both ways
    _masks: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        prompts_of: Sequence[int],
        completions_of: Sequence[Sequence[int]],
        device: torch.device,
        dtype: torch.dtype,
        blocks: Sequence[Tensor | None] = (),
    ) -> SharedPrompts:
        """The layout of rows ``[prompt, its completions, ...]`` of these lengths; empty completions take no room.

        ``blocks`` are the prompts' (see ``Prompt``).
        """
        prompts: list[Tensor] = []
        completions: list[Tensor] = []
        owner: list[int] = []
        here = 0
        for number, (prompt, own) in enumerate(zip(prompts_of, completions_of, strict=True)):
            prompts.append(torch.arange(here, here + prompt))
            here += prompt
            for length in own:
                if length:
                    completions.append(torch.arange(here, here + length))
                    owner.append(number)
                here += length
        padded = pad_sequence(prompts, batch_first=True, padding_value=here)
        tails = pad_sequence(completions, batch_first=True, padding_value=here) if completions else padded[:0, :0]
        owners = torch.tensor(owner, dtype=torch.long)
        flat = torch.cat([padded.flatten(), tails.flatten()])
        back = torch.empty(here + 1, dtype=torch.long).scatter_(0, flat, torch.arange(len(flat)))[:here]
        own_length = (tails < here).sum(1)
        place = torch.arange(tails.shape[1])
        sees_prompt = (padded < here)[owners][:, None, :].expand(-1, tails.shape[1], -1)
        sees_own = (place[:, None] >= place[None, :]) & (place < own_length[:, None])[:, None]
        seen = torch.cat([sees_prompt, sees_own], dim=-1)
        mask = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, -torch.inf)[:, None]
        ends = (padded < here).sum(1)[owners]
        both_ways = PaddedRows.of(blocks, padded.shape[1], device)
        return cls(
            prompts=padded.to(device),
            completions=tails.to(device),
            owner=owners.to(device),
            back=back.to(device),
            mask=mask.to(device),
            ends=ends.to(device),
            rows=both_ways or PaddedRows(torch.full_like(padded, -1, device=device)),
            causal=both_ways is None,
        )

    def _seen(self, window: int | None) -> tuple[Tensor | None, Tensor]:
        """The masks of prompts, None for all that comes before, and of completions, additive."""
        if window is None or window >= self.mask.shape[-1]:
            return None if self.causal else self.rows.mask, self.mask
        if window not in self._masks:
            wide, long = self.prompts.shape[1], self.completions.shape[1]
            place = torch.arange(wide + long, device=self.ends.device)
            at = torch.where(place < wide, place, self.ends[:, None] + place - wide)
            beyond = at[:, wide:, None] - at[:, None, :] >= window
            made = self.mask.masked_fill(beyond[:, None], -torch.inf)
            # Each sees itself, padding too: a row that sees nothing would be NaN.
            made[:, :, place[:long], place[wide:]] = 0
            self._masks[window] = made
        return self.rows.seen(window), self._masks[window]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float, window: int | None
    ) -> Tensor:
        """See ``AttentionPlan``; the single row holds all N tokens."""
        index = torch.cat([self.prompts.flatten(), self.completions.flatten()])

        def parts(tensor: Tensor) -> tuple[Tensor, Tensor]:
            """The prompts' (R, heads, P, D) and the completions' (S, heads, C, D) part."""
            tokens = tensor[0].transpose(0, 1).flatten(1)
            places = _Spread.apply(tokens, index, self.back).unflatten(-1, (tensor.shape[1], -1))
            split = self.prompts.numel()
            of_prompts = places[:split].unflatten(0, self.prompts.shape)
            return of_prompts.transpose(1, 2), places[split:].unflatten(0, self.completions.shape).transpose(1, 2)

        (query_p, query_c), (key_p, key_c), (value_p, value_c) = parts(query), parts(key), parts(value)
        groups = query.shape[1] // key.shape[1]
        seen_p, seen_c = self._seen(window)
        done = [_attend(query_p, _repeat(key_p, groups), _repeat(value_p, groups), seen_p, scaling)]
        if len(self.owner):
            key_c = _repeat(torch.cat([key_p.index_select(0, self.owner), key_c], dim=2), groups)
            value_c = _repeat(torch.cat([value_p.index_select(0, self.owner), value_c], dim=2), groups)
            done.append(_attend(query_c, key_c, value_c, seen_c, scaling))
        places = torch.cat([part.transpose(1, 2).flatten(0, 1) for part in done])
        tokens = _Gather.apply(places.flatten(1), index, self.back)
        return tokens.unflatten(-1, (query.shape[1], -1))[None]


class _Spread(torch.autograd.Function):
    """Tokens (N, F) to padded places (M, F), zeros in padding; each token has one place, so backward gathers too."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, index: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(index, back)
        padded = tokens.new_empty(len(tokens) + 1, tokens.shape[1])
        padded[:-1], padded[-1] = tokens, 0
        return padded.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        _, back = ctx.saved_tensors
        return grad.index_select(0, back), None, None


class _Gather(torch.autograd.Function):
    """Padded places (M, F) back to tokens (N, F): the reverse of ``_Spread``; padding gets no gradient."""

    @staticmethod
    def forward(ctx: Any, places: Tensor, index: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(index, back)
        return places.index_select(0, back)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        index, _ = ctx.saved_tensors
        padded = grad.new_empty(len(grad) + 1, grad.shape[1])
        padded[:-1], padded[-1] = grad, 0
        return padded.index_select(0, index), None, None


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    plan: AttentionPlan | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' scaled-dot-product attention, or what ``plan`` says; returns (R, L, heads, D)."""
    if plan is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    if any(kwargs.get(name) is not None for name in UNKNOWN):
        raise ValueError(f"no plan knows how to attend with {', '.join(UNKNOWN)}")
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    return plan.attend(layer, query, key, value, scaling, kwargs.get("sliding_window")), None


def _attend(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, scaling: float) -> Tensor:
    """Outputs (R, heads, L, D); ``seen`` is additive, or what is seen, or None: each token sees those before it."""
    keys = key.shape[2]
    if query.device.type != "cpu" or query.dtype != torch.bfloat16 or keys > SHORT:
        return scaled_dot_product_attention(query, key, value, seen, is_causal=seen is None, scale=scaling)
    if seen is None:
        seen = torch.ones(keys, keys, dtype=torch.bool).tril()
    if seen.dtype == torch.bool:
        seen = torch.zeros(seen.shape, dtype=query.dtype).masked_fill_(~seen, -torch.inf)
    return ((query * scaling) @ key.transpose(2, 3)).add_(seen).softmax(-1) @ value


def _repeat(tensor: Tensor, groups: int) -> Tensor:
    """Key heads (B, K, L, D) repeated for the query heads that share them (B, K x groups, L, D)."""
    if groups == 1:
        return tensor
    return tensor[:, :, None].expand(-1, -1, groups, -1, -1).flatten(1, 2)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
