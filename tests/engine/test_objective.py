"""Advantages, policy-gradient losses and the SFT loss: properties, and figures worked out by hand or in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rise_vlm.engine.objective import (
    ANSWER,
    IGNORE,
    RATIONALE,
    Loss,
    PolicyKind,
    Totals,
    advantages,
    has_spread,
    k3,
    merge_metrics,
    policy_loss,
    sft_loss,
    sft_total,
)
from rise_vlm.errors import UserError

KINDS: tuple[PolicyKind, ...] = get_args(PolicyKind)
REWARD = st.integers(0, 1250).map(lambda thousandths: thousandths / 1000)
REWARD_GROUPS = st.integers(2, 6).flatmap(
    lambda size: st.lists(st.lists(REWARD, min_size=size, max_size=size), min_size=1, max_size=2)
)


def batch(seed: int, rows: int = 6, width: int = 5) -> dict[str, Tensor]:
    """Random log-probs of ``rows`` completions of 1 to ``width`` tokens, with garbage in the padding."""
    g = torch.Generator().manual_seed(seed)
    mask = (torch.arange(width) < torch.randint(1, width + 1, (rows, 1), generator=g)).float()
    logprobs = -torch.rand(rows, width, generator=g) * 3
    old, reference = (logprobs + torch.randn(rows, width, generator=g) * 0.5 for _ in range(2))
    old = torch.where(mask > 0, old, torch.tensor(float("nan")))
    return {
        "logprobs": logprobs,
        "old_logprobs": old,
        "ref_logprobs": reference,
        "advantages": torch.randn(rows, generator=g),
        "mask": mask,
    }


def gradient_of(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    at = at.clone().requires_grad_(True)
    function(at).backward()
    assert at.grad is not None
    return at.grad


# --- advantages


@given(REWARD_GROUPS)
def test_group_std_is_the_reward_standardised_within_its_group(rewards: list[list[float]]) -> None:
    values = np.array(rewards, dtype=np.float64)
    expected = (values - values.mean(1, keepdims=True)) / (values.std(1, ddof=1, keepdims=True) + 1e-4)
    expected[np.ptp(values, axis=1) <= 1e-6] = 0
    np.testing.assert_allclose(advantages(torch.tensor(rewards)).numpy(), expected, atol=2e-3)


@given(REWARD_GROUPS, st.sampled_from(["group_std", "group_mean", "leave_one_out"]))
def test_advantages_sum_to_zero_keep_the_order_and_ignore_a_shift(rewards: list[list[float]], kind: Any) -> None:
    values = torch.tensor(rewards)
    found = advantages(values, kind)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found.sum(1), torch.zeros(len(found)), atol=1e-3, rtol=0)
    better = values[:, :, None] > values[:, None, :] + 1e-5
    assert (found[:, :, None] >= found[:, None, :])[better].all()
    torch.testing.assert_close(
        advantages(values + 1, "group_mean"), advantages(values, "group_mean"), atol=1e-5, rtol=0
    )


def test_leave_one_out_compares_with_the_mean_of_the_others() -> None:
    found = advantages(torch.tensor([[1.0, 0.0, 0.5]]), "leave_one_out")
    torch.testing.assert_close(found, torch.tensor([[0.75, -0.75, 0.0]]))


@pytest.mark.parametrize("kind", ["group_std", "group_mean", "leave_one_out"])
def test_a_group_without_spread_gets_exactly_zero(kind: Any) -> None:
    rewards = torch.tensor([[0.1] * 7, [0.1] * 6 + [0.10000002]])  # the second differs by float dust
    assert not has_spread(rewards).any()
    assert (advantages(rewards, kind) == 0).all()
    assert (advantages(torch.tensor([[3.0]]), kind) == 0).all()
    assert has_spread(torch.tensor([[0.1, 0.1, 0.2], [1.0, 1.0, 1.0]])).tolist() == [True, False]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_rewards_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        advantages(torch.tensor([[1.0, bad]]))


def test_unknown_kinds_are_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown loss 'gsppo'.*Did you mean 'gspo'"):
        policy_loss(**batch(0), kind="gsppo")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown advantage 'std'"):
        advantages(torch.zeros(1, 2), "std")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"unknown SFT loss 'tokens'.*Did you mean 'token'"):
        sft_total(torch.ones(1, 1), "tokens")  # type: ignore[arg-type]


# --- policy loss


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("kind", KINDS)
def test_micro_batches_add_up_to_the_whole_step(kind: PolicyKind, beta: float) -> None:
    whole = batch(1)
    totals = Totals.of([whole["mask"]], completion_limit=9)

    def loss_at(logprobs: Tensor, parts: list[slice]) -> tuple[Tensor, dict[str, float]]:
        losses: list[Loss] = []
        for part in parts:
            some = {name: tensor[part] for name, tensor in (whole | {"logprobs": logprobs}).items()}
            losses.append(policy_loss(**some, kind=kind, beta=beta, totals=totals))
        return torch.stack([loss.value for loss in losses]).sum(), merge_metrics(losses)

    once, cut = [slice(0, 6)], [slice(0, 1), slice(1, 5), slice(5, 6)]
    torch.testing.assert_close(loss_at(whole["logprobs"], cut)[0], loss_at(whole["logprobs"], once)[0])
    gradients = [gradient_of(lambda x, parts=parts: loss_at(x, parts)[0], whole["logprobs"]) for parts in (cut, once)]
    torch.testing.assert_close(*gradients)
    assert loss_at(whole["logprobs"], cut)[1] == pytest.approx(loss_at(whole["logprobs"], once)[1])


def test_metrics_speak_of_the_tokens_that_were_computed_not_of_the_whole_step() -> None:
    """Groups without spread are in the totals but not in any micro-batch: they must not pull the mean ratio down."""
    values = batch(1)
    found = policy_loss(**values, totals=Totals(completions=60, tokens=1000), beta=0.1)
    expected = policy_loss(**values, beta=0.1)
    assert merge_metrics([found]) == pytest.approx(merge_metrics([expected]))
    ratio = (values["logprobs"] - values["old_logprobs"]).exp()[values["mask"] > 0]
    assert float(found.metrics["ratio"]) == pytest.approx(float(ratio.mean()), rel=1e-5)
    assert merge_metrics([found, Loss(torch.zeros(()))]) == merge_metrics([found])


@pytest.mark.parametrize("kind", KINDS)
def test_padding_has_neither_loss_nor_gradient(kind: PolicyKind) -> None:
    values = batch(2)
    poisoned = torch.where(values["mask"] > 0, values["logprobs"], torch.tensor(-torch.inf))
    found = policy_loss(**(values | {"logprobs": poisoned}), kind=kind, beta=0.1)
    expected = policy_loss(**values, kind=kind, beta=0.1)
    torch.testing.assert_close(found.value, expected.value)
    gradient = gradient_of(
        lambda x: policy_loss(**(values | {"logprobs": x}), kind=kind, beta=0.1).value, values["logprobs"]
    )
    assert torch.isfinite(gradient).all()
    assert (gradient[values["mask"] == 0] == 0).all()
    assert (gradient[values["mask"] == 1] != 0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_on_policy_the_gradient_is_that_of_reinforce(kind: PolicyKind) -> None:
    """At ratio 1, d loss / d logprob = -A / (what the kind divides by)."""
    values = batch(3) | {"old_logprobs": None, "ref_logprobs": None}
    mask, gain = values["mask"], values["advantages"]
    assert mask is not None
    assert gain is not None
    totals = Totals.of([mask], completion_limit=7)
    found = gradient_of(
        lambda x: policy_loss(**(values | {"logprobs": x}), kind=kind, totals=totals).value,  # type: ignore[arg-type]
        values["logprobs"],  # type: ignore[arg-type]
    )
    divisor = {
        "grpo": mask.sum(1, keepdim=True) * len(mask),
        "gspo": mask.sum(1, keepdim=True) * len(mask),
        "dr_grpo": torch.tensor(len(mask) * 7.0),
    }.get(kind, mask.sum())
    torch.testing.assert_close(found, -gain[:, None] * mask / divisor)


@pytest.mark.parametrize(
    ("advantage", "ratio", "moves"),
    [(1, 1.5, False), (1, 1.25, True), (1, 0.5, True), (-1, 0.75, False), (-1, 1.5, True), (-1, 0.9, True)],
)
def test_the_clip_stops_only_steps_that_go_further_the_same_way(advantage: int, ratio: float, moves: bool) -> None:
    old = torch.full((1, 2), -1.0)
    metrics: dict[str, Tensor] = {}

    def value(x: Tensor) -> Tensor:
        loss = policy_loss(
            x, old, None, torch.tensor([float(advantage)]), torch.ones(1, 2), clip_low=0.2, clip_high=0.3
        )
        metrics.update(loss.metrics)
        return loss.value

    gradient = gradient_of(value, old + math.log(ratio))
    assert bool((gradient != 0).all()) == moves
    clipped = {"clip_low": advantage < 0 and not moves, "clip_high": advantage > 0 and not moves}
    assert {name: float(metrics[name]) for name in clipped} == {name: float(on) for name, on in clipped.items()}
    assert float(metrics["ratio"]) == pytest.approx(ratio, rel=1e-5)
    assert float(metrics["ratio_max"]) == pytest.approx(ratio, rel=1e-5)
    assert float(metrics["logprob_gap"]) == pytest.approx(abs(math.log(ratio)), rel=1e-5)


def test_cispo_bounds_the_weight_but_keeps_every_gradient() -> None:
    old = torch.tensor([[-1.0, -1.0]])
    now = old + torch.tensor([[math.log(3.0), math.log(0.1)]])
    gain = torch.tensor([2.0])
    found = gradient_of(
        lambda x: policy_loss(x, old, None, gain, torch.ones(1, 2), kind="cispo", clip_high=0.5).value, now
    )
    torch.testing.assert_close(found, torch.tensor([[-1.5 * 2 / 2, -0.1 * 2 / 2]]))


def test_gspo_gives_all_tokens_of_a_completion_one_ratio() -> None:
    """One token far off the old policy: clipped alone by grpo, averaged away by gspo."""
    old = torch.full((1, 10), -1.0)
    now = old.clone()
    now[0, 0] += 1.0
    gain, mask = torch.ones(1), torch.ones(1, 10)
    by_kind = {
        kind: gradient_of(lambda x, kind=kind: policy_loss(x, old, None, gain, mask, kind=kind).value, now)
        for kind in ("grpo", "gspo")
    }
    assert by_kind["grpo"][0, 0] == 0
    torch.testing.assert_close(by_kind["gspo"], torch.full((1, 10), -math.exp(0.1) / 10))


@given(st.lists(st.floats(-4, 0), min_size=1, max_size=6), st.floats(-2, 2))
def test_k3_is_never_negative_and_zero_only_for_equal_policies(values: list[float], shift: float) -> None:
    logprobs = torch.tensor([values], dtype=torch.float64)
    assert (k3(logprobs, logprobs) == 0).all()
    divergence = k3(logprobs, logprobs + shift)
    assert (divergence >= 0).all()
    assert abs(shift) < 1e-3 or bool((divergence > 0).all())


def test_unbiased_kl_has_the_gradient_of_the_true_kl() -> None:
    """Over all of a small vocabulary, weighted by the sampler's probabilities, it is d KL(policy || reference)."""
    g = torch.Generator().manual_seed(4)
    logits, reference = torch.randn(7, generator=g), torch.randn(7, generator=g).log_softmax(0)

    def expected_term(x: Tensor, unbiased: bool) -> Tensor:
        logprobs = x.log_softmax(0)
        totals = Totals(completions=1, tokens=1)
        terms = [
            policy_loss(
                logprobs[i : i + 1, None],
                None,
                reference[i : i + 1, None],
                torch.zeros(1),
                torch.ones(1, 1),
                beta=1.0,
                unbiased_kl=unbiased,
                totals=totals,
            ).value
            for i in range(7)
        ]
        return (torch.stack(terms) * logprobs.detach().exp()).sum()

    true = gradient_of(lambda x: (x.log_softmax(0).exp() * (x.log_softmax(0) - reference)).sum(), logits)
    torch.testing.assert_close(gradient_of(lambda x: expected_term(x, True), logits), true)
    assert not torch.allclose(gradient_of(lambda x: expected_term(x, False), logits), true, atol=1e-2)


