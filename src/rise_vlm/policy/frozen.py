"""Frozen weights that several models have in common are there once.

The closed loop holds three models: the policy, the base that grounds, the judge that rebuilds; a GRPO that rebuilds the
first and the last. With LoRA they differ in their adapters only; without, at least the frozen tower is the same. Equal
weights of one name on one device share their memory. Whoever writes to a weight that was declared frozen writes to all
of them.
Left out: weights that train, those in parts (``policy.parts``), and the frozen copy behind ``Policy.reference``.
"""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

SAMPLED = 256
"""By so many of its values a weight is looked up; then all are compared."""

Key = tuple[str, tuple[int, ...], torch.dtype, torch.device, bytes]

_known: WeakValueDictionary[Key, nn.Parameter] = WeakValueDictionary()


def place(model: nn.Module, part: nn.Module, device: torch.device, apart: Iterable[nn.Parameter] = ()) -> None:
    """Freeze the weights of ``part`` of ``model`` and put each on ``device``, or into the memory of its equal there.

    Those ``apart`` are frozen as well and stay where they are.
    """
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    part.requires_grad_(False)
    chosen = {id(parameter) for parameter in part.parameters()} - {id(parameter) for parameter in apart}
    for name, parameter in model.named_parameters():
        if id(parameter) not in chosen:
            continue
        # By name, since two weights of one model that happen to be equal are not to be one: it could not be saved.
        key = (name, tuple(parameter.shape), parameter.dtype, device, some_of(parameter, SAMPLED))
        known = _known.get(key)
        if known is not None and torch.equal(known.detach().to(parameter.device), parameter.detach()):
            parameter.data = known.data
        else:
            parameter.data = parameter.data.to(device)
        _known[key] = parameter


def some_of(weight: Tensor, count: int) -> bytes:
    """``count`` values of a weight, or all it has, evenly over it, as float32: enough to tell two models apart."""
    values = weight.detach().reshape(-1)
    at = places(values.numel(), count)
    return values[at.start : at.stop : at.step].float().cpu().contiguous().numpy().tobytes()


def places(size: int, count: int) -> range:
    """Which of ``size`` values those are."""
    return range(0, size, max(size // count, 1))[:count]
