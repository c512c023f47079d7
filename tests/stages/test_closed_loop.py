"""The closed loop as the trainer sees it: which tokens are trained, what is written down, what a step repeats."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from stage_kit import generator, small_recipe

from rise_vlm.policy import Policy
from rise_vlm.stages.closed_loop import ClosedLoopWork, make_reward
from rise_vlm.stages.context import Context, Models
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.files import read_rows
from rise_vlm.stages.grpo import GrpoWork
from rise_vlm.stages.loop_reward import Shadow
from rise_vlm.stages.material import Material
from rise_vlm.stages.run import run_recipe


@pytest.fixture(scope="module")
def policy(model: Path) -> Policy:
    return Policy.load(str(model), dtype="float32")


def context_of(stage: str, data: Path, model: Path, folder: Path, *overrides: str) -> Context:
    recipe = small_recipe("rise", data, model, "policy.precision=float32", *overrides)
    material = Material.open(recipe)
    return Context(recipe, material, Models(*[str(model)] * 4), stage, folder, {}, Meter(folder))  # type: ignore[arg-type]


def loop_of(policy: Policy, context: Context, stack: ExitStack) -> ClosedLoopWork:
    return ClosedLoopWork(context, policy, make_reward(context, policy, stack))


def prepared(policy: Policy, data: Path, model: Path, folder: Path, *overrides: str):
    with ExitStack() as stack:
        work = loop_of(policy, context_of("closed_loop", data, model, folder, *overrides), stack)
        return work, work.prepare(1, generator(1))


SAMPLED = ("reconstruct.temperature=1.0", "reconstruct.reconstructor=policy")


@pytest.mark.parametrize(("credit", "sighted"), [("rationale", {True}), ("answer", {False}), ("both", {True, False})])
def test_credit_decides_whose_tokens_take_the_gradient(policy, classes, model, tmp_path, credit, sighted) -> None:
    """The reason prompts show the picture, the reconstruct prompts of a class do not: so they can be told apart."""
    options = (f"credit={credit}", *SAMPLED, "closed_loop.group=8", "closed_loop.format_weight=1")
    work, made = prepared(policy, classes, model, tmp_path, *options)
    groups = [group for micro in made.micro for group in micro.groups]
    assert {bool(group.prompt.images) for group in groups} == sighted
    metrics = [work.loss(micro).metrics for micro in made.micro]
    assert sum(bool(one) for one in metrics) >= 1
    if credit == "both":
        assert [bool(m) for m in metrics] == [bool(micro.groups[0].prompt.images) for micro in made.micro]


def test_an_answer_is_compared_with_those_of_its_records_other_rationales(policy, classes, model, tmp_path) -> None:
    options = ("credit=answer", *SAMPLED, "closed_loop.group=6", "reconstruct.samples=2")
    _, made = prepared(policy, classes, model, tmp_path, *options)
    groups = [group for micro in made.micro for group in micro.groups]
    assert all(len(group.completions) == 2 for group in groups)
    totals = made.micro[0].totals
    assert totals.completions == 2 * 6 * 2


def test_a_step_is_the_same_when_it_is_repeated(policy, classes, model, tmp_path) -> None:
    _, first = prepared(policy, classes, model, tmp_path)
    _, second = prepared(policy, classes, model, tmp_path)
    assert first.metrics == second.metrics
    for one, other in zip(first.micro, second.micro, strict=True):
        assert torch.equal(one.advantages, other.advantages) and torch.equal(one.old_logprobs, other.old_logprobs)
    rows = [line for line in (tmp_path / "rollouts.jsonl").read_text(encoding="utf-8").splitlines() if line]
    assert len(rows) == 6  # 2 records x 3 rationales, once


def test_the_metrics_promised_are_there(policy, classes, model, tmp_path) -> None:
    _, made = prepared(policy, classes, model, tmp_path)
    promised = {"reward", "reconstruction", "leak_rate", "length", "zero_spread", "grounding", "entropy", "tokens"}
    promised |= {"probe_real"}
    assert promised <= set(made.metrics)
    _, plain = prepared(policy, classes, model, tmp_path, "grounding.weight=0")
    assert "grounding" not in plain.metrics


def test_groups_that_are_rebuilt_alike_have_no_spread_even_where_the_reward_has(
    policy, classes, model, tmp_path
) -> None:
    with ExitStack() as stack:
        work = loop_of(policy, context_of("closed_loop", classes, model, tmp_path), stack)
        true_rebuild = work.loop.rebuild
        # A reconstructor that does not listen: whatever it is told, it answers as to nothing.
        work.loop.rebuild = lambda records, texts, rng, **how: true_rebuild(records, [""] * len(texts), rng, **how)
        metrics = work.prepare(1, generator(1)).metrics
    assert metrics["zero_spread"] == 1.0 and metrics["reward_zero_spread"] < 1.0


def test_the_harvest_reconstructs_with_the_moving_average_of_the_loop(classes, model, tmp_path, monkeypatch) -> None:
    asked: list[str] = []
    true_policy = Context.policy
    monkeypatch.setattr(
        Context, "policy", lambda self, name, **how: asked.append(name) or true_policy(self, name, **how)
    )
    options = ("stages=[closed_loop, harvest]", "policy.precision=float32", "reconstruct.reconstructor=ema")
    run_recipe(small_recipe("rise", classes, model, *options, "closed_loop.learning_rate=0.1"), tmp_path, report=False)
    average = tmp_path / "stages" / "01-closed_loop" / "reconstructor"
    assert str(average) in asked
    one, other = (load_file(folder / "model.safetensors") for folder in (average, average.parent / "model"))
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_the_warm_up_s_model_reconstructs_and_is_where_sft_begins(classes, model, tmp_path, monkeypatch) -> None:
    """The policy explains as the base does; who reads explanations is the warm-up's model, from loop to SFT."""
    asked: list[tuple[str, str, bool]] = []
    true_policy = Context.policy

    def noted(self: Context, name: str, *, trains: bool = False, **how: bool):
        asked.append((self.stage, Path(name).parent.name, trains))
        return true_policy(self, name, trains=trains, **how)

    monkeypatch.setattr(Context, "policy", noted)
    stages = "stages=[warm_up, closed_loop, harvest, sft]"
    how = ("reconstruct.reconstructor=warm_up", "sft.start=warm_up", "warm_up.roles=[reconstruct]")
    run_recipe(small_recipe("rise", classes, model, stages, *how), tmp_path / "run", report=False)
    base, warm, loop = model.parent.name, "01-warm_up", "02-closed_loop"
    assert set(asked) == {
        ("warm_up", base, False),
        ("warm_up", base, True),
        ("closed_loop", base, True),
        ("closed_loop", base, False),  # it grounds
        ("closed_loop", warm, False),
        ("harvest", loop, False),
        ("harvest", base, False),
        ("harvest", warm, False),
        ("sft", warm, True),
    }


