"""LoRA through peft: fresh adapters, adapters from disk, and weights with the adapters added in.

Left out: other kinds of adapters, and adapters on the vision tower or the output layer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from rise_vlm.errors import UserError

if TYPE_CHECKING:  # a recipe is read without torch
    from torch import Tensor, nn

ADAPTER_FILE = "adapter_config.json"


class LoraSettings(BaseModel):
    """Low-rank adapters on the language model.

    ``r`` is the rank, ``alpha / r`` the scale of the update, ``targets`` the names of linear layers (``q_proj``) or
    ``all-linear``: every linear layer of the language model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    r: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    targets: tuple[str, ...] | str = "all-linear"


def add_lora(model: Any, language_model: nn.Module, settings: LoraSettings, base_name: str) -> Any:
    """Wrap ``model`` with fresh adapters on ``language_model``, a part of it; only they train.

    ``base_name`` is what a saved adapter says it belongs to.

    Raises:
        UserError: a target names no linear layer of the language model.
    """
    from peft import LoraConfig, get_peft_model
    from torch import nn

    prefix = next(name for name, child in model.named_modules() if child is language_model)
    linear = {
        name: name.rsplit(".", 1)[-1]
        for name, child in language_model.named_modules(prefix=prefix)
        if isinstance(child, nn.Linear)
    }
    known = set(linear.values())
    chosen = {settings.targets} if isinstance(settings.targets, str) else set(settings.targets)
    targets = known if chosen == {"all-linear"} else chosen
    if not targets or targets - known:
        raise UserError(
            f"lora.targets: {sorted(targets - known)} are not among the language model's linear layers {sorted(known)}."
        )
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=[name for name, last in linear.items() if last in targets],
        bias="none",
    )
    wrapped = get_peft_model(model, config)
    wrapped.peft_config["default"].base_model_name_or_path = base_name
    return wrapped


def adapter_base(name: str) -> str | None:
    """The model that the adapter in folder ``name`` belongs to, or None where ``name`` is no adapter's folder.

    Raises:
        UserError: the adapter does not say.
    """
    path = Path(name).expanduser() / ADAPTER_FILE
    if not path.is_file() or (path.parent / "config.json").is_file():
        return None
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except ValueError as error:
        raise UserError(f"adapter {path}: not JSON ({error}).") from None
    if not base:
        raise UserError(f"adapter {path}: it does not say which model it belongs to (base_model_name_or_path).")
    return str(base)


def load_adapter(model: Any, name: str) -> Any:
    """Wrap ``model`` with the trainable adapter in folder ``name``.

    Raises:
        UserError: it does not fit the model.
    """
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(Path(name).expanduser()), is_trainable=True)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"adapter {name}: it cannot be loaded ({first[:300]}).") from None


def merged_state(base: nn.Module) -> dict[str, Tensor]:
    """The weights of ``base`` with its adapters added, under the names of a model without them.

    Computed aside: adding to the weights in place and taking away again would not give the same bits back.
    """
    import torch
    from peft.tuners.lora import LoraLayer

    modules: dict[str, Any] = dict(base.named_modules())
    state: dict[str, Tensor] = {}
    for name, weight in base.state_dict().items():
        if ".lora_" in name:
            continue
        owner, _, last = name.rpartition(".base_layer.")
        layer = modules.get(owner)
        if isinstance(layer, LoraLayer):
            adapted: Any = layer
            name = f"{owner}.{last}"
            if last == "weight":
                with torch.no_grad():
                    weight = (weight.float() + adapted.get_delta_weight("default").float()).to(weight.dtype)
        state[name] = weight
    return state
