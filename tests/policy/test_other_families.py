"""Families that nobody wrote out: run where their forward pass is ours, refused where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import CHAT_TEMPLATE, picture, tiny_tokenizer
from torch import nn

from rise_vlm.engine.sample import sample
from rise_vlm.engine.score import Group, completion_logprobs
from rise_vlm.errors import UserError
from rise_vlm.policy import Policy


def save_llava(folder: Path) -> Path:
    """A random LLaVA: a CLIP tower, 4 features per picture, a Llama decoder, plain positions."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]}, replace_extra_special_tokens=False)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**size, image_size=28, patch_size=14, projection_dim=16),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            initializer_range=0.25,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
    )
    torch.manual_seed(0)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<image>"),
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llava(tmp_path_factory.mktemp("llava") / "model")


def test_llava_samples_what_it_scores_and_says_once_that_prompts_repeat(
    llava: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = Policy.load(str(llava), dtype="float32", device="cpu")
    prompts = [policy.encode("What?", [picture(0), picture(1)]), policy.encode("Text only.")]
    rollouts = sample(policy, prompts, 3, max_new_tokens=8, generator=torch.Generator().manual_seed(0), max_rows=2)
    groups = [Group(p, [r.ids for r in rs]) for p, rs in zip(prompts, rollouts, strict=True)]
    for _ in range(2):
        scored = completion_logprobs(policy, groups, grad=False)
    for logprobs, own in zip(scored, rollouts, strict=True):
        for row, rollout in zip(logprobs, own, strict=True):
            assert torch.allclose(row[: len(rollout.ids)], rollout.logprobs, atol=1e-4)
    assert capsys.readouterr().err.count("cannot share a prompt") == 1


def test_llava_decodes_greedily_as_transformers_does(llava: Path) -> None:
    policy = Policy.load(str(llava), dtype="float32", device="cpu")
    prompt = policy.encode("What is it?", [picture(0)])
    policy.banned_ids = policy.banned_ids[:0]
    ours = sample(policy, [prompt], 1, max_new_tokens=10, temperature=0, generator=torch.Generator())[0][0].ids
    theirs = policy.base.generate(
        input_ids=prompt.input_ids[None],
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        pixel_values=prompt.images[0].pixel_values,
        do_sample=False,
        max_new_tokens=10,
        eos_token_id=list(policy.stop_ids),
        pad_token_id=0,
    )[0, len(prompt) :]
    assert ours.tolist() == theirs.tolist()


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


def test_max_pixels_is_refused_where_it_means_nothing(llava: Path) -> None:
    with pytest.raises(UserError, match="max_pixels"):
        Policy.load(str(llava), max_pixels=1000)
