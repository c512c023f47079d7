"""Weights in parts: of each layer of the decoder every process holds a share, and all gather it while it computes.

By PyTorch's FSDP2, over all processes of a run (`rise_vlm.ranks`), where the launcher's configuration asks for it. Rows
of each weight are dealt out. Only layers are divided, nearly all of a large model: embeddings, output layer, tower and
adapters stay whole, so what they compute may differ in number from process to process.

A forward pass through divided layers is one of all processes, and so is its backward pass, whose gradients end summed
in the parts. But processes differ in how many passes they need. So passes are made **in step**: in a phase of
`Divided` each announces a pass, and one that has none left computes an idle one as long as any other announces.

Left out: dividing by anything but layers; parts on the CPU beside a GPU; repeating a pass with gradient in which memory
ran out, amid which the other processes wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rise_vlm import ranks
from rise_vlm.errors import UserError
from rise_vlm.policy import frozen
from rise_vlm.policy.room import free, out_of_memory

COMPUTES_IN = "computes_in"
"""An attribute of divided weights that train, which are float32: the type that they are computed with."""

DIVIDED = "divided"
"""An attribute of a divided decoder: its `Divided`."""

LESS = "lower token_budget, max_pixels or max_new_tokens, or take more devices"


class Divided:
    """A decoder whose layers are in parts, and the passes that all processes make through it together."""

    def __init__(self, decoder: Any, layers: Sequence[Any]) -> None:
        self.decoder, self.layers = decoder, layers
        self._open = self._trains = False
        self._made = self._entered = self._reached = 0
        for number, layer in enumerate(layers, start=1):
            layer.register_forward_pre_hook(partial(self._mark, "_entered", number), prepend=True)
            layer.register_forward_pre_hook(partial(self._mark, "_reached", number))  # FSDP's, in between, gathers it

    def _mark(self, what: str, number: int, *_: object) -> None:
        setattr(self, what, number)

    @contextmanager
    def phase(self, idle: Callable[[], None], *, grad: bool) -> Iterator[None]:
        """Inside, any number of passes may be made, and none; all processes must come here. ``idle`` makes a pass
        without meaning. With ``grad`` each pass is followed by its backward pass. A phase in a phase is part of it.

        An error leaves at once: whoever waits for this process then learns that it is gone.
        """
        if self._open:
            yield
            return
        self._open, self._trains, self._made = True, grad, 0
        try:
            yield
            while ranks.anywhere(False):
                self._made += 1
                idle()
            if self._made:
                self.decoder.reset_iter_state()  # lets go of what is gathered, and of FSDP's notes for a backward pass
        except RuntimeError as error:
            if ranks.is_lost(error):
                raise ranks.lost(error) from error
            raise
        finally:
            self._open = False

    def make(self, forward: Callable[[Tensor], Tensor], embeds: Tensor) -> Tensor:
        """A forward pass of ``embeds``, of which the others are told. Where gradients are taken they are taken of
        ``embeds`` too: so the backward pass goes through all layers, as that of every other process does.

        Where memory runs out amid it the others wait: without gradient the pass is ended for them, and the error goes
        on to be answered with less at once.

        Raises:
            UserError: memory ran out where the pass cannot be ended.
        """
        if not self._open:
            raise AssertionError("a forward pass through weights in parts, outside of a phase of all processes")
        ranks.anywhere(True)
        self._made += 1
        self._entered = self._reached = 0
        if self._trains and not embeds.requires_grad:
            embeds = embeds.detach().requires_grad_()
        try:
            return forward(embeds)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            said = str(error)
        free()  # not above: there the error still holds what was computed
        division = ranks.division()
        if torch.is_grad_enabled() or self._entered != self._reached or (division is not None and division.keeps):
            raise UserError(f"out of memory in a pass through weights in parts: {LESS}", exit_code=1)
        for layer in self.layers[self._reached :]:
            layer.unshard()
            layer.reshard()
        self.decoder.reset_iter_state()
        raise torch.OutOfMemoryError(said)


def divided(decoder: nn.Module) -> Divided | None:
    """What `divide` has made of a decoder; None where it is whole."""
    return getattr(decoder, DIVIDED, None)


def layers_of(decoder: nn.Module, kind: str) -> list[nn.Module]:
    """The layers that are divided, in their order.

    Raises:
        UserError: the decoder, of architecture ``kind``, has no list of them.
    """
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise UserError(f"models of architecture '{kind}' cannot be in parts (distributed_type: FSDP): give MULTI_GPU")
    return list(layers)


def divisible(layers: Iterable[nn.Module]) -> list[nn.Parameter]:
    """Their weights, without adapters."""
    named = (one for layer in layers for one in layer.named_parameters())
    return [parameter for name, parameter in named if ".lora_" not in name]


def divide(model: nn.Module, decoder: nn.Module, layers: list[nn.Module], device: torch.device) -> None:
    """Keep this process's part of each layer on ``device``, layer by layer, and put all else there whole.

    Weights that train become float32, their own masters, and compute in the type that they had.

    Raises:
        UserError: PyTorch is too old.
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if not hasattr(FSDPModule, "reset_iter_state"):
        raise UserError(f"distributed_type: FSDP needs a newer PyTorch than {torch.__version__}, such as 2.13")

    division = ranks.division()
    assert division is not None
    apart = {id(parameter) for parameter in divisible(layers)}  # which are not held: each is let go when it is divided
    for parameter in model.parameters():
        if id(parameter) not in apart:
            parameter.data = parameter.data.to(device)
    for layer in layers:
        _divide(layer, keeps=division.keeps)
    # The root has no weights of its own: it orders what its layers gather.
    others = {parameter for parameter in decoder.parameters() if not hasattr(parameter, "to_local")}
    fully_shard(decoder, mesh=ranks.mesh(), ignored_params=others)
    setattr(decoder, DIVIDED, Divided(decoder, layers))
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))


