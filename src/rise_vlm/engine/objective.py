"""The objectives: advantages, policy-gradient losses and the SFT loss, as pure functions of tensors.

Every loss is *additive*: it is divided by the totals of the whole step (`Totals`, or ``total`` for SFT), never by what
happens to be in one call. So the loss and the gradient of a step are the sums over its micro-batches, however the step
is cut to fit the memory; see ``docs/engine.md``. Without totals, a call is taken for the whole step.

Left out: nothing here runs a model, samples, or knows of prompts and images (`engine.score`, `engine.sample`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import get_args

import torch
from torch import Tensor

from rise_vlm.engine.settings import AdvantageKind, PolicyKind, SftKind
from rise_vlm.errors import UserError, nearest

IGNORE, RATIONALE, ANSWER = 0, 1, 2
"""Values of the ``segments`` of `sft_loss`: tokens without loss, tokens of the rationale, tokens of the answer."""

STD_EPS = 1e-4
"""Added to the standard deviation of a group, as in TRL and the official RISE code."""

SPREAD_EPS = 1e-6
"""Rewards of one group that lie closer together than this are equal: floating-point dust is not a signal."""


@dataclass(frozen=True)
class Loss:
    """The loss of a micro-batch and what there is to say about it.

    ``value`` is a scalar with a gradient; the values of a step's micro-batches add up to the step's loss. ``metrics``
    are detached means over ``weight`` tokens of this micro-batch (maxima, if the name ends in ``_max``): see
    `merge_metrics`.
    """

    value: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    weight: float = 1.0

    def cpu(self) -> Loss:
        """The same on the CPU, where other processes can take it."""
        return Loss(self.value.cpu(), {name: metric.cpu() for name, metric in self.metrics.items()}, self.weight)


@dataclass(frozen=True)
class Totals:
    """What a whole step holds, over all its micro-batches: the denominators of `policy_loss`.

    Completions of groups without reward spread belong here even though no forward pass is spent on them: their loss is
    zero, not absent. ``completion_limit`` is the ``max_new_tokens`` of the rollouts; only ``dr_grpo`` reads it.
    """

    completions: int
    tokens: int
    completion_limit: int = 0

    @classmethod
    def of(cls, masks: Iterable[Tensor], completion_limit: int = 0) -> Totals:
        """Count the completions (rows) and tokens (ones) of the masks ``(N, C)`` of a step."""
        masks = list(masks)
        return cls(sum(len(mask) for mask in masks), int(sum(int(mask.sum()) for mask in masks)), completion_limit)


def merge_metrics(losses: Iterable[Loss]) -> dict[str, float]:
    """The metrics of a step from those of its micro-batches: weighted means; maxima for names ending in ``_max``."""
    found: dict[str, list[tuple[float, float]]] = {}
    for loss in losses:
        for name, value in loss.metrics.items():
            found.setdefault(name, []).append((float(value), loss.weight))
    return {name: _merged(name, pairs) for name, pairs in found.items()}


def _merged(name: str, pairs: list[tuple[float, float]]) -> float:
    if name.endswith("_max"):
        return max(value for value, _ in pairs)
    total = sum(weight for _, weight in pairs)
    return sum(value * weight for value, weight in pairs) / total if total else 0.0


def has_spread(rewards: Tensor) -> Tensor:
    """Which groups can teach anything: rewards ``(B, G)`` -> bool ``(B,)``, true where they differ within the group."""
    return rewards.amax(dim=1) - rewards.amin(dim=1) > SPREAD_EPS


def advantages(rewards: Tensor, kind: AdvantageKind = "group_std") -> Tensor:
    """How much better each rollout did than its group: rewards ``(B, G)`` -> float32 ``(B, G)``.

    ``group_std``: (r - mean) / (std + 1e-4), std with Bessel's correction (GRPO, as in TRL).
    ``group_mean``: r - mean (Dr. GRPO). ``leave_one_out``: r - mean of the other rollouts (RLOO).
    A group without spread, or of one rollout, gets exactly zero. Rewards must be finite: ValueError otherwise.
    """
    _known(kind, AdvantageKind, "advantage")
    if rewards.dim() != 2:
        raise ValueError(f"rewards must be (B, G), not {tuple(rewards.shape)}")
    if not bool(torch.isfinite(rewards).all()):
        raise ValueError(f"rewards must be finite, not {rewards}")
    rewards = rewards.float()
    size = rewards.shape[1]
    if size < 2:
        return torch.zeros_like(rewards)
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    if kind == "group_std":
        centred = centred / (rewards.std(dim=1, keepdim=True) + STD_EPS)
    elif kind == "leave_one_out":
        centred = centred * (size / (size - 1))
    return torch.where(has_spread(rewards).unsqueeze(1), centred, torch.zeros_like(centred))


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor | None,
    ref_logprobs: Tensor | None,
    advantages: Tensor,
    mask: Tensor,
    *,
    kind: PolicyKind = "grpo",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
    unbiased_kl: bool = True,
    totals: Totals | None = None,
) -> Loss:
    """The policy-gradient loss of N completions, to be minimised.

    ``logprobs``, ``old_logprobs``, ``ref_logprobs``: ``(N, C)``, log-probability of each sampled token under the policy
    that trains, the one that sampled (None: the same, ratio 1) and the reference (needed only if ``beta`` > 0).
    ``advantages``: ``(N,)``. ``mask``: ``(N, C)``, one at completion tokens, zero at padding (whatever stands there).

    Per token, with ratio w = exp(logprobs - old_logprobs):
      grpo, dr_grpo, dapo, bnpo: -min(w A, clip(w, 1 - clip_low, 1 + clip_high) A)
      gspo: the same with one w per completion, the geometric mean of its token ratios (arXiv 2507.18071)
      cispo: -sg(min(w, 1 + clip_high)) A logprobs (arXiv 2506.13585; ``clip_low`` is not used)
    plus beta times the k3 estimate of the KL to the reference, e^d - d - 1 with d = ref - logprobs; ``unbiased_kl``
    multiplies it by w, so that its gradient is that of the true KL (arXiv 2512.02556; TRL's default, not GRPO's own).
    Summed as: grpo, gspo: mean over the tokens of a completion, then over completions; dapo, bnpo, cispo: mean over all
    tokens of the step; dr_grpo: sum over tokens / (completions x completion_limit). bnpo's "batch" is the whole step
    here, which makes it dapo: what fits in memory must not change the objective.

    Metrics, means over the tokens given: ``clip_low``, ``clip_high`` (share of tokens whose gradient the clip cut),
    ``ratio``, ``logprob_gap`` (absolute difference to the sampler), with a reference ``kl``; and ``ratio_max``.
    """
    _known(kind, PolicyKind, "loss")
    if beta > 0 and ref_logprobs is None:
        raise ValueError("beta > 0 needs ref_logprobs")
    totals = totals or Totals.of([mask], completion_limit=mask.shape[1])
    mask = mask.to(torch.float32)
    logprobs = _masked(logprobs, mask)
    log_ratio = logprobs - (logprobs.detach() if old_logprobs is None else _masked(old_logprobs, mask))
    advantage = advantages.to(torch.float32).unsqueeze(1)
    if kind == "gspo":
        mean_log_ratio = (log_ratio * mask).sum(1, keepdim=True) / _length(mask).unsqueeze(1)
        ratio = mean_log_ratio.exp().expand_as(mask)
    else:
        ratio = log_ratio.exp()

    if kind == "cispo":
        per_token = -ratio.clamp(max=1 + clip_high).detach() * advantage * logprobs
    else:
        clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
        per_token = -torch.minimum(ratio * advantage, clipped * advantage)
    divergence = None
    if ref_logprobs is not None and beta > 0:
        divergence = k3(logprobs, _masked(ref_logprobs, mask)) * (ratio if unbiased_kl else 1)
        per_token = per_token + beta * divergence

    metrics = _policy_metrics(ratio, log_ratio, advantage, mask, kind, clip_low, clip_high)
    if divergence is not None:
        metrics["kl"] = _mean(divergence.detach(), mask)
    return Loss(_reduced(per_token, mask, kind, totals), metrics, weight=float(mask.sum()))


def k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy || reference) per token: e^d - d - 1 >= 0, d = ref - policy. Same shape."""
    difference = ref_logprobs - logprobs
    return difference.exp() - difference - 1


