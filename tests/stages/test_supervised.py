"""SFT steps: which token belongs to which part, and a loss that does not depend on how a step is cut."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rise_vlm.engine.objective import ANSWER, RATIONALE
from rise_vlm.engine.settings import TrainSettings
from rise_vlm.policy import Policy
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.supervised import Supervised, Unit, rotated, stop_id, target


@pytest.fixture(scope="module")
def policy(model: Path) -> Policy:
    return Policy.load(str(model), dtype="float32")


def test_a_target_holds_its_text_and_the_stop_token(policy: Policy) -> None:
    made = target(policy, ("rationale", "<think>calm sea</think>"), ("answer", "<answer>red</answer>"))
    assert int(made.ids[-1]) == stop_id(policy) == policy.tokenizer.eos_token_id
    assert policy.tokenizer.decode(made.ids[:-1]) == "<think>calm sea</think><answer>red</answer>"


def test_each_token_belongs_to_the_part_it_begins_in(policy: Policy) -> None:
    made = target(policy, ("rationale", "<think>calm sea</think>"), ("answer", "<answer>red</answer>"))
    said = policy.tokenizer.decode(made.ids[made.segments == RATIONALE])
    answered = policy.tokenizer.decode(made.ids[made.segments == ANSWER][:-1])
    assert (said, answered) == ("<think>calm sea</think>", "<answer>red</answer>")
    assert set(target(policy, ("answer", "red")).segments.tolist()) == {ANSWER}
    assert set(target(policy, ("rationale", "ñandú 猫")).segments.tolist()) == {RATIONALE}


def test_a_rationale_cannot_smuggle_in_a_picture_or_end_the_turn(policy: Policy) -> None:
    text = "<think>a <|image_pad|> and <|im_end|> <|vision_start|></think>"
    made = target(policy, ("rationale", text), ("answer", "red"))
    assert not set(made.ids[:-1].tolist()) & {policy.family.image_token_id, *policy.stop_ids}
    assert policy.tokenizer.decode(made.ids[:-1]) == f"{text}red"


def units(policy: Policy) -> list[Unit]:
    spoken = [target(policy, ("rationale", f"<think>{'wide ' * n}sky</think>"), ("answer", "red")) for n in range(4)]
    return [[(policy.encode("Why?"), spoken[:3])], [(policy.encode("What is it, then?"), spoken[3:])]]


@pytest.mark.parametrize("kind", ["balanced", "token"])
def test_the_loss_of_a_step_does_not_depend_on_its_micro_batches(policy: Policy, tmp_path: Path, kind: str) -> None:
    lessons = units(policy)
    losses, gradients = [], []
    for budget in (10, 10_000):
        settings = TrainSettings(steps=1, learning_rate=1e-3, token_budget=budget)
        work = Supervised(policy, 2, lambda index, step: lessons[index], records_per_step=2, loss=kind,
                          train=settings, meter=Meter(tmp_path))  # fmt: skip
        micro = work.prepare(1, torch.Generator()).micro
        assert len(micro) == (2 if budget == 10 else 1)
        policy.model.zero_grad()
        parts = [work.loss(part).value for part in micro]
        for part in parts:
            part.backward()
        losses.append(float(sum(part.item() for part in parts)))
        gradients.append(policy.model.get_input_embeddings().weight.grad.clone())
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert torch.allclose(*gradients, atol=1e-5)


def test_balanced_weighs_a_short_answer_as_much_as_a_long_rationale(policy: Policy, tmp_path: Path) -> None:
    lesson: Unit = [(policy.encode("Why?"), [target(policy, ("rationale", "wide " * 30), ("answer", "red"))])]
    values = {}
    for kind in ("balanced", "token"):
        work = Supervised(policy, 1, lambda index, step: lesson, records_per_step=1, loss=kind,
                          train=TrainSettings(steps=1, learning_rate=1e-3), meter=Meter(tmp_path))  # fmt: skip
        micro = work.prepare(1, torch.Generator()).micro[0]
        from rise_vlm.engine.score import completion_logprobs

        logprobs = completion_logprobs(policy, micro.groups, grad=False)[0][0]
        said, answered = (-logprobs[micro.segments[0] == part].mean() for part in (RATIONALE, ANSWER))
        values[kind] = (float(work.loss(micro).value), float(said), float(answered), float(-logprobs.mean()))
    loss, said, answered, _ = values["balanced"]
    assert loss == pytest.approx((said + answered) / 2, abs=1e-4)
    loss, _, _, mean = values["token"]
    assert loss == pytest.approx(mean, abs=1e-4)


@given(st.lists(st.text(), min_size=1, max_size=6, unique=True), st.integers(1, 4))
def test_all_rationales_of_a_record_get_their_turn(items: list[str], take: int) -> None:
    taken = [rotated(items, take, visit) for visit in range(len(items))]
    assert all(len(set(part)) == min(take, len(items)) for part in taken)
    assert {item for part in taken for item in part} == set(items)
