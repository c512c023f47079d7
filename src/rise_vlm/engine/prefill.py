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
from rise_vlm.policy.attention import PaddedRows, SharedPrompts
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
    """Compute ``stems`` and their tails; a model that cannot share a prompt takes stems without tails only."""
    caught = CatchCache(int(policy.base.config.get_text_config().num_hidden_layers))
    features = pictures([stem.prompts[0] for stem in stems])
    return (_packed if policy.packs else _padded)(policy, stems, features, caught)


def _packed(policy: Policy, stems: Sequence[Stem], features: list[list[Tensor]], caught: CatchCache) -> Prefilled:
    """All pieces end to end in one row."""
    device = policy.device
    pieces = [piece for stem in stems for piece in stem.pieces]
    ids = torch.cat([prompt.input_ids[start:end] for prompt, start, end in pieces])[None]
    positions = torch.cat([prompt.positions[:, start:end] for prompt, start, end in pieces], dim=1)[:, None]
    lengths = torch.tensor([end - start for _, start, end in pieces], device=device)
    every = Places(lengths.cumsum(0) - lengths, lengths)
    is_stem = torch.tensor([number == 0 for stem in stems for number in range(len(stem.pieces))], device=device)
    embeds = policy.embed(ids.to(device), features)
    plan = SharedPrompts.of(
        [stem.length for stem in stems], [stem.tails for stem in stems], device, embeds.dtype, _blocks(stems)
    )
    hidden = policy.hidden(embeds, positions.to(device), None, caught, plan=plan)
    # A tail of no tokens ends where its stem does: right before it.
    ends = (every.starts + lengths - 1)[~is_stem]
    return Prefilled(caught, every[is_stem], every[~is_stem], policy.logits(hidden[0, ends]))


def _padded(policy: Policy, stems: Sequence[Stem], features: list[list[Tensor]], caught: CatchCache) -> Prefilled:
    """A row for each prompt, padded on the right, where the causal rule keeps the padding out of sight."""
    ids, positions, lengths = pad_prompts([stem.prompts[0] for stem in stems], policy.device)
    embeds = policy.embed(ids, features)
    plan = PaddedRows.of(_blocks(stems), ids.shape[1], policy.device)
    hidden = policy.hidden(embeds, positions, None, caught, plan=plan).flatten(0, 1)
    starts = torch.arange(len(stems), device=policy.device) * ids.shape[1]
    ends = starts + lengths
    return Prefilled(caught, Places(starts, lengths), Places(ends, lengths * 0), policy.logits(hidden[ends - 1]))


def _blocks(stems: Sequence[Stem]) -> list[Tensor | None]:
    found = [(stem.prompts[0].blocks, stem.length) for stem in stems]
    return [None if blocks is None else blocks[:length] for blocks, length in found]


def pad_prompts(prompts: Sequence[Prompt], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Right-padded ids (R, L), positions (axes, R, L) and lengths (R,) of prompts."""
    ids = pad_sequence([prompt.input_ids for prompt in prompts], batch_first=True)
    positions = pad_sequence([prompt.positions.T for prompt in prompts], batch_first=True).permute(2, 0, 1)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    return ids.to(device), positions.to(device), lengths.to(device)
