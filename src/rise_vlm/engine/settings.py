"""How to train and which objective, as plain settings: no torch, so that a recipe is read in a moment.

Left out: what they do (``trainer``, ``objective``).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

AdvantageKind = Literal["group_std", "group_mean", "leave_one_out"]
PolicyKind = Literal["grpo", "dr_grpo", "dapo", "bnpo", "gspo", "cispo"]
SftKind = Literal["balanced", "token"]
OptimizerKind = Literal["adamw", "muon"]


class TrainSettings(BaseModel):
    """How to train. ``token_budget`` and ``precision`` are for the stage: for `pack_by_tokens` and `Policy.load`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(gt=0)
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    warmup_steps: int = Field(default=0, ge=0)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    optimizer: OptimizerKind = "adamw"
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    save_every: int = Field(default=50, gt=0)
    seed: int = 0
    token_budget: int = Field(default=8192, gt=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    track: tuple[Literal["trackio", "wandb", "tensorboard"], ...] = ()

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the result: a checkpoint may only be continued with the same.

        How a step is cut into micro-batches changes no more than rounding. At a constant rate no step depends on how
        many follow, so a training may be made longer.
        """
        aside = {"save_every", "track", "token_budget"} | ({"steps"} if self.schedule == "constant" else set())
        return self.model_dump(mode="json", exclude=aside)