def test_without_a_warm_up_the_base_reconstructs(classes, model, tmp_path) -> None:
    how = ("stages=[closed_loop, harvest, sft]", "reconstruct.reconstructor=warm_up", "sft.start=warm_up")
    results = run_recipe(small_recipe("rise", classes, model, *how), tmp_path / "run", report=False)
    assert results["harvest"]["sampled"] > 0


def test_probes_come_before_the_first_step_and_every_so_often(policy, classes, model, tmp_path) -> None:
    with ExitStack() as stack:
        context = context_of("closed_loop", classes, model, tmp_path, "probes.every=3")
        work = loop_of(policy, context, stack)
        with_probe = [step for step in range(1, 8) if "probe_real" in work.prepare(step, generator(step)).metrics]
    assert with_probe == [1, 4, 7]


def test_a_loop_leaves_its_controls_of_both_ends(classes, model, tmp_path) -> None:
    """Per record, so that what it changed can be paired; the wrong annotations stand before the first step too."""
    options = ("stages=[closed_loop]", "probes.every=2", "closed_loop.steps=3")
    loop = run_recipe(small_recipe("rise", classes, model, *options), tmp_path, report=False)["loop"]
    rows = list(read_rows(tmp_path / "stages" / "01-closed_loop" / "probes.jsonl"))
    assert [row["after"] for row in rows] == [0, 2, 3]
    assert [bool(row["wrong_annotation"]) for row in rows] == [True, False, True]
    first, last = ([one["real"] for one in row["records"]] for row in (rows[0], rows[-1]))
    assert loop["gain"]["mean"] == pytest.approx((sum(last) - sum(first)) / 2) and loop["gain"]["n"] == 2
    assert loop["gain"]["mean"] == pytest.approx(loop["reconstruction"]["real"] - loop["before"]["real"])
    assert loop["wrong_annotation_before"] == rows[0]["wrong_annotation"]["false_score"]


def test_a_moving_average_is_remembered(model, classes, tmp_path) -> None:
    policy = Policy.load(str(model), dtype="float32")
    options = ("reconstruct.reconstructor=ema", "reconstruct.ema_decay=0.5", "grounding.weight=0")
    with ExitStack() as stack:
        work = loop_of(policy, context_of("closed_loop", classes, model, tmp_path, *options), stack)
        work.loop.shadow = Shadow(policy)
        with torch.no_grad():
            for parameter in policy.model.parameters():
                parameter.mul_(1.1)
        work.prepare(1, generator())
        state = copy.deepcopy(work.state_dict())
        work.prepare(1, generator())  # again, as where memory ran out: one step moves it once
        assert all(torch.equal(torch.as_tensor(state[k]), torch.as_tensor(v)) for k, v in work.state_dict().items())
        again = loop_of(policy, context_of("closed_loop", classes, model, tmp_path, *options), stack)
        again.loop.shadow = Shadow(policy)
        assert any(not torch.equal(state[name], tensor) for name, tensor in again.loop.shadow.weights.items())
        again.load_state_dict(state)
        assert all(torch.equal(state[name], tensor) for name, tensor in again.loop.shadow.weights.items())
        again.prepare(1, generator())
        assert all(torch.equal(state[name], tensor) for name, tensor in again.loop.shadow.weights.items())


def test_grpo_draws_further_records_for_groups_without_spread(policy, classes, model, tmp_path) -> None:
    def groups(refill: int, temperature: float) -> float:
        options = (f"grpo.refill={refill}", f"grpo.temperature={temperature}", "grpo.objective.beta=0")
        work = GrpoWork(context_of("grpo", classes, model, tmp_path, *options), policy)
        return work.prepare(1, generator()).metrics["groups"]

    assert groups(0, 0.01) == 2
    assert groups(1, 0.01) == 4  # all of a group alike: each of the two is replaced once
    cold = context_of("grpo", classes, model, tmp_path, "grpo.temperature=0.01", "grpo.objective.beta=0")
    made = GrpoWork(cold, policy).prepare(1, generator())
    assert made.micro == [] and made.metrics["zero_spread"] == 1.0 and 0 <= made.metrics["entropy"] < 0.5


def test_grpo_pays_score_and_form(policy, classes, model, tmp_path) -> None:
    options = ("grpo.format_weight=0.3", "grpo.objective.beta=0")
    GrpoWork(context_of("grpo", classes, model, tmp_path, *options), policy).prepare(1, generator())
    import json

    rows = [json.loads(line) for line in (tmp_path / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows
    for row in rows:
        assert row["reward"] == pytest.approx(row["score"] + 0.3 * row["well_formed"])
