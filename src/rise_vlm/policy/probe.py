"""Does an unproven model compute here what it computes by itself? Asked once, at load, with one small picture.

A model that mixes its features in deeper layers, lets image tokens see each other or counts positions in its own way
would train on wrong log-probs without any error; this finds it out.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from rise_vlm.errors import UserError
from rise_vlm.policy.families import OtherFamily

TOLERANCE = 0.02
"""Largest difference of logits, as a share of their largest magnitude: above bfloat16's noise, below any real fault."""


def probe(policy: Any) -> None:
    """Compare ids and logits with the model's own forward pass; returns at once for families that tests prove.

    Raises:
        UserError: they differ, or the model cannot be run.
    """
    family = policy.family
    if not isinstance(family, OtherFamily):
        return
    image = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    kind = f"model {policy.name}: models of architecture '{family.model_type}'"
    try:
        prompt = policy.encode("What is this?", [image])
        content = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
        turn = [{"role": "user", "content": content}]
        text = policy.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        inputs = family.inputs(text, image)
        with torch.no_grad():
            theirs = policy.base(**{k: v.to(policy.device) for k, v in inputs.items()}).logits[0].float()
            features = policy.image_features([prompt], grad=False)
            embeds = policy.embed(prompt.input_ids[None].to(policy.device), [[features[i.key] for i in prompt.images]])
            ours = policy.head(policy.hidden(embeds, prompt.positions[:, None].to(policy.device), None))[0].float()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{kind} cannot be run here ({type(error).__name__}: {error}).") from None
    if not torch.equal(inputs["input_ids"][0], prompt.input_ids):
        raise UserError(f"{kind} write pictures into a prompt in a way rise-vlm does not know. Not supported.")
    if not (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max():
        raise UserError(
            f"{kind} use their pictures in a way rise-vlm does not know: its forward pass and ours disagree. "
            "Not supported."
        )
