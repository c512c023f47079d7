"""Families that nobody wrote out and decoders that cannot share a prompt: run where exact, refused where not."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import save_llava, save_mistral3
from tiny_models import picture
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from rise_vlm.engine.sample import sample
from rise_vlm.engine.score import Group, completion_logprobs
from rise_vlm.errors import UserError
from rise_vlm.policy import Policy
from rise_vlm.policy.loading import refuse_windows
from rise_vlm.policy.traits import FAMILIES


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    save_llava(folder)
    return folder


@pytest.fixture(scope="module")
def own_attention(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LLaVA over StableLM, whose attention is written out and takes no plan."""
    folder = tmp_path_factory.mktemp("stablelm")
    save_llava(folder, model_type="stablelm")
    return folder


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLaVA as if nobody had written it out."""
    monkeypatch.delitem(FAMILIES, "llava")


def load(folder: Path) -> Policy:
    return Policy.load(str(folder), dtype="float32", device="cpu")


def assert_samples_what_it_scores(policy: Policy) -> None:
    """Twice, also against each other: on the policy's own path, and with repeated prompts."""
    prompts = [policy.encode("What?", [picture(0), picture(1)]), policy.encode("Text only.")]
    rollouts = sample(policy, prompts, 3, max_new_tokens=8, generator=torch.Generator().manual_seed(0), max_rows=2)
    groups = [Group(p, [r.ids for r in rs]) for p, rs in zip(prompts, rollouts, strict=True)]
    for plain in (False, True):
        scored = completion_logprobs(policy, groups, grad=False, plain=plain)
        for logprobs, own in zip(scored, rollouts, strict=True):
            sampled = pad_sequence([rollout.logprobs for rollout in own], batch_first=True)
            assert torch.allclose(logprobs, sampled, atol=1e-4)


def test_a_decoder_with_its_own_attention_repeats_prompts_and_says_so_once(
    own_attention: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = load(own_attention)
    assert not policy.packs
    for _ in range(2):
        assert_samples_what_it_scores(policy)
    assert capsys.readouterr().err.count("cannot share a prompt") == 1


def test_it_decodes_greedily_as_transformers_does(own_attention: Path) -> None:
    policy = load(own_attention)
    prompt = policy.encode("What is it?", [picture(0)])
    ours = sample(policy, [prompt], 1, max_new_tokens=10, temperature=0, generator=torch.Generator())[0][0].ids
    theirs = policy.base.generate(
        input_ids=prompt.input_ids[None],
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        pixel_values=prompt.images[0].pixel_values,
        do_sample=False,
        max_new_tokens=10,
        suppress_tokens=policy.banned_ids.tolist(),
        eos_token_id=list(policy.stop_ids),
        pad_token_id=0,
    )[0, len(prompt) :]
    assert ours.tolist() == theirs.tolist()


@pytest.mark.usefixtures("unknown")
def test_an_unknown_family_shares_prompts_where_that_is_exact(llava: Path) -> None:
    policy = load(llava)
    assert policy.packs
    assert_samples_what_it_scores(policy)


@pytest.mark.usefixtures("unknown")
def test_an_unknown_family_whose_layers_drop_the_plan_repeats_prompts(
    llava: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.llama.modeling_llama import LlamaAttention

    attend = LlamaAttention.forward

    def forgetful(self: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("plan", None)
        return attend(self, *args, **kwargs)

    monkeypatch.setattr(LlamaAttention, "forward", forgetful)
    policy = load(llava)
    assert not policy.packs
    assert_samples_what_it_scores(policy)


@pytest.mark.usefixtures("unknown")
def test_a_family_that_computes_otherwise_is_refused(llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that adds its features in a deeper layer would."""
    from transformers import LlavaForConditionalGeneration

    plain = LlavaForConditionalGeneration.forward

    def deeper(self: Any, **inputs: Any) -> Any:
        def add(module: nn.Module, args: Any, output: Any) -> Any:
            return output + 0.3

        handle = self.model.language_model.layers[0].register_forward_hook(add)
        try:
            return plain(self, **inputs)
        finally:
            handle.remove()

    monkeypatch.setattr(LlavaForConditionalGeneration, "forward", deeper)
    with pytest.raises(UserError, match="'llava'.*ours disagree"):
        Policy.load(str(llava))


def test_layers_that_are_no_attention_are_refused(tmp_path: Path) -> None:
    save_llava(tmp_path, model_type="lfm2", layer_types=["conv", "full_attention"])
    with pytest.raises(UserError, match="layers of kind conv"):
        Policy.load(str(tmp_path))


def test_windows_are_refused_where_prompts_are_repeated(llava: Path) -> None:
    policy = load(llava)
    refuse_windows("m", policy.base)
    policy.base.config.get_text_config().sliding_window = 8
    with pytest.raises(UserError, match="window of 8 tokens"):
        refuse_windows("m", policy.base)


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="with torchvision the processor can be read")
def test_a_processor_that_needs_torchvision_is_refused_by_name(tmp_path: Path) -> None:
    save_mistral3(tmp_path)
    with pytest.raises(UserError, match="PixtralProcessor requires the Torchvision library"):
        Policy.load(str(tmp_path))


def test_max_pixels_is_refused_where_it_means_nothing(llava: Path) -> None:
    with pytest.raises(UserError, match="max_pixels"):
        Policy.load(str(llava), max_pixels=1000)


def test_a_text_that_makes_up_pictures_is_refused_or_read_as_text(llava: Path) -> None:
    policy = load(llava)
    marker = policy.family.marker
    prompt = policy.encode(f"a {marker} b", [picture(0)])
    assert (prompt.input_ids == policy.family.image_token_id).sum() == prompt.images[0].tokens
    policy._special = frozenset()  # as of a tokenizer that does not call it special
    with pytest.raises(UserError, match="makes up pictures"):
        policy.encode(f"a {marker} b", [picture(0)])