def test_beta_adds_the_divergence_and_needs_a_reference() -> None:
    values = batch(5)
    without = policy_loss(**values, kind="dapo", beta=0.0)
    with_kl = policy_loss(**values, kind="dapo", beta=0.5)
    assert "kl" not in without.metrics
    torch.testing.assert_close(with_kl.value, without.value + 0.5 * with_kl.metrics["kl"])
    with pytest.raises(ValueError, match="ref_logprobs"):
        policy_loss(**(values | {"ref_logprobs": None}), beta=0.5)  # type: ignore[arg-type]


def test_dr_grpo_without_the_completion_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="completion_limit"):
        policy_loss(**batch(6), kind="dr_grpo", totals=Totals(completions=6, tokens=20))


def test_half_precision_log_probs_are_summed_in_float32() -> None:
    values = batch(7)
    half = {name: tensor.bfloat16() for name, tensor in values.items()}
    single = {name: tensor.float() for name, tensor in half.items()}
    assert policy_loss(**half).value.dtype == torch.float32
    torch.testing.assert_close(policy_loss(**half).value, policy_loss(**single).value, rtol=0, atol=0)


# --- SFT


SEGMENTS = torch.tensor(
    [
        [RATIONALE] * 4 + [ANSWER] + [IGNORE],
        [RATIONALE] * 2 + [ANSWER] * 2 + [IGNORE] * 2,
        [ANSWER] * 3 + [IGNORE] * 3,
    ]
)


