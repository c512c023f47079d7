"""From scored rollouts to micro-batches and their loss: what the closed loop and GRPO share.

A ``Batch`` is one set of rollouts with one objective; its totals (see ``engine.objective.Totals``) span all its
micro-batches, so how they are cut does not matter. Groups without reward spread take part in the totals and cost no
forward pass. Left out: sampling and rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rise_vlm import ranks
from rise_vlm.engine.objective import Loss, Totals, policy_loss
from rise_vlm.engine.sample import Rollout
from rise_vlm.engine.score import Group, completion_logprobs, pack_by_tokens
from rise_vlm.policy import Policy, Prompt
from rise_vlm.policy.room import TRAINED
from rise_vlm.recipes.schema import Objective


@dataclass(frozen=True)
class Scored:
    """Rollouts of one prompt with their advantages (n,)."""

    prompt: Prompt
    rollouts: list[Rollout]
    advantages: Tensor


def entropy(sampled: Sequence[Sequence[Rollout]]) -> float:
    """The policy's entropy in nats per token, as its own samples tell it: minus their mean log-prob, at the temperature
    sampled with. It costs nothing, and is as sure as there are many tokens; 0 where there are none."""
    found = [rollout.logprobs for group in sampled for rollout in group]
    return -float(torch.cat(found).mean()) if found else 0.0


@dataclass(frozen=True)
class Micro:
    """One micro-batch: groups, and padded over all their completions (N, C) the sampler's log-probs and a mask."""

    groups: list[Group]
    advantages: Tensor
    old_logprobs: Tensor
    ref_logprobs: Tensor | None
    mask: Tensor
    totals: Totals
    temperature: float
    reports: bool


def micro_batches(
    policy: Policy,
    scored: Sequence[Scored],
    *,
    objective: Objective,
    temperature: float,
    completion_limit: int,
    token_budget: int,
    reports: bool = True,
) -> list[Micro]:
    """The micro-batches of a step, none where no group has reward spread (and no reference pulls). Of several processes
    each gets those of its own groups.

    They hold at most ``token_budget`` tokens, or what ``policy.room`` has found to fit.
    ``reports`` False keeps their metrics out of the step's row, for a second batch beside the main one.
    """
    lengths = [len(rollout.ids) for one in scored for rollout in one.rollouts]
    totals = Totals(len(lengths), sum(lengths), completion_limit)
    # With a reference even a group without spread has a gradient: that of the divergence.
    live = [one for one in scored if objective.beta > 0 or bool((one.advantages != 0).any())]
    live = live[ranks.share([_group(one).tokens for one in live])]
    packed = pack_by_tokens([_group(one) for one in live], policy.room.of(TRAINED, token_budget))
    references = _references(policy, packed, temperature) if objective.beta > 0 else [None] * len(packed)
    micros: list[Micro] = []
    done = 0
    for part, reference in zip(packed, references, strict=True):
        members = live[done : done + len(part)]
        done += len(part)
        micros.append(_micro(part, members, reference, temperature, totals, reports))
    return micros


def _references(policy: Policy, packed: Sequence[list[Group]], temperature: float) -> list[Tensor]:
    """By micro-batch the log-probs (N, C) under the reference."""
    with policy.reference(), policy.in_step():
        return [rows(completion_logprobs(policy, part, temperature=temperature, grad=False)).cpu() for part in packed]


def _group(one: Scored) -> Group:
    return Group(one.prompt, [rollout.ids for rollout in one.rollouts])


def _micro(
    groups: list[Group],
    members: Sequence[Scored],
    reference: Tensor | None,
    temperature: float,
    totals: Totals,
    reports: bool,
) -> Micro:
    rollouts = [rollout for one in members for rollout in one.rollouts]
    return Micro(
        groups=groups,
        advantages=torch.cat([one.advantages for one in members]),
        old_logprobs=pad_sequence([rollout.logprobs for rollout in rollouts], batch_first=True),
        ref_logprobs=reference,
        mask=pad_sequence([torch.ones(len(rollout.ids)) for rollout in rollouts], batch_first=True),
        totals=totals,
        temperature=temperature,
        reports=reports,
    )


def micro_loss(policy: Policy, micro: Micro, objective: Objective) -> Loss:
    """The loss of one micro-batch, with gradient."""
    logprobs = rows(completion_logprobs(policy, micro.groups, temperature=micro.temperature, grad=True))
    device = logprobs.device
    loss = policy_loss(
        logprobs,
        micro.old_logprobs.to(device),
        None if micro.ref_logprobs is None else micro.ref_logprobs.to(device),
        micro.advantages.to(device),
        micro.mask.to(device),
        kind=objective.loss,
        clip_low=objective.clip_low,
        clip_high=objective.clip_high,
        beta=objective.beta,
        totals=micro.totals,
    )
    return loss if micro.reports else Loss(loss.value)


def rows(padded: Sequence[Tensor]) -> Tensor:
    """Groups' (G, C) tensors of different C as one (N, C), padded with 0 on the right."""
    width = max(part.shape[1] for part in padded)
    return torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in padded])
