"""Several processes that run one program together, one per device, as ``accelerate launch`` starts them.

Each goes through the same stages with the same records and random numbers, and so comes to the same decisions. What
costs time is shared out (``share``) and put together again (``gather``, ``add``) inside the engine's calls: a stage
does not know of it, and no process waits for one that took another turn. Files belong to the main process, rank 0: it
alone writes (``main_only``), and what decides is read by it and told to the others (``once``).

With one process nothing here costs anything, and torch is not imported.
Gradients and the optimizer's state are always in parts (``engine.optimizer``); weights are where the launcher's
configuration asks for it (``in_parts``, ``policy.parts``), else each device holds whole models.
Left out: starting the processes (accelerate's business, or torchrun's).
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from rise_vlm import launched
from rise_vlm.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE, SOON = timedelta(hours=6), timedelta(minutes=10)
"""How long a process waits for the others, as the main one may be busy alone; and for tensors, which all send at the
same time. One that died is noticed at once by gloo, and by NCCL after the second."""

BUCKET = 1 << 25
"""So many numbers are added up in one message (128 MB)."""


class Lost(UserError):
    """Another process of the run is gone."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "another process of this run has ended; its own message says why, unless it was killed. What was saved is "
            f"whole: run the same command again to go on from there ({reason})",
            exit_code=1,
        )


class Echo(UserError):
    """An error of the main process, which tells it."""


def of_all(error: UserError) -> UserError:
    """An error that all processes raise, for the main one to tell."""
    return error if is_main() else Echo(str(error), error.exit_code)


def size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def rank() -> int:
    """Which one this is; 0 is the main process."""
    return int(os.environ.get("RANK") or 0) if size() > 1 else 0


def is_main() -> bool:
    """Whether this process writes the files and talks to the user."""
    return rank() == 0


def main_only(function: Callable[P, None]) -> Callable[P, None]:
    """A function that does nothing in the other processes, such as one that writes a file."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        if is_main():
            function(*args, **kwargs)

    return guarded


def once(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``function`` returns in the main process, in all of them; so does a UserError that it raises."""
    if size() == 1:
        return function(*args, **kwargs)
    start()  # before the main process can fail: the others would wait for it
    told: list[Any] = [None, None]
    raised: UserError | None = None
    if is_main():
        try:
            told[0] = function(*args, **kwargs)
        except UserError as error:
            raised, told[1] = error, Echo(str(error), error.exit_code)
    with _together() as (dist, group):
        dist.broadcast_object_list(told, src=0, group=group)
    found, echo = told
    if raised is not None or echo is not None:
        raise raised or echo
    return found


