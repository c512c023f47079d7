"""The training loop, for every stage.

A stage hands over a `Work`: for each step it prepares micro-batches (rollouts, rewards, advantages; or simply records)
and turns each into a loss. The loop does the rest: gradients, clipping, AdamW, the rate, metrics, checkpoints, Ctrl-C.

Everything random in a step comes from the settings' seed and the step's number alone, so a run that is killed at any
moment and started again ends in the same bits as one that was not (on the same machine with the same versions).

Left out: sharding of weights over devices, and several processes (`accelerate launch` with more than one is refused).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from rise_vlm.console import progress, say
from rise_vlm.engine import checkpoint as checkpoints
from rise_vlm.engine.checkpoint import Checkpoint, told
from rise_vlm.engine.objective import Loss, merge_metrics
from rise_vlm.engine.optimizer import MasterAdamW, learning_rate_at
from rise_vlm.errors import UserError

METRICS, MODEL = "metrics.jsonl", "model"
REFUSED_IN_A_ROW = 3
"""So many steps in a row without a finite loss and gradient end the training: the weights are beyond saving."""


class TrainSettings(BaseModel):
    """How to train. ``token_budget`` and ``precision`` are for the stage: for `pack_by_tokens` and `Policy.load`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(gt=0)
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    warmup_steps: int = Field(default=0, ge=0)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    save_every: int = Field(default=50, gt=0)
    seed: int = 0
    token_budget: int = Field(default=8192, gt=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the result: a checkpoint may only be continued with the same."""
        return self.model_dump(mode="json", exclude={"save_every"})


class Trainable(Protocol):
    """What the loop needs of a `Policy`."""

    @property
    def model(self) -> nn.Module: ...

    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class Prepared:
    """A step's micro-batches, whatever the work's ``loss`` takes, and what to write into its row of metrics.

    No micro-batch at all (no group had reward spread) is a step without an update.
    """

    micro: list[Any]
    metrics: dict[str, float] = field(default_factory=dict[str, float])


class Work(Protocol):
    """What a stage supplies. Steps are numbered from 1 to ``settings.steps`` everywhere.

    ``prepare`` runs without gradient and in evaluation mode. Its generator (CPU) is seeded from the seed and the step:
    draw all randomness from it. ``loss`` runs in training mode; the losses of a step's micro-batches add up to the
    step's loss, and their metrics (`objective.Loss`) to rows of its metrics.
    """

    def prepare(self, step: int, generator: torch.Generator) -> Prepared: ...

    def loss(self, micro: Any) -> Loss | Tensor: ...


@runtime_checkable
class Remembers(Protocol):
    """A work with a state beyond the step's number: JSON values and tensors by name, kept in the checkpoint."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Interrupted(UserError):
    """The user stopped the training (Ctrl-C); running the command again continues it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=130)


def train(policy: Trainable, work: Work, settings: TrainSettings, folder: Path, describe: str) -> None:
    """Train ``policy`` in place for ``settings.steps`` steps, continuing from ``folder/checkpoint-last`` if it exists.

    Leaves in ``folder``: ``metrics.jsonl`` (one row per step), ``checkpoint-last/`` and, at the end, ``model/``.
    ``describe`` names the training in progress and messages, e.g. "closed loop".
    Errors: UserError for a checkpoint that does not fit, a folder that cannot be written, or losses that stay
    non-finite; `Interrupted` for Ctrl-C (once: after the running step; twice: at once).
    """
    accelerator = Accelerator()
    if accelerator.num_processes > 1:
        raise UserError(f"{describe}: training runs in one process; start it without `accelerate launch`, or with 1")
    trained = {name: p for name, p in policy.model.named_parameters() if p.requires_grad}
    optimizer = MasterAdamW(trained, weight_decay=settings.weight_decay)
    model = checkpoints.fingerprint(policy.model)
    position = _resume(folder, optimizer, work, settings, model, describe)
    _start_metrics(folder, position.step)

    with _ctrl_c(describe, folder) as stop, progress(describe, total=settings.steps) as bar:
        bar.update(position.step)
        for step in range(position.step + 1, settings.steps + 1):
            row = _step(accelerator, policy, work, optimizer, settings, step)
            position = Position(step, position.refused + 1 if row.get("refused") else 0)
            _append(folder, row)
            bar.update(1, **_shown(row))

            failed = position.refused >= REFUSED_IN_A_ROW
            if failed or stop.asked or step % settings.save_every == 0 or step == settings.steps:
                _save(folder, position, optimizer, work, settings, model)
            if failed:
                raise UserError(_not_finite(describe, step, row), exit_code=1)
            if stop.asked and step < settings.steps:
                raise Interrupted(f"{describe}: stopped after step {step} of {settings.steps}. {_again(folder)}")
    _save_model(policy, folder)


@dataclass(frozen=True)
class Position:
    """Where a training stands: the steps done, and how many of the last ones in a row were refused."""

    step: int = 0
    refused: int = 0


def _step(
    accelerator: Accelerator,
    policy: Trainable,
    work: Work,
    optimizer: MasterAdamW,
    settings: TrainSettings,
    step: int,
) -> dict[str, Any]:
    """One step; returns its row of metrics. A loss or gradient that is not finite leaves weights and Adam untouched."""
    started = time.perf_counter()
    seed = seed_of(settings.seed, step)
    torch.manual_seed(seed)  # dropout
    policy.model.eval()
    with torch.no_grad():
        prepared = work.prepare(step, torch.Generator().manual_seed(seed))

    policy.model.train()
    optimizer.clear()
    parts: list[Mapping[str, Tensor | float]] = [{"loss": 0.0}]
    for micro in prepared.micro:
        loss = work.loss(micro)
        loss = loss if isinstance(loss, Loss) else Loss(loss)
        accelerator.backward(loss.value)
        optimizer.collect()
        parts.append({**loss.metrics, "loss": loss.value.detach()})

    merged = merge_metrics(parts)
    norm = optimizer.gradient_norm()
    rate = learning_rate_at(
        step,
        peak=settings.learning_rate,
        steps=settings.steps,
        warmup_steps=settings.warmup_steps,
        schedule=settings.schedule,
    )
    finite = math.isfinite(merged["loss"]) and math.isfinite(norm)
    if finite and prepared.micro:
        optimizer.step(rate, norm=norm, max_norm=settings.max_grad_norm)
    optimizer.clear()
    row = {"step": step, **prepared.metrics, **merged, "grad_norm": norm, "learning_rate": rate}
    if not finite:
        row["refused"] = 1
    return row | {"seconds": round(time.perf_counter() - started, 4)}


def seed_of(seed: int, step: int) -> int:
    """The seed of a step: 63 well-mixed bits, so that neighbouring seeds and steps share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}".encode()).digest()[:8], "big") >> 1


