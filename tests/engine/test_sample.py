"""Rollouts: the right distribution, whatever the batch; never a banned token; each prompt computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from tiny_models import picture, save_tiny
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rise_vlm.engine.cache import CatchCache
from rise_vlm.engine.sample import Rollout, draw, sample
from rise_vlm.engine.score import Group, completion_logprobs
from rise_vlm.errors import UserError
from rise_vlm.policy import LoraSettings, Policy, Prompt

KINDS = ("qwen2_vl", "qwen2_5_vl")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save_tiny(tmp_path_factory.mktemp("sample") / kind, kind) for kind in KINDS}


def load(folder: Path, **settings: Any) -> Policy:
    return Policy.load(str(folder), **{"dtype": "float32", "device": "cpu", **settings})


def make_prompts(policy: Policy) -> list[Prompt]:
    """Ragged: one picture, text only, two pictures and a longer text, and the first one again."""
    return [
        policy.encode("What is it?", [picture(0)]),
        policy.encode("Text only."),
        policy.encode("Compare the two, please.", [picture(1, 84, 56), picture(2, 28, 56)]),
        policy.encode("What is it?", [picture(0)]),
    ]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stop_often(policy: Policy) -> None:
    """Let a sixth of all tokens end a completion, so that sequences end at many different steps."""
    policy.stop_ids = tuple(range(10, 263, 6))


def ids_of(rollouts: list[list[Rollout]]) -> list[list[list[int]]]:
    return [[rollout.ids.tolist() for rollout in group] for group in rollouts]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packs", [True, False])
def test_temperature_zero_is_what_transformers_generates(folders: dict[str, Path], kind: str, packs: bool) -> None:
    policy = load(folders[kind])
    policy.packs = packs
    prompts = make_prompts(policy)
    ours = sample(policy, prompts, 1, max_new_tokens=16, temperature=0.0, generator=seeded())
    for prompt, (rollout,) in zip(prompts, ours, strict=True):
        inputs: dict[str, Any] = {"input_ids": prompt.input_ids[None]}
        if prompt.images:
            inputs["pixel_values"] = torch.cat([image.pixel_values for image in prompt.images])
            inputs["image_grid_thw"] = torch.stack([image.grid for image in prompt.images])
            inputs["mm_token_type_ids"] = (inputs["input_ids"] == policy.family.image_token_id).int()
        policy.base.model.rope_deltas = None
        theirs = policy.base.generate(
            **inputs,
            attention_mask=torch.ones_like(inputs["input_ids"]),
            do_sample=False,
            max_new_tokens=16,
            suppress_tokens=policy.banned_ids.tolist(),
            eos_token_id=list(policy.stop_ids),
            pad_token_id=0,
        )[0, len(prompt) :]
        assert rollout.ids.tolist() == theirs.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
def test_sampled_and_scored_logprobs_agree(folders: dict[str, Path], kind: str, temperature: float) -> None:
    policy = load(folders[kind])
    stop_often(policy)
    prompts = make_prompts(policy)
    rollouts = sample(policy, prompts, 6, max_new_tokens=12, temperature=temperature, generator=seeded(), max_rows=7)
    groups = [Group(p, [r.ids for r in rs]) for p, rs in zip(prompts, rollouts, strict=True)]
    for plain in (False, True):
        scored = completion_logprobs(policy, groups, grad=False, temperature=temperature, plain=plain)
        for rows, own in zip(scored, rollouts, strict=True):
            sampled = pad_sequence([rollout.logprobs for rollout in own], batch_first=True)
            assert (rows - sampled).abs().max() < 1e-4


@pytest.mark.parametrize("packs", [True, False])
def test_batching_compaction_and_refilling_change_nothing(folders: dict[str, Path], packs: bool) -> None:
    policy = load(folders["qwen2_vl"])
    policy.packs = packs
    stop_often(policy)
    prompts = [*make_prompts(policy), *(policy.encode(text * 3) for text in "abcdef")]
    whole = sample(policy, prompts, 3, max_new_tokens=14, generator=seeded())
    lengths = {len(r.ids) for group in whole for r in group}
    assert len(lengths) > 5
    for bounds in ({"max_rows": 1}, {"max_rows": 5}, {"batch_tokens": 150}):
        cut = sample(policy, prompts, 3, max_new_tokens=14, generator=seeded(), **bounds)
        assert ids_of(cut) == ids_of(whole), bounds
        for one, two in zip(cut, whole, strict=True):
            assert all(torch.allclose(a.logprobs, b.logprobs, atol=1e-4) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("bounds", [{}, {"max_rows": 4}])
def test_each_distinct_prompt_is_prefilled_once(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, bounds: dict[str, int]
) -> None:
    policy = load(folders["qwen2_vl"])
    prompts = make_prompts(policy)
    tokens = []
    hidden = policy.hidden

    def counted(embeds: Tensor, positions: Tensor, mask: Any, cache: Any = None, **more: Any) -> Tensor:
        if isinstance(cache, CatchCache):
            tokens.append(embeds.shape[0] * embeds.shape[1])
        return hidden(embeds, positions, mask, cache, **more)

    monkeypatch.setattr(policy, "hidden", counted)
    sample(policy, prompts, 6, max_new_tokens=4, generator=seeded(), **bounds)
    assert sum(tokens) == sum(len(prompt) for prompt in prompts[:3])  # the first prompt is there twice


def rebuilding(policy: Policy) -> list[Prompt]:
    """Two sets of pictures asked about in several ways, one of them twice."""
    texts = ("What is it?", "What can it be?", "Tell me, what is it?", "What is it?")
    return [policy.encode(text, [picture(number)] * 3) for number in (0, 1) for text in texts]


@pytest.mark.parametrize("bounds", [{}, {"max_rows": 3}, {"batch_tokens": 60}])
@pytest.mark.parametrize("n", [1, 3])
def test_prompts_that_begin_alike_share_what_they_begin_with(
    folders: dict[str, Path], bounds: dict[str, int], n: int
) -> None:
    policy = load(folders["qwen2_vl"])
    stop_often(policy)
    prompts = [*rebuilding(policy), policy.encode("No.")]  # the shortest, of which nothing is shared, is computed last
    rollouts = sample(policy, prompts, n, max_new_tokens=9, generator=seeded(), **bounds)
    groups = [Group(p, [r.ids for r in rs]) for p, rs in zip(prompts, rollouts, strict=True)]
    for rows, own in zip(completion_logprobs(policy, groups, grad=False, plain=True), rollouts, strict=True):
        sampled = pad_sequence([rollout.logprobs for rollout in own], batch_first=True)
        assert (rows - sampled).abs().max() < 1e-4


def test_what_prompts_begin_with_is_computed_once(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    policy = load(folders["qwen2_vl"])
    prompts = rebuilding(policy)[:3]
    shortest = min(len(prompt) for prompt in prompts)
    same = torch.stack([prompt.input_ids[:shortest] == prompts[0].input_ids[:shortest] for prompt in prompts]).all(0)
    stem = int(same.int().argmin())
    assert stem >= prompts[0].pictures_end > 0
    tokens = []
    hidden = policy.hidden

    def counted(embeds: Tensor, positions: Tensor, mask: Any, cache: Any = None, **more: Any) -> Tensor:
        if isinstance(cache, CatchCache):
            tokens.append(embeds.shape[1])
        return hidden(embeds, positions, mask, cache, **more)

    monkeypatch.setattr(policy, "hidden", counted)
    sample(policy, prompts, 2, max_new_tokens=2, generator=seeded())
    assert sum(tokens) == stem + sum(len(prompt) - stem for prompt in prompts)


def test_a_training_tower_encodes_each_picture_once(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_vl"], freeze_tower=False)
    passes: list[int] = []
    policy.tower.register_forward_hook(
        lambda module, args, kwargs, output: passes.append(len(kwargs["grid_thw"])), with_kwargs=True
    )
    prompts = [policy.encode("word " * n, [picture(n % 2), picture(2)]) for n in range(1, 6)]
    sample(policy, prompts, 2, max_new_tokens=3, generator=seeded(), max_rows=2)
    assert sum(passes) == 3
    assert len(passes) > 1


def test_the_same_generator_state_gives_the_same_rollouts(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_vl"])
    prompts = make_prompts(policy)[:2]
    generator = seeded(5)
    first = sample(policy, prompts, 3, max_new_tokens=8, generator=generator)
    second = sample(policy, prompts, 3, max_new_tokens=8, generator=generator)
    torch.manual_seed(123)
    assert ids_of(sample(policy, prompts, 3, max_new_tokens=8, generator=seeded(5))) == ids_of(first)
    assert ids_of(second) != ids_of(first)


def test_groups_are_diverse_whatever_the_checkpoint_s_generation_settings(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_vl"])
    prompts = make_prompts(policy)[:1]
    before = sample(policy, prompts, 16, max_new_tokens=12, generator=seeded())
    settings = policy.base.generation_config
    settings.do_sample, settings.temperature, settings.top_k, settings.top_p = True, 0.01, 1, 0.001
    after = sample(policy, prompts, 16, max_new_tokens=12, generator=seeded())
    assert ids_of(after) == ids_of(before)
    assert len({tuple(rollout.ids.tolist()) for rollout in after[0]}) == 16


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_banned_ids_are_never_sampled_even_when_favoured(folders: dict[str, Path], temperature: float) -> None:
    policy = load(folders["qwen2_vl"])
    favour = torch.zeros(264).index_fill_(0, policy.banned_ids, 1000.0)
    policy.head.register_forward_hook(lambda module, args, output: output + favour)
    prompts = make_prompts(policy)[:2]
    rollouts = sample(policy, prompts, 4, max_new_tokens=10, temperature=temperature, generator=seeded())
    tokens = torch.cat([rollout.ids for group in rollouts for rollout in group])
    assert not torch.isin(tokens, policy.banned_ids).any()
    assert all(torch.isfinite(rollout.logprobs).all() for group in rollouts for rollout in group)


def test_the_sampled_distribution_is_the_exact_one(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_vl"])
    policy.stop_ids = ()
    prompt = policy.encode("What is it?", [picture(0)])
    count, temperature = 6000, 0.5
    rollouts = sample(policy, [prompt], count, max_new_tokens=2, temperature=temperature, generator=seeded(3))[0]
    first = np.array([int(rollout.ids[0]) for rollout in rollouts])
    assert goodness(first, distribution(policy, prompt, [], temperature)) > 1e-3
    common = int(np.bincount(first).argmax())
    second = np.array([int(rollout.ids[1]) for rollout in rollouts if int(rollout.ids[0]) == common])
    assert goodness(second, distribution(policy, prompt, [common], temperature)) > 1e-3


def distribution(policy: Policy, prompt: Prompt, before: list[int], temperature: float) -> np.ndarray:
    """Exact chances (V,) of the next token after ``before``, from the plain path, one candidate at a time."""
    candidates = [i for i in range(264) if i not in policy.banned_ids.tolist()]
    group = Group(prompt, [torch.tensor([*before, i]) for i in candidates])
    logprobs = completion_logprobs(policy, [group], grad=False, temperature=temperature, plain=True)[0][:, -1]
    chances = np.zeros(264)
    chances[candidates] = logprobs.double().exp().numpy()
    assert abs(chances.sum() - 1) < 1e-4
    return chances / chances.sum()


def goodness(tokens: np.ndarray, chances: np.ndarray) -> float:
    """The p-value of a chi-square test; tokens expected fewer than 5 times are pooled."""
    observed = np.bincount(tokens, minlength=len(chances)).astype(float)
    expected = chances * len(tokens)
    assert (observed[chances == 0] == 0).all()
    rare = expected < 5
    pooled = [
        (observed[~rare], expected[~rare]),
        (observed[rare].sum(keepdims=True), expected[rare].sum(keepdims=True)),
    ]
    merged = [np.concatenate(parts) for parts in zip(*pooled, strict=True)]
    keep = merged[1] > 0
    return float(chisquare(merged[0][keep], merged[1][keep]).pvalue)


@settings(max_examples=100, deadline=None)
@given(
    weights=st.lists(st.floats(0, 1, width=32) | st.just(0.0), min_size=1, max_size=300).filter(
        lambda w: sum(w) > 1e-3
    ),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_a_draw_inverts_the_cumulative_distribution(weights: list[float], uniform: float) -> None:
    chances = torch.tensor(weights, dtype=torch.float32)
    token = int(draw(chances[None], torch.tensor([uniform], dtype=torch.float64))[0])
    assert chances[token] > 0
    exact = chances.double().cumsum(0)
    at = uniform * exact[-1]
    assert exact[token] - chances[token].double() <= at + 1e-9
    assert at <= exact[token] + 1e-9


def test_a_draw_reaches_the_tail_of_a_large_vocabulary() -> None:
    chances = torch.full((1, 150_000), 1e-9)
    chances[0, 0] = 1 - 1.5e-4
    uniform = torch.tensor([1 - 1e-9 * 1000.5 / (1 + 1e-12)], dtype=torch.float64)
    assert abs(int(draw(chances, uniform)[0]) - 148_999) <= 5


def test_a_rollout_says_how_it_ended(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_vl"])
    stop_often(policy)
    rollouts = sample(policy, make_prompts(policy), 8, max_new_tokens=6, generator=seeded())
    ended = {True: 0, False: 0}
    for rollout in (rollout for group in rollouts for rollout in group):
        stops = [int(i) in policy.stop_ids for i in rollout.ids]
        assert not any(stops[:-1])
        assert rollout.finished == stops[-1]
        assert rollout.finished or len(rollout.ids) == 6
        assert len(rollout.logprobs) == len(rollout.ids)
        ended[rollout.finished] += 1
    assert min(ended.values()) > 0


def test_text_has_no_special_tokens(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_vl"])
    end = policy.stop_ids[0]
    boost = torch.zeros(264).index_fill_(0, torch.tensor([end]), 6.0)
    policy.head.register_forward_hook(lambda module, args, output: output + boost)
    rollouts = sample(policy, make_prompts(policy)[:1], 8, max_new_tokens=10, temperature=2.0, generator=seeded())[0]
    assert any(rollout.finished for rollout in rollouts)
    for rollout in rollouts:
        assert rollout.text == policy.tokenizer.decode([i for i in rollout.ids.tolist() if i != end])
        assert "<|" not in rollout.text


def test_dropout_is_off_while_sampling_and_on_again_after(folders: dict[str, Path]) -> None:
    policy = load(folders["qwen2_vl"], lora=LoraSettings(r=2, dropout=0.5))
    with torch.no_grad():
        for weight in policy.model.parameters():
            if weight.requires_grad:
                weight.add_(0.2)
    prompts = make_prompts(policy)[:1]
    calm = sample(policy, prompts, 2, max_new_tokens=8, generator=seeded())
    policy.model.train()
    assert ids_of(sample(policy, prompts, 2, max_new_tokens=8, generator=seeded())) == ids_of(calm)
    assert policy.model.training


def test_what_does_not_fit_is_refused_before_any_work(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load(folders["qwen2_vl"])
    monkeypatch.setattr(policy, "hidden", lambda *_, **__: pytest.fail("work was done"))
    prompts = [policy.encode("short"), policy.encode("x" * 900, [picture(0)])]
    with pytest.raises(UserError, match=r"prompt 2 \('xxx.*over the model's 1024"):
        sample(policy, prompts, 1, max_new_tokens=200, generator=seeded())
    for wrong in ({"temperature": -1.0}, {"temperature": float("nan")}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            sample(policy, prompts[:1], 1, max_new_tokens=4, generator=seeded(), **wrong)
    with pytest.raises(UserError, match="0 tokens"):
        sample(policy, prompts[:1], 1, max_new_tokens=0, generator=seeded())
    assert sample(policy, [], 4, max_new_tokens=4, generator=seeded()) == []
    assert sample(policy, prompts[:1], 0, max_new_tokens=4, generator=seeded()) == [[]]