def sft_loss(logprobs: Tensor, segments: Tensor, kind: SftKind = "balanced", total: int | None = None) -> Loss:
    """The negative log-likelihood of N target completions.

    ``logprobs``: ``(N, C)``. ``segments``: ``(N, C)`` integers, `IGNORE`, `RATIONALE` or `ANSWER` for each token.
    ``balanced``: rationale and answer are each averaged over their own tokens, then with each other (a completion that
    has only one counts that one), then over completions: the few tokens of an answer weigh as much as its rationale.
    ``token``: the usual mean over all tokens, in which a short answer drowns.
    ``total``: what the step holds in all, the sum of `sft_total` over its micro-batches; None takes this call for all.

    Metrics: none; take ``value``. Values of ``logprobs`` at ignored tokens do not matter.
    """
    total = sft_total(segments, kind) if total is None else total
    logprobs = _masked(logprobs, (segments != IGNORE).to(torch.float32))
    if kind == "token":
        return Loss(-logprobs.sum() / max(total, 1))
    means: list[Tensor] = []
    present: list[Tensor] = []
    for segment in (RATIONALE, ANSWER):
        mask = (segments == segment).to(torch.float32)
        means.append((logprobs * mask).sum(1) / _length(mask))
        present.append(mask.any(dim=1).to(torch.float32))
    per_completion = torch.stack(means).sum(0) / torch.stack(present).sum(0).clamp(min=1)
    return Loss(-per_completion.sum() / max(total, 1))


