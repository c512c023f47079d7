"""Checkpoints of a training: written whole or not at all, and read back with a reason when they do not fit.

A checkpoint is the folder ``checkpoint-last`` with four files and no pickle:

- ``state.json``: the step, the settings, the shapes of the model, what the stage's work wants to remember;
- ``weights.safetensors``: the trained parameters (float32 masters of half-precision ones); frozen ones are not stored;
- ``tensors.safetensors``: the optimizer's state and the tensors of ``state.json``;
- ``SHA256SUMS``: the checksums of these, as ``sha256sum -c`` reads them.

It is written beside the last one, flushed to the disk, and renamed into place; what was the last becomes
``checkpoint-before``, to go back to where the last turns out damaged. At any moment one whole one exists: a process
killed between the two renames leaves it as ``checkpoint-before``, from where `load` takes it back.

No state of a random number generator is stored: the trainer seeds every step from the seed and the step's number.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rise_vlm.atomic import sync, write_text
from rise_vlm.console import say
from rise_vlm.errors import UserError
from rise_vlm.policy.parts import dtype_of, some_of

FORMAT = 1
LAST, BEFORE, DAMAGED = "checkpoint-last", "checkpoint-before", "checkpoint-damaged"
STATE, WEIGHTS, TENSORS = "state.json", "weights.safetensors", "tensors.safetensors"
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Checkpoint:
    """A training between two steps.

    ``settings`` are the settings that decide the result (a resumed run must have the same). ``model`` is `fingerprint`
    of the model. ``work`` is the stage's own state: JSON values and tensors, by name. ``refused`` counts the steps in a
    row, up to this one, that were refused because they were not finite. ``room`` holds the limits found where memory
    ran out (`rise_vlm.policy.room`), and as ``asked`` the token budget that they began from.
    """

    step: int
    settings: dict[str, Any]
    model: dict[str, str]
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    work: dict[str, Any] = field(default_factory=dict[str, Any])
    refused: int = 0
    room: dict[str, int] = field(default_factory=dict[str, int])


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write ``folder/checkpoint-last`` and keep the one that was last as ``checkpoint-before``.

    The one before that is deleted first, so that there are never more than two. A full disk or a folder that cannot be
    written raises UserError and leaves the last checkpoint as it was.
    """
    with (
        told(f"cannot write the checkpoint of step {checkpoint.step} in {folder}", folder),
        replacing(folder / LAST, folder / BEFORE) as new,
    ):
        _write(new, checkpoint)


def load(folder: Path) -> Checkpoint | None:
    """The last checkpoint in ``folder``, or None where there is none.

    Where it is damaged, the one before takes its place, and that is said. Raises UserError where that is damaged too.
    """
    last, before = folder / LAST, folder / BEFORE
    with told(f"cannot use the folder {folder}", folder):
        recover(last, before)
        if not last.is_dir():
            return None
    try:
        return _read(last)
    except _Damaged as damage:
        try:
            found = _read(before)
        except _Damaged:
            raise UserError(f"{damage}: {_afresh(folder)}", exit_code=1) from damage
        _go_back(folder)
        say(
            f"{damage}: going back to the checkpoint before it, of step {found.step}. The damaged one is now "
            f"{folder / DAMAGED}"
        )
        return found


class _Damaged(Exception):
    """A checkpoint that is not as it was written; the message names the folder and says why."""


