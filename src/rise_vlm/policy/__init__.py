"""A vision-language model as rise-vlm uses it: loading, prompts to tensors, image features, box frames, LoRA.

``rise_vlm.policy.frames`` imports without torch, so the names below are looked up only when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rise_vlm.policy.lora import LoraSettings
    from rise_vlm.policy.policy import Policy
    from rise_vlm.policy.prompt import ImageInput, Prompt

__all__ = ["ImageInput", "LoraSettings", "Policy", "Prompt"]

_HOME = {"LoraSettings": "lora", "Policy": "policy", "Prompt": "prompt", "ImageInput": "prompt"}


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