def test_balanced_weighs_rationale_and_answer_the_same_by_hand() -> None:
    logprobs = -torch.tensor([[1.0, 2, 3, 2, 10, 99], [4, 2, 1, 3, 99, 99], [3, 6, 9, 99, 99, 99]])
    # (mean(1,2,3,2) + 10) / 2 = 6;  (3 + 2) / 2 = 2.5;  only an answer: 6
    assert float(sft_loss(logprobs, SEGMENTS).value) == pytest.approx((6 + 2.5 + 6) / 3)
    assert float(sft_loss(logprobs, SEGMENTS, "token").value) == pytest.approx((8 + 10 + 6 + 4 + 18) / 12)


def test_a_long_rationale_drowns_the_answer_only_in_the_token_loss() -> None:
    segments = torch.tensor([[RATIONALE] * 39 + [ANSWER]])
    share = {}
    for kind in ("balanced", "token"):
        gradient = gradient_of(lambda x, kind=kind: sft_loss(x, segments, kind).value, torch.zeros(1, 40))
        share[kind] = float(gradient[0, -1] / gradient.sum())
    assert share == pytest.approx({"balanced": 0.5, "token": 1 / 40})


@pytest.mark.parametrize("kind", ["balanced", "token"])
def test_sft_micro_batches_add_up_to_the_whole_step(kind: Any) -> None:
    logprobs = -torch.rand(3, 6, generator=torch.Generator().manual_seed(0))
    total = sum(sft_total(row[None], kind) for row in SEGMENTS)
    assert total == sft_total(SEGMENTS, kind)

    def cut(x: Tensor) -> Tensor:
        parts = [sft_loss(x[i : i + 1], SEGMENTS[i : i + 1], kind, total).value for i in range(3)]
        return torch.stack(parts).sum()

    def once(x: Tensor) -> Tensor:
        return sft_loss(x, SEGMENTS, kind).value

    torch.testing.assert_close(cut(logprobs), once(logprobs))
    torch.testing.assert_close(gradient_of(cut, logprobs), gradient_of(once, logprobs))


@pytest.mark.parametrize("kind", ["balanced", "token"])
def test_ignored_tokens_and_empty_targets_teach_nothing(kind: Any) -> None:
    logprobs = torch.full((3, 6), -1.0)
    logprobs[SEGMENTS == IGNORE] = -torch.inf
    gradient = gradient_of(lambda x: sft_loss(x, SEGMENTS, kind).value, logprobs)
    assert torch.isfinite(gradient).all()
    assert (gradient[SEGMENTS == IGNORE] == 0).all()
    assert (gradient[SEGMENTS != IGNORE] < 0).all()
    nothing = torch.zeros(2, 3, dtype=torch.long)
    assert sft_total(nothing, kind) == 0
    assert float(sft_loss(torch.zeros(2, 3), nothing, kind).value) == 0
