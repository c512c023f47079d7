"""A policy and a work for tests of the trainer: a regression small enough to train in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rise_vlm.engine.metrics import METRICS
from rise_vlm.engine.trainer import MODEL, Prepared, TrainSettings


class ToyPolicy:
    """4 -> ``width`` -> 2 with a frozen first layer if asked, dropout to have something random in the forward pass."""

    def __init__(self, *, dtype: torch.dtype = torch.float32, width: int = 8, frozen_seed: int | None = None) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = nn.Sequential(nn.Linear(4, width), nn.Dropout(0.1), nn.Tanh(), nn.Linear(width, 2))
        if frozen_seed is not None:
            torch.manual_seed(frozen_seed)
            first = nn.Linear(4, width).requires_grad_(False)
            self.model = nn.Sequential(first, *list(self.model)[1:])
        self.model.to(dtype)

    def save(self, folder: Path) -> None:
        save_file(dict(self.model.state_dict()), folder / "model.safetensors")


class ToyWork:
    """Learns y = (sum x, max x) from two micro-batches of random rows a step; remembers how far it came.

    ``during`` is called at the start of each step's preparation, to disturb it; ``spoil`` multiplies the loss.
    """

    def __init__(
        self,
        policy: ToyPolicy,
        during: Callable[[int], None] = lambda step: None,
        spoil: Callable[[int], float] = lambda step: 1.0,
    ) -> None:
        self.policy, self.during, self.spoil = policy, during, spoil
        self.steps: list[int] = []
        self.seen = torch.zeros(4)
        self.rows = 0

    def prepare(self, step: int, generator: torch.Generator) -> Prepared:
        assert not self.policy.model.training
        assert not torch.is_grad_enabled()
        self.during(step)
        self.steps.append(step)
        rows = torch.randn(12, 4, generator=generator)
        self.seen += rows.sum(0)
        self.rows += len(rows)
        weight = self.spoil(step)
        return Prepared(
            [(rows[:5], weight), (rows[5:], weight)], {"reward": float(rows.mean()), "rows": float(self.rows)}
        )

    def loss(self, micro: tuple[Tensor, float]) -> Tensor:
        assert self.policy.model.training
        rows, weight = micro
        dtype = next(self.policy.model.parameters()).dtype
        wanted = torch.stack([rows.sum(1), rows.amax(1)], dim=1)
        return weight * ((self.policy.model(rows.to(dtype)).float() - wanted) ** 2).sum() / 12

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.seen = state["rows"], state["seen"].clone()


def settings(**changes: Any) -> TrainSettings:
    return TrainSettings(**({"steps": 6, "learning_rate": 0.02, "save_every": 2, "seed": 3} | changes))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl`` without the times."""
    lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def result_of(folder: Path) -> dict[str, Any]:
    """All a training leaves, to be compared bit for bit: files of the checkpoint and the model, rows of metrics."""
    files = [path for part in ("checkpoint-last", MODEL) for path in sorted((folder / part).rglob("*"))]
    found: dict[str, Any] = {str(p.relative_to(folder)): p.read_bytes() for p in files if p.is_file()}
    return found | {"metrics": rows_of(folder), "left over": sorted(p.name for p in folder.iterdir())}