def after_main(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``function`` in all processes, in the main one first: what it downloads, mends or refuses is done once."""
    if size() == 1:
        return function(*args, **kwargs)
    found: list[T] = []

    def first() -> None:
        found.append(function(*args, **kwargs))

    once(first)
    return found[0] if found else function(*args, **kwargs)


def gather(part: Sequence[T]) -> list[T]:
    """The parts of all processes as one list, in the processes' order."""
    if size() == 1:
        return list(part)
    parts: list[Any] = [None] * size()
    with _together() as (dist, group):
        dist.all_gather_object(parts, list(part), group=group)
    return [one for each in parts for one in each]


def in_turn(part: Sequence[T]) -> Iterator[T | None]:
    """The parts of all processes one after the other; for an item of another process None."""
    for owner, count in enumerate(gather([len(part)])):
        for number in range(count):
            yield part[number] if owner == rank() else None


def same(what: str, value: object) -> None:
    """Refuse processes that differ in ``value``: they would compute nonsense together, or wait for each other forever.

    Raises:
        UserError: ``what`` is not the same in all.
    """
    digest = hashlib.blake2b(repr(value).encode(), digest_size=16).hexdigest()
    found = gather([digest])
    if other := [number for number, one in enumerate(found) if one != found[0]]:
        raise of_all(
            UserError(
                f"{what} in process {other[0]} is not the one in the main process. All machines of a run must see the "
                "same files: the dataset, the model and the recipe",
                exit_code=1,
            )
        )


def anywhere(flag: bool) -> bool:
    """Whether ``flag`` holds in any process."""
    if size() == 1:
        return flag
    import torch

    with _together() as (dist, group):
        found = torch.tensor(int(flag))
        dist.all_reduce(found, dist.ReduceOp.MAX, group=group)
    return bool(found)


def least(values: Mapping[str, int]) -> dict[str, int]:
    """By name the least of what the processes have."""
    found: dict[str, int] = {}
    for one in gather([dict(values)]):
        for name, value in one.items():
            found[name] = min(value, found.get(name, value))
    return found


def share(weights: Sequence[int]) -> slice:
    """Which of the items with these weights are this process's: neighbours, about as heavy as every other share."""
    mine = shares(weights, size())[rank()]
    return slice(mine.start, mine.stop)


def shares(weights: Sequence[int], count: int) -> list[range]:
    """``count`` ranges that cut the items into neighbours of about equal weight; some are empty where items are few."""
    total, before = max(sum(weights), 1), 0
    owners: list[int] = []
    for weight in weights:
        owners.append(min(count * (2 * before + weight) // (2 * total), count - 1))
        before += weight
    return [range(bisect_left(owners, number), bisect_left(owners, number + 1)) for number in range(count)]


def add(tensors: Sequence[Tensor], owner: int) -> None:
    """Replace each tensor, in the process ``owner``, by its sum over all of them; in the others it is spent.

    Shapes and order must be the same in all.
    """
    with _together() as (dist, _):
        for bucket in _buckets(tensors):
            flat = _flat(bucket)
            dist.reduce(flat, dst=owner)
            if rank() == owner:
                _fill(bucket, flat)


def spread(tensors: Sequence[Tensor], owner: int) -> None:
    """Give all processes the values that the tensors have in the process ``owner``."""
    if size() == 1:
        return
    with _together() as (dist, _):
        for bucket in _buckets(tensors):
            flat = _flat(bucket)
            dist.broadcast(flat, src=owner)
            _fill(bucket, flat)


def to_main(value: T | None, owner: int) -> T | None:
    """In the main process what ``value`` is in the process ``owner``; None in the others."""
    if owner == 0:
        return value if is_main() else None
    found: list[Any] = [value]
    with _together() as (dist, group):
        if rank() == owner:
            dist.send_object_list(found, dst=0, group=group)
        elif is_main():
            dist.recv_object_list(found, src=owner, group=group)
    return found[0] if is_main() else None


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one type, together at most ``BUCKET`` numbers, or alone."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        full = sum(one.numel() for one in bucket) + tensor.numel() > BUCKET
        if bucket and (full or bucket[0].dtype != tensor.dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _flat(bucket: Sequence[Tensor]) -> Tensor:
    import torch

    return torch.cat([one.detach().reshape(-1) for one in bucket])


def _fill(bucket: Sequence[Tensor], flat: Tensor) -> None:
    parts = flat.split([one.numel() for one in bucket])
    for one, part in zip(bucket, parts, strict=True):
        one.detach().copy_(part.view_as(one))


def start() -> None:
    """Meet the other processes, where there are any, and take the device that is this one's.

    Raises:
        UserError: they were started for what cannot be done (`rise_vlm.launched`).
    """
    if size() == 1:
        return
    division()
    _group()
    if in_parts():
        mesh()  # all make it at the same time


def division() -> launched.Division | None:
    """How weights are in parts; None where they are whole, as they are with one process.

    Raises:
        UserError: the launcher's configuration asks for what cannot be done.
    """
    return _division() if size() > 1 else None


@functools.cache
def _division() -> launched.Division | None:
    try:
        found = launched.division()
    except UserError as error:
        raise of_all(error) from None
    launched.take_over()
    return found


def in_parts() -> bool:
    """Whether each process holds a part of the decoder's weights."""
    return division() is not None


@functools.cache
def mesh() -> Any:
    """All processes in a row, as FSDP wants them."""
    import torch
    from torch.distributed.device_mesh import init_device_mesh

    with _together():
        return init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (size(),))


def stop() -> None:
    """Take leave of the others, at the program's end."""
    for found in (_division, mesh):
        found.cache_clear()
    if _group.cache_info().currsize:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
        _group.cache_clear()


@contextmanager
def _together() -> Iterator[tuple[Any, Any]]:
    """torch.distributed and the group for Python objects; a connection that breaks is told as what it means."""
    import torch.distributed as dist

    group = _group()
    try:
        yield dist, group
    except RuntimeError as error:
        from rise_vlm.policy.room import out_of_memory

        if out_of_memory(error):
            raise
        raise lost(error) from error


def lost(error: RuntimeError) -> Lost:
    """What a connection that broke means."""
    return Lost(re.sub(r"\[[^\]]*\] ?", "", str(error).strip()).split(". ")[0][:120])


def is_lost(error: RuntimeError) -> bool:
    """Whether an error that came out of a computation is a connection that broke."""
    import torch.distributed as dist

    signs = ("gloo", "Connection closed by peer", "Connection reset by peer", "NCCL", "ProcessGroup")
    return isinstance(error, dist.DistError) or any(sign in str(error) for sign in signs)


@functools.cache
def _group() -> Any:
    """The group over which objects go: on the CPU, whatever the tensors' is."""
    import torch
    import torch.distributed as dist
    from accelerate import PartialState

    here, devices = int(os.environ.get("LOCAL_WORLD_SIZE") or 1), torch.cuda.device_count()
    if torch.cuda.is_available() and here > devices:
        raise of_all(UserError(f"this machine has {devices} GPUs for {here} processes: lower --num_processes"))
    PartialState(cpu=not devices, timeout=SOON)
    if devices:  # tensors go another way, which is to fail now and not in the first training step
        dist.all_reduce(torch.zeros(1, device="cuda"))
    return dist.new_group(backend="gloo", timeout=PATIENCE)
