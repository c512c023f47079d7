"""Log-probs of completions, each prompt computed once.

A group's prompt and completions share one row ``[prompt, c1 .. cG]``: a completion sees the prompt and itself, and its
rope positions go on from the prompt's, so the result is that of G separate rows (tested to 1e-5).
Only positions that predict a completion token reach the output layer, in chunks that are computed again in the
backward pass: the full (tokens x vocabulary) logits never exist. Left out: output layers that are not one matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rise_vlm.console import say
from rise_vlm.errors import UserError
from rise_vlm.policy.attention import PaddedRows, SharedPrompts
from rise_vlm.policy.linear import product
from rise_vlm.policy.policy import Policy
from rise_vlm.policy.prompt import Prompt
from rise_vlm.policy.room import SCORED

LOGITS_PER_CHUNK = 1 << 22
"""Logits held at once by the output layer: 16 MB in float32."""


@dataclass(frozen=True)
class Group:
    """A prompt and its completions, each (C,) int64 with at least one token."""

    prompt: Prompt
    completions: list[Tensor]

    def __post_init__(self) -> None:
        if any(len(completion) == 0 for completion in self.completions):
            raise ValueError("a completion has no tokens, so there is nothing to score")

    @property
    def tokens(self) -> int:
        """Tokens of the group's packed row. A completion's last token is only predicted, so it takes no place."""
        return len(self.prompt) + sum(len(c) - 1 for c in self.completions)


def completion_logprobs(
    policy: Policy,
    groups: Sequence[Group],
    *,
    temperature: float = 1.0,
    grad: bool,
    plain: bool = False,
    budget: int = 1 << 15,
) -> list[Tensor]:
    """Log-probs (G, C) float32 of each group's completion tokens, padded with zeros on the right.

    ``temperature`` divides the logits as it did in sampling. ``plain`` repeats the prompt for each completion: for
    families that cannot share it, and as the oracle of the shared path. Without ``grad`` at most ``budget`` tokens go
    through the model at once, and fewer once memory has run out (``policy.room``); with it, the caller
    bounds the memory (``pack_by_tokens``).

    Raises:
        UserError: the temperature is not above 0, or a prompt and a completion do not fit the model's context.
    """
    if not temperature > 0:
        raise UserError(f"temperature: {temperature} is not above 0, so completions have no log-probs.")
    for group in groups:
        _check_length(policy, group)
    if not policy.packs and not plain:
        plain = True
        _say_once(f"{policy.family.model_type}: this family cannot share a prompt, so it is repeated per completion.")
    with torch.set_grad_enabled(grad and torch.is_grad_enabled()):
        features = policy.image_features([g.prompt for g in groups], grad=grad)
        cut = [Group(g.prompt, [c]) for g in groups for c in g.completions] if plain else groups
        rows = [row for row in cut if row.completions]

        def scored(batches: list[list[int]]) -> list[Tensor]:
            found: dict[int, list[Tensor]] = {}
            for batch in batches:
                made = _score_rows(policy, [rows[i] for i in batch], features, temperature, plain)
                found.update(zip(batch, made, strict=True))
            return [logprobs for i in range(len(rows)) for logprobs in found[i]]

        if not rows:
            flat = []
        elif grad:
            flat = scored([list(range(len(rows)))])
        else:
            longest = max(row.tokens for row in rows)
            flat = policy.room.fit(
                SCORED,
                asked=budget,
                used=lambda: longest * len(rows),
                least=longest,
                attempt=lambda limit: scored(_batches(rows, limit)),
            )
    each = iter(flat)
    return [_padded([next(each) for _ in group.completions], policy.device) for group in groups]


def _check_length(policy: Policy, group: Group) -> None:
    longest = max((len(completion) for completion in group.completions), default=0)
    if len(group.prompt) + longest > policy.context:
        raise UserError(
            f"a prompt of {len(group.prompt)} tokens ('{group.prompt.text[:60]}...') and a completion of {longest} are "
            f"over the model's {policy.context}. Lower max_pixels or shorten one of them."
        )


def pack_by_tokens(groups: Sequence[Group], budget: int) -> list[list[Group]]:
    """Micro-batches, in order, of at most ``budget`` tokens; a group is never cut, so a larger one stands alone."""
    batches: list[list[Group]] = []
    held = 0
    for group in groups:
        if batches and held + group.tokens <= budget:
            batches[-1].append(group)
            held += group.tokens
        else:
            batches.append([group])
            held = group.tokens
    return batches


def _batches(rows: Sequence[Group], budget: int) -> list[list[int]]:
    """Row numbers in batches of similar length whose padded size stays within the budget, longest first."""
    batches: list[list[int]] = []
    for i in sorted(range(len(rows)), key=lambda i: -rows[i].tokens):
        if batches and rows[batches[-1][0]].tokens * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def _score_rows(
    policy: Policy, rows: Sequence[Group], features: dict[str, Tensor], temperature: float, plain: bool
) -> list[list[Tensor]]:
    """For each row and completion its log-probs (C,)."""
    pictures = [features[image.key] for row in rows for image in row.prompt.images]
    ids, positions, source, targets = (_plain_layout if plain else _shared_layout)(rows, policy.device)
    embeds = policy.embed(ids, [pictures])
    blocks = [row.prompt.blocks for row in rows]
    if plain:
        width = torch.tensor([row.tokens for row in rows], device=policy.device)
        valid = (torch.arange(ids.shape[1], device=policy.device) < width[:, None]).long()
        hidden = policy.hidden(embeds, positions, valid, plan=PaddedRows.of(blocks, ids.shape[1], policy.device))
    else:
        lengths = [[len(c) - 1 for c in row.completions] for row in rows]
        plan = SharedPrompts.of([len(row.prompt) for row in rows], lengths, policy.device, embeds.dtype, blocks)
        hidden = policy.hidden(embeds, positions, None, plan=plan)
    at = hidden.flatten(0, 1).index_select(0, source)
    logprobs = _OutputLayer.apply(at, policy.head.weight, policy, targets, temperature)
    parts = iter(logprobs.split([len(c) for row in rows for c in row.completions]))
    return [[next(parts) for _ in row.completions] for row in rows]


def _shared_layout(rows: Sequence[Group], device: torch.device) -> tuple[Tensor, ...]:
    """All rows end to end: ids (1, N), positions (axes, 1, N), targets (T,) and the places (T,) that predict them."""
    ids: list[Tensor] = []
    positions: list[Tensor] = []
    source: list[Tensor] = []
    here = 0
    for row in rows:
        prompt = row.prompt
        ids.append(prompt.input_ids)
        positions.append(prompt.positions)
        here += len(prompt)
        last = torch.tensor([here - 1])
        for completion in row.completions:
            count = len(completion) - 1
            ids.append(completion[:-1])
            positions.append((prompt.next_position + torch.arange(count)).expand(len(prompt.positions), -1))
            source += [last, torch.arange(here, here + count)]
            here += count
    targets = torch.cat([completion for row in rows for completion in row.completions])
    made = torch.cat(ids)[None], torch.cat(positions, dim=1)[:, None], torch.cat(source), targets
    return tuple(tensor.to(device) for tensor in made)


def _plain_layout(rows: Sequence[Group], device: torch.device) -> tuple[Tensor, ...]:
    """One completion per row, right-padded: as ``_shared_layout`` with ids (R, L) and places in R x L."""
    whole = [_shared_layout([row], torch.device("cpu")) for row in rows]
    ids = pad_sequence([ids[0] for ids, _, _, _ in whole], batch_first=True)
    positions = pad_sequence([p[:, 0].T for _, p, _, _ in whole], batch_first=True).permute(2, 0, 1)
    source = torch.cat([source + r * ids.shape[1] for r, (_, _, source, _) in enumerate(whole)])
    return tuple(t.to(device) for t in (ids, positions, source, torch.cat([targets for *_, targets in whole])))


class _OutputLayer(torch.autograd.Function):
    """Hidden states (T, H) to log-probs (T,) of targets (T,), a chunk of logits at a time."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, policy: Policy, targets: Tensor, temperature: float
    ) -> Tensor:
        logprobs = torch.empty(len(hidden), device=hidden.device)
        normaliser = torch.empty_like(logprobs)
        for at in _chunks(hidden, weight):
            logits = policy.logits(hidden[at]).div_(temperature)
            normaliser[at] = logits.logsumexp(-1)
            logprobs[at] = logits.gather(-1, targets[at, None])[:, 0] - normaliser[at]
        ctx.save_for_backward(hidden, weight, targets, normaliser)
        ctx.policy, ctx.temperature = policy, temperature
        return logprobs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        hidden, weight, targets, normaliser = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        # float32: many chunks are summed.
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        for at in _chunks(hidden, weight):
            logits = ctx.policy.logits(hidden[at]).div_(ctx.temperature)
            chance = logits.sub_(normaliser[at, None]).exp_()
            slope = chance.mul_(-grad[at, None])
            slope.scatter_add_(-1, targets[at, None], grad[at, None])
            slope = slope.div_(ctx.temperature).to(weight.dtype)
            if grad_hidden is not None:
                grad_hidden[at] = product(slope, weight)
            if grad_weight is not None:
                grad_weight += product(slope.T, hidden[at])
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None, None, None


def _chunks(hidden: Tensor, weight: Tensor) -> list[slice]:
    size = max(1, LOGITS_PER_CHUNK // len(weight))
    return [slice(start, start + size) for start in range(0, len(hidden), size)]


def _padded(logprobs: list[Tensor], device: torch.device) -> Tensor:
    return pad_sequence(logprobs, batch_first=True) if logprobs else torch.zeros(0, 0, device=device)


_said: set[str] = set()


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        say(text)