def sft_total(segments: Tensor, kind: SftKind = "balanced") -> int:
    """What `sft_loss` divides by: completions with any loss (``balanced``), or tokens with loss (``token``)."""
    _known(kind, SftKind, "SFT loss")
    trained = segments != IGNORE
    return int(trained.any(dim=1).sum()) if kind == "balanced" else int(trained.sum())


def _reduced(per_token: Tensor, mask: Tensor, kind: PolicyKind, totals: Totals) -> Tensor:
    if kind in ("grpo", "gspo"):
        return ((per_token * mask).sum(1) / _length(mask)).sum() / max(totals.completions, 1)
    if kind == "dr_grpo":
        if totals.completion_limit < 1:
            raise ValueError("dr_grpo divides by the completion limit: give Totals(completion_limit=max_new_tokens)")
        return (per_token * mask).sum() / (max(totals.completions, 1) * totals.completion_limit)
    return (per_token * mask).sum() / max(totals.tokens, 1)


def _policy_metrics(
    ratio: Tensor,
    log_ratio: Tensor,
    advantage: Tensor,
    mask: Tensor,
    kind: PolicyKind,
    clip_low: float,
    clip_high: float,
) -> dict[str, Tensor]:
    ratio, log_ratio = ratio.detach(), log_ratio.detach()
    too_low = (ratio < 1 - clip_low) & (advantage < 0) & (kind != "cispo")
    too_high = (ratio > 1 + clip_high) & (advantage > 0)
    means = {"clip_low": too_low, "clip_high": too_high, "ratio": ratio, "logprob_gap": log_ratio.abs()}
    metrics = {name: _mean(value, mask) for name, value in means.items()}
    return metrics | {"ratio_max": (ratio * mask).max() if ratio.numel() else ratio.new_zeros(())}


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _masked(values: Tensor, mask: Tensor) -> Tensor:
    """float32 values with padding set to 0, so that inf or NaN there cannot leak through a multiplication."""
    return torch.where(mask > 0, values.float(), torch.zeros((), device=values.device))


def _length(mask: Tensor) -> Tensor:
    """(N, C) -> tokens of each row (N,), at least 1."""
    return mask.sum(1).clamp(min=1)


def _known(kind: str, options: object, noun: str) -> None:
    if kind not in get_args(options):
        names = get_args(options)
        raise UserError(f"unknown {noun} '{kind}': choose one of {', '.join(names)}.{nearest(kind, names)}")
