"""Log-probs of completions: the shared row against separate rows and against transformers' own forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import picture, save_tiny
from torch import Tensor, nn

from rise_vlm.engine import score
from rise_vlm.engine.score import Group, completion_logprobs, pack_by_tokens
from rise_vlm.errors import UserError
from rise_vlm.policy import LoraSettings, Policy, Prompt

KINDS = ("qwen2_vl", "qwen2_5_vl")
PICTURES = [picture(0), picture(1, 84, 56), picture(2, 28, 84)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save_tiny(tmp_path_factory.mktemp("score") / kind, kind) for kind in KINDS}


def load(folder: Path, **settings: Any) -> Policy:
    return Policy.load(str(folder), **{"dtype": "float32", "device": "cpu", "freeze_tower": False, **settings})


def make_groups(policy: Policy, sizes: list[int], seed: int = 0) -> list[Group]:
    """Groups of these sizes with ragged random completions; every third prompt is text only, some have two pictures."""
    generator = torch.Generator().manual_seed(seed)
    groups = []
    for number, size in enumerate(sizes):
        prompt = policy.encode("What is it? " * (number + 1), PICTURES[: (1, 2, 0)[number % 3]])
        lengths = torch.randint(1, 14, (size,), generator=generator).tolist()
        completions = [torch.randint(7, 263, (length,), generator=generator) for length in lengths]
        groups.append(Group(prompt, completions))
    return groups


def gradients(policy: Policy, groups: list[Group], **how: Any) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Log-probs, and the gradient of a random weighting of them."""
    policy.model.zero_grad()
    found = completion_logprobs(policy, groups, grad=True, **how)
    generator = torch.Generator().manual_seed(9)
    total = sum((row * torch.randn(row.shape, generator=generator)).sum() for row in found)
    assert isinstance(total, Tensor)
    total.backward()
    grads = {n: w.grad.clone() for n, w in policy.model.named_parameters() if w.grad is not None}
    return [row.detach() for row in found], grads


def assert_same(one: tuple[list[Tensor], dict[str, Tensor]], two: tuple[list[Tensor], dict[str, Tensor]]) -> None:
    for mine, theirs in zip(one[0], two[0], strict=True):
        assert mine.shape == theirs.shape
        assert (mine - theirs).abs().max() <= 1e-5
    assert one[1].keys() == two[1].keys()
    for name, mine in one[1].items():
        assert (mine - two[1][name]).norm() <= 1e-4 * two[1][name].norm(), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [[1], [16], [3, 1, 5, 2]])
