"""Does an unproven model compute here what it computes by itself? Asked once, at load, with one small picture.

A model that mixes its features in deeper layers, lets image tokens see each other or counts positions in its own way
would train on wrong log-probs without any error; this finds it out. A model whose completions cannot share a row with
their prompt repeats the prompt instead.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from rise_vlm import ranks
from rise_vlm.errors import UserError
from rise_vlm.policy.attention import SharedPrompts

TOLERANCE = 0.02
"""Largest difference of logits, as a share of their largest magnitude: above bfloat16's noise, below any real fault."""


def probe(policy: Any) -> None:
    """Compare ids and logits with the model's own forward pass; returns at once for families that tests prove.

    Sets ``policy.packs`` to False where a shared prompt gives other logits than a repeated one.

    Raises:
        UserError: ids or logits differ, or the model cannot be run.
    """
    family = policy.family
    if family.proven:
        return
    image = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    kind = f"model {policy.name}: models of architecture '{family.model_type}'"
    try:
        prompt = policy.encode("What is this?", [image])
        content = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
        turn = [{"role": "user", "content": content}]
        text = policy.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        inputs = family.inputs(text, [image])
        with torch.no_grad():
            theirs = policy.base(**{k: v.to(policy.device) for k, v in inputs.items()}).logits[0].float()
            ours = _logits(policy, prompt, torch.zeros(0, dtype=torch.long), None)
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and ranks.is_lost(error):
            raise
        raise UserError(f"{kind} cannot be run here ({type(error).__name__}: {error}).") from None
    if not torch.equal(inputs["input_ids"][0], prompt.input_ids):
        raise UserError(f"{kind} write pictures into a prompt in a way rise-vlm does not know. Not supported.")
    if not _close(ours, theirs):
        raise UserError(
            f"{kind} use their pictures in a way rise-vlm does not know: its forward pass and ours disagree. "
            "Not supported."
        )
    policy.packs = policy.packs and _shares(policy, prompt)


def _logits(policy: Any, prompt: Any, after: Tensor, lengths: list[int] | None) -> Tensor:
    """Logits (P + A, V) of a prompt and ids ``after`` (A,): one completion, or several of ``lengths`` that share it."""
    device = policy.device
    features = policy.image_features([prompt], grad=False)
    ids = torch.cat([prompt.input_ids, after])[None].to(device)
    embeds = policy.embed(ids, [[features[image.key] for image in prompt.images]])
    places = torch.cat([torch.arange(length) for length in lengths or [len(after)]]) + prompt.next_position
    positions = torch.cat([prompt.positions, places.expand(len(prompt.positions), -1)], dim=1)[:, None].to(device)
    plan = SharedPrompts.of([len(prompt)], [lengths], device, embeds.dtype, [prompt.blocks]) if lengths else None
    return policy.head(policy.hidden(embeds, positions, None, plan=plan))[0].float()


def _shares(policy: Any, prompt: Any) -> bool:
    """Whether two completions in one row with their prompt have the logits of two rows."""
    one, two = prompt.input_ids[-4:], prompt.input_ids[-6:-3]
    try:
        with torch.no_grad():
            apart = [_logits(policy, prompt, ids, None) for ids in (one, two)]
            shared = _logits(policy, prompt, torch.cat([one, two]), [len(one), len(two)])
    except (TypeError, ValueError, RuntimeError):
        return False
    return _close(shared, torch.cat([apart[0], apart[1][len(prompt) :]]))


def _close(ours: Tensor, theirs: Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max())
