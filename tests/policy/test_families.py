"""Every family: prompts as its processor writes them, one prompt for a group exactly as one each, greedy as generate.

The oracle is transformers' own forward pass and ``generate``, from what the model's own processor makes of the whole
prompt. All in float32 on tiny random models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_families import KINDS, save_family
from tiny_models import picture
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rise_vlm.engine.sample import sample
from rise_vlm.engine.score import Group, completion_logprobs
from rise_vlm.policy import Policy, Prompt
from rise_vlm.policy.families import PatchFamily
from rise_vlm.policy.traits import FAMILIES

TURNS = [
    ("What is it?", [picture(0, 84, 56)]),
    ("Compare the two, please.", [picture(1), picture(2, 30, 80)]),
    ("Text only.", []),
]
LOGPROB, GRADIENT = 1e-5, 1e-4
OWN = 3e-5
"""Against transformers, whose products have other shapes; log-probs here are as large as 20."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made: dict[str, Path] = {}
    for kind in KINDS:
        made[kind] = save_family(tmp_path_factory.mktemp("families") / "model", kind)
    return made


@pytest.fixture(params=KINDS)
def policy(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Policy:
    """A policy whose tower trains too."""
    return Policy.load(str(folders[request.param]), dtype="float32", device="cpu", freeze_tower=False)


def own_inputs(policy: Policy, text: str, images: list[Image.Image]) -> dict[str, Tensor]:
    """Everything the model's forward pass takes for a user turn, from the processor, without our code."""
    content = [{"type": "image"} for _ in images] + [{"type": "text", "text": text}]
    turns = [{"role": "user", "content": content}]
    rendered = policy.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    if images and not isinstance(policy.family, PatchFamily):
        return dict(policy.processor(text=[rendered], images=[images], return_tensors="pt", add_special_tokens=False))
    made: dict[str, Tensor] = {}
    if images:
        made = dict(policy.processor(images=images, return_tensors="pt"))
        token = policy.tokenizer.convert_ids_to_tokens(policy.base.config.image_token_id)
        for grid in made["image_grid_thw"]:
            rendered = rendered.replace(token, "<|PAD|>" * (int(grid.prod()) // 4), 1)
        rendered = rendered.replace("<|PAD|>", token)
    ids = policy.tokenizer(rendered, add_special_tokens=False, return_tensors="pt")["input_ids"]
    types = {"mm_token_type_ids": (ids == policy.family.image_token_id).int()} if made else {}
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **made, **types}


def own_logits(policy: Policy, inputs: dict[str, Tensor], completion: Tensor) -> Tensor:
    """Logits (C + 1, V), banned ids out, before and after each completion token, by the model's own forward pass."""
    longer = dict(inputs)
    count = len(completion)
    for name, fill in (("attention_mask", 1), ("token_type_ids", 0), ("mm_token_type_ids", 0)):
        if name in inputs:
            longer[name] = torch.nn.functional.pad(inputs[name], (0, count), value=fill)
    longer["input_ids"] = torch.cat([inputs["input_ids"], completion[None]], dim=1)
    policy.base.model.rope_deltas = None
    logits = policy.base(**longer).logits[0, -count - 1 :].float()
    return logits.index_fill(-1, policy.banned_ids, -torch.inf)


def own_logprobs(policy: Policy, inputs: dict[str, Tensor], completion: Tensor, temperature: float) -> Tensor:
    logprobs = (own_logits(policy, inputs, completion)[:-1] / temperature).log_softmax(-1)
    return logprobs.gather(-1, completion[:, None])[:, 0]


def make_groups(policy: Policy, sizes: tuple[int, int, int]) -> list[Group]:
    """A group for each turn, with ragged random completions of tokens that the model may write."""
    generator = torch.Generator().manual_seed(0)
    allowed = torch.tensor(sorted(set(range(264)) - set(policy.banned_ids.tolist())))
    groups = []
    for (text, images), size in zip(TURNS, sizes, strict=True):
        lengths = torch.randint(1, 14, (size,), generator=generator).tolist()
        drawn = [torch.randint(len(allowed), (length,), generator=generator) for length in lengths]
        groups.append(Group(policy.encode(text, images), [allowed[ids] for ids in drawn]))
    return groups


def gradients(policy: Policy, rows: list[Tensor]) -> dict[str, Tensor]:
    """The gradient of a fixed random weighting of log-probs (G, C), by the name of the weight."""
    generator = torch.Generator().manual_seed(9)
    policy.model.zero_grad()
    total = sum((row * torch.randn(row.shape, generator=generator)).sum() for row in rows)
    assert isinstance(total, Tensor)
    total.backward()
    return {name: w.grad.clone() for name, w in policy.model.named_parameters() if w.grad is not None}


def assert_same(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Relative to each weight's own gradient; to a share of the largest where that is rounding noise."""
    least = 1e-3 * max(float(grad.norm()) for grad in theirs.values())
    for name in mine.keys() | theirs.keys():
        one, two = (grads.get(name, torch.zeros(())) for grads in (mine, theirs))
        assert float((one - two).norm()) <= GRADIENT * max(float(two.norm()), least), name


def test_all_named_families_are_here() -> None:
    assert set(FAMILIES) == {kind.split()[0] for kind in KINDS}


def test_prompts_are_those_of_the_model_s_processor(policy: Policy) -> None:
    for text, images in TURNS:
        prompt = policy.encode(text, images)
        assert prompt.input_ids.tolist() == own_inputs(policy, text, images)["input_ids"][0].tolist()
        features = policy.image_features([prompt], grad=False)
        assert [len(features[image.key]) for image in prompt.images] == [image.tokens for image in prompt.images]
        assert len(prompt.images) == len(images)


def test_shared_and_repeated_prompts_agree(policy: Policy) -> None:
    assert policy.packs
    groups = make_groups(policy, (16, 3, 1))
    found = []
    for plain in (False, True):
        rows = completion_logprobs(policy, groups, grad=True, plain=plain, temperature=1.3)
        found.append(([row.detach() for row in rows], gradients(policy, rows)))
    (shared, mine), (plain_rows, theirs) = found
    assert max(float((a - b).abs().max()) for a, b in zip(shared, plain_rows, strict=True)) <= LOGPROB
    assert_same(mine, theirs)
    assert sum(float(grad.norm()) > 0 for name, grad in mine.items() if "vis" in name) > 10


def test_both_are_what_transformers_computes(policy: Policy) -> None:
    groups = make_groups(policy, (1, 2, 1))
    shared = completion_logprobs(policy, groups, grad=True, temperature=0.7)
    plain = completion_logprobs(policy, groups, grad=False, temperature=0.7, plain=True)
    mine = gradients(policy, shared)
    theirs = []
    for group, turn in zip(groups, TURNS, strict=True):
        inputs = own_inputs(policy, *turn)
        rows = [own_logprobs(policy, inputs, completion, 0.7) for completion in group.completions]
        theirs.append(pad_sequence(rows, batch_first=True))
    for one, two, own in zip(shared, plain, theirs, strict=True):
        assert float((one - own).detach().abs().max()) <= OWN
        assert float((two - own).detach().abs().max()) <= OWN
    assert_same(mine, gradients(policy, theirs))


def test_generate_sampler_and_argmax_agree(policy: Policy) -> None:
    prompts = [policy.encode(*turn) for turn in TURNS]
    sampled = sample(policy, prompts, 1, max_new_tokens=10, temperature=0.0, generator=torch.Generator())
    for turn, (rollout,) in zip(TURNS, sampled, strict=True):
        inputs = own_inputs(policy, *turn)
        assert rollout.ids.tolist() == generated(policy, inputs, 10) == argmax(policy, inputs, 10)


def generated(policy: Policy, inputs: dict[str, Tensor], limit: int) -> list[int]:
    """Greedy ``generate`` of transformers, with its own cache."""
    policy.base.model.rope_deltas = None
    made = policy.base.generate(
        **inputs,
        do_sample=False,
        max_new_tokens=limit,
        suppress_tokens=policy.banned_ids.tolist(),
        eos_token_id=list(policy.stop_ids),
        pad_token_id=0,
    )
    return made[0, inputs["input_ids"].shape[1] :].tolist()


@torch.no_grad()
def argmax(policy: Policy, inputs: dict[str, Tensor], limit: int) -> list[int]:
    """The likeliest token each time, the whole row computed anew for each."""
    ids: list[int] = []
    while len(ids) < limit and not set(ids) & set(policy.stop_ids):
        ids.append(int(own_logits(policy, inputs, torch.tensor(ids, dtype=torch.long))[-1].argmax()))
    return ids


@pytest.mark.parametrize("packs", [True, False])
def test_sampled_and_scored_logprobs_agree(policy: Policy, packs: bool) -> None:
    if not packs and policy.language_model.config.to_dict().get("layer_types", []).count("sliding_attention"):
        pytest.skip("windows need the shared path")
    policy.packs = packs
    policy.stop_ids = tuple(range(10, 263, 6))
    # With others on the same pictures, which begin alike.
    turns = [*TURNS, *((f"{text} And {more}?", images) for text, images in TURNS for more in ("why", "what then"))]
    prompts = [policy.encode(*turn) for turn in turns]
    generator = torch.Generator().manual_seed(1)
    rollouts = sample(policy, prompts, 5, max_new_tokens=9, temperature=0.8, generator=generator, max_rows=6)
    assert len({len(r.ids) for group in rollouts for r in group}) > 3
    groups = [Group(prompt, [r.ids for r in own]) for prompt, own in zip(prompts, rollouts, strict=True)]
    scored = completion_logprobs(policy, groups, grad=False, temperature=0.8, plain=not packs)
    for rows, own in zip(scored, rollouts, strict=True):
        sampled = pad_sequence([rollout.logprobs for rollout in own], batch_first=True)
        assert float((rows - sampled).abs().max()) <= 1e-4


def test_no_token_of_a_picture_can_be_sampled(policy: Policy) -> None:
    prompt = policy.encode(*TURNS[1])
    plain = policy.encode("Compare the two, please.")
    special = {i for i, token in policy.tokenizer.added_tokens_decoder.items() if token.special}
    of_pictures = (set(prompt.input_ids.tolist()) - set(plain.input_ids.tolist())) & special
    assert of_pictures
    # Which cells of a picture's grid are named depends on the picture.
    cells = {i for i in of_pictures if policy.tokenizer.convert_ids_to_tokens(i).startswith("<row_")}
    assert of_pictures - cells <= set(policy.banned_ids.tolist())


def test_what_is_saved_loads_to_the_same_model(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path / "saved")
    again = Policy.load(str(tmp_path / "saved"), dtype="float32", device="cpu", freeze_tower=False)
    state = again.model.state_dict()
    assert all(torch.equal(weight, state[name]) for name, weight in policy.model.state_dict().items())
    for turn in TURNS:
        assert again.encode(*turn).identity == policy.encode(*turn).identity
    assert again.banned_ids.tolist() == policy.banned_ids.tolist()


def test_a_frozen_tower_is_frozen_whole_and_its_features_are_kept(folders: dict[str, Path]) -> None:
    """LLaVA-OneVision has a weight beside its modules, the token that ends a row."""
    policy = Policy.load(str(folders["llava_onevision"]), dtype="float32", device="cpu")
    trained = {name for name, weight in policy.model.named_parameters() if weight.requires_grad}
    assert trained == {
        name for name, _ in policy.model.named_parameters() if "language_model" in name or "head" in name
    }
    prompt: Prompt = policy.encode(*TURNS[0])
    key = prompt.images[0].key
    before = policy.image_features([prompt], grad=False)[key]
    assert policy.image_features([prompt], grad=False)[key] is before
    with torch.no_grad():
        policy.base.model.image_newline.add_(1)
    assert not torch.equal(policy.image_features([prompt], grad=False)[key], before)


def test_a_picture_sees_itself_both_ways_in_gemma(folders: dict[str, Path], monkeypatch: Any) -> None:
    """The oracle would notice if blocks were ignored."""
    policy = Policy.load(str(folders["gemma3"]), dtype="float32", device="cpu")
    prompt = policy.encode(*TURNS[1])
    assert prompt.blocks is not None
    assert prompt.blocks.unique().tolist() == [-1, 0, 1]
    completion = torch.tensor([20, 30, 40])
    right = completion_logprobs(policy, [Group(prompt, [completion])], grad=False)[0]
    monkeypatch.setattr(policy.family, "blocks", lambda ids: None)
    wrong = completion_logprobs(policy, [Group(policy.encode(*TURNS[1]), [completion])], grad=False)[0]
    assert float((right - wrong).abs().max()) > 1e-3
