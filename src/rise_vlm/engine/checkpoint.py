"""Checkpoints of a training: written whole or not at all, and read back with a reason when they do not fit.

A checkpoint is the folder ``checkpoint-last`` with three files and no pickle:

- ``state.json``: the step, the settings, the shapes of the model, what the stage's work wants to remember;
- ``weights.safetensors``: the trained parameters (float32 masters of half-precision ones); frozen ones are not stored;
- ``tensors.safetensors``: the optimizer's state and the tensors of ``state.json``.

It is written beside the old one, flushed to the disk, and renamed into place. At any moment one whole one exists: a
process killed between the two renames leaves it under ``checkpoint-last-old``, from where `load` takes it back.

No state of a random number generator is stored: the trainer seeds every step from the seed and the step's number.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rise_vlm.atomic import write_text
from rise_vlm.errors import UserError

FORMAT = 1
LAST = "checkpoint-last"
STATE, WEIGHTS, TENSORS = "state.json", "weights.safetensors", "tensors.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A training between two steps.

    ``settings`` are the settings that decide the result (a resumed run must have the same). ``model`` is `fingerprint`
    of the model. ``work`` is the stage's own state: JSON values and tensors, by name. ``refused`` counts the steps in a
    row, up to this one, that were refused because they were not finite.
    """

    step: int
    settings: dict[str, Any]
    model: dict[str, str]
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    work: dict[str, Any] = field(default_factory=dict[str, Any])
    refused: int = 0


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write ``folder/checkpoint-last``, replacing the one before only once the new one is safe on the disk.

    A full disk or a folder that cannot be written raises UserError and leaves the checkpoint before as it was.
    """
    with (
        told(f"cannot write the checkpoint of step {checkpoint.step} in {folder}", folder),
        replacing(folder / LAST) as new,
    ):
        _write(new, checkpoint)


def load(folder: Path) -> Checkpoint | None:
    """The checkpoint in ``folder``, or None where there is none. One that cannot be read raises UserError."""
    last = folder / LAST
    with told(f"cannot use the folder {folder}", folder):
        recover(last)
        if not last.is_dir():
            return None
    try:
        state = json.loads((last / STATE).read_text(encoding="utf-8"))
        if state["format"] != FORMAT:
            raise UserError(
                f"{last / STATE} has format {state['format']}, this version reads {FORMAT}: {_afresh(last)}"
            )
        tensors = load_file(last / TENSORS)
        work: dict[str, Any] = state["work"] | _under("work.", tensors)
        return Checkpoint(
            step=state["step"],
            settings=state["settings"],
            model=state["model"],
            weights=load_file(last / WEIGHTS),
            optimizer=_under("optimizer.", tensors),
            work=work,
            refused=state["refused"],
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"{last} is damaged ({error}): {_afresh(last)}", exit_code=1) from error


def check(folder: Path, checkpoint: Checkpoint, settings: Mapping[str, Any], model: Mapping[str, str]) -> None:
    """Refuse, with UserError, a checkpoint that was written for another model or with other settings."""
    last = folder / LAST
    for name in sorted({*checkpoint.model, *model}):
        there, here = checkpoint.model.get(name, "not there"), model.get(name, "not there")
        if there != here:
            raise UserError(
                f"{last} is of another model: '{name}' is {there} in the checkpoint and {here} in the model: "
                f"give the model it was written for, or {_afresh(last)}"
            )
    for name in sorted({*checkpoint.settings, *settings}):
        there, here = checkpoint.settings.get(name), settings.get(name)
        if there != here:
            raise UserError(
                f"{last} was written with {name}={there}, now it is {here}: put it back, or {_afresh(last)}"
            )


def fingerprint(model: nn.Module) -> dict[str, str]:
    """What tells one model from another: each parameter's shape and type, and a hash of the frozen ones.

    Frozen weights are not in the checkpoint, so a resumed run must bring the same: 16 values of each are hashed, which
    costs nothing and tells two base models apart.
    """
    shapes: dict[str, str] = {}
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        shapes[name] = (
            f"{'x'.join(map(str, parameter.shape)) or 'scalar'} {str(parameter.dtype).removeprefix('torch.')}"
        )
        shapes[name] += " trained" if parameter.requires_grad else " frozen"
        if not parameter.requires_grad:
            values = parameter.detach().reshape(-1)
            chosen = values[:: max(values.numel() // 16, 1)][:16].float().cpu().contiguous()
            digest.update(chosen.numpy().tobytes())
    return shapes | {"(frozen weights)": digest.hexdigest()[:16]}


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Write a folder anew: yields an empty one beside it, which takes the place of ``target`` if the block succeeds."""
    new, old = _beside(target)
    recover(target)
    try:
        new.mkdir(parents=True)
        yield new
        for path in (*new.rglob("*"), new):
            _sync(path)
        if target.exists():
            target.rename(old)
        new.rename(target)
        _sync(target.parent)
    except BaseException:
        recover(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recover(target: Path) -> None:
    """Tidy up after a process that was killed in `replacing`: the old folder comes back, a half-written one goes."""
    new, old = _beside(target)
    if old.exists() and not target.exists():
        old.rename(target)
    for leftover in (new, old):
        if leftover.exists():
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def told(what: str, folder: Path) -> Iterator[None]:
    """Turn a full disk, a read-only folder and the like into a UserError that says what is still safe."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        safe = f"the checkpoint before is whole in {folder / LAST}; " if (folder / LAST).is_dir() else ""
        raise UserError(f"{what}: {reason}. {safe}make room or give another folder, then run again", 1) from error


def _write(new: Path, checkpoint: Checkpoint) -> None:
    plain = {name: value for name, value in checkpoint.work.items() if not isinstance(value, Tensor)}
    tensors = {f"work.{name}": value for name, value in checkpoint.work.items() if isinstance(value, Tensor)}
    tensors |= {f"optimizer.{name}": value for name, value in checkpoint.optimizer.items()}
    state = {
        "format": FORMAT,
        "step": checkpoint.step,
        "refused": checkpoint.refused,
        "settings": checkpoint.settings,
        "work": plain,
        "versions": {"torch": torch.__version__},
        "model": checkpoint.model,
    }
    for path, content in ((new / WEIGHTS, checkpoint.weights), (new / TENSORS, tensors)):
        save_file({name: tensor.detach().contiguous() for name, tensor in content.items()}, path)
    write_text(new / STATE, json.dumps(state, indent=1, ensure_ascii=False))


def _beside(target: Path) -> tuple[Path, Path]:
    return target.with_name(f"{target.name}-new"), target.with_name(f"{target.name}-old")


def _sync(path: Path) -> None:
    """Flush a file, or the renames in a folder, to the disk, against power cuts. Windows sees to it itself."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _afresh(last: Path) -> str:
    return f"delete {last} to start afresh"
