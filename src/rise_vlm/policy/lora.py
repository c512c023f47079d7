"""LoRA through peft: fresh adapters, adapters on disk, and weights with the adapters added in.

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

ADAPTER_FILE, PICTURES_FILE = "adapter_config.json", "pictures.json"


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


def refuse_adapters(name: str, adapts: bool, lora: bool, freeze_tower: bool) -> None:
    """Raise UserError for adapters upon adapters, or beside a tower that trains."""
    if adapts and lora:
        raise UserError(f"model {name}: it is an adapter already, so lora cannot add another. Leave lora out.")
    if (adapts or lora) and not freeze_tower:
        raise UserError("lora trains adapters of the language model only: it needs freeze_tower: true.")


def add_lora(model: Any, language_model: nn.Module, settings: LoraSettings, name: str) -> Any:
    """Wrap ``model`` with fresh adapters on ``language_model``, a part of it; only they train.

    ``name`` is the model's: a saved adapter says that it belongs to it, in a form that holds from any folder.

    Raises:
        UserError: a target names no linear layer of the language model.
    """
    from peft import LoraConfig, get_peft_model

    from rise_vlm.policy.names import BUILT_IN  # which asks this module whether a model is an adapter

    prefix = next(name for name, child in model.named_modules() if child is language_model)
    chosen = [f"{prefix}.{name}" for name in choose_targets(language_model, settings)]
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=chosen,
        bias="none",
    )
    wrapped = get_peft_model(model, config)
    path = Path(name).expanduser()
    lasting = name if name in BUILT_IN or not path.is_dir() else str(path.resolve())
    wrapped.peft_config["default"].base_model_name_or_path = lasting
    return wrapped


def choose_targets(language_model: nn.Module, settings: LoraSettings) -> list[str]:
    """The names, within ``language_model``, of the linear layers that get adapters.

    Raises:
        UserError: a target names no linear layer of the language model.
    """
    from torch import nn

    linear = {
        name: name.rsplit(".", 1)[-1] for name, child in language_model.named_modules() if isinstance(child, nn.Linear)
    }
    known = set(linear.values())
    wanted = {settings.targets} if isinstance(settings.targets, str) else set(settings.targets)
    targets = known if wanted == {"all-linear"} else wanted
    if not targets or targets - known:
        raise UserError(
            f"lora.targets: {sorted(targets - known)} are not among the language model's linear layers {sorted(known)}."
        )
    return [name for name, last in linear.items() if last in targets]


def save_adapter(model: Any, folder: Path, max_pixels: int | None) -> None:
    """Write the adapter of ``model``, in its own precision, and beside it the bound of pictures it was trained with."""
    # Without asking the hub whether the base has other embeddings: adapters never touch them.
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / PICTURES_FILE).write_text(json.dumps({"max_pixels": max_pixels}) + "\n", encoding="utf-8")


def adapter_pixels(name: str) -> int | None:
    """``max_pixels`` as the adapter in folder ``name`` was trained with; None where it does not say."""
    try:
        said = json.loads((Path(name).expanduser() / PICTURES_FILE).read_text(encoding="utf-8"))
        return None if said["max_pixels"] is None else int(said["max_pixels"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
    """The weights of ``base`` with its adapters added, in float32, under the names of a model without them.

    In bfloat16 most of an adapter would be rounded away: its part of a weight is often smaller than the weight's last
    digit. Computed aside: adding in place and taking away again would not give the same bits back.
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
                    weight = weight.float() + adapted.get_delta_weight("default").float()
        state[name] = weight.float() if weight.is_floating_point() else weight
    return state
