"""LoRA through peft: which layers, how wide. Left out: other adapters, and adapters on the vision tower by default."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from rise_vlm.errors import UserError


class LoraSettings(BaseModel):
    """Low-rank adapters on the language model.

    ``r`` is the rank, ``alpha / r`` the scale of the update, ``targets`` the names of linear layers (``q_proj``) or
    ``all-linear``: every linear layer of the language model but the output layer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    r: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    targets: tuple[str, ...] | str = "all-linear"


def linear_names(module: nn.Module) -> set[str]:
    """The last name parts of all linear layers below ``module``: ``{"q_proj", "up_proj", ...}``."""
    return {name.rsplit(".", 1)[-1] for name, child in module.named_modules() if isinstance(child, nn.Linear)}


def add_lora(model: Any, language_model: nn.Module, settings: LoraSettings) -> Any:
    """Wrap ``model`` with fresh adapters on ``language_model`` (a part of it). All other weights stop training.

    Raises:
        UserError: a target names no linear layer of the language model.
    """
    from peft import LoraConfig, get_peft_model

    known = linear_names(language_model)
    targets = known if settings.targets == "all-linear" else {settings.targets}
    if not isinstance(settings.targets, str):
        targets = set(settings.targets)
    if unknown := targets - known:
        raise UserError(f"lora.targets: {sorted(unknown)} are no linear layers of this model; it has {sorted(known)}.")
    prefix = next(name for name, child in model.named_modules() if child is language_model)
    names = [
        name
        for name, child in language_model.named_modules(prefix=prefix)
        if isinstance(child, nn.Linear) and name.rsplit(".", 1)[-1] in targets
    ]
    config = LoraConfig(
        r=settings.r, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=names, bias="none"
    )
    return get_peft_model(model, config)