def _resume(
    folder: Path,
    optimizer: MasterAdamW,
    work: Work,
    settings: TrainSettings,
    model: dict[str, str],
    describe: str,
) -> Position:
    found = checkpoints.load(folder)
    if found is None:
        return Position()
    checkpoints.check(folder, found, settings.deciding(), model)
    optimizer.load_state(found.weights, found.optimizer)
    if isinstance(work, Remembers):
        work.load_state_dict(found.work)
    if found.step < settings.steps:
        say(f"{describe}: continuing after step {found.step} of {settings.steps}")
    return Position(found.step, found.refused)


def _save(
    folder: Path,
    position: Position,
    optimizer: MasterAdamW,
    work: Work,
    settings: TrainSettings,
    model: dict[str, str],
) -> None:
    remembered = work.state_dict() if isinstance(work, Remembers) else {}
    checkpoints.save(
        folder,
        Checkpoint(
            step=position.step,
            settings=settings.deciding(),
            model=model,
            weights=dict(optimizer.masters),
            optimizer=optimizer.state(),
            work=remembered,
            refused=position.refused,
        ),
    )


def _save_model(policy: Trainable, folder: Path) -> None:
    with (
        told(f"cannot write the trained model in {folder / MODEL}", folder),
        checkpoints.replacing(folder / MODEL) as new,
    ):
        policy.save(new)


def _start_metrics(folder: Path, step: int) -> None:
    """Drop the rows after the checkpoint, and a torn last one: their steps are about to be repeated."""
    path = folder / METRICS
    with told(f"cannot write {path}", folder):
        folder.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        kept = [line for line in lines if (number := _step_of(line)) is not None and number <= step]
        checkpoints.write_text(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> int | None:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None


def _append(folder: Path, row: dict[str, Any]) -> None:
    """One more row, flushed to the disk: no checkpoint is without the rows before it. NaN and infinity become null."""
    path = folder / METRICS
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    with told(f"cannot write {path}", folder), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _shown(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(row[name]) for name in ("reward", "loss") if name in row}


class _Stop:
    """Whether the user asked to stop after the running step."""

    asked = False


@contextmanager
def _ctrl_c(describe: str, folder: Path) -> Iterator[_Stop]:
    """Ctrl-C once: finish the step, save, stop. Twice: stop at once. In other threads than the main one: as ever."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(signum: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True
        say(f"{describe}: stopping after this step; press Ctrl-C again to stop at once")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    except KeyboardInterrupt:
        raise Interrupted(f"{describe}: stopped at once. {_again(folder)}") from None
    finally:
        signal.signal(signal.SIGINT, before)


def _again(folder: Path) -> str:
    return f"Run the same command again to continue from {folder / checkpoints.LAST}"


def _not_finite(describe: str, step: int, row: Mapping[str, Any]) -> str:
    return (
        f"{describe}: step {step} was refused, as the {REFUSED_IN_A_ROW - 1} before: loss {row['loss']}, gradient norm "
        f"{row['grad_norm']}. The weights are those before these steps. Lower learning_rate, or use precision=float32"
    )
