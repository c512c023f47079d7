"""A loaded model on its device: frozen weights shared, faster layers in place, layers to be divided left for later."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rise_vlm import ranks
from rise_vlm.policy import parts
from rise_vlm.policy.attention import NAME
from rise_vlm.policy.features import fast_patch_embedding
from rise_vlm.policy.frozen import place as share_frozen
from rise_vlm.policy.loading import Loaded


def placed(loaded: Loaded, device: torch.device, *, still: bool, tower_still: bool) -> tuple[Any, list[nn.Module]]:
    """The model of a checkpoint on its device, and the layers that are to be divided, which are not there yet; its
    weights do not train if ``still``, its tower's not if ``tower_still``.
    """
    family, model = loaded.family, loaded.model.eval()
    decoder: Any = family.language_model(model)
    layers = parts.layers_of(decoder, family.model_type) if ranks.in_parts() else []
    if tower_still:
        share_frozen(model, model if still else family.tower(model), device, apart=parts.divisible(layers))
    if not layers:
        model = model.to(device)
    fast_patch_embedding(family.tower(model))
    if family.packs(model):
        decoder.config._attn_implementation = NAME
    return model, layers
