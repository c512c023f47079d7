"""Log-probs of completions, each prompt computed once.

A group's prompt and completions share one row ``[prompt, c1 .. cG]``. A mask lets a completion see the prompt and
itself, and each completion's rope positions go on from the prompt's, so the result is that of G separate rows.
Only positions that predict a completion token reach the output layer, in chunks that are recomputed in the backward
pass: the full (tokens x vocabulary) logits never exist. Left out: attention kernels that skip masked blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rise_vlm.policy.policy import Policy
from rise_vlm.policy.prompt import Prompt

LOGITS_PER_CHUNK = 1 << 24
"""Logits held at once by the output layer: 64 MB in float32."""


@dataclass(frozen=True)
class Group:
    """A prompt and its completions, each (C,) int64 with at least one token."""

    prompt: Prompt
    completions: list[Tensor]

    @property
    def tokens(self) -> int:
        """Tokens of the packed row."""
        return len(self.prompt) + sum(len(c) - 1 for c in self.completions)


@dataclass(frozen=True)
class _Row:
    """One row of a forward pass: a prompt and some of its group's completions."""

    prompt: Prompt
    completions: list[Tensor]


def completion_logprobs(
    policy: Policy,
    groups: Sequence[Group],
    *,
    temperature: float = 1.0,
    grad: bool,
    entropy: bool = False,
    plain: bool = False,
    budget: int = 1 << 15,
) -> list[Tensor]:
    """Log-probs (G, Cmax) float32 of each group's completion tokens, padded with 0 on the right.

    ``temperature`` divides the logits as it did in sampling. With ``entropy`` the result holds a second half, the
    entropies of the same distributions without gradient: ``logprobs + entropies``. ``plain`` repeats the prompt for
    each completion (for families that cannot pack, and as the oracle of the packed path). Without ``grad``, at most
    ``budget`` tokens go through the model at once.
    """
    packed = policy.packs and not plain
    with torch.set_grad_enabled(grad and torch.is_grad_enabled()):
        features = policy.image_features([g.prompt for g in groups], grad=grad)
        rows = [
            _Row(g.prompt, part) for g in groups for part in ([g.completions] if packed else [[c] for c in g.completions])
        ]
        batches = [list(range(len(rows)))] if grad else _batches(rows, budget)
        found: dict[int, list[tuple[Tensor, Tensor]]] = {}
        for batch in batches:
            scored = _score_rows(policy, [rows[i] for i in batch], features, temperature, entropy, packed)
            found.update(zip(batch, scored, strict=True))
    flat = [pair for i in range(len(rows)) for pair in found[i]]
    return _pad(groups, [p[0] for p in flat]) + (_pad(groups, [p[1] for p in flat]) if entropy else [])


def pack_by_tokens(groups: Sequence[Group], budget: int) -> list[list[Group]]:
    """Micro-batches in order whose padded size (rows x longest) stays within ``budget``; groups are kept whole.

    A group larger than the budget gets a micro-batch of its own.
    """
    batches: list[list[Group]] = []
    longest = 0
    for group in groups:
        wider = max(longest, group.tokens)
        if batches and wider * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(group)
            longest = wider
        else:
            batches.append([group])
            longest = group.tokens
    return batches


def _length(row: _Row) -> int:
    return len(row.prompt) + sum(len(c) - 1 for c in row.completions)


def _batches(rows: Sequence[_Row], budget: int) -> list[list[int]]:
    """Row numbers in batches of rows of similar length."""
    batches: list[list[int]] = []
    for i in sorted(range(len(rows)), key=lambda i: -_length(rows[i])):
        if batches and _length(rows[batches[-1][0]]) * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def _score_rows(
    policy: Policy, rows: Sequence[_Row], features: dict[str, Tensor], temperature: float, entropy: bool, packed: bool
) -> list[list[tuple[Tensor, Tensor]]]:
    """For each row and completion the log-probs (C,) and entropies (C,)."""
    layout = _Layout.of(rows, policy.device)
    embeds = policy.embed(layout.ids, [[features[image.key] for image in row.prompt.images] for row in rows])
    mask = layout.packed_mask(embeds.dtype) if packed else layout.valid
    hidden = policy.hidden(embeds, layout.positions, mask)
    at = hidden[layout.source_row, layout.source_column]
    logprobs, entropies = _output_layer(policy, at, layout.targets, temperature, entropy)
    sizes = [len(c) for row in rows for c in row.completions]
    pairs = list(zip(logprobs.split(sizes), entropies.split(sizes), strict=True))
    result: list[list[tuple[Tensor, Tensor]]] = []
    for row in rows:
        result.append(pairs[: len(row.completions)])
        pairs = pairs[len(row.completions) :]
    return result