def _read(folder: Path) -> Checkpoint:
    try:
        _verify(folder)
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if state["format"] != FORMAT:
            raise UserError(
                f"{folder / STATE} has format {state['format']}, this version reads {FORMAT}: {_afresh(folder.parent)}"
            )
        tensors = load_file(folder / TENSORS)
        work: dict[str, Any] = state["work"] | _under("work.", tensors)
        return Checkpoint(
            step=state["step"],
            settings=state["settings"],
            model=state["model"],
            weights=load_file(folder / WEIGHTS),
            optimizer=_under("optimizer.", tensors),
            work=work,
            refused=state["refused"],
            room=state.get("room", {}),
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _Damaged(f"{folder} is damaged ({error})") from error


def _verify(folder: Path) -> None:
    """Raise ValueError, KeyError or OSError for a file that is not as its checksum says. Older versions wrote none."""
    if not (folder / SUMS).exists():
        return
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in (STATE, WEIGHTS, TENSORS):
        if _sum(folder / name) != sums[name]:
            raise ValueError(f"{name} is not as it was written")


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _go_back(folder: Path) -> None:
    """Put the damaged last checkpoint aside and the one before in its place."""
    with told(f"cannot go back to {folder / BEFORE}", folder):
        if (folder / DAMAGED).exists():
            shutil.rmtree(folder / DAMAGED)
        (folder / LAST).rename(folder / DAMAGED)
        (folder / BEFORE).rename(folder / LAST)


def check(folder: Path, checkpoint: Checkpoint, settings: Mapping[str, Any], model: Mapping[str, str]) -> None:
    """Refuse, with UserError, a checkpoint that was written for another model or with other settings."""
    last = folder / LAST
    for name in sorted({*checkpoint.model, *model}):
        there, here = checkpoint.model.get(name, "not there"), model.get(name, "not there")
        if there != here:
            raise UserError(
                f"{last} is of another model: '{name}' is {there} in the checkpoint and {here} in the model: "
                f"give the model it was written for, or {_afresh(folder)}"
            )
    for name in sorted({*checkpoint.settings, *settings}):
        there, here = checkpoint.settings.get(name), settings.get(name)
        if there != here:
            raise UserError(
                f"{last} was written with {name}={there}, now it is {here}: put it back, or {_afresh(folder)}"
            )


def fingerprint(model: nn.Module) -> dict[str, str]:
    """What tells one model from another: each parameter's shape and type, and a hash of the frozen ones.

    Frozen weights are not in the checkpoint, so a resumed run must bring the same: 16 values of each are hashed, which
    costs nothing and tells two base models apart.
    """
    shapes: dict[str, str] = {}
    for name, parameter in model.named_parameters():
        shapes[name] = (
            f"{'x'.join(map(str, parameter.shape)) or 'scalar'} {str(dtype_of(parameter)).removeprefix('torch.')}"
        )
        shapes[name] += " trained" if parameter.requires_grad else " frozen"
    return shapes | {"(frozen weights)": sample(weight for weight in model.parameters() if not weight.requires_grad)}


def sample(weights: Iterable[Tensor]) -> str:
    """A hash of 16 values of each weight."""
    digest = hashlib.sha256()
    for values in some_of(weights, 16):
        digest.update(values)
    return digest.hexdigest()[:16]


@contextmanager
def replacing(target: Path, before: Path | None = None) -> Iterator[Path]:
    """Write a folder anew: yields an empty one beside it, which takes the place of ``target`` if the block succeeds.

    What was there is kept as ``before``, where that is given, in place of what that was.
    """
    new, old = _beside(target, before)
    recover(target, before)
    try:
        if old.exists():
            shutil.rmtree(old)
        new.mkdir(parents=True)
        yield new
        for path in (*new.rglob("*"), new):
            sync(path)
        if target.exists():
            target.rename(old)
        new.rename(target)
        sync(target.parent)
    except BaseException:
        recover(target, before)
        raise
    if before is None:
        shutil.rmtree(old, ignore_errors=True)


def recover(target: Path, before: Path | None = None) -> None:
    """Tidy up after a process that was killed in `replacing`: the old folder comes back, a half-written one goes."""
    new, old = _beside(target, before)
    if old.exists() and not target.exists():
        old.rename(target)
    for leftover in (new, *([old] if before is None else [])):
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
        "room": checkpoint.room,
        "settings": checkpoint.settings,
        "work": plain,
        "versions": {"torch": torch.__version__},
        "model": checkpoint.model,
    }
    for path, content in ((new / WEIGHTS, checkpoint.weights), (new / TENSORS, tensors)):
        save_file({name: tensor.detach().contiguous() for name, tensor in content.items()}, path)
    write_text(new / STATE, json.dumps(state, indent=1, ensure_ascii=False))
    write_text(new / SUMS, "".join(f"{_sum(new / name)}  {name}\n" for name in (STATE, WEIGHTS, TENSORS)))


def _beside(target: Path, before: Path | None) -> tuple[Path, Path]:
    """Where the new folder is written, and where the old one goes."""
    return target.with_name(f"{target.name}-new"), before or target.with_name(f"{target.name}-old")


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _afresh(folder: Path) -> str:
    """What to delete: alone, the last checkpoint would be replaced by the one before."""
    return f"delete {' and '.join(str(one) for one in _there(folder))} to start afresh"


def _there(folder: Path) -> list[Path]:
    return [one for one in (folder / LAST, folder / BEFORE) if one.is_dir()]
