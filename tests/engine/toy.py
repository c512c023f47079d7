"""A policy and a work for tests of the trainer: a regression small enough to train in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rise_vlm.engine.metrics import METRICS
from rise_vlm.engine.score import Group, pack_by_tokens
from rise_vlm.engine.settings import TrainSettings
from rise_vlm.engine.trainer import MODEL
from rise_vlm.engine.work import Prepared
from rise_vlm.policy.prompt import Prompt
from rise_vlm.policy.room import Room


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
        self.room = Room()

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
        self.rows = self.last = 0

    def prepare(self, step: int, generator: torch.Generator) -> Prepared:
        assert not self.policy.model.training
        assert not torch.is_grad_enabled()
        self.during(step)
        self.steps.append(step)
        rows = torch.randn(12, 4, generator=generator)
        if step > self.last:  # a step may be prepared twice
            self.seen += rows.sum(0)
            self.rows += len(rows)
            self.last = step
        metrics = {"reward": float(rows.mean()), "rows": float(self.rows)}
        return Prepared(self.micro(rows, self.spoil(step)), metrics)

    def micro(self, rows: Tensor, weight: float) -> list[Any]:
        return [(rows[:5], weight), (rows[5:], weight)]

    def loss(self, micro: tuple[Tensor, float]) -> Tensor:
        assert self.policy.model.training
        rows, weight = micro
        dtype = next(self.policy.model.parameters()).dtype
        wanted = torch.stack([rows.sum(1), rows.amax(1)], dim=1)
        return weight * ((self.policy.model(rows.to(dtype)).float() - wanted) ** 2).sum() / 12

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "seen": self.seen, "last": self.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.seen, self.last = state["rows"], state["seen"].clone(), state["last"]


@dataclass
class Groups:
    """A micro-batch of groups, one for each of its rows."""

    groups: list[Group]
    rows: Tensor


class Packed(ToyWork):
    """The same, with rows as groups of ten tokens that are packed into micro-batches; each stands for a record.

    ``disturb`` is called with each micro-batch before its loss, and ``spoil_row`` multiplies the loss of each record.
    """

    def __init__(
        self,
        policy: ToyPolicy,
        budget: int = 200,
        disturb: Callable[[Groups], None] = lambda micro: None,
        spoil_row: Callable[[str], float] = lambda record: 1.0,
        **how: Any,
    ) -> None:
        super().__init__(policy, **how)
        self.budget, self.disturb, self.spoil_row = budget, disturb, spoil_row

    def micro(self, rows: Tensor, weight: float) -> list[Any]:
        groups = [Group(_prompt(f"r{i}"), [torch.zeros(5, dtype=torch.long)]) for i in range(len(rows))]
        parts = pack_by_tokens(groups, self.policy.room.of("token_budget", self.budget))
        return [Groups(part, cut) for part, cut in zip(parts, rows.split([len(part) for part in parts]), strict=True)]

    def loss(self, micro: Groups) -> Tensor:
        self.disturb(micro)
        weights = torch.tensor([self.spoil_row(group.prompt.record) for group in micro.groups])
        wanted = torch.stack([micro.rows.sum(1), micro.rows.amax(1)], dim=1)
        errors = ((self.policy.model(micro.rows) - wanted) ** 2).sum(1)
        return (weights * errors).sum() / 12


def _prompt(record: str) -> Prompt:
    return Prompt(torch.zeros(6, dtype=torch.long), torch.zeros(1, 6, dtype=torch.long), 6, (), "", record=record)


def settings(**changes: Any) -> TrainSettings:
    return TrainSettings(**({"steps": 6, "learning_rate": 0.02, "save_every": 2, "seed": 3} | changes))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl`` without the times."""
    lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def result_of(folder: Path) -> dict[str, Any]:
    """All a training leaves, to be compared bit for bit: files of the checkpoints and the model, rows of metrics."""
    files = [
        path for part in ("checkpoint-last", "checkpoint-before", MODEL) for path in sorted((folder / part).rglob("*"))
    ]
    found: dict[str, Any] = {str(p.relative_to(folder)): p.read_bytes() for p in files if p.is_file()}
    return found | {"metrics": rows_of(folder), "left over": sorted(p.name for p in folder.iterdir())}