@dataclass(frozen=True)
class _Layout:
    """Tensors of a batch of rows. The last token of a completion is only a target, so it is in no row."""

    ids: Tensor  # (R, L)
    positions: Tensor  # (axes, R, L)
    segment: Tensor  # (R, L): 0 prompt, 1.. completion, -1 padding
    source_row: Tensor  # (N,): where the hidden state that predicts each target is
    source_column: Tensor  # (N,)
    targets: Tensor  # (N,)

    @classmethod
    def of(cls, rows: Sequence[_Row], device: torch.device) -> _Layout:
        width = max(_length(row) for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        positions = torch.zeros(rows[0].prompt.positions.shape[0], len(rows), width, dtype=torch.long)
        segment = torch.full((len(rows), width), -1)
        source_row: list[Tensor] = []
        source_column: list[Tensor] = []
        for r, row in enumerate(rows):
            end = len(row.prompt)
            ids[r, :end], positions[:, r, :end], segment[r, :end] = row.prompt.input_ids, row.prompt.positions, 0
            last = end - 1
            for number, completion in enumerate(row.completions, start=1):
                count = len(completion) - 1
                ids[r, end : end + count] = completion[:-1]
                positions[:, r, end : end + count] = row.prompt.next_position + torch.arange(count)
                segment[r, end : end + count] = number
                source_row.append(torch.full((count + 1,), r))
                source_column.append(torch.cat([torch.tensor([last]), torch.arange(end, end + count)]))
                end += count
        targets = torch.cat([completion for row in rows for completion in row.completions])
        tensors = (ids, positions, segment, torch.cat(source_row), torch.cat(source_column), targets)
        return cls(*(t.to(device) for t in tensors))

    @property
    def valid(self) -> Tensor:
        """1 where a token is, 0 where padding is (R, L)."""
        return (self.segment >= 0).long()

    def packed_mask(self, dtype: torch.dtype) -> Tensor:
        """Additive mask (R, 1, L, L): the past of one's own segment and of the prompt; padding sees only itself."""
        width = self.ids.shape[1]
        place = torch.arange(width, device=self.ids.device)
        seen = (self.segment[:, :, None] == self.segment[:, None, :]) | (self.segment[:, None, :] == 0)
        seen &= (place[:, None] >= place[None, :]) & (self.segment[:, None, :] >= 0)
        seen |= place[:, None] == place[None, :]
        mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)
        return mask[:, None]


def _output_layer(
    policy: Policy, hidden: Tensor, targets: Tensor, temperature: float, entropy: bool
) -> tuple[Tensor, Tensor]:
    """Log-probs (N,) and entropies (N,) (zeros unless asked for) of ``targets`` (N,) given ``hidden`` (N, H)."""
    chunk = max(1, LOGITS_PER_CHUNK // policy.base.lm_head.weight.shape[0])

    def one(part: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        logprobs = (policy.logits(part) / temperature).log_softmax(-1)
        picked = logprobs.gather(-1, target[:, None])[:, 0]
        if not entropy:
            return picked, torch.zeros_like(picked)
        with torch.no_grad():
            return picked, -(logprobs.exp() * logprobs.clamp_min(torch.finfo(torch.float32).min)).sum(-1)

    pairs: list[tuple[Tensor, Tensor]] = []
    for part, target in zip(hidden.split(chunk), targets.split(chunk), strict=True):
        if torch.is_grad_enabled():
            pairs.append(checkpoint(one, part, target, use_reentrant=False))  # type: ignore[arg-type]
        else:
            pairs.append(one(part, target))
    return torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs])


def _pad(groups: Sequence[Group], flat: Sequence[Tensor]) -> list[Tensor]:
    result: list[Tensor] = []
    done = 0
    for group in groups:
        part = flat[done : done + len(group.completions)]
        done += len(part)
        result.append(torch.nn.utils.rnn.pad_sequence(list(part), batch_first=True))
    return result
