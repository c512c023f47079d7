"""What accelerate's configuration asks for, as its launcher leaves it in the environment: weights whole or in parts.

``distributed_type: FSDP`` with ``fsdp_version: 2`` asks for parts (``policy.parts``). What is asked for besides is done
or refused, by the key that stands in the file; keys that mean nothing to FSDP2 and that the launcher always sets are
passed over; what else would change the computation is refused too. Left out: keys that only say where and how the
processes run, which are the launcher's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from rise_vlm.errors import UserError

FILES = "recipes/accelerate"

ONLY = {
    "FSDP_OFFLOAD_PARAMS": ("false", "parts stay on their devices"),
    "FSDP_AUTO_WRAP_POLICY": ("TRANSFORMER_BASED_WRAP", "a part is of one layer of the decoder"),
    "FSDP_TRANSFORMER_CLS_TO_WRAP": ("", "the layers of the decoder are found without it"),
    "FSDP_SHARDING_STRATEGY": ("FULL_SHARD", "fsdp_reshard_after_forward says when parts are let go"),
    "FSDP_BACKWARD_PREFETCH": ("BACKWARD_PRE", "FSDP2 does no other"),
    "FSDP_FORWARD_PREFETCH": ("false", "accelerate has it for version 1 alone"),
    "FSDP_STATE_DICT_TYPE": ("FULL_STATE_DICT", "what is saved is whole"),
    "FSDP_ACTIVATION_CHECKPOINTING": ("false", "the recipe's policy.gradient_checkpointing does that"),
    "FSDP_ACTIVATION_CHECKPOINTING_OFFLOAD": ("false", "activations stay on their devices"),
    "FSDP_IGNORED_MODULES": ("", "what is not in a layer of the decoder stays whole as it is"),
}
"""The one value that each key may have, and why."""

NOT_HERE = {
    "ACCELERATE_MIXED_PRECISION": ("mixed_precision", ("no",), "give 'no': the recipe's policy.precision does that"),
    "ACCELERATE_DYNAMO_BACKEND": ("dynamo_backend", ("no",), "give 'no': nothing is compiled"),
    "ACCELERATE_USE_PARALLELISM_CONFIG": (
        "parallelism_config",
        ("false",),
        "leave it out: processes share records",
    ),
    "ACCELERATE_USE_MEGATRON_LM": ("distributed_type: MEGATRON_LM", ("false",), "give MULTI_GPU, or FSDP"),
}
"""What is never done: the variable, the key in the file, its values that ask for nothing, and the advice."""

KEYS = {"FSDP_TRANSFORMER_CLS_TO_WRAP": "fsdp_transformer_layer_cls_to_wrap"}
"""Keys that are not the variable's name in small letters."""


@dataclass(frozen=True)
class Division:
    """Weights are in parts. ``keeps``: a layer that was gathered stays so until the phase ends (`policy.parts`)."""

    keeps: bool


def division() -> Division | None:
    """How weights are to be in parts; None where they are to be whole.

    Raises:
        UserError: what is asked for cannot be done; it names the key and what to give instead.
    """
    if _said("ACCELERATE_USE_DEEPSPEED") == "true":
        raise UserError(
            "the configuration of accelerate says distributed_type: DEEPSPEED. Its ZeRO stage 2 is "
            f"{FILES}/one_machine.yaml here, its stage 3 is {FILES}/fsdp2.yaml (docs/scaling.md)"
        )
    for name, (key, nothing, advice) in NOT_HERE.items():
        if (found := _said(name)) and found.lower() not in nothing:
            raise UserError(f"the configuration of accelerate says {key} ({found}): {advice}")
    if _said("ACCELERATE_USE_FSDP") != "true":
        return None
    if (version := _said("FSDP_VERSION") or "1") != "2":
        raise UserError(f"the configuration of accelerate says fsdp_version: {version}: give fsdp_version: 2")
    for name, (value, why) in ONLY.items():
        if (found := _said(name)) and found.lower() != value.lower():
            advice = f"give {value}" if value else "leave it out"
            raise UserError(f"the configuration of accelerate says {_key(name)}: {found}: {advice}, as {why}")
    return Division(keeps=_keeps())


def take_over() -> None:
    """Tell accelerate and transformers nothing of it: each would divide, or load, in its own way."""
    os.environ["ACCELERATE_USE_FSDP"] = "false"


def _keeps() -> bool:
    name = "FSDP_RESHARD_AFTER_FORWARD"
    found = _said(name) or "true"
    if found.lower() not in ("true", "false"):
        raise UserError(f"the configuration of accelerate says {_key(name)}: {found}: give true or false")
    return found.lower() == "false"


def _said(name: str) -> str:
    """The launcher writes None for what the file does not say."""
    found = os.environ.get(name, "")
    return "" if found in ("None", "none") else found


def _key(name: str) -> str:
    return KEYS.get(name, name.lower())