def _divide(layer: nn.Module, *, keeps: bool) -> None:
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    weights = divisible([layer])
    dtype, trains = weights[0].dtype, any(weight.requires_grad for weight in weights)
    how = MixedPrecisionPolicy(cast_forward_inputs=False)
    if trains:
        for weight in weights:
            weight.data = weight.data.float()
        half = None if dtype == torch.float32 else dtype
        how = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False)
    chosen = set(weights)
    adapters = {parameter for parameter in layer.parameters() if parameter not in chosen}
    mesh = ranks.mesh()
    made: Any = fully_shard(layer, mesh=mesh, reshard_after_forward=not keeps, mp_policy=how, ignored_params=adapters)
    made.set_gradient_divide_factor(1.0)  # losses are divided by the step's totals already
    made.set_force_sum_reduction_for_comms(True)
    for parameter in layer.parameters() if trains else ():
        setattr(parameter, COMPUTES_IN, dtype)


def is_part(tensor: Tensor) -> bool:
    """Whether a weight is in parts."""
    return hasattr(tensor, "to_local")


def own(tensor: Tensor) -> Tensor:
    """What this process holds of a weight, without gradient and in the same memory: rows of it, maybe none, or all."""
    with torch.no_grad():
        held: Any = tensor.detach()
        return held.to_local() if is_part(tensor) else held


def dtype_of(weight: Tensor) -> torch.dtype:
    """The type that a weight is computed with."""
    return getattr(weight, COMPUTES_IN, weight.dtype)


def take(whole: Tensor, weight: Tensor) -> Tensor:
    """Of a tensor shaped like ``weight`` what this process holds of that; of one shaped otherwise, all."""
    if not is_part(weight) or whole.shape != weight.shape:
        return whole
    start = _start(weight)
    return whole[start : start + len(own(weight))]


def lay_out(part: Tensor, weight: Tensor) -> Tensor:
    """A tensor shaped like ``weight`` with what this process holds of it in its place, and zeros elsewhere: the sum
    over all processes is the whole."""
    whole = torch.zeros(weight.shape, dtype=part.dtype, device=part.device)
    take(whole, weight).copy_(part)
    return whole


def collect(part: Tensor, weight: Tensor) -> Tensor | None:
    """What all processes hold of a tensor divided like ``weight``, whole in the main one's own memory; None elsewhere.

    Of a tensor that is whole each holds the same, and it comes back as it is. All processes must call this.
    """
    if not is_part(weight):
        return part if ranks.is_main() else None
    parts = [ranks.to_main(part.detach().cpu(), owner) for owner in range(ranks.size())]
    return torch.cat([one for one in parts if one is not None]) if ranks.is_main() else None


def put_together(model: nn.Module) -> dict[str, Tensor]:
    """The whole weights of a model in parts, in the main process; elsewhere nothing. All processes must come here."""
    found: dict[str, Tensor] = {}
    for name, weight in model.state_dict(keep_vars=True).items():
        if (made := collect(own(weight), weight)) is not None:
            found[name] = made.to(dtype_of(weight))
    return found


def some_of(weights: Iterable[Tensor], count: int) -> list[bytes]:
    """`frozen.some_of` of each weight; of weights in parts all processes must ask, and all are told."""
    weights = list(weights)
    found = [_some_of_own(weight, count) if is_part(weight) else frozen.some_of(weight, count) for weight in weights]
    if not any(is_part(weight) for weight in weights):
        return found
    everyone = ranks.gather([found])
    return [
        b"".join(each[number] for each in everyone) if is_part(weight) else found[number]
        for number, weight in enumerate(weights)
    ]


def _some_of_own(weight: Tensor, count: int) -> bytes:
    """Of the values that `frozen.some_of` takes of the whole those that this process holds."""
    held = own(weight).reshape(-1)
    before = _start(weight) * (weight.numel() // max(len(weight), 1))
    mine = [at - before for at in frozen.places(weight.numel(), count) if before <= at < before + len(held)]
    return held[mine].float().cpu().numpy().tobytes()


def _start(weight: Tensor) -> int:
    """The first row of a divided weight that is this process's: each has as many, but for the last."""
    each = -(-len(weight) // ranks.size())
    return min(ranks.rank() * each, len(weight))


@contextmanager
def wearing(parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, ``parameters`` have these ``weights``, of each what this process holds, in whatever type they are."""
    worn = {name: parameter for name, parameter in parameters.items() if name in weights}
    # What is in parts is gathered from where it lies, so it is copied there.
    kept = {name: own(one).clone() if is_part(one) else one.data for name, one in worn.items()}
    _wear(worn, {name: weights[name].to(one.dtype) for name, one in worn.items()})
    try:
        yield
    finally:
        _wear(worn, kept)


def _wear(parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        if is_part(parameter):
            own(parameter).copy_(weights[name])
        else:
            parameter.data = weights[name]
