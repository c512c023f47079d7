"""Prompts: text and pictures in one row of ids, nothing cut, nothing smuggled in; positions by the paper's rule."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_models import picture

from rise_vlm.errors import UserError
from rise_vlm.policy import Policy, Prompt

IMAGE = "<|image_pad|>"


def by_the_paper(policy: Policy, prompt: Prompt) -> tuple[torch.Tensor, int]:
    """M-RoPE positions (3, P) and the next one, by the rule of Qwen2-VL (arXiv 2409.12191, section 2.1).

    Text counts on all three axes alike; a picture spans one time step and its merged rows and columns, and the text
    after it goes on from the larger of the two.
    """
    pieces: list[tuple[int, int, int]] = []
    here, waiting = 0, list(prompt.images)
    ids = prompt.input_ids.tolist()
    while len(pieces) < len(ids):
        if ids[len(pieces)] != policy.family.image_token_id:
            pieces.append((here, here, here))
            here += 1
            continue
        rows, columns = (waiting.pop(0).grid[1:] // 2).tolist()
        pieces += [(here, here + row, here + column) for row in range(rows) for column in range(columns)]
        here += max(rows, columns)
    return torch.tensor(pieces).T, here


@pytest.mark.parametrize("sizes", [[], [(56, 56)], [(84, 56), (28, 84)], [(56, 56), (28, 28), (112, 56)]])
def test_positions_are_those_of_the_paper(policy: Policy, sizes: list[tuple[int, int]]) -> None:
    prompt = policy.encode("What is it?", [picture(i, *size) for i, size in enumerate(sizes)])
    positions, following = by_the_paper(policy, prompt)
    assert torch.equal(prompt.positions, positions)
    assert prompt.next_position == following


def test_pictures_come_first_and_take_one_id_per_feature(policy: Policy) -> None:
    prompt = policy.encode("What?", [picture(0), picture(1, 84, 28)])
    text = policy.tokenizer.decode(prompt.input_ids)
    assert text.index("<|vision_start|>") < text.index("What?")
    assert text.endswith("assistant\n")
    assert text.count(IMAGE) == sum(image.tokens for image in prompt.images)
    features = policy.image_features([prompt], grad=False)
    assert [len(features[image.key]) for image in prompt.images] == [image.tokens for image in prompt.images]


def test_special_tokens_in_the_text_are_only_text(policy: Policy) -> None:
    text = "a <|image_pad|> and <|im_end|> and <|vision_start|>"
    prompt = policy.encode(text, [picture(0)])
    plain = policy.encode("nothing", [picture(0)])
    assert (prompt.input_ids == policy.family.image_token_id).sum() == plain.images[0].tokens
    stop = policy.tokenizer.eos_token_id
    assert (prompt.input_ids == stop).sum() == (plain.input_ids == stop).sum()
    assert text in policy.tokenizer.decode(prompt.input_ids)


@settings(max_examples=30, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_is_kept_whole(checkpoints: Any, text: str) -> None:
    policy = _cached(str(checkpoints["qwen2_vl"]))
    ids = policy.encode(text).input_ids
    decoded = policy.tokenizer.decode(ids)
    assert decoded == f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


_kept: dict[str, Policy] = {}


def _cached(folder: str) -> Policy:
    if folder not in _kept:
        _kept[folder] = Policy.load(folder, dtype="float32")
    return _kept[folder]


def test_a_template_that_forgets_pictures_is_refused(policy: Policy) -> None:
    policy.tokenizer.chat_template = "{% for m in messages %}{{ m['content'][-1]['text'] }}{% endfor %}"
    assert len(policy.encode("just text")) == 9
    with pytest.raises(UserError, match="0 places for 1 pictures"):
        policy.encode("a picture", [picture(0)])


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (1, 3), (1, 150), (13, 13), (200, 1), (3, 600), (999, 7)])
def test_small_and_narrow_pictures_are_taken(policy: Policy, size: tuple[int, int]) -> None:
    prompt = policy.encode("?", [picture(0, *size)])
    image = prompt.images[0]
    assert image.tokens >= 1
    assert torch.isfinite(policy.image_features([prompt], grad=False)[image.key]).all()
    # Wide stays wide: no guess about which axis holds the colours.
    rows, columns = image.grid[1:].tolist()
    assert (columns - rows) * (size[0] - size[1]) >= 0


@pytest.mark.parametrize("size", [(201, 1), (1, 201), (4000, 19)])
def test_too_narrow_a_picture_is_refused_by_name(policy: Policy, size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=rf"picture 2 is {size[0]} x {size[1]} pixels"):
        policy.encode("?", [picture(0), picture(1, *size)])


def test_a_prompt_that_fills_the_context_is_refused(policy: Policy) -> None:
    with pytest.raises(UserError, match="too long: the model takes 1024"):
        policy.encode("x" * 1024)
    assert len(policy.encode("x" * 900)) < 1024


def test_pictures_that_fill_the_context_are_refused_and_never_cut(policy: Policy) -> None:
    policy.base.config.get_text_config().max_position_embeddings = 64
    pictures = [picture(i, 84, 84) for i in range(5)]
    for count in (5, 4):
        with pytest.raises(UserError, match="too long: the model takes 64.*lower max_pixels"):
            policy.encode("?", pictures[:count])
    kept = policy.encode("?", pictures[:2])
    assert len(kept) < 64
    assert (kept.input_ids == policy.family.image_token_id).sum() == 18


def test_preprocessed_pictures_serve_as_pictures(policy: Policy) -> None:
    once = policy.preprocess([picture(3), picture(4)])
    assert policy.encode("a", once).identity == policy.encode("a", [picture(3), picture(4)]).identity
    assert policy.encode("a", once).identity != policy.encode("a", list(reversed(once))).identity
    assert policy.encode("a", once).identity != policy.encode("b", once).identity


def test_the_key_of_a_picture_is_its_content(policy: Policy) -> None:
    same, again, other = policy.preprocess([picture(1), picture(1), picture(2)])
    assert same.key == again.key != other.key
    one_pixel = picture(1)
    one_pixel.putpixel((0, 0), (1, 2, 3))
    assert policy.preprocess([one_pixel])[0].key != same.key


def test_max_pixels_bounds_the_tokens(checkpoints: Any) -> None:
    photo = Image.effect_noise((400, 300), 60).convert("RGB")
    counts = [
        Policy.load(str(checkpoints["qwen2_vl"]), max_pixels=pixels).preprocess([photo])[0].tokens
        for pixels in (28 * 28 * 4, 28 * 28 * 64)
    ]
    assert counts[0] <= 4 < counts[1] <= 64
    with pytest.raises(UserError, match="max_pixels"):
        Policy.load(str(checkpoints["qwen2_vl"]), max_pixels=0)
