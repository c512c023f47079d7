"""SFT steps: records to prompts with target completions, and their loss. Warm-up and sft share it.

A ``Unit`` is what one visit of a record trains on: prompts, each with one or more targets, so that the rationales of a
record are computed behind one prompt. Left out: where targets come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rise_vlm import ranks
from rise_vlm.engine.objective import ANSWER, RATIONALE, Loss, SftKind, sft_loss, sft_total
from rise_vlm.engine.score import Group, completion_logprobs, pack_by_tokens
from rise_vlm.engine.settings import TrainSettings
from rise_vlm.engine.work import Prepared
from rise_vlm.policy import Policy, Prompt
from rise_vlm.policy.room import TRAINED
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.material import visits
from rise_vlm.stages.policy_gradient import rows

PARTS = {"rationale": RATIONALE, "answer": ANSWER}


@dataclass(frozen=True)
class Target:
    """A completion to learn: its token ids (C,) with the stop token, and the segment of each (C,)."""

    ids: Tensor
    segments: Tensor


Unit = list[tuple[Prompt, list[Target]]]


@dataclass(frozen=True)
class Micro:
    """One micro-batch of groups with the segments (N, C) of all their completions; ``total`` is the whole step's."""

    groups: list[Group]
    segments: Tensor
    total: int


def target(policy: Policy, *parts: tuple[str, str]) -> Target:
    """The completion made of ``parts``, each a ("rationale" or "answer", text) pair; the stop token joins the last.

    The text is tokenised as a whole; a token belongs to the part in which it begins. Special tokens spelled out in it
    (``<|image_pad|>``) are read as plain text, as in prompts.
    """
    text = "".join(words for _, words in parts)
    encoded = policy.tokenizer(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    ends: list[int] = []
    for _, words in parts:
        ends.append((ends[-1] if ends else 0) + len(words))
    segments = [next(i for i, end in enumerate(ends) if start < end) for start, _ in encoded["offset_mapping"]]
    segments.append(len(parts) - 1)
    ids = [*encoded["input_ids"], stop_id(policy)]
    return Target(torch.tensor(ids), torch.tensor([PARTS[parts[i][0]] for i in segments]))


def stop_id(policy: Policy) -> int:
    """The token that ends a turn."""
    end = policy.tokenizer.eos_token_id
    return end if end in policy.stop_ids else policy.stop_ids[0]


class Supervised:
    """An SFT over ``count`` records as the trainer sees it; ``unit(index, step)`` makes what a visit trains on."""

    def __init__(
        self,
        policy: Policy,
        count: int,
        unit: Callable[[int, int], Unit],
        *,
        records_per_step: int,
        loss: SftKind,
        train: TrainSettings,
        meter: Meter,
    ) -> None:
        self.policy, self.count, self.unit = policy, count, unit
        self.records_per_step, self.train, self.meter = records_per_step, train, meter
        self.kind: SftKind = loss

    def prepare(self, step: int, generator: torch.Generator) -> Prepared:
        """The micro-batches of ``step``; of several processes each gets those of its own groups."""
        chosen = visits(self.count, self.records_per_step, step, self.train.seed)
        pairs = [pair for index in chosen for pair in self.unit(index, step)]
        groups = [Group(prompt, [one.ids for one in targets]) for prompt, targets in pairs]
        segments = [pad_sequence([one.segments for one in targets], batch_first=True) for _, targets in pairs]
        total = sum(sft_total(part, self.kind) for part in segments)
        tokens = sum(int((part != 0).sum()) for part in segments)
        completions = sum(len(part) for part in segments)
        mine = ranks.share([group.tokens for group in groups])
        groups, segments = groups[mine], segments[mine]
        micro: list[Micro] = []
        done = 0
        for part in pack_by_tokens(groups, self.policy.room.of(TRAINED, self.train.token_budget)):
            micro.append(Micro(part, rows(segments[done : done + len(part)]), total))
            done += len(part)
        self.meter.add(tokens=tokens)
        self.meter.save()
        return Prepared(micro, {"tokens": float(tokens), "completions": float(completions)})

    def loss(self, micro: Micro) -> Loss:
        """Negative log-likelihood of a micro-batch's targets, with gradient."""
        logprobs = rows(completion_logprobs(self.policy, micro.groups, grad=True))
        return sft_loss(logprobs, micro.segments.to(logprobs.device), self.kind, micro.total)


def rotated(items: Sequence[str], take: int, visit: int) -> list[str]:
    """``take`` of ``items`` starting further on at each visit, so that all get their turn."""
    take = min(take, len(items))
    start = visit * take
    return [items[(start + i) % len(items)] for i in range(take)]