def test_shared_and_repeated_prompts_agree(folders: dict[str, Path], kind: str, sizes: list[int]) -> None:
    policy = load(folders[kind])
    groups = make_groups(policy, sizes)
    shared, plain = (gradients(policy, groups, plain=plain, temperature=1.3) for plain in (False, True))
    assert_same(shared, plain)
    assert shared[1].keys() == {name for name, _ in policy.model.named_parameters()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
def test_both_are_what_transformers_computes(folders: dict[str, Path], kind: str, temperature: float) -> None:
    policy = load(folders[kind])
    groups = make_groups(policy, [2, 2, 2])
    for plain in (False, True):
        ours = completion_logprobs(policy, groups, grad=False, temperature=temperature, plain=plain)
        for group, rows in zip(groups, ours, strict=True):
            for row, completion in zip(rows, group.completions, strict=True):
                theirs = from_transformers(policy, group.prompt, completion, temperature)
                assert (row[: len(completion)] - theirs).abs().max() < 3e-5
                assert (row[len(completion) :] == 0).all()


def from_transformers(policy: Policy, prompt: Prompt, completion: Tensor, temperature: float) -> Tensor:
    """Log-probs by the model's own forward pass from ids and pixels."""
    ids = torch.cat([prompt.input_ids, completion])[None]
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if prompt.images:
        inputs["pixel_values"] = torch.cat([image.pixel_values for image in prompt.images])
        inputs["image_grid_thw"] = torch.stack([image.grid for image in prompt.images])
        inputs["mm_token_type_ids"] = (ids == policy.family.image_token_id).int()
    policy.base.model.rope_deltas = None
    logits = policy.base(**inputs).logits[0, len(prompt) - 1 : -1].float()
    return (
        (logits.index_fill(-1, policy.banned_ids, -torch.inf) / temperature)
        .log_softmax(-1)
        .gather(-1, completion[:, None])[:, 0]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_autograd_through_transformers(folders: dict[str, Path], kind: str) -> None:
    policy = load(folders[kind])
    groups = make_groups(policy, [2, 1, 2])
    ours = gradients(policy, groups, temperature=0.6)
    policy.model.zero_grad()
    generator = torch.Generator().manual_seed(9)
    for group, rows in zip(groups, ours[0], strict=True):
        weights = torch.randn(rows.shape, generator=generator)
        for weight, completion in zip(weights, group.completions, strict=True):
            theirs = from_transformers(policy, group.prompt, completion, 0.6)
            (theirs * weight[: len(completion)]).sum().backward()
    assert_same(ours, (ours[0], {n: w.grad for n, w in policy.model.named_parameters() if w.grad is not None}))


def test_stale_rope_state_of_the_model_changes_nothing(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_vl"])
    groups = make_groups(policy, [2, 2])
    before = completion_logprobs(policy, groups, grad=False)
    policy.base.model.rope_deltas = torch.tensor([[50]])
    after = completion_logprobs(policy, groups, grad=False)
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_lora_gradients_agree_too(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_vl"], lora=LoraSettings(r=2), freeze_tower=True)
    with torch.no_grad():
        for weight in policy.model.parameters():
            if weight.requires_grad:
                weight.add_(0.05)
    groups = make_groups(policy, [3, 2])
    shared, plain = (gradients(policy, groups, plain=plain) for plain in (False, True))
    assert_same(shared, plain)
    assert all("lora_" in name for name in shared[1])


@pytest.mark.parametrize("how", [{}, {"lora": LoraSettings(r=2), "freeze_tower": True}])
@pytest.mark.parametrize("kind", KINDS)
def test_layers_computed_again_give_the_same_gradient(folders: dict[str, Path], kind: str, how: dict[str, Any]) -> None:
    """And keep less for it."""
    found, kept = [], []
    for checkpointing in (False, True):
        torch.manual_seed(1)  # fresh adapters
        policy = load(folders[kind], gradient_checkpointing=checkpointing, **how)
        policy.model.train()
        groups = make_groups(policy, [3, 2, 1])
        bytes_kept: dict[int, int] = {}
        weights = {weight.untyped_storage().data_ptr() for weight in policy.model.parameters()}

        def keep(tensor: Tensor, bytes_kept: dict[int, int] = bytes_kept, weights: set[int] = weights) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                bytes_kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            completion_logprobs(policy, groups, grad=True)
        kept.append(sum(bytes_kept.values()))
        found.append(gradients(policy, groups))
        assert found[-1][1]
    assert_same(*found)
    assert kept[1] < 0.6 * kept[0], "of the two layers of this model"


def test_only_completion_positions_reach_the_output_layer_a_chunk_at_a_time(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load(folders["qwen2_vl"])
    groups = make_groups(policy, [4, 2])
    whole = gradients(policy, groups)
    seen: list[int] = []
    policy.head.register_forward_hook(lambda module, args, output: seen.append(len(output)))
    monkeypatch.setattr(score, "LOGITS_PER_CHUNK", 264 * 5)
    assert_same(gradients(policy, groups), whole)
    targets = sum(len(c) for group in groups for c in group.completions)
    assert max(seen) == 5
    assert sum(seen) == 2 * targets  # once forward, once more backward


def test_a_picture_of_several_groups_is_encoded_once(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_vl"])
    passes: list[int] = []

    def count(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        passes.append(len(kwargs["grid_thw"]))

    policy.tower.register_forward_hook(count, with_kwargs=True)
    completion = torch.tensor([20, 21, 22])
    groups = [Group(policy.encode(text, PICTURES[:2]), [completion] * 3) for text in ("one", "two")]
    _, grads = gradients(policy, groups)
    assert passes == [2]
    assert all(grads[name].abs().sum() > 0 for name in grads if "visual.blocks" in name and "weight" in name)


def test_without_gradient_the_budget_cuts_and_changes_nothing(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_5_vl"])
    groups = make_groups(policy, [2, 5, 1, 3])
    calls: list[int] = []
    policy.language_model.register_forward_hook(lambda *_: calls.append(1))
    whole = completion_logprobs(policy, groups, grad=False)
    assert len(calls) == 1
    cut = completion_logprobs(policy, groups, grad=False, budget=60)
    assert len(calls) == 5
    for one, two in zip(whole, cut, strict=True):
        assert (one - two).abs().max() <= 1e-5
        assert not one.requires_grad


def test_bfloat16_agrees_as_far_as_it_can(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_vl"], dtype="bfloat16")
    groups = make_groups(policy, [4, 4])
    shared, plain = (completion_logprobs(policy, groups, grad=False, plain=plain) for plain in (False, True))
    assert torch.cat([(a - b).abs().flatten() for a, b in zip(shared, plain, strict=True)]).mean() < 0.1
    assert shared[0].dtype == torch.float32


def test_nothing_to_score(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_vl"])
    assert completion_logprobs(policy, [], grad=False) == []
    empty = Group(policy.encode("a"), [])
    one = Group(policy.encode("b"), [torch.tensor([30])])
    found = completion_logprobs(policy, [empty, one], grad=True)
    assert [row.shape for row in found] == [(0, 0), (1, 1)]


def test_what_cannot_be_scored_is_refused(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_vl"])
    group = Group(policy.encode("a"), [torch.tensor([30])])
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="temperature"):
            completion_logprobs(policy, [group], grad=False, temperature=temperature)
    with pytest.raises(ValueError, match="no tokens"):
        Group(group.prompt, [torch.tensor([], dtype=torch.long)])


def test_what_does_not_fit_the_context_is_refused_before_any_work(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load(folders["qwen2_vl"])
    monkeypatch.setattr(policy, "hidden", lambda *_, **__: pytest.fail("work was done"))
    monkeypatch.setattr(policy, "image_features", lambda *_, **__: pytest.fail("work was done"))
    short = Group(policy.encode("a"), [torch.tensor([30])])
    long = Group(policy.encode("x" * 900, PICTURES[:1]), [torch.tensor([30]), torch.full((200,), 30)])
    for plain in (False, True):
        with pytest.raises(UserError, match=r"'xxx.* a completion of 200 are over the model's 1024"):
            completion_logprobs(policy, [short, long], grad=True, plain=plain)


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 20), st.lists(st.integers(1, 9), max_size=5)), max_size=12),
    budget=st.integers(1, 80),
)
def test_micro_batches_keep_order_groups_and_budget(shapes: list[tuple[int, list[int]]], budget: int) -> None:
    def group(prompt: int, lengths: list[int]) -> Group:
        ids = torch.zeros(prompt, dtype=torch.long)
        return Group(Prompt(ids, ids[None], prompt, (), ""), [torch.zeros(n, dtype=torch.long) for n in lengths])

    groups = [group(*shape) for shape in shapes]
    batches = pack_by_tokens(groups, budget)
    assert [id(g) for batch in batches for g in batch] == [id(g) for g in groups]
    sizes = [sum(g.tokens for g in batch) for batch in batches]
    assert all(size <= budget or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))
    # No batch could have taken the next group as well.
    assert all(size + after[0].tokens > budget for size, after in zip(sizes, batches[1:], strict=False))
