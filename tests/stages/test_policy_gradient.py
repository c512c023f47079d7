"""Micro-batches of a policy-gradient step: how they are cut does not matter, and what teaches nothing costs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from stage_kit import generator

from rise_vlm.engine.objective import merge_metrics
from rise_vlm.engine.sample import sample
from rise_vlm.engine.score import Group, completion_logprobs
from rise_vlm.policy import Policy
from rise_vlm.recipes.schema import Objective
from rise_vlm.stages.policy_gradient import Scored, entropy, micro_batches, micro_loss


@pytest.fixture(scope="module")
def policy(model: Path) -> Policy:
    return Policy.load(str(model), dtype="float32", keep_reference=True)


@pytest.fixture(scope="module")
def scored(policy: Policy) -> list[Scored]:
    prompts = [policy.encode(text) for text in ("Why?", "What can be seen here?", "Say more.")]
    sampled = sample(policy, prompts, 3, max_new_tokens=9, temperature=1.3, generator=generator())
    found = torch.tensor([[1.0, -0.5, -0.5], [0.2, -0.4, 0.2], [0.0, 0.0, 0.0]])
    return [Scored(*one) for one in zip(prompts, sampled, found, strict=True)]


def cut(policy: Policy, scored: list[Scored], budget: int, objective: Objective) -> list:
    return micro_batches(policy, scored, objective=objective, temperature=1.3, completion_limit=9, token_budget=budget)


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo", "gspo", "cispo"])
def test_the_loss_of_a_step_does_not_depend_on_its_micro_batches(policy: Policy, scored: list, loss: str) -> None:
    objective = Objective(loss=loss)
    values, gradients, metrics = [], [], []
    for budget in (1, 10_000):
        micro = cut(policy, scored, budget, objective)
        assert len(micro) == (2 if budget == 1 else 1)
        policy.model.zero_grad()
        parts = [micro_loss(policy, part, objective) for part in micro]
        sum(part.value for part in parts).backward()
        values.append(float(sum(part.value.item() for part in parts)))
        gradients.append(policy.model.get_input_embeddings().weight.grad.clone())
        metrics.append(merge_metrics(parts)["logprob_gap"])
    assert values[0] == pytest.approx(values[1], abs=1e-5)
    assert torch.allclose(*gradients, atol=1e-5)
    assert float(gradients[0].abs().max()) > 0
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-5)


def test_rollouts_are_scored_as_they_were_sampled(policy: Policy, scored: list[Scored]) -> None:
    micro = cut(policy, scored, 10_000, Objective())[0]
    assert float(micro_loss(policy, micro, Objective()).metrics["logprob_gap"]) < 1e-4


def test_the_entropy_is_what_the_samples_tell_of_it(policy: Policy) -> None:
    """Against the exact one of the first token, which all samples share."""
    prompt = policy.encode("Why?")
    rollouts = sample(policy, [prompt], 4000, max_new_tokens=1, temperature=1.3, generator=generator())
    every = torch.arange(len(policy.tokenizer))
    group = Group(prompt, [token[None] for token in every[~torch.isin(every, policy.banned_ids.cpu())]])
    logprobs = completion_logprobs(policy, [group], temperature=1.3, grad=False)[0].double()
    exact = -float((logprobs.exp() * logprobs).sum())
    spread = float((logprobs.exp() * (logprobs + exact) ** 2).sum()) ** 0.5
    assert entropy(rollouts) == pytest.approx(exact, abs=4 * spread / 4000**0.5)
    assert entropy([[]]) == 0.0


def test_groups_without_spread_count_in_the_totals_but_are_not_computed(policy: Policy, scored: list) -> None:
    micro = cut(policy, scored, 10_000, Objective())[0]
    assert len(micro.groups) == 2
    assert micro.totals.completions == 9
    assert micro.totals.tokens == sum(len(r.ids) for one in scored for r in one.rollouts)
    assert cut(policy, scored[2:], 10_000, Objective()) == []


def test_the_gradient_raises_what_was_better_than_its_group(policy: Policy, scored: list[Scored]) -> None:
    micro = cut(policy, scored[:1], 10_000, Objective())[0]
    from rise_vlm.engine.score import completion_logprobs

    before = completion_logprobs(policy, micro.groups, grad=False)[0].sum(1)
    policy.model.zero_grad()
    micro_loss(policy, micro, Objective()).value.backward()
    state = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    with torch.no_grad():
        for parameter in policy.model.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad
    after = completion_logprobs(policy, micro.groups, grad=False)[0].sum(1)
    policy.model.load_state_dict(state, strict=False)
    assert float(after[0] - before[0]) > 0
    assert float((after - before)[1:].sum()) < float(after[0] - before[0])


def test_a_reference_enters_the_loss(policy: Policy, scored: list[Scored]) -> None:
    objective = Objective(beta=0.5)
    micro = cut(policy, scored, 10_000, objective)[0]
    assert micro.ref_logprobs is not None
    assert len(micro.groups) == 3  # the group without spread is pulled towards the reference too
    assert float(micro_loss(policy, micro, objective).metrics["kl"]) == pytest.approx(0.0, abs=1e-4)
    shifted = type(micro)(**{**vars(micro), "ref_logprobs": micro.ref_logprobs - 1.0})
    assert float(micro_loss(policy, shifted, objective).metrics["kl"]) > 0.1


def test_a_batch_that_does_not_report_leaves_no_metrics(policy: Policy, scored: list[Scored]) -> None:
    micro = micro_batches(policy, scored, objective=Objective(), temperature=1.3, completion_limit=9,
                          token_budget=99, reports=False)  # fmt: skip
    assert micro_loss(policy, micro[0], Objective()).metrics == {}
