"""What a stage hands to the training loop (`engine.trainer`): the work of each step, and what else it may say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from rise_vlm.engine.objective import Loss
from rise_vlm.engine.score import Group

__all__ = ["Ends", "Grouped", "Prepared", "Remembers", "Trainable", "Work"]


class Trainable(Protocol):
    """What the loop needs of a `Policy`. Its ``room``, where it has one, says how large a micro-batch may be; so its
    ``in_step`` and ``whole`` go around the gradient and the saving, for weights in parts."""

    @property
    def model(self) -> nn.Module: ...

    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class Prepared:
    """A step's micro-batches, whatever the work's ``loss`` takes, and what to write into its row of metrics.

    Of several processes each has its own micro-batches and the same metrics. No micro-batch at all, in any of them (no
    group had reward spread), is a step without an update.
    """

    micro: list[Any]
    metrics: dict[str, float] = field(default_factory=dict[str, float])


class Work(Protocol):
    """What a stage supplies. Steps are numbered from 1 to ``settings.steps`` everywhere.

    Of several processes all do the same but for the share of the micro-batches that they hand over.
    ``prepare`` runs without gradient and in evaluation mode. Its generator (CPU) is seeded from the seed and the step:
    draw all randomness from it. It may be called again for the same step, so what it changes (`Remembers`) it must not
    change twice. ``loss`` runs in training mode; the losses of a step's micro-batches add up to the
    step's loss, and their metrics (`objective.Loss`) are merged into its row.
    """

    def prepare(self, step: int, generator: torch.Generator) -> Prepared: ...

    def loss(self, micro: Any) -> Loss | Tensor: ...


@runtime_checkable
class Grouped(Protocol):
    """A micro-batch of groups, as ``pack_by_tokens`` makes them of ``policy.room``: it can be made smaller where memory
    runs out, and its records are named where it is not finite."""

    @property
    def groups(self) -> Sequence[Group]: ...


@runtime_checkable
class Remembers(Protocol):
    """A work with a state beyond the step's number: JSON values and tensors by name, kept in the checkpoint."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class Ends(Protocol):
    """A work that may be done before its last step. What it says after a step must depend on the rows up to it alone,
    and be the same in all processes: a training that is resumed asks again."""

    def ends(self, step: int) -> bool: ...
