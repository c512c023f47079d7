"""A small but real GRPO work for tests: sampled rollouts, rewards, the packed forward pass, the policy loss."""

from __future__ import annotations

from typing import Any

import torch
from tiny_models import picture
from torch import Tensor

from rise_vlm.engine.objective import Loss, Totals, advantages, policy_loss
from rise_vlm.engine.sample import sample
from rise_vlm.engine.score import Group, completion_logprobs
from rise_vlm.engine.work import Prepared
from rise_vlm.policy.policy import Policy


class Letters:
    """GRPO on two pictures: the reward is the share of letters among the bytes of a completion."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.prompts = [policy.encode("Write.", [picture(seed)]) for seed in (1, 2)]

    def prepare(self, step: int, generator: torch.Generator) -> Prepared:
        rollouts = sample(self.policy, self.prompts, 4, max_new_tokens=6, generator=generator)
        rewards = torch.tensor([[sum(c.isalpha() for c in r.text) / 6 for r in group] for group in rollouts])
        groups = [Group(p, [r.ids for r in group]) for p, group in zip(self.prompts, rollouts, strict=True)]
        old = completion_logprobs(self.policy, groups, grad=False)
        masks = [_mask(group, values) for group, values in zip(groups, old, strict=True)]
        totals = Totals.of(masks)
        gains = advantages(rewards)
        micro = [
            ([group], values, gain, mask, totals)
            for group, values, gain, mask in zip(groups, old, gains, masks, strict=True)
        ]
        return Prepared(micro, {"reward": float(rewards.mean())})

    def loss(self, micro: Any) -> Loss:
        groups, old, gain, mask, totals = micro
        logprobs = completion_logprobs(self.policy, groups, grad=True)[0]
        return policy_loss(logprobs, old, None, gain, mask, totals=totals)


def _mask(group: Group, like: Tensor) -> Tensor:
    lengths = torch.tensor([len(ids) for ids in group.completions])
    return (torch.arange(like.shape[1]) < lengths[:, None]).float()
