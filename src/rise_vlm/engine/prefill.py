"""Keys and values of prompts, what several of them begin with computed once.

Prompts with the same pictures, pictures first, begin alike: that is their stem, and what follows it in each is its
tail. A tail sees its stem as a completion sees its prompt, so G reconstructions of one picture, each from another
rationale, cost one picture. Left out: stems of prompts without pictures, which are short; stems kept across calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rise_vlm.engine.cache import CatchCache, Places
from rise_vlm.policy.attention import SharedPrompts
from rise_vlm.policy.policy import Policy
from rise_vlm.policy.prompt import Prompt

Pictures = Callable[[Sequence[Prompt]], list[list[Tensor]]]
"""The features of each prompt's pictures."""


@dataclass(frozen=True)
class Stem:
    """Distinct ``prompts`` whose first ``length`` tokens are the same, pictures among them. One alone is all stem."""

    prompts: tuple[Prompt, ...]
    length: int

    @classmethod
    def of(cls, prompts: Sequence[Prompt]) -> Stem:
        """With the longest stem that leaves each of several prompts a tail."""
        if len(prompts) == 1:
            return cls(tuple(prompts), len(prompts[0]))
        shortest = min(len(prompt) for prompt in prompts) - 1
        first, *others = (prompt.input_ids[:shortest] for prompt in prompts)
        same = torch.stack([ids == first for ids in others]).all(0).int().cumprod(0)
        return cls(tuple(prompts), int(same.sum()))

    @property
    def tails(self) -> list[int]:
        """How many tokens follow the stem in each prompt."""
        return [len(prompt) - self.length for prompt in self.prompts]

    @property
    def pieces(self) -> list[tuple[Prompt, int, int]]:
        """The stem and each tail: a prompt, and the tokens of it from where to where."""
        tails = [(prompt, self.length, len(prompt)) for prompt in self.prompts]
        return [(self.prompts[0], 0, self.length), *tails]

    @property
    def tokens(self) -> int:
        """How many are computed."""
        return self.length + sum(self.tails)


def stems(prompts: Sequence[Prompt], most: int) -> list[Stem]:
    """The stems of distinct prompts, each of at most ``most`` of them."""
    alike: dict[object, list[Prompt]] = {}
    for prompt in prompts:
        alike.setdefault(prompt.head if prompt.images else prompt.identity, []).append(prompt)
    return [Stem.of(group[start : start + most]) for group in alike.values() for start in range(0, len(group), most)]


@dataclass(frozen=True)
class Prefilled:
    """A forward pass: where in it Q stems and their D tails lie, and the logits (D, V) that follow each prompt."""

    caught: CatchCache
    stems: Places
    tails: Places
    logits: Tensor

    def last(self, prompts: int) -> Prefilled:
        """The last stem alone, which so many prompts have."""
        at = slice(-prompts, None)
        return replace(self, stems=self.stems[-1:], tails=self.tails[at], logits=self.logits[at])


def prefill(policy: Policy, stems: Sequence[Stem], pictures: Pictures) -> Prefilled:
    """Compute ``stems`` and their tails, in a row without padding if the model can share a prompt."""
    firsts = [stem.prompts[0] for stem in stems]
    features = pictures(firsts)
    caught = CatchCache(int(policy.base.config.get_text_config().num_hidden_layers))
    if not policy.packs:
        ids, positions, lengths = pad_prompts(firsts, policy.device)
        # Padding is on the right, so the causal rule alone keeps it out of sight.
        hidden = policy.hidden(policy.embed(ids, features), positions, None, caught)
        starts = torch.arange(len(firsts), device=policy.device) * ids.shape[1]
        ends = starts + lengths
        return Prefilled(caught, Places(starts, lengths), Places(ends, lengths * 0), _after(policy, hidden, ends - 1))

    pieces = [piece for stem in stems for piece in stem.pieces]
    ids = torch.cat([prompt.input_ids[start:end] for prompt, start, end in pieces])[None]
    positions = torch.cat([prompt.positions[:, start:end] for prompt, start, end in pieces], dim=1)[:, None]
    lengths = torch.tensor([end - start for _, start, end in pieces], device=policy.device)
    every = Places(lengths.cumsum(0) - lengths, lengths)
    is_stem = torch.tensor([n == 0 for stem in stems for n in range(len(stem.pieces))], device=policy.device)
    embeds = policy.embed(ids.to(policy.device), [[feature for row in features for feature in row]])
    plan = SharedPrompts.of(
        [stem.length for stem in stems],
        [stem.tails for stem in stems],
        policy.device,
        embeds.dtype,
        [None if one.blocks is None else one.blocks[: stem.length] for one, stem in zip(firsts, stems, strict=True)],
    )
    hidden = policy.hidden(embeds, positions.to(policy.device), None, caught, plan=plan)
    # A tail of no tokens ends where its stem does: right before it.
    ends = (every.starts + lengths - 1)[~is_stem]
    return Prefilled(caught, every[is_stem], every[~is_stem], _after(policy, hidden, ends))


def _after(policy: Policy, hidden: Tensor, at: Tensor) -> Tensor:
    """Logits (D, V) at tokens ``at`` (D,) of hidden states (R, L, H)."""
    return policy.logits(hidden.flatten(0, 1)[at])


def pad_prompts(prompts: Sequence[Prompt], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Right-padded ids (R, L), positions (axes, R, L) and lengths (R,) of prompts."""
    ids = pad_sequence([prompt.input_ids for prompt in prompts], batch_first=True)
    positions = pad_sequence([prompt.positions.T for prompt in prompts], batch_first=True).permute(2, 0, 1)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    return ids.to(device), positions.to(device), lengths.to(device)
